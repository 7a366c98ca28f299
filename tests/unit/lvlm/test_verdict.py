"""Verdicts: what every kind of reply is taken for."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realitycheck.core.constants import VERDICT_STATUSES
from realitycheck.lvlm.backends.registry import service_of
from realitycheck.lvlm.verdict import is_same_model, read_object, share_of

GOOD = {"reasoning": "A scratch.", "label": "NOK", "score": 87}
USAGE = {
    "promptTokenCount": 620,
    "cachedContentTokenCount": 258,
    "candidatesTokenCount": 40,
    "thoughtsTokenCount": 900,
    "promptTokensDetails": [
        {"modality": "TEXT", "tokenCount": 104},
        {"modality": "IMAGE", "tokenCount": 516},
    ],
}


def verdict_of(service, body):
    return service_of(service).verdict_of(body)


def gemini(text=None, finish="STOP", **further):
    content = {"role": "model"} if text is None else {"parts": [{"text": text}]}
    candidate = {"content": content} | ({"finishReason": finish} if finish else {})
    return json.dumps(
        {"candidates": [candidate], "modelVersion": "gemini-2.5-pro", "usageMetadata": USAGE}
        | further
    )


def openai(text=None, finish="stop", message=None, **further):
    message = {"role": "assistant", "content": text} | (message or {})
    usage = {"prompt_tokens": 700, "completion_tokens": 90}
    usage |= {"completion_tokens_details": {"reasoning_tokens": 50}}
    body = {"model": "qwen-vl", "usage": usage}
    return json.dumps(body | {"choices": [{"message": message, "finish_reason": finish}]} | further)


def test_good_answer_has_label_score_and_reasoning():
    found = verdict_of("gemini", gemini(json.dumps(GOOD)))
    assert (found.status, found.label, found.score) == ("answered", "NOK", 0.87)
    assert found.reasoning == "A scratch."
    assert found.model_returned == "gemini-2.5-pro"
    assert (found.tokens_in, found.tokens_cached, found.tokens_image) == (620, 258, 516)
    assert (found.tokens_out, found.tokens_thinking) == (40, 900)


def test_thoughts_are_not_part_of_the_answer():
    """With include_thoughts the first part is a summary of the thinking."""
    parts = [{"text": "Let me see {", "thought": True}, {"text": json.dumps(GOOD)}]
    body = gemini(candidates=[{"content": {"parts": parts}, "finishReason": "STOP"}])
    assert verdict_of("gemini", body).label == "NOK"


def test_answer_in_several_parts_is_put_together():
    text = json.dumps(GOOD)
    parts = [{"text": text[:10]}, {"text": text[10:]}]
    body = gemini(candidates=[{"content": {"parts": parts}, "finishReason": "STOP"}])
    assert verdict_of("gemini", body).status == "answered"


GEMINI_CASES = [
    (gemini("```json\n" + json.dumps(GOOD) + "\n```"), "answered", "STOP"),
    (gemini(json.dumps(GOOD | {"label": "MAYBE"})), "not_in_schema", "STOP"),
    (gemini(json.dumps(GOOD | {"label": "nok"})), "not_in_schema", "STOP"),
    (gemini(json.dumps(GOOD | {"score": 101})), "not_in_schema", "STOP"),
    (gemini(json.dumps(GOOD | {"score": "high"})), "not_in_schema", "STOP"),
    (gemini(json.dumps(GOOD | {"score": True})), "not_in_schema", "STOP"),
    (gemini('{"reasoning": "x", "label": "OK", "score": NaN}'), "not_in_schema", "STOP"),
    (gemini(json.dumps({"label": "OK"})), "not_in_schema", "STOP"),
    (gemini(json.dumps([GOOD])), "not_in_schema", "STOP"),
    (gemini(json.dumps(GOOD)[:25]), "not_in_schema", "STOP"),
    (gemini("The part is OK."), "not_in_schema", "STOP"),
    (gemini(json.dumps(GOOD) + json.dumps(GOOD | {"label": "OK"})), "not_in_schema", "STOP"),
    (gemini(json.dumps(GOOD)[:25], "MAX_TOKENS"), "truncated", "MAX_TOKENS"),
    (gemini(json.dumps(GOOD), "MAX_TOKENS"), "truncated", "MAX_TOKENS"),
    (gemini(None, "MAX_TOKENS"), "truncated", "MAX_TOKENS"),
    (gemini("", "MAX_TOKENS"), "truncated", "MAX_TOKENS"),
    *(
        (gemini(text, reason), "refused", reason)
        for reason in ("SAFETY", "RECITATION", "PROHIBITED_CONTENT", "SPII", "OTHER", "BLOCKLIST")
        for text in (None, json.dumps(GOOD))
    ),
    (gemini(json.dumps(GOOD), "A_NEW_REASON"), "stopped", "A_NEW_REASON"),
    (gemini(json.dumps(GOOD), "CONTINUATION"), "stopped", "CONTINUATION"),
    (gemini(json.dumps(GOOD), None), "stopped", "UNSPECIFIED"),
    ('{"promptFeedback": {"blockReason": "SAFETY"}}', "prompt_blocked", "SAFETY"),
    ("{}", "empty", None),
    ("", "empty", None),
    ('{"candidates": []}', "empty", None),
    ('{"candidates": [{}]}', "empty", None),
    (gemini(""), "empty", "STOP"),
    (gemini(None), "empty", "STOP"),
    ("<html>502</html>", "unreadable", None),
    (gemini(json.dumps(GOOD))[:60], "unreadable", None),
    ("[1]", "unreadable", None),
    ("null", "unreadable", None),
    ('{"candidates": "none"}', "unreadable", None),
    ('{"candidates": [3]}', "unreadable", None),
    ('{"candidates": [{"content": {"parts": ["x"]}, "finishReason": "STOP"}]}', "unreadable", None),
    ("[" * 100_000, "unreadable", None),
]


@pytest.mark.parametrize(("body", "status", "reason"), GEMINI_CASES)
def test_every_reply_of_gemini_has_its_status(body, status, reason):
    """The catalogue of what the service has been seen to send."""
    for service in ("gemini", "vertex"):
        found = verdict_of(service, body)
        assert (found.status, found.finish_reason) == (status, reason)
        assert (found.label is not None) == (status == "answered")
        assert status in VERDICT_STATUSES


OPENAI_CASES = [
    (openai(json.dumps(GOOD)), "answered", "stop"),
    (openai("{" + json.dumps(GOOD)), "answered", "stop"),
    (openai("{\n" + json.dumps(GOOD) + "\n}"), "answered", "stop"),
    (openai("", message={"reasoning_content": json.dumps(GOOD)}), "answered", "stop"),
    (openai([{"type": "text", "text": json.dumps(GOOD)}]), "answered", "stop"),
    (openai(json.dumps(GOOD), "length"), "truncated", "length"),
    (openai(None, "length"), "truncated", "length"),
    (openai(None, "content_filter"), "refused", "content_filter"),
    (openai(None, message={"refusal": "I cannot."}), "refused", "refusal"),
    (openai(json.dumps(GOOD), "tool_calls"), "stopped", "tool_calls"),
    (openai(json.dumps(GOOD), None), "stopped", "UNSPECIFIED"),
    (openai("OK"), "not_in_schema", "stop"),
    (openai(""), "empty", "stop"),
    (openai(None, None), "empty", None),
    ('{"choices": []}', "empty", None),
    ("{}", "empty", None),
    ('{"choices": [1]}', "unreadable", None),
    ('{"choices": [{"message": {"content": 3}, "finish_reason": "stop"}]}', "unreadable", None),
    ("Bad gateway", "unreadable", None),
]


@pytest.mark.parametrize(("body", "status", "reason"), OPENAI_CASES)
def test_every_reply_of_an_openai_server_has_its_status(body, status, reason):
    """The same list for servers of one's own, with what vLLM has been seen to send."""
    found = verdict_of("openai_compatible", body)
    assert (found.status, found.finish_reason) == (status, reason)
    assert (found.label is not None) == (status == "answered")


