"""Money: what an answer cost, what a run will cost, from a dated price file.

cost = [(p - c) in + c cached + (o + t) out] / 10^6, with p tokens of the request of which c came
from a cache, o tokens of the answer and t of thinking, at the rates of the row that p falls into.

Source: Gemini API, pages "Pricing" and "Token counting".
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from realitycheck.lvlm.backends.registry import service_of
from realitycheck.lvlm.questions import Question
from realitycheck.lvlm.verdict import Verdict

PRICE_FILE = Path(__file__).with_name("prices.yaml")

EXPECTED_ANSWER_TOKENS = 150
"""Length of an answer that an estimate assumes as long as no answer is known."""

_BYTES_PER_TOKEN = 4


@dataclass(frozen=True)
class PriceRow:
    """Rates up to a size of the request, in USD per million tokens.

    They hold from the day `valid_from` to the end of the day `valid_until`; None: no such day is
    known.
    """

    input: float
    output: float
    cached_input: float
    up_to_tokens_in: float
    valid_from: date | None = None
    valid_until: date | None = None

    def holds_on(self, day: date) -> bool:
        """Whether the rates hold on a day."""
        return (self.valid_from or day) <= day <= (self.valid_until or day)


def today() -> date:
    """The day, UTC, as in the ledger."""
    return datetime.now(UTC).date()


@dataclass(frozen=True)
class PriceTable:
    """Prices of models.

    Attributes:
        date: Day on which they were read.
        sources: Where.
        models: Rows by model name; those of one time in rising order of request size.
        day: Day whose prices are asked for where no other is named.
    """

    date: str
    sources: tuple[str, ...]
    models: Mapping[str, tuple[PriceRow, ...]]
    day: date

    def rows(self, model: str, day: date | None = None) -> list[PriceRow]:
        """Rates of a model on a day, in rising order of request size; none without a price."""
        return [row for row in self.models.get(model, ()) if row.holds_on(day or self.day)]

    def knows(self, model: str, day: date | None = None) -> bool:
        """Whether the model has a price on a day."""
        return bool(self.rows(model, day))

    def lack_of(self, model: str) -> str | None:
        """Why a model has no price today, in words; None if it has one."""
        if self.knows(model):
            return None
        if not (known := self.models.get(model)):
            return f"{model} has no price in the table of {self.date}"
        ended = [row.valid_until for row in known if row.valid_until and row.valid_until < self.day]
        if ended:
            return f"the price of {model} ended on {max(ended)}, as of the table of {self.date}"
        begins = min(row.valid_from for row in known if row.valid_from)
        return f"the price of {model} begins on {begins}"

    def with_model(self, model: str, rates: Mapping[str, float]) -> PriceTable:
        """Add or replace a model's price by rates of one's own, such as a server's running cost.

        Args:
            model: Model name.
            rates: `input`, `output` and optionally `cached_input`, USD per million tokens.
        """
        rows = _rows([dict(rates)], where=f"price of {model}")
        return replace(self, models={**self.models, model: rows})

    def cost_usd(self, model: str, verdict: Verdict, day: date | None = None) -> float | None:
        """What an answer of a day cost; None without a price or without counted tokens."""
        if verdict.tokens_in is None or verdict.tokens_out is None or not self.knows(model, day):
            return None
        return self.price(
            model,
            tokens_in=verdict.tokens_in,
            tokens_cached=verdict.tokens_cached or 0,
            tokens_out=verdict.tokens_out + (verdict.tokens_thinking or 0),
            day=day,
        )

    def price(
        self,
        model: str,
        *,
        tokens_in: float,
        tokens_out: float,
        tokens_cached: float = 0,
        day: date | None = None,
    ) -> float:
        """Price of a request, in USD.

        Args:
            model: Model name; must have a price.
            tokens_in: Tokens of the request, cached ones included.
            tokens_out: Tokens of answer and thinking.
            tokens_cached: Tokens of the request that came from a cache.
            day: When it was sent; default: the table's day.
        """
        row = next(r for r in self.rows(model, day) if tokens_in <= r.up_to_tokens_in)
        cached = min(tokens_cached, tokens_in)
        return (
            (tokens_in - cached) * row.input + cached * row.cached_input + tokens_out * row.output
        ) / 1e6


def read_prices(path: str | Path = PRICE_FILE, *, day: date | None = None) -> PriceTable:
    """Read a price file.

    Args:
        path: The file.
        day: See `PriceTable`; default: today.

    Raises:
        ValueError: If it is not in the form of the one that comes with the package.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        as_of, sources, models = content["as_of"], content["sources"], content["models"]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: expected a price file with as_of, sources and models ({error}); see "
            f"{PRICE_FILE.name} of the package"
        ) from error
    rows = {str(m): _rows(r, where=f"{path}: {m}") for m, r in models.items()}
    return PriceTable(str(as_of), tuple(map(str, sources)), rows, day or today())


