"""What counts as a try: each method as it is set, with what it is told and runs on.

Two runs that are equal in all of it say the same of the same parts and are one try. What only says
how a job runs, or what it may cost, is left out.
"""

from __future__ import annotations

from typing import Any

from realitycheck.core.constants import AREA_SUFFIX, NO_PROMPT
from realitycheck.planning.facts import sources_digest
from realitycheck.planning.plan import Plan


def tries_of(plan: Plan, dataset: str) -> list[dict[str, Any]]:
    """Every run of a data set that is judged, verdicts by area among them, baselines not.

    Args:
        plan: Of a run whose inputs are checked.
        dataset: Name of the data set.

    Returns:
        `method` and `prompt` as in tables; `tried`: fields of `realitycheck.core.tries_file.Try`,
        the parts left out; `uses_reference`: whether it also depends on the reference images.
    """
    runs = [*plan.settings.runs(), *plan.area_runs()]
    return [_run(plan, *run) for run in runs if run[0] == dataset]


def tries_settings(plan: Plan, dataset: str, runs: list[tuple[str, str, str]]) -> dict[str, Any]:
    """What a job needs to record the runs that it scores.

    Args:
        plan: As for `tries_of`.
        dataset: Name of the data set.
        runs: That the job scores; others are left out.

    Returns:
        Arguments of `realitycheck.stages.tries.record_scored`.
    """
    tries = tries_of(plan, dataset)
    own = {run[1:] for run in runs if run[0] == dataset}
    return {
        "file": plan.settings.evaluation.tries_file,
        "runs": [each for each in tries if (each["method"], each["prompt"]) in own],
        "family": tries if plan.settings.datasets[dataset].preregistered else [],
    }


def locked_of(plan: Plan) -> dict[str, dict[str, Any]]:
    """Locked parts of each data set that has some, and whether it is they that are scored."""
    return {
        name: locked | {"is_opened": block.split.opened}
        for name, block in plan.settings.datasets.items()
        if (locked := plan.locked(name))
    }


def _run(plan: Plan, dataset: str, method: str, prompt: str) -> dict[str, Any]:
    settings = plan.settings
    by_area = method not in settings.methods
    own = method.removesuffix(AREA_SUFFIX) if by_area else method
    block = settings.methods[own]
    evaluation, limits = settings.evaluation, settings.requirements
    area = {"max_overkill_rate": limits.max_overkill_rate, "seed": evaluation.seed}
    learns = own in plan.learners(dataset)
    aligned = settings.datasets[dataset].alignment.method != "none"
    return {
        "method": method,
        "prompt": prompt,
        "tried": {
            "method": block.kind,
            "settings": {
                "method": block.tried(is_aligned=aligned),
                "networks": {name: settings.network_settings(name) for name in block.networks},
                "images": settings.alignment_settings(dataset),
                "training": plan.images_digest(dataset, "train_images") if learns else None,
            },
            "texts": _texts(plan, dataset, own, prompt),
            "threshold": {"area": area} if by_area else None,
            "weights": plan.weights_digest(*block.networks) | _sources(block.sources(dataset)),
        },
        "uses_reference": aligned or plan.uses_reference(dataset, own, prompt),
    }


def _sources(paths: list[str]) -> dict[str, str]:
    """What was made elsewhere: files by their content, folders by names and sizes of theirs.

    So a copy, or a file that was only touched, is no other try.
    """
    return {"sources": sources_digest(paths, by_time=False)} if paths else {}


def _texts(plan: Plan, dataset: str, method: str, prompt: str) -> Any:
    """What a method is told, in plain values."""
    block = plan.settings.methods[method]
    if prompt in block.own_prompts(dataset):
        return prompt
    if prompt == NO_PROMPT:
        return plan.words(dataset) if block.names_object else None
    if block.asks_service:
        return plan.lvlm_prompt(dataset, prompt)
    return plan.asked(dataset, method, prompt)