def test_words_outside_the_schema_are_kept():
    """So that a human can see what went wrong."""
    assert verdict_of("gemini", gemini("The part is OK.")).reasoning == "The part is OK."


def test_openai_thinking_is_taken_out_of_the_completion():
    """completion_tokens includes it; the table has the two apart."""
    found = verdict_of("openai_compatible", openai(json.dumps(GOOD)))
    assert (found.tokens_in, found.tokens_out, found.tokens_thinking) == (700, 40, 50)


def test_token_count_of_another_type_loses_the_counts_not_the_answer():
    """A paid answer is not lost to an odd field beside it."""
    usage = {"promptTokenCount": "abc", "candidatesTokenCount": 4}
    found = verdict_of("gemini", gemini(json.dumps(GOOD), usageMetadata=usage))
    assert (found.label, found.tokens_in, found.tokens_out) == ("NOK", None, None)
    assert verdict_of("gemini", gemini(json.dumps(GOOD), usageMetadata=7)).label == "NOK"


def test_counts_of_zero_are_left_out_by_the_service():
    found = verdict_of("gemini", gemini(json.dumps(GOOD), usageMetadata={"promptTokenCount": 5}))
    assert (found.tokens_out, found.tokens_thinking, found.tokens_cached) == (0, 0, 0)


