"""Money: prices, costs and quotes, against sums done by hand."""

import math

import pytest

from realitycheck.lvlm.pricing import (
    highest_cost_usd,
    image_tokens,
    quote_of,
    read_prices,
    tokens_in,
    tokens_out,
)
from realitycheck.lvlm.questions import Picture, Question
from realitycheck.lvlm.verdict import Verdict


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
    assert highest_cost_usd(asked, prices) == pytest.approx(0.04429)


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
    assert image_tokens(asked, asked.pictures[0]) == tokens


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
        ("{}", "expected a price file with date, sources and models"),
        ("[", "expected a price file with date, sources and models"),
        ("{date: 1, sources: [], models: {m: [{input: 1}]}}", "a price has input, output"),
        ("{date: 1, sources: [], models: {m: [{input: 1, output: -1}]}}", "from 0 on, got -1"),
        (
            "{date: 1, sources: [], models: {m: [{input: 1, output: 1, up_to_tokens_in: 5}]}}",
            "last",
        ),
        ("{date: 1, sources: [], models: {m: []}}", "rising order"),
    ],
)
def test_broken_price_files_are_refused(tmp_path, text, message):
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_prices(path)


def test_quote_counts_what_is_still_to_ask(prices, make_questions):
    """Equal questions are asked once, answered ones not at all."""
    questions = make_questions(4)
    twice = [*questions, questions[3]]
    known = {questions[0].key: Verdict("answered", tokens_in=1000, tokens_out=100)}
    quote = quote_of(twice, prices, known=known)
    assert (quote.n_questions, quote.n_answered, quote.n_to_ask) == (5, 1, 3)
    # Three times the one stored answer: 1000 1.25 + 100 10 = 2250 USD per million.
    assert quote.cost_usd == pytest.approx(3 * 0.00225)
    assert quote.cost_per_1000_usd == pytest.approx(2.25)
    assert (quote.n_measured, quote.price_date) == (1, "2026-11-22")
    assert quote.cost_usd_high > quote.cost_usd
    assert "3 to ask: about 0.01 USD" in quote.text()


def test_quote_without_a_price_says_so(prices, make_questions):
    quote = quote_of(make_questions(2, service="openai_compatible"), prices)
    assert quote.cost_usd is None
    assert "the model has no price" in quote.text()


def test_quote_of_nothing_is_nothing(prices):
    quote = quote_of([], prices)
    assert (quote.n_to_ask, quote.cost_usd, quote.cost_per_1000_usd) == (0, 0, 0)
    assert not math.isnan(quote.cost_usd_high)
