"""Money: no run passes its limit by more than what one question cost beyond its own limits."""

import asyncio
import importlib
import json
import threading

import numpy as np
import pytest

from realitycheck.lvlm.backends.base import Reply
from realitycheck.lvlm.backends.gemini import GeminiBackend
from realitycheck.lvlm.budget import LONGEST_ANSWER, SURPRISE, Pot, Stake, stake_of
from realitycheck.lvlm.ledger import Ledger
from realitycheck.lvlm.limiter import RateLimits
from realitycheck.lvlm.pricing import highest_tokens_in, tokens_in
from realitycheck.lvlm.run import RunStoppedError
from realitycheck.lvlm.runner import ask

STAKE = Stake(0.1, 1.0)


@pytest.fixture
def money(repository, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    return importlib.import_module("money")


def test_first_question_goes_alone():
    """Until it is answered nobody knows what an answer costs, whatever the limit."""
    held = [Pot().hold(STAKE)]
    assert Pot().decide(STAKE, 1000.0) == "granted"
    assert Pot(held=held).decide(STAKE, 1000.0) == "wait"
    assert Pot(0.02, held, n_seen=1).decide(STAKE, 1000.0) == "wait"
    assert Pot(0.02, held, n_seen=2).decide(STAKE, 1000.0) == "granted"


def test_several_at_once_need_room_for_all_surprises_but_one():
    """Ceilings are 16 times 0.1 USD: two need 1.6 and the reserve of 0.1."""
    assert SURPRISE * STAKE.limit_usd == pytest.approx(1.6)
    pot = Pot(5.0, [Pot().hold(STAKE)], n_seen=100)
    assert pot.decide(STAKE, 6.71) == "granted"
    assert pot.decide(STAKE, 6.69) == "wait"
    assert Pot(5.0, n_seen=100).decide(STAKE, 5.11) == "granted"
    assert Pot(5.0, n_seen=100).decide(STAKE, 5.09) == "over_budget"


def test_reserve_follows_the_highest_cost_so_far():
    """One answer cost three times its own limit: so may the next."""
    pot = Pot(n_seen=10, highest_ratio=3.0)
    assert pot.hold(STAKE) == pytest.approx((0.3, 4.8))
    assert pot.decide(STAKE, 0.29) == "over_budget"


def test_own_limit_counts_every_byte_of_a_text(make_questions, prices):
    """In some scripts a tokenizer needs more than one token for a letter."""
    latin, thai = (make_questions(1, text=text)[0] for text in ("a" * 300, "ก" * 300))
    assert highest_tokens_in(thai) - highest_tokens_in(latin) == 600
    assert tokens_in(thai) - tokens_in(latin) == 150
    # 900 bytes at 1.25 USD per million more than the same question without them.
    plain = make_questions(1, text="ก")[0]
    more = stake_of(thai, prices).limit_usd - stake_of(plain, prices).limit_usd
    assert more == pytest.approx(897 * 1.25e-6)


@pytest.mark.parametrize("kind", range(8))
def test_no_simulated_run_passes_the_stated_bound(money, tmp_path, kind):
    """Heavy tails, sudden growth, several runs at once; `benchmarks/money.py` draws more."""
    name = list(money.KINDS)[kind]
    found = money.outcomes(name, n=3, seed=1, folder=tmp_path)
    assert len(money.KINDS) == 8
    assert not [outcome for outcome in found if outcome.passes_bound]


class FakeService(GeminiBackend):
    """Answers soon, with tokens in and out of its own choice."""

    def __init__(self, usage, *, wait_s=0.002):
        super().__init__({"base_url": "http://127.0.0.1:1", "on_site": True}, api_key="x" * 20)
        self.wait_s = wait_s
        self.usage = usage
        self.costs = []
        self.most_at_once = self.n_now = 0

    async def open(self):
        return

    async def close(self):
        return

    async def send(self, question, *, timeout_s):
        self.n_now += 1
        self.most_at_once = max(self.most_at_once, self.n_now)
        went_in, came_out = self.usage(question, len(self.costs))
        self.costs.append(went_in * 1.25e-6 + came_out * 10e-6)
        await asyncio.sleep(self.wait_s)
        self.n_now -= 1
        answer = json.dumps({"reasoning": "", "label": "OK", "score": 1})
        body = {
            "candidates": [{"content": {"parts": [{"text": answer}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": went_in, "candidatesTokenCount": came_out},
            "modelVersion": question.model,
        }
        return Reply(200, json.dumps(body))


def put(backend, questions, folder, prices, **settings):
    return ask(
        questions,
        folder / "ledger.sqlite",
        backend=backend,
        dataset="d",
        method="m",
        prompt="p",
        prices=prices,
        rate_limits=RateLimits(in_flight=16, requests_per_minute=None),
        rng=np.random.default_rng(0),
        **settings,
    )


TROUBLES = {
    "images take ten times the tokens": lambda q, i: (10 * tokens_in(q), 900),
    "a token for every byte": lambda q, i: (highest_tokens_in(q), 900),
    "thinking up to the limit": lambda q, i: (tokens_in(q), q.parameters["max_output_tokens"]),
    "the limit ignored": lambda q, i: (tokens_in(q), 30_000),
    "the limit ignored after a while": lambda q, i: (tokens_in(q), 100 if i < 9 else 60_000),
    "the limit ignored now and then": lambda q, i: (tokens_in(q), 60_000 if i % 7 == 6 else 90),
    "everything at once": lambda q, i: (50 * tokens_in(q), LONGEST_ANSWER if i % 3 else 5),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_limit_is_kept_with_sixteen_workers(make_questions, tmp_path, prices, trouble):
    """But for what a single question cost beyond its own limits."""
    questions = make_questions(30, parameters={"max_output_tokens": 2048}, text="ข" * 200)
    backend = FakeService(TROUBLES[trouble])
    with pytest.raises(RunStoppedError) as caught:
        put(backend, questions, tmp_path, prices, max_cost_usd=0.55)
        raise RunStoppedError("over_budget", "all were asked")
    assert caught.value.reason == "over_budget"
    own = stake_of(questions[0], prices).limit_usd
    assert sum(backend.costs) <= 0.55 + max(0.0, max(backend.costs) - own) + 1e-9
    with Ledger(tmp_path / "ledger.sqlite", read_only=True) as ledger:
        assert ledger.spent_usd("m") == pytest.approx(sum(backend.costs))


def test_many_go_at_once_where_the_limit_is_far(make_questions, tmp_path, prices):
    """Safety costs no time where there is no danger."""
    backend = FakeService(lambda q, i: (600, 100), wait_s=0.4)
    put(backend, make_questions(40), tmp_path, prices, max_cost_usd=50.0)
    assert backend.most_at_once >= 8


def test_two_runs_at_once_do_not_both_spend_the_rest(make_questions, tmp_path, prices):
    """One ledger, one pot, two prompts; each is expected to cost a third of the limit."""
    backend = FakeService(lambda q, i: (600, 7000))
    stops = []

    def work(text):
        try:
            put(backend, make_questions(20, text=text), tmp_path, prices, max_cost_usd=0.9)
        except RunStoppedError as error:
            stops.append(error.reason)

    threads = [threading.Thread(target=work, args=(text,)) for text in ("Is it?", "Is it not?")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stops == ["over_budget"] * 2
    # 0.07075 USD an answer; the limit of each is 0.0835.
    assert sum(backend.costs) <= 0.9
    assert len(backend.costs) == 12


def test_what_a_dead_process_had_set_aside_stays_spent_and_holds_up_nobody(tmp_path):
    """Else a run would wait for ever for money that nobody gives back."""
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        known = {"run": "r", "run_began": 0, "budget": "b", "model": "m", "stake": STAKE}
        ledger.claim("dead", "{}", **known)
        assert ledger.claim("k", "{}", max_cost_usd=9.0, **known).kind == "wait"
        place, pid, start = ledger.rows("select owner from attempt")[0][0].rsplit("|", 2)
        gone = f"{place}|{pid}|{int(start) + 1}"
        ledger._write(lambda db: db.execute("update attempt set owner=?", [gone]))
        assert ledger.claim("k", "{}", max_cost_usd=9.0, **known).kind == "granted"
        assert ledger.spent_usd("b") == pytest.approx(0.2)


def test_answer_without_a_count_keeps_its_reserve(tmp_path):
    """What cannot be known is not taken for nothing, and tells nothing of the next."""
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        known = {"run": "r", "run_began": 0, "budget": "b", "model": "m", "stake": STAKE}
        claim = ledger.claim("k", "{}", **known)
        ledger.finish(claim.attempt_id, outcome="answered", state="answered", body="{}")
        ledger.settle(claim.attempt_id, None)
        assert ledger.spent_usd("b", in_flight=False) == pytest.approx(0.1)
        assert not ledger.rows("select * from usage")
