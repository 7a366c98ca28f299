"""Generation parameters: what is accepted for which model."""

import pytest

from realitycheck.lvlm.backends.parameters import DEFAULT_MAX_OUTPUT_TOKENS
from realitycheck.lvlm.backends.registry import service_of


def check_parameters(service, model, parameters=None):
    return service_of(service).check_parameters(model, parameters)


def test_there_is_always_a_token_limit():
    """Without one a runaway answer is paid for to the model's own limit."""
    found = check_parameters("gemini", "gemini-2.5-pro")
    assert found == {"max_output_tokens": DEFAULT_MAX_OUTPUT_TOKENS}


def test_equal_numbers_have_one_form():
    """0 and 0.0 are one temperature, so they must not be two questions."""
    assert repr(check_parameters("gemini", "m", parameters={"temperature": 0})["temperature"]) == (
        "0.0"
    )
    assert repr(check_parameters("gemini", "m", parameters={"seed": 7.0})["seed"]) == "7"


def test_words_have_one_form():
    found = check_parameters("gemini", "gemini-3.8-flash", parameters={"thinking_level": "low"})
    assert found["thinking_level"] == "LOW"


def test_none_is_not_sent():
    assert "top_p" not in check_parameters("gemini", "m", parameters={"top_p": None})


@pytest.mark.parametrize(
    ("service", "model", "parameters", "message"),
    [
        ("gemini", "m", {"temprature": 1}, "temprature: not known to gemini; known: temperature"),
        ("openai_compatible", "m", {"thinking_budget": 1}, "thinking_budget: not known to openai"),
        ("gemini", "m", {"extra_body": {}}, "extra_body: not known to gemini"),
        ("gemini", "m", {"temperature": "hot"}, "temperature: expected float, got 'hot'"),
        ("gemini", "m", {"temperature": True}, "temperature: expected float, got True"),
        ("gemini", "m", {"temperature": 3}, "within 0.0 and 2.0, got 3"),
        ("gemini", "m", {"seed": 1.5}, "seed: expected int, got 1.5"),
        ("gemini", "m", {"media_resolution": "ULTRA"}, "one of LOW, MEDIUM, HIGH, got 'ULTRA'"),
        ("gemini", "gemini-2.5-pro", {"thinking_level": "LOW"}, "set thinking_budget instead"),
        (
            "gemini",
            "gemini-3.8-flash",
            {"thinking_level": "LOW", "thinking_budget": 512},
            "exclude each other",
        ),
        ("gemini", "gemini-2.5-pro", {"thinking_budget": 0}, "gemini-2.5-pro takes 128 to 32768"),
        (
            "gemini",
            "gemini-2.5-pro",
            {"thinking_budget": 4096, "max_output_tokens": 4096},
            "at least 5120 are needed, got 4096",
        ),
        (
            "claude",
            "m",
            {},
            "service: expected one of gemini, vertex, openai_compatible",
        ),
        ("gemini", " ", {}, "model: expected a model's name"),
    ],
)
def test_what_makes_no_sense_is_refused(service, model, parameters, message):
    """Before money is spent, with what to do."""
    with pytest.raises(ValueError, match=message):
        check_parameters(service, model, parameters=parameters)


def test_thinking_can_be_switched_off_where_the_family_allows_it():
    for model in ("gemini-2.5-flash", "gemini-2.5-flash-lite"):
        assert check_parameters("gemini", model, parameters={"thinking_budget": 0})
    assert check_parameters("gemini", "gemini-2.5-pro", parameters={"thinking_budget": -1})


def test_all_faults_are_told_at_once():
    with pytest.raises(ValueError, match="temperature: .*; seed: "):
        check_parameters("gemini", "m", parameters={"temperature": 9, "seed": "x"})
