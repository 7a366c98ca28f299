"""Prompts: their words, and how they are filled in."""

import pytest

from realitycheck.lvlm.prompts import (
    PRODUCT_PROMPTS,
    RESPONSE_SCHEMA,
    STUDY_PROMPTS,
    PromptTemplate,
    fill,
)

BASIC = (
    "Please determine whether the image contains anomalies or defects. If yes, give a specific "
    "reason"
)
REFINED = (
    "Please determine whether the last image given about carpet contains anomalies or defects. If "
    "so, please provide a specific reason. Normally, the image given should depict a clear and "
    "identifiable carpet. It may have defects such as broken/bent parts, contaminations, threads, "
    "color stains, cuts, holes, scratches, liquids, glue, folds, pokes, oil or glue strips."
)


def test_study_prompts_have_the_published_words():
    """A changed word is another experiment, so it must show in review."""
    assert fill(STUDY_PROMPTS["basic"].text, {}) == BASIC
    assert fill(STUDY_PROMPTS["refined"].text, {"object": "carpet"}) == REFINED
    assert all(prompt.uses_reference for prompt in STUDY_PROMPTS.values())


def test_product_prompt_takes_the_defects_from_the_product():
    """A new product has defects of its own."""
    text = fill(PRODUCT_PROMPTS["refined"].text, {"object": "chip", "defects": "voids or cracks"})
    assert text.endswith("It may have defects such as voids or cracks.")
    assert "image given about chip contains" in text


def test_reasoning_is_written_before_the_label():
    """A model that has labelled first only defends its label."""
    assert list(RESPONSE_SCHEMA["properties"]) == ["reasoning", "label", "score"]
    assert RESPONSE_SCHEMA["required"] == ["reasoning", "label", "score"]


def test_unknown_placeholder_is_refused_with_the_known_ones():
    """Else a misspelt placeholder would be sent as it stands."""
    with pytest.raises(ValueError, match=r"text: \{part\} is not known; .*\{object\}, \{defects\}"):
        PromptTemplate("1", "Look at {part}.")


def test_single_brace_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match="write a brace that is meant as such twice"):
        PromptTemplate("1", "Look at {object.")


def test_doubled_braces_are_sent_as_one():
    assert fill(PromptTemplate("1", "Write {{x}} about {object}").text, {"object": "nuts"}) == (
        "Write {x} about nuts"
    )


def test_missing_words_are_named():
    with pytest.raises(ValueError, match=r"uses \{object\}.*give the words for object"):
        fill(STUDY_PROMPTS["refined"].text, {"defects": "cracks"})


def test_empty_question_is_refused():
    with pytest.raises(ValueError, match="must ask something"):
        PromptTemplate("1", "  ")


def test_values_with_braces_are_not_filled_again():
    """A product's name is text, not a template."""
    assert fill("About {object}", {"object": "{defects}"}) == "About {defects}"
