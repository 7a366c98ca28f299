"""What questions to vision language models would cost, told before any is asked.

Behind `realitycheck quote`: needs the aligned images, since the price depends on their size and on
which of them have an answer already; needs no key and sends nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from realitycheck.lvlm.pricing import Quote
from realitycheck.planning.plan import Plan
from realitycheck.settings.run import Settings


@dataclass(frozen=True)
class RunQuote:
    """What one run would cost, or what it lacks.

    Attributes:
        dataset: Its data set.
        method: Its method block.
        prompt: Its prompt set.
        missing: Files that must be written before; empty if there is a quote.
        quote: The quote; None if something is missing.
        spent_usd: Money that the ledger says has been spent from the method's budget.
        max_cost_usd: The budget's limit; None: none.
        destination: Where the images go, and through which proxy, in words.
        is_on_site: Whether the questions go to a server of one's own, which sends no bill.
    """

    dataset: str
    method: str
    prompt: str
    missing: tuple[str, ...]
    quote: Quote | None = None
    spent_usd: float = 0.0
    max_cost_usd: float | None = None
    destination: str = ""
    is_on_site: bool = False

    @property
    def is_unpriced(self) -> bool:
        """Whether money would be spent, and no one can say how much."""
        open_ = self.quote is not None and self.quote.n_to_ask > 0
        return open_ and self.quote.cost_usd is None and not self.is_on_site

    def lines(self) -> list[str]:
        """The quote in words."""
        title = f"{self.dataset}, {self.method}, prompt {self.prompt}"
        if self.quote is None:
            return [f"{title}: no quote yet, for want of {', '.join(self.missing)}"]
        if self.is_unpriced:
            return [
                f"{title}: no quote: {self.quote.text()}",
                f"    give its price as methods.{self.method}.price: {{input, output}}, USD per "
                "million tokens, or name a model that is served",
            ]
        limit = (
            "no limit is set (max_cost_usd)"
            if self.max_cost_usd is None
            else f"limit {self.max_cost_usd:.2f} USD"
        )
        return [
            f"{title}: {self.quote.text()}",
            f"    about {self.quote.tokens_in:,} tokens in and {self.quote.tokens_out:,} out; "
            f"budget {self.method}: {self.spent_usd:.2f} USD spent so far, {limit}; "
            f"{self.destination}",
        ]


def quotes(settings: Settings) -> Iterator[RunQuote]:
    """Quote every run that asks a vision language model.

    Args:
        settings: The settings; relative paths count from the working directory, as in a run.
    """
    plan = Plan(settings)
    for run in settings.verdict_runs():
        if settings.methods[run[1]].asks_service:
            yield _quote(plan, *run)


def _quote(plan: Plan, dataset: str, method: str, prompt: str) -> RunQuote:
    from realitycheck.core.schemas import REFERENCES, TRANSFORMS
    from realitycheck.core.tables import read_table
    from realitycheck.lvlm.gates import is_on_site
    from realitycheck.lvlm.ledger import Ledger
    from realitycheck.lvlm.runner import quote
    from realitycheck.stages.lvlm import destination_of, prices_of, questions_of

    transforms = plan.results / "aligned" / dataset / "transforms.parquet"
    references = plan.results / "manifests" / dataset / "references.parquet"
    missing = tuple(str(path) for path in (transforms, references) if not path.is_file())
    if missing:
        return RunQuote(dataset, method, prompt, missing)
    settings = plan.settings.lvlm_settings(method)
    questions = questions_of(
        read_table(transforms, schema=TRANSFORMS),
        read_table(references, schema=REFERENCES),
        images_folder=transforms.parent,
        asked=plan.lvlm_prompt(dataset, prompt),
        settings=settings,
        intensity=plan.settings.alignment_settings(dataset)["intensity"],
    )
    spent = 0.0
    if Path(settings["ledger"]).is_file():
        with Ledger(settings["ledger"], read_only=True) as ledger:
            spent = ledger.spent_usd(method)
    _, on_site, destination = destination_of(settings)
    if not on_site and not plan.settings.datasets[dataset].may_leave_site:
        destination += f"; nothing is asked, since {dataset} does not allow that (may_leave_site)"
    found = quote(questions, settings["ledger"], prices=prices_of(settings), on_site=on_site)
    return RunQuote(
        dataset,
        method,
        prompt,
        (),
        found,
        spent_usd=spent,
        max_cost_usd=settings["max_cost_usd"],
        destination=destination,
        is_on_site=is_on_site(
            settings["service"], settings["base_url"], declared=settings["on_site"]
        ),
    )


def total(found: list[RunQuote]) -> str:
    """The sum of quotes in one line."""
    given = [run.quote for run in found if run.quote is not None]
    n_to_ask = sum(quote.n_to_ask for quote in given)
    text = (
        f"in total: {sum(quote.n_questions for quote in given)} questions, "
        f"{sum(quote.n_answered for quote in given)} answered already, {n_to_ask} to ask"
    )
    if any(quote.cost_usd is None for quote in given):
        return f"{text}; some models have no price"
    cost = sum(quote.cost_usd for quote in given)
    high = sum(quote.cost_usd_high for quote in given)
    return f"{text}: about {cost:.2f} USD, at most {high:.2f} USD"