def prices_of(settings: Mapping[str, Any]) -> PriceTable:
    """Prices of the price file, with the method's own where the settings give one."""
    prices = read_prices()
    if settings["price"] is None:
        return prices
    rates = {name: rate for name, rate in settings["price"].items() if rate is not None}
    return prices.with_model(settings["model"], rates)


_RATES = ("input", "output", "cached_input", "up_to_tokens_in")
_DAYS = ("valid_from", "valid_until")


def _rows(rows: Sequence[Mapping[str, Any]], *, where: str) -> tuple[PriceRow, ...]:
    found = []
    for row in rows:
        unknown = sorted(set(row) - {*_RATES, *_DAYS})
        if unknown or not {"input", "output"} <= set(row):
            raise ValueError(
                f"{where}: a price has input, output and optionally {', '.join(_RATES[2:])}, "
                f"{' and '.join(_DAYS)}, got {', '.join(map(str, row)) or 'nothing'}"
            )
        for name, value in row.items():
            if name in _DAYS:
                if type(value) is not date:
                    raise ValueError(f"{where}: {name} must be a day as 2027-01-31, got {value!r}")
            elif isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise ValueError(f"{where}: {name} must be a number from 0 on, got {value!r}")
        found.append(
            PriceRow(
                float(row["input"]),
                float(row["output"]),
                float(row.get("cached_input", row["input"])),
                float(row.get("up_to_tokens_in", math.inf)),
                row.get("valid_from"),
                row.get("valid_until"),
            )
        )
    times: dict[tuple[date, date], list[float]] = {}
    for row in found:
        time = (row.valid_from or date.min, row.valid_until or date.max)
        times.setdefault(time, []).append(row.up_to_tokens_in)
    if not times or any(x != sorted(set(x)) or x[-1] != math.inf for x in times.values()):
        raise ValueError(
            f"{where}: rows of one time must come in rising order of up_to_tokens_in, the last one "
            "without"
        )
    spans = sorted(times)
    if any(end >= begin for (_, end), (begin, _) in pairwise(spans)):
        raise ValueError(f"{where}: two rows hold on one day; let valid_until end before")
    return tuple(found)


def tokens_in(question: Question) -> int:
    """Tokens that a request is expected to take."""
    return sum(math.ceil(n / _BYTES_PER_TOKEN) for n in _text_bytes(question)) + _images(question)


def highest_tokens_in(question: Question) -> int:
    """Tokens that a request takes at most, if its images take what is documented.

    No token of a text, in whichever script, stands for less than a byte; the schema is text too.
    """
    return sum(_text_bytes(question)) + len(json.dumps(dict(question.schema))) + _images(question)


def _images(question: Question) -> int:
    service = service_of(question.service)
    return sum(
        service.image_tokens(question.model, question.parameters, picture)
        for picture in question.pictures
    )


def _text_bytes(question: Question) -> list[int]:
    texts = [question.system, *(part for part in question.parts if isinstance(part, str))]
    return [len(text.encode()) for text in texts]


