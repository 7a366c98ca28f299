"""The gate before anything leaves the site."""

import pytest

from realitycheck.lvlm.gates import LeavesSiteError, check_may_leave, is_on_site


@pytest.mark.parametrize(
    ("service", "address", "declared", "on_site"),
    [
        ("gemini", None, None, False),
        ("gemini", "http://127.0.0.1:1", None, False),
        ("gemini", "http://127.0.0.1:1", True, True),
        ("vertex", None, None, False),
        ("openai_compatible", "http://localhost:8000/v1", None, True),
        ("openai_compatible", "http://127.0.0.1:8000/v1", None, True),
        ("openai_compatible", "http://[::1]:8000/v1", None, True),
        ("openai_compatible", "http://10.1.2.3:8000/v1", None, True),
        ("openai_compatible", "http://8.8.8.8/v1", None, False),
        ("openai_compatible", "http://vllm.plant.example/v1", None, False),
        ("openai_compatible", "http://vllm.plant.example/v1", True, True),
        ("openai_compatible", "http://10.1.2.3:8000/v1", False, False),
        ("openai_compatible", "http://10.evil.example/v1", None, False),
    ],
)
def test_only_what_is_surely_on_site_counts_as_such(service, address, declared, on_site):
    """A gateway on this machine may pass on, and a name proves nothing."""
    assert is_on_site(service, address, declared=declared) is on_site


def test_refusal_says_why_and_names_the_alternative():
    with pytest.raises(LeavesSiteError) as caught:
        check_may_leave("chips", "gemini", base_url=None, may_leave_site=False)
    message = str(caught.value)
    assert "data set chips" in message
    assert "generativelanguage.googleapis.com" in message
    assert "may_leave_site" in message
    assert "confidential" in message
    assert "openai_compatible with vLLM, Ollama or LM Studio" in message


def test_allowed_data_sets_pass():
    check_may_leave("chips", "gemini", base_url=None, may_leave_site=True)
    check_may_leave(
        "chips", "openai_compatible", base_url="http://localhost/v1", may_leave_site=False
    )
