"""Money: prices, costs and estimates, against sums done by hand."""

import math
from datetime import date

import pytest
import yaml

from realitycheck.lvlm.backends.registry import service_of
from realitycheck.lvlm.pricing import (
    estimate_of,
    highest_cost_usd,
    read_prices,
    tokens_in,
    tokens_out,
)
from realitycheck.lvlm.questions import Picture, Question
from realitycheck.lvlm.verdict import Verdict
from realitycheck.methods.lvlm.settings import LvlmMethod


def question(width=1024, height=1024, *, service="gemini", model="gemini-2.5-pro", text="", **more):
    pictures = tuple(Picture(f"{i}", width, height, None) for i in range(2))
    parameters = {"max_output_tokens": 4096, "thinking_budget": 1000, **more}
    return Question("a", 0, service, model, "", parameters, text, pictures, {})


def test_cost_counts_cached_tokens_at_their_rate(prices):
    """(1000 - 400) 1.25 + 400 0.125 + (50 + 950) 10 = 750 + 50 + 10,000 USD per million."""
    verdict = Verdict(
        "answered", tokens_in=1000, tokens_cached=400, tokens_out=50, tokens_thinking=950
    )
    assert prices.cost_usd("gemini-2.5-pro", verdict) == pytest.approx(0.0108, abs=1e-12)


def test_large_requests_have_the_higher_rate(prices):
    """Up to and with 200,000 tokens the lower one."""
    at, above = (
        prices.price("gemini-2.5-pro", tokens_in=n, tokens_out=0) for n in (200_000, 200_001)
    )
    assert at == pytest.approx(0.25)
    assert above == pytest.approx(0.5000025)


def test_example_of_the_price_page(prices):
    """Two images of 1024 x 1024, 600 tokens of text, 1,150 tokens out: 0.0148 USD."""
    asked = question(text="x" * 2400, thinking_budget=1000)
    assert tokens_in(asked) == 600 + 2 * 1032
    assert tokens_out(asked) == 1150
    cost = prices.price("gemini-2.5-pro", tokens_in=2664, tokens_out=1150)
    assert cost == pytest.approx(0.01483)
    # At most every byte is a token: 2,400 of text and the schema's 2, and all 4,096 out.
    assert highest_cost_usd(asked, prices) == pytest.approx(0.0465425)


@pytest.mark.parametrize(
    ("width", "height", "settings", "tokens"),
    [
        (384, 384, {}, 258),
        (385, 384, {}, 4 * 258),
        (960, 540, {}, 6 * 258),
        (1024, 1024, {"media_resolution": "MEDIUM"}, 256),
        (1024, 1024, {"media_resolution": "LOW"}, 64),
        (1024, 1024, {"model": "gemini-3.8-flash"}, 1120),
        (1024, 1024, {"model": "gemini-3.8-flash", "media_resolution": "LOW"}, 280),
        (56, 57, {"service": "openai_compatible", "model": "qwen"}, 6),
        (400, 1, {}, 400 * 258),
    ],
)
def test_image_tokens_follow_the_documented_rules(width, height, settings, tokens):
    asked = question(width, height, **settings)
    found = service_of(asked.service).image_tokens(asked.model, asked.parameters, asked.pictures[0])
    assert found == tokens


def test_cost_is_unknown_without_price_or_count(prices):
    """Nothing is not zero."""
    assert prices.cost_usd("a-new-model", Verdict("answered", tokens_in=1, tokens_out=1)) is None
    assert prices.cost_usd("gemini-2.5-pro", Verdict("answered")) is None


def test_prices_are_dated_and_have_sources(prices):
    assert prices.date == "2026-11-22"
    assert prices.sources
    assert prices.knows("gemini-2.5-pro")


def test_own_rates_take_the_place_of_the_table(prices):
    """A server of one's own has a running cost, or none."""
    with_own = prices.with_model("qwen", {"input": 0, "output": 1})
    assert with_own.price("qwen", tokens_in=5, tokens_out=2e6) == 2
    assert not prices.knows("qwen")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "expected a price file with as_of, sources and models"),
        ("[", "expected a price file with as_of, sources and models"),
        ("{as_of: 1, sources: [], models: {m: [{input: 1}]}}", "a price has input, output"),
        ("{as_of: 1, sources: [], models: {m: [{input: 1, output: -1}]}}", "from 0 on, got -1"),
        (
            "{as_of: 1, sources: [], models: {m: [{input: 1, output: 1, up_to_tokens_in: 5}]}}",
            "last",
        ),
        ("{as_of: 1, sources: [], models: {m: []}}", "rising order"),
        (
            "{as_of: 1, sources: [], models: {m: [{input: 1, output: 1, valid_until: soon}]}}",
            "m: valid_until must be a day as 2027-01-31, got 'soon'",
        ),
        (
            "{as_of: 1, sources: [], models: {m: [{input: 1, output: 1, valid_until: 2026-12-31}, "
            "{input: 2, output: 2, valid_from: 2026-12-31}]}}",
            "two rows hold on one day",
        ),
    ],
)
def test_broken_price_files_are_refused(tmp_path, text, message):
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_prices(path)