def test_notice_of_retirement_is_kept():
    status = {"modelStage": "DEPRECATED", "retirementTime": "2026-12-01T00:00:00Z"}
    found = verdict_of("gemini", gemini(json.dumps(GOOD), modelStatus=status))
    assert json.loads(found.model_notice) == status


@pytest.mark.parametrize(
    ("returned", "accepted", "same"),
    [
        ("gemini-2.5-pro", (), True),
        ("models/gemini-2.5-pro", (), True),
        ("publishers/google/models/gemini-2.5-pro", (), True),
        (None, (), True),
        ("gemini-3.8-flash", (), False),
        ("gemini-2.5-pro-preview", (), False),
        ("gemini-2.5-pro-002", (), False),
        ("gemini-2.5-pro-002", ("gemini-2.5-pro-002",), True),
    ],
)
def test_only_the_requested_or_an_accepted_model_counts(returned, accepted, same):
    """A retired model is answered by its successor, under the old name in the request."""
    assert is_same_model("gemini-2.5-pro", returned, accepted=accepted) is same


def test_text_beside_the_object_is_not_read_over():
    """Which of two objects is meant would be a guess."""
    assert read_object('Sure: {"a": 1}') is None
    assert read_object('{"a": 1} {"a": 2}') is None
    assert read_object('  {"a": {"b": 1}}\n') == {"a": {"b": 1}}


ANSWER = json.dumps(GOOD)


@pytest.mark.parametrize(
    "text",
    [
        f"<think>Is it OK? {{no}} </think>\n{ANSWER}",
        f"It is bent {{here}}.</think>{ANSWER}",
        f"<thinking>a</thinking><thinking>b</thinking>\n```json\n{ANSWER}\n```",
        f"[THINK]OK[/THINK]{ANSWER}",
        f"<think>x</think><answer>{ANSWER}</answer>",
        f"<|begin_of_box|>{ANSWER}<|end_of_box|>",
        f"```json {ANSWER} ```",
        f"```\n{ANSWER}\n```",
        f"The plug is bent, so I say NOK.\n\n```json\n{ANSWER}\n```",
        f"The plug is bent. {ANSWER}",
        "\ufeff" + ANSWER,
        ANSWER.replace("A scratch.", "A\nscratch\t."),
        ANSWER.replace('"label"', '"score": 87, "label"'),
    ],
)
def test_answer_in_an_unambiguous_frame_is_read(text):
    """Thoughts before it, raw line breaks, fences: what it says is certain."""
    found = verdict_of("openai_compatible", openai(text))
    assert (found.status, found.label, found.score) == ("answered", "NOK", 0.87)


@pytest.mark.parametrize(
    "text",
    [
        f"<think>First draft: {ANSWER}",
        f"<think>a</think> <think>draft {ANSWER}",
        f"{ANSWER} But on second thought it is OK.",
        f"Either {ANSWER} or {ANSWER}",
        f"I see {{a scratch}}. {ANSWER}",
        'Here: {"label": "OK", "score": 3}',
        ANSWER.replace('"label"', '"label": "OK", "label"'),
        ANSWER.replace('"score": 87', '"score": 87, "score": 3'),
    ],
)
def test_answer_that_could_be_another_is_not_read(text):
    """Which object, or which of two labels, would be a guess."""
    found = verdict_of("openai_compatible", openai(text))
    assert (found.status, found.label, found.reasoning) == ("not_in_schema", None, text)


def test_draft_among_the_thoughts_is_no_answer():
    """A server that put all of the reply there is another matter."""
    body = openai("", message={"reasoning_content": f"Perhaps {ANSWER}"})
    assert verdict_of("openai_compatible", body).status == "not_in_schema"


@pytest.mark.parametrize(
    ("score", "label", "share"),
    [
        (87, "NOK", 0.87),
        (87.5, "NOK", 0.875),
        (0, "OK", 0.0),
        (100, "NOK", 1.0),
        (1, "OK", 0.01),
        (1, "NOK", None),
        ("87", "NOK", 0.87),
        ("87%", "NOK", 0.87),
        ("0.5 %", "OK", 0.005),
        ("100%", "NOK", 1.0),
        ("101%", "NOK", None),
        ("8/10", "NOK", 0.8),
        ("4 out of 5", "NOK", 0.8),
        ("87/100", "NOK", 0.87),
        ("11/10", "NOK", None),
        ("8/9", "NOK", None),
        (0.87, "NOK", 0.87),
        (0.05, "OK", 0.05),
        (0.87, "OK", None),
        (0.05, "NOK", None),
        (0.5, "NOK", None),
        ("0.87", "NOK", 0.87),
        (101, "NOK", None),
        (-1, "OK", None),
        (float("nan"), "OK", None),
        (float("inf"), "NOK", None),
        (True, "NOK", None),
        (None, "NOK", None),
        ("high", "NOK", None),
        ("", "OK", None),
        ("9" * 5000, "NOK", None),
        ([87], "NOK", None),
    ],
)
def test_score_counts_only_if_its_scale_is_certain(score, label, share):
    """A share of one or a percentage beside the integer that was asked for."""
    assert share_of(score, label) == (None if share is None else pytest.approx(share))


