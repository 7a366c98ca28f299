"""What is no answer is not kept as one; one image that is turned away does not stop the others."""

import json
import sqlite3

import pytest

from realitycheck.lvlm.backends.replay import ReplayBackend
from realitycheck.lvlm.ledger import Ledger
from realitycheck.lvlm.run import MAX_REFUSED, RunStoppedError
from realitycheck.lvlm.runner import estimate

SERVICES = ("gemini", "openai_compatible")


@pytest.fixture
def serve(servers):
    """A server of the protocol of a service, and the helpers of its module."""

    def make(service="gemini", plan=None):
        if service == "openai_compatible":
            return servers.openai.OpenAIServer(plan), servers.openai
        return servers.gemini.GeminiServer(plan), servers.gemini

    return make


FOREIGN = [
    ('{"error": "Unexpected endpoint or method. (POST /x)"}', "Unexpected endpoint or method"),
    ('{"error": {"message": "model is not loaded", "type": "x"}}', "model is not loaded"),
    ('{"error": {"message": "no key", "code": 401}}', "no key"),
    ("<html><title>Sign in</title><p>to go on</p></html>", "Sign in to go on"),
    ('{"object": "error", "message": "no such model"}', "no such model"),
    ('{"message": {"content": "{}"}, "done": true}', "done"),
    ("Service temporarily offline", "temporarily offline"),
    ('data: {"x": 1}', "data:"),
]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(("body", "words"), FOREIGN)
def test_reply_that_is_no_answer_stops_the_run_and_is_not_kept(
    service, body, words, serve, servers, put, make_questions, prices, tmp_path
):
    """With the service's words; once it is mended, every question is asked."""
    server, _ = serve(service, {2: servers.Served(body=body)})
    questions = make_questions(4, service=service)
    with server:
        with pytest.raises(RunStoppedError) as caught:
            put(questions, server.url)
        assert caught.value.reason in ("foreign_reply", "refused")
        assert words in str(caught.value)
        assert len(server.paid) == 2
        assert estimate(questions, tmp_path / "ledger.sqlite", prices=prices).n_to_ask == 3
        rows, _ = put(questions, server.url)
    assert rows["status"].tolist() == ["answered"] * 4
    assert len(server.paid) == 5


@pytest.mark.parametrize("service", SERVICES)
def test_what_was_kept_without_being_an_answer_is_asked_again(
    service, serve, put, make_questions, prices, tmp_path
):
    """As ledgers of earlier versions hold it; a replay says that there is no answer."""
    server, _ = serve(service)
    questions = make_questions(3, service=service)
    path = tmp_path / "ledger.sqlite"
    with server:
        put(questions, server.url)
        with sqlite3.connect(path) as db:
            db.execute(
                "update attempt set body=?, digest=null where key=?",
                ['{"error": "Unexpected endpoint"}', questions[1].key],
            )
        replayed, _ = put(questions, "", backend=ReplayBackend(service))
        assert replayed["status"].tolist() == ["answered", "not_asked", "answered"]
        assert estimate(questions, path, prices=prices).n_to_ask == 1
        rows, cost = put(questions, server.url)
    assert rows["status"].tolist() == ["answered"] * 3
    assert cost.n_requests == {"answered": 1}
    with Ledger(path, read_only=True) as ledger:
        assert ledger.n_attempts() == {"answered": 3, "refused": 1}


@pytest.mark.parametrize("body", ["", "{}", "null"])
def test_reply_of_nothing_is_asked_for_once_more(body, serve, servers, put, make_questions):
    """It may have been paid for, and is nothing to keep."""
    empty = servers.Served(body=body)
    server, _ = serve(plan={2: empty})
    with server:
        rows, cost = put(make_questions(3), server.url)
    assert rows["status"].tolist() == ["answered"] * 3
    assert cost.n_requests == {"answered": 3, "unknown": 1}
    server, _ = serve(plan=lambda _: empty)
    with server, pytest.raises(RunStoppedError, match="the reply is empty"):
        put(make_questions(9, first=100), server.url)


def test_error_that_gives_its_own_status_is_taken_for_one(serve, servers, put, make_questions):
    """Gateways pass on what others answered, with a status of their own."""
    busy = servers.Served(body='{"error": {"code": 503, "message": "overloaded"}}')
    slow = servers.Served(body='{"error": {"code": "429", "message": "slow down"}}')
    server, _ = serve("openai_compatible", {1: busy, 3: slow})
    with server:
        rows, cost = put(make_questions(3, service="openai_compatible"), server.url)
    assert rows["status"].tolist() == ["answered"] * 3
    assert cost.n_requests == {"answered": 3, "throttled": 1, "unavailable": 1}


# ------------------------------------------------------------------------------ images turned away


def turns_away(protocol, questions, *, status=400):
    """A plan that refuses the images of some questions."""
    bad = [question.encoded() for question in questions]
    return lambda arrival: (
        protocol.failure(status, message="absolute aspect ratio must be smaller than 200")
        if protocol.parts_of(arrival) in bad
        else None
    )


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_image_that_is_turned_away_has_a_status(
    service, status, serve, put, make_questions, prices, tmp_path
):
    """The others are answered, in every run; the quote says that it is still to be asked."""
    questions = make_questions(6, service=service)
    server, protocol = serve(service)
    server.plan = turns_away(protocol, questions[:2], status=status)
    with server:
        for n_sent in (6, 8):
            rows, _ = put(questions, server.url)
            assert rows["status"].tolist() == ["failed"] * 2 + ["answered"] * 4
            assert len(server.paid) == n_sent
        assert "aspect ratio" in rows["finish_reason"][0]
        found = estimate(questions, tmp_path / "ledger.sqlite", prices=prices)
        assert (found.n_answered, found.n_to_ask) == (4, 2)
        server.plan = {}
        rows, _ = put(questions, server.url)
    assert rows["status"].tolist() == ["answered"] * 6