def test_estimate_counts_what_is_still_to_ask(prices, make_questions):
    """Equal questions are asked once, answered ones not at all."""
    questions = make_questions(4)
    twice = [*questions, questions[3]]
    known = {questions[0].key: Verdict("answered", tokens_in=1000, tokens_out=100)}
    found = estimate_of(twice, prices, known=known)
    assert (found.n_questions, found.n_answered, found.n_to_ask) == (5, 1, 3)
    # Three times the one stored answer: 1000 1.25 + 100 10 = 2250 USD per million.
    assert found.cost_usd == pytest.approx(3 * 0.00225)
    assert found.cost_per_1000_usd == pytest.approx(2.25)
    assert (found.n_measured, found.price_date) == (1, "2026-11-22")
    assert found.cost_usd_high > found.cost_usd
    assert "3 to ask: about 0.01 USD" in found.text()


def test_estimate_without_a_price_says_so(prices, make_questions):
    found = estimate_of(make_questions(2, service="openai_compatible"), prices)
    assert found.cost_usd is None
    assert "qwen-vl has no price in the table of 2026-11-22" in found.text()


def test_estimate_of_nothing_is_nothing(prices):
    found = estimate_of([], prices)
    assert (found.n_to_ask, found.cost_usd, found.cost_per_1000_usd) == (0, 0, 0)
    assert not math.isnan(found.cost_usd_high)


def test_prices_change_at_midnight():
    """An answer costs what it cost on its day, whenever a table of it is made."""
    days = (date(2026, 12, 31), date(2027, 1, 1))
    for day, cost in zip(days, (0.75 + 3.75, 1.5 + 7.5), strict=True):
        table = read_prices(day=day)
        assert table.price("gemini-3.8-flash", tokens_in=1e6, tokens_out=1e6) == cost
        told = Verdict("answered", tokens_in=10**6, tokens_out=10**6)
        assert [table.cost_usd("gemini-3.8-flash", told, each) for each in days] == [4.5, 9]


def test_lack_of_a_price_is_told_with_its_reason():
    table = read_prices(day=date(2027, 6, 1))
    assert table.lack_of("gemini-3.8-flash") is None
    assert table.lack_of("gemini-2.5-pro").startswith(
        "the price of gemini-2.5-pro ended on 2026-11-30"
    )
    assert table.lack_of("own") == f"own has no price in the table of {table.date}"
    rates = {"input": 1, "output": 1, "valid_from": date(2028, 1, 1)}
    assert table.with_model("new", rates).lack_of("new") == "the price of new begins on 2028-01-01"


def shipped_models(repository):
    """Models of Google's services that shipped files and defaults name, by place."""
    found = {"default": LvlmMethod(kind="lvlm").model}
    for path in [repository / "config.yaml", *sorted((repository / "configs").glob("*.yaml"))]:
        methods = yaml.safe_load(path.read_text(encoding="utf-8"))["methods"].values()
        for block in methods:
            if block.get("kind") == "lvlm" and block.get("backend") != "openai_compatible":
                found[path.name] = block["model"]
    return found


def test_shipped_files_name_models_that_are_served(repository):
    """All but the study, which keeps its own, have a price at the date of the price file, and none
    whose end is known."""
    day = date.fromisoformat(read_prices().date)
    table = read_prices(day=day)
    found = shipped_models(repository)
    assert found.pop("paper.yaml") == "gemini-2.5-pro"
    assert set(found) == {"default", "config.yaml", "gemini_api.yaml", "vertex_ai.yaml"}
    for place, model in found.items():
        assert table.knows(model), place
        assert any(row.valid_until is None for row in table.models[model]), place


def test_study_says_how_to_replay(repository):
    text = (repository / "configs" / "paper.yaml").read_text(encoding="utf-8")
    assert "shut down on 1 December 2026" in text and "backend: replay" in text