def tokens_out(question: Question) -> int:
    """Tokens of answer and thinking that are expected as long as no answer is known."""
    thinking = service_of(question.service).thinking_tokens(question.parameters)
    return min(thinking + EXPECTED_ANSWER_TOKENS, question.parameters["max_output_tokens"])


@dataclass(frozen=True)
class CostEstimate:
    """What a run will cost, estimated before it starts.

    Attributes:
        n_questions: Questions of the run.
        n_answered: Of these, answered already; they cost nothing.
        n_to_ask: Of these, still to be asked; equal questions count once.
        tokens_in: Expected tokens of the requests to come.
        tokens_out: Expected tokens of answers and thinking to come.
        cost_usd: Expected cost of what is still to be asked; None if the model has no price.
        cost_usd_high: Cost if every question used up its own limits; None as above.
        cost_per_1000_usd: Expected cost of 1,000 questions; None as above.
        n_measured: Stored answers that the expectation of the answers' length rests on.
        price_date: Date of the prices.
        lack: Why the model has no price today; None if it has one.
    """

    n_questions: int
    n_answered: int
    n_to_ask: int
    tokens_in: int
    tokens_out: int
    cost_usd: float | None
    cost_usd_high: float | None
    cost_per_1000_usd: float | None
    n_measured: int
    price_date: str
    lack: str | None = None

    def text(self) -> str:
        """The estimate in one line."""
        known = f"{self.n_questions} questions, {self.n_answered} answered already"
        if self.cost_usd is None:
            return f"{known}, {self.n_to_ask} to ask; {self.lack}"
        basis = (
            f"the mean of {self.n_measured} stored answers"
            if self.n_measured
            else "assumed lengths of answers"
        )
        return (
            f"{known}, {self.n_to_ask} to ask: about {self.cost_usd:.2f} USD, at most "
            f"{self.cost_usd_high:.2f} USD ({self.cost_per_1000_usd:.2f} USD per 1,000; prices of "
            f"{self.price_date}, {basis})"
        )


def estimate_of(
    questions: Sequence[Question],
    prices: PriceTable,
    *,
    known: Mapping[str, Verdict] | None = None,
) -> CostEstimate:
    """Estimate what questions cost that have no answer yet.

    Args:
        questions: All questions of a run, of one model.
        prices: Prices.
        known: Verdicts of the questions that are answered already, by key.
    """
    known = known or {}
    measured = [v for v in known.values() if v.tokens_in is not None and v.tokens_out is not None]
    open_questions = {q.key: q for q in questions if q.key not in known}
    total_in = total_out = 0.0
    cost = high = 0.0
    has_price = all(prices.knows(q.model) for q in questions)
    for question in open_questions.values():
        expected_in, expected_out = float(tokens_in(question)), float(tokens_out(question))
        if measured:
            expected_in = sum(v.tokens_in or 0 for v in measured) / len(measured)
            expected_out = sum(
                (v.tokens_out or 0) + (v.tokens_thinking or 0) for v in measured
            ) / len(measured)
        total_in += expected_in
        total_out += expected_out
        if has_price:
            cost += prices.price(question.model, tokens_in=expected_in, tokens_out=expected_out)
            high += highest_cost_usd(question, prices)
    n = len(open_questions)
    return CostEstimate(
        n_questions=len(questions),
        n_answered=sum(q.key in known for q in questions),
        n_to_ask=n,
        tokens_in=round(total_in),
        tokens_out=round(total_out),
        cost_usd=cost if has_price else None,
        cost_usd_high=high if has_price else None,
        cost_per_1000_usd=(1000 * cost / n if n else 0.0) if has_price else None,
        n_measured=len(measured),
        price_date=prices.date,
        lack=None if has_price else prices.lack_of(questions[0].model),
    )


def highest_cost_usd(question: Question, prices: PriceTable) -> float:
    """Cost of a question by its own limits; its model must have a price.

    Every byte of its texts a token, its images as documented, the answer's token limit used up.
    """
    return prices.price(
        question.model,
        tokens_in=highest_tokens_in(question),
        tokens_out=question.parameters["max_output_tokens"],
    )
