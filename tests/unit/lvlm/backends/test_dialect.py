"""A model that does not take all of the protocol is asked without what it complains of."""

import json
import logging

import pytest

from realitycheck.lvlm.backends.dialect import Dialect
from realitycheck.lvlm.backends.parameters import COMMON
from realitycheck.lvlm.backends.replay import ReplayBackend
from realitycheck.lvlm.run import RunStoppedError

SENT = ("temperature", "top_p", "seed", "limit", "form", "system")
WORDS = {name: known.words for name, known in COMMON.items() if known.words}


@pytest.mark.parametrize(
    ("complaint", "said"),
    [
        ("Unsupported parameter: 'max_tokens'", "max_completion_tokens"),
        ("max_tokens: use max_completion_tokens instead", "max_completion_tokens"),
        ("'temperature' does not support 0 with this model. Only the default (1) value is "
         "supported.", "without temperature"),
        ("Unrecognized request argument supplied: seed", "without seed"),
        ("body.top_p: Extra inputs are not permitted", "without top_p"),
        ("This response_format type is unavailable now", "answer's form: json_object"),
        ("'response_format.type' must be 'text'", "answer's form: json_object"),
        ("System role not supported", "system text in the question"),
        ("Developer instruction is not enabled for models/x", "system text in the question"),
        ("JSON mode is not enabled for models/x", "answer's form: json_object"),
    ],
)  # fmt: skip
def test_complaint_names_what_is_left_out(complaint, said):
    assert str(Dialect().after(complaint, sent=SENT, words=WORDS)) == said


@pytest.mark.parametrize(
    "complaint",
    [
        "absolute aspect ratio must be smaller than 200, got 250.0",
        "max_tokens must be at most 4096",
        "temperature must be between 0 and 2",
        "At most 1 image(s) may be provided in one request.",
        "unknown image format",
        "the model `x` does not exist",
        "thinking_budget is not supported",
        "",
    ],
)
def test_other_complaints_change_nothing(complaint):
    assert Dialect().after(complaint, sent=SENT, words=WORDS) is None


def test_every_complaint_comes_to_an_end():
    """Whatever a server goes on complaining of."""
    dialect, n = Dialect(), 0
    words = "response_format max_tokens temperature top_p seed system prompt: all unsupported"
    while (
        dialect := dialect.after(words, sent=set(SENT) - set(dialect.left_out), words=WORDS)
    ) and n < 20:
        n, last = n + 1, dialect
        if last.form == "none":
            words = words.replace("response_format", "")
        if last.limit != "max_tokens":
            words = words.replace("max_tokens", "")
        if not last.has_system:
            words = words.replace("system prompt", "")
    assert n == 7
    assert (last.form, last.has_system) == ("none", False)


def strict(servers, *, forms=("json_schema", "json_object", None), limit="max_tokens", without=()):
    """A server that turns away what it does not know, and the plan of its replies."""
    failure = servers.openai.failure

    def plan(arrival):
        body = arrival.json
        if limit not in body:
            return failure(400, f"Unsupported parameter; use '{limit}' instead of max_tokens")
        for name in without:
            if name in body:
                return failure(400, f"Unsupported value: '{name}' is not supported")
        if body.get("response_format", {}).get("type") not in forms:
            return failure(422, "response_format: unavailable")
        return None

    return plan


@pytest.mark.parametrize("in_flight", [1, 4])
def test_model_is_asked_without_what_it_does_not_take(
    in_flight, servers, put, make_questions, caplog
):
    """Said in the log, in the cost and beside each reply; the keys stay the same."""
    plan = strict(
        servers, forms=(None,), limit="max_completion_tokens", without=("temperature", "seed")
    )
    questions = make_questions(
        6, service="openai_compatible", parameters={"temperature": 0, "seed": 3, "top_p": 0.5}
    )
    with servers.openai.OpenAIServer(plan) as server, caplog.at_level(logging.WARNING):
        rows, cost = put(questions, server.url, rate_limits={"in_flight": in_flight})
        last = server.paid[-1].json
    assert rows["status"].tolist() == ["answered"] * 6
    assert cost.n_requests["answered"] == 6
    assert 5 <= cost.n_requests["refused"] <= 5 * in_flight
    assert (last["max_completion_tokens"], last["top_p"]) == (8192, 0.5)
    assert not {"max_tokens", "temperature", "seed", "response_format"} & set(last)
    assert '"label"' in last["messages"][-1]["content"][-1]["text"]
    said = "answer's form: none, max_completion_tokens, without seed, without temperature"
    assert said in caplog.text
    assert [said in client for client in cost.clients] == [True]
    with servers.openai.OpenAIServer() as server:  # nothing is asked, let alone paid, again
        again, _ = put(questions, server.url)
    assert not server.paid
    assert again.equals(rows)


def test_what_extra_body_names_is_sent_as_it_says(servers, put, make_questions):
    extra = {"response_format": {"type": "json_object"}, "max_completion_tokens": 99}
    with servers.openai.OpenAIServer() as server:
        put(
            make_questions(1, service="openai_compatible", parameters={"extra_body": extra}),
            server.url,
        )
    body = server.paid[0].json
    assert (body["response_format"], body["max_completion_tokens"]) == tuple(extra.values())
    assert "max_tokens" not in body


def test_what_extra_body_names_is_not_left_out_in_silence(servers, put, make_questions):
    """Whoever wrote it there wants it; the message says where it stands."""
    extra = {"response_format": {"type": "json_schema", "json_schema": {"name": "own"}}}
    questions = make_questions(1, service="openai_compatible", parameters={"extra_body": extra})
    server = servers.openai.OpenAIServer(strict(servers, forms=(None,)))
    with server, pytest.raises(RunStoppedError, match="extra_body"):
        put(questions, server.url)
    assert len(server.paid) == 1


def test_gemini_is_asked_without_what_it_does_not_take(servers, put, make_questions):
    """Gemma models of the same service know neither JSON mode nor a system text."""
    failure = servers.gemini.failure

    def plan(arrival):
        body = arrival.json
        if "systemInstruction" in body:
            return failure(400, message="Developer instruction is not enabled for models/x")
        if "responseMimeType" in body["generationConfig"]:
            return failure(400, message="JSON mode is not enabled for models/x")
        if "thinkingConfig" in body["generationConfig"]:
            return failure(400, message="Thinking is not supported by this model.")
        return None

    questions = make_questions(2, parameters={"thinking_budget": 512, "temperature": 0})
    with servers.gemini.GeminiServer(plan) as server:
        rows, cost = put(questions, server.url)
    assert rows["status"].tolist() == ["answered"] * 2
    parts = server.paid[-1].json["contents"][0]["parts"]
    assert parts[0]["text"].startswith("You are a visual quality inspector")
    assert json.dumps("label")[1:-1] in parts[-1]["text"]
    assert server.paid[-1].json["generationConfig"]["temperature"] == 0
    assert "without thinking_budget" in cost.clients[0]
    replayed, _ = put(questions, "", backend=ReplayBackend("gemini"))
    assert replayed.equals(rows)