def test_many_images_that_are_turned_away_do_not_stop_the_others(serve, put, make_questions):
    """Neighbours are alike: the first half of the data set is refused, with many in flight."""
    questions = make_questions(24)
    server, protocol = serve()
    server.plan = turns_away(protocol, questions[:12])
    with server:
        rows, _ = put(questions, server.url, rate_limits={"in_flight": 8})
    assert rows["status"].tolist() == ["failed"] * 12 + ["answered"] * 12


def test_known_answers_are_no_reason_to_stop_at_images_refused_before(serve, put, make_questions):
    """A second run asks only what was refused, and is refused; that is a table all the same."""
    questions = make_questions(12)
    server, protocol = serve()
    server.plan = turns_away(protocol, questions[2:])
    with server:
        for _ in range(2):
            rows, _ = put(questions, server.url)
            assert rows["status"].tolist() == ["answered"] * 2 + ["failed"] * 10


@pytest.mark.parametrize("n", [2, 60])
def test_refusal_of_everything_stops_early(n, serve, put, make_questions):
    """A parameter that is wrong is no matter of one image."""
    server, protocol = serve()
    server.plan = lambda _: protocol.failure(400, message="max_output_tokens must be at most 4096")
    with server:
        with pytest.raises(RunStoppedError, match=r"parameters\.max_output_tokens") as caught:
            put(make_questions(n), server.url)
        assert len(server.paid) == min(n, MAX_REFUSED)
        assert (caught.value.reason, caught.value.exit_code) == ("refused", 4)
        server.plan = {}
        rows, _ = put(make_questions(n), server.url)
    assert rows["status"].tolist() == ["answered"] * n


def test_new_images_are_refused_early_even_beside_known_answers(serve, put, make_questions):
    """The server may run with other settings since."""
    server, protocol = serve()
    with server:
        put(make_questions(3), server.url)
        server.plan = lambda _: protocol.failure(400, message="no")
        with pytest.raises(RunStoppedError, match="turned the request"):
            put(make_questions(50), server.url)
    assert len(server.paid) == 3 + MAX_REFUSED


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("At most 1 image(s) may be provided in one request.", "set reference: false"),
        ("This model's maximum context length is 4096 tokens", "set a smaller max_side_px"),
        ("max_tokens is too large: 8192", "set parameters.max_output_tokens"),
        ("model does not support image input", "name one that does under model"),
        ("API key not valid", "check the key (key_env or key_file)"),
        ("temperature must be at most 1", "under parameters"),
        ("bad request", "max_side_px"),
    ],
)
def test_hint_names_the_setting_to_change(message, hint, serve, put, make_questions):
    server, protocol = serve("openai_compatible")
    server.plan = lambda _: protocol.failure(400, message)
    with server, pytest.raises(RunStoppedError) as caught:
        put(make_questions(9, service="openai_compatible"), server.url)
    assert hint in str(caught.value)


# ---------------------------------------------------------------------------- hostile replies


def test_odd_replies_are_statuses_and_rows(serve, servers, put, make_questions, tmp_path):
    """Each would end the run with an exception of some library; the rows can be written."""
    from realitycheck.core.schemas import VERDICTS
    from realitycheck.core.tables import write_table

    good = json.dumps({"reasoning": "x", "label": "OK", "score": 3})
    huge = "x" * 20_000_000
    wishes = [
        (good.replace("3", "9" * 5000), "not_in_schema"),
        (good.replace("3", "NaN"), "not_in_schema"),
        (good.replace('"x"', '"\\ud83d"'), "answered"),
        ("[" * 100_000, "not_in_schema"),
    ]
    server, protocol = serve("openai_compatible")
    plan = [protocol.completion(text) for text, _ in wishes]
    whole = json.dumps(protocol.completion(good))
    odd = {"Content-Type": "text/html; charset=base64"}
    latin = whole.replace("x", "\u00e9").encode("latin-1")
    further = [
        (servers.Served(body=whole.encode() + b" \xff\xfe"), "unreadable"),
        (servers.Served(body=json.dumps(protocol.completion(huge))), "failed"),
        (servers.Served(body=latin), "answered"),
        (servers.Served(413, {"error": {"message": "\ud83d"}}), "failed"),
        (servers.Served(body=whole, headers=odd), "answered"),
        (servers.Served(400, '{"error": ' + "9" * 5000 + "}"), "failed"),
        (servers.Served(body=whole[:90]), "unreadable"),
        (servers.Served(body=whole, headers={"Content-Encoding": "gzip"}), "failed"),
        (servers.Served(body=whole, headers={"Content-Encoding": "zstd"}), "failed"),
    ]
    plan += [wish for wish, _ in further]
    server.plan = dict(enumerate(plan, start=1))
    questions = make_questions(len(plan), service="openai_compatible")
    with server:
        rows, _ = put(questions, server.url, rate_limits={"max_unknown": 0, "in_flight": 1})
    assert rows["status"].tolist() == [status for _, status in wishes + further]
    write_table(rows, tmp_path / "labels.parquet", schema=VERDICTS, facts={})


def test_no_damaged_reply_is_more_than_a_status(repository, tmp_path, monkeypatch):
    """The short form of `benchmarks/fuzz.py replies`."""
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    import _fuzz_replies

    assert _fuzz_replies.run(40, 1, tmp_path) == 0
