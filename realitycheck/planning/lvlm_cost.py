"""What questions to vision language models will cost, estimated before any is asked.

Behind `realitycheck quote`: needs the aligned images, since the price depends on their size and on
which of them have an answer already; needs no key and sends nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from realitycheck.core.schemas import REFERENCES, TRANSFORMS
from realitycheck.core.tables import read_table
from realitycheck.lvlm.backends.registry import REPLAY, service_of
from realitycheck.lvlm.ledger import Ledger
from realitycheck.lvlm.pricing import CostEstimate, prices_of
from realitycheck.lvlm.runner import estimate
from realitycheck.methods.registry import open_part
from realitycheck.planning.plan import Plan
from realitycheck.settings.run import Settings
from realitycheck.stages.lvlm import destination


@dataclass(frozen=True)
class RunEstimate:
    """What one run will cost, or what it lacks.

    Attributes:
        dataset: Its data set.
        method: Its method block.
        prompt: Its prompt set.
        missing: Files that must be written before; empty if there is an estimate.
        estimate: The estimate; None if something is missing.
        spent_usd: Money that the ledger says has been spent from the method's budget.
        max_cost_usd: The budget's limit; None: none.
        destination: Where the images go, and through which proxy, in words.
        is_on_site: Whether the questions go to a server on the site, which sends no bill.
    """

    dataset: str
    method: str
    prompt: str
    missing: tuple[str, ...]
    estimate: CostEstimate | None = None
    spent_usd: float = 0.0
    max_cost_usd: float | None = None
    destination: str = ""
    is_on_site: bool = False

    @property
    def is_unpriced(self) -> bool:
        """Whether money would be spent, and no one can say how much."""
        open_ = self.estimate is not None and self.estimate.n_to_ask > 0
        return open_ and self.estimate.cost_usd is None and not self.is_on_site

    def lines(self) -> list[str]:
        """The estimate in words."""
        title = f"{self.dataset}, {self.method}, prompt {self.prompt}"
        if self.estimate is None:
            return [f"{title}: no estimate yet; {', '.join(self.missing)} must be written first"]
        if self.is_unpriced:
            return [
                f"{title}: no estimate: {self.estimate.text()}",
                f"    give its price as methods.{self.method}.price: {{input, output}}, USD per "
                "million tokens, or name a model that is served",
            ]
        limit = (
            "no limit is set (max_cost_usd)"
            if self.max_cost_usd is None
            else f"limit {self.max_cost_usd:.2f} USD"
        )
        return [
            f"{title}: {self.estimate.text()}",
            f"    about {self.estimate.tokens_in:,} tokens in and {self.estimate.tokens_out:,} "
            f"out; budget {self.method}: {self.spent_usd:.2f} USD spent so far, {limit}; "
            f"{self.destination}",
        ]


def estimates(settings: Settings) -> Iterator[RunEstimate]:
    """Estimate every run that asks a vision language model.

    Args:
        settings: The settings; relative paths count from the working directory, as in a run.
    """
    plan = Plan(settings)
    for dataset, method, prompt in settings.verdict_runs():
        if settings.methods[method].asks_service:
            yield _estimate(plan, dataset, method, prompt)


def _estimate(plan: Plan, dataset: str, method: str, prompt: str) -> RunEstimate:
    transforms = plan.results / "aligned" / dataset / "transforms.parquet"
    references = plan.results / "manifests" / dataset / "references.parquet"
    missing = tuple(str(path) for path in (transforms, references) if not path.is_file())
    if missing:
        return RunEstimate(dataset, method, prompt, missing)
    settings = plan.settings.method_settings(method)
    endpoint = service_of(settings["service"]).endpoint_of(settings)
    questions = open_part(settings["kind"], "classifier").questions_of(
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
    has_no_bill = endpoint.is_on_site and not endpoint.has_cloud_model
    has_no_limits = has_no_bill or settings["backend"] == REPLAY
    where = destination(settings)
    if not has_no_limits and not plan.settings.datasets[dataset].may_leave_site:
        where += f"; nothing is asked, since {dataset} does not allow that (may_leave_site)"
    return RunEstimate(
        dataset,
        method,
        prompt,
        (),
        estimate(questions, settings["ledger"], prices=prices_of(settings), on_site=has_no_limits),
        spent_usd=spent,
        max_cost_usd=settings["max_cost_usd"],
        destination=where,
        is_on_site=endpoint.is_on_site,
    )


def total(found: list[RunEstimate]) -> str:
    """The sum of estimates in one line."""
    given = [run.estimate for run in found if run.estimate is not None]
    n_to_ask = sum(each.n_to_ask for each in given)
    text = (
        f"in total: {sum(each.n_questions for each in given)} questions, "
        f"{sum(each.n_answered for each in given)} answered already, {n_to_ask} to ask"
    )
    if any(each.cost_usd is None for each in given):
        return f"{text}; some models have no price"
    cost = sum(each.cost_usd for each in given)
    high = sum(each.cost_usd_high for each in given)
    return f"{text}: about {cost:.2f} USD, at most {high:.2f} USD"