@pytest.mark.parametrize(
    ("service", "body", "is_one"),
    [
        ("openai_compatible", openai("OK"), True),
        ("openai_compatible", openai("OK", error=None), True),
        ("openai_compatible", '{"choices": []}', True),
        ("openai_compatible", '{"choices": [{"mess', True),
        ("openai_compatible", gemini("OK"), False),
        ("openai_compatible", '{"error": "Unexpected endpoint"}', False),
        ("openai_compatible", openai("OK", error={"message": "upstream"}), False),
        ("openai_compatible", '{"choices": [{"error": {"code": 502}}]}', False),
        ("openai_compatible", '{"model": "m", "message": {"content": "x"}}', False),
        ("openai_compatible", '{"object": "error", "message": "no such model"}', False),
        ("openai_compatible", "data: {}", False),
        ("gemini", gemini("OK"), True),
        ("gemini", '{"usageMetadata": {}}', True),
        ("gemini", '{"promptFeedback": {"blockReason": "SAFETY"}}', True),
        ("gemini", openai("OK"), False),
        ("vertex", '[{"error": {"code": 404}}]', False),
        *((s, b, False) for s in ("gemini", "openai_compatible") for b in ("", "{}", "null")),
        *((s, "<html>log in</html>", False) for s in ("vertex", "openai_compatible")),
        ("gemini", "[" * 100_000, False),
    ],
)
def test_what_is_no_completion_is_told_from_a_damaged_one(service, body, is_one):
    """Only the damaged one was paid for as an answer."""
    assert service_of(service).is_answer(body) is is_one


def test_texts_of_a_reply_can_be_written_to_any_file():
    """Half an emoji, as JSON can hold it, stops SQLite and Parquet."""
    words = '{"reasoning": "a \\ud83d scratch \\ud83d\\ude00", "label": "NOK", "score": 87}'
    found = verdict_of("gemini", gemini(words, modelVersion="m\udcff"))
    assert found.status == "answered"
    assert found.reasoning == "a \ufffd scratch \U0001f600"
    assert found.model_returned == "m\ufffd"
    assert verdict_of("gemini", gemini(None, "A_\ud83d")).finish_reason == "A_\ufffd"


def test_numbers_of_thousands_of_digits_are_read():
    """Python refuses to convert them, with an exception of another kind than for bad JSON."""
    body = gemini('{"reasoning": "x", "label": "OK", "score": ' + "9" * 5000 + "}")
    assert verdict_of("gemini", body).status == "not_in_schema"
    usage = '"promptTokenCount": ' + "9" * 5000
    body = gemini(ANSWER).replace('"promptTokenCount": 620', usage)
    assert usage in body
    found = verdict_of("gemini", body)
    assert (found.status, found.tokens_in) == ("answered", None)


def test_two_choices_under_one_name_are_unreadable():
    body = openai(ANSWER)[:-1] + ', "choices": []}'
    assert verdict_of("openai_compatible", body).status == "unreadable"


NAMES = st.sampled_from(
    [
        "candidates",
        "content",
        "parts",
        "text",
        "thought",
        "finishReason",
        "promptFeedback",
        "blockReason",
        "usageMetadata",
        "promptTokenCount",
        "promptTokensDetails",
        "modality",
        "tokenCount",
        "modelVersion",
        "modelStatus",
        "choices",
        "message",
        "finish_reason",
        "refusal",
        "reasoning_content",
        "usage",
        "completion_tokens_details",
        "model",
    ]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["STOP", "stop"])
TEXTS = st.sampled_from([json.dumps(GOOD), "{", "```", ""]) | st.text(max_size=5)
BODIES = st.recursive(
    LEAVES | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=25,
)


@given(BODIES)
@settings(max_examples=300)
def test_no_reply_whatsoever_raises(body):
    """A reply is stored and paid for; reading it must always end in a status."""
    for service in ("gemini", "openai_compatible"):
        found = verdict_of(service, json.dumps(body))
        assert found.status in VERDICT_STATUSES
        assert (found.label is None) == (found.status != "answered")
