"""Confirm one method on the parts that were locked away: behind `realitycheck confirm`.

The opening is recorded before any locked part is looked at. The method then runs as a workflow of
its own, in a folder of results of its own, with the locked parts in place of the others; nothing
else of the settings changes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from realitycheck.core.constants import NO_PROMPT
from realitycheck.core.files import write_text
from realitycheck.planning.facts import UNKNOWN, settings_digest
from realitycheck.planning.plan import Plan
from realitycheck.planning.tries import tries_of
from realitycheck.settings.run import Settings


class ConfirmError(ValueError):
    """Why nothing can be confirmed; no part was opened."""


class Confirmation(NamedTuple):
    """What is about to be run.

    Attributes:
        file: Settings of the run.
        results: Folder of its results.
        said: Lines for people: how often the parts were opened before.
    """

    file: Path
    results: Path
    said: list[str]


def open_for(
    settings: Settings, raw: Mapping[str, Any], *, method: str, prompt: str, dataset: str | None
) -> Confirmation:
    """Record that the locked parts are opened for a method, and write the settings of its run.

    Args:
        settings: The settings that the method was chosen under, in the working directory.
        raw: The same, as parsed.
        method: Name of the method block.
        prompt: Name of the prompt set.
        dataset: Name of the data set; None: the one that has locked parts.

    Returns:
        What to run.

    Raises:
        ConfirmError: If there is nothing to open, or the method was not scored as it is set now.
        TriesError: If the opening cannot be recorded; then nothing is opened.
    """
    from realitycheck.core.tries_file import NOTE_NAME, TriesFile, openings, read_note
    from realitycheck.stages.tries import try_of

    plan = Plan(settings)
    dataset = dataset or _only_locked(settings)
    if (dataset, method, prompt) not in settings.runs():
        known = [f"{m} {p}" for d, m, p in settings.runs() if d == dataset]
        raise ConfirmError(
            f"data set '{dataset}' has no method '{method}' with the prompt set '{prompt}'; it has "
            f"{', '.join(known) or 'none'} ({NO_PROMPT}: without a prompt)"
        )
    locked = plan.locked(dataset)
    runs = {(each["method"], each["prompt"]): each for each in tries_of(plan, dataset)}
    run = runs[method, prompt]
    if not locked or UNKNOWN in run["tried"]["weights"].values():
        raise ConfirmError(
            f"{settings.results_dir}: nothing is known of data set '{dataset}' yet; run the "
            "workflow with these settings first, so that a method can be chosen"
        )
    folder = Path(settings.results_dir) / "manifests"
    chosen = try_of(folder / f"{dataset}.parquet", folder / dataset / "references.parquet", run)
    file = TriesFile(settings.evaluation.tries_file)
    records = file.read(*read_note(Path(settings.results_dir) / NOTE_NAME))
    if not any(r.kind == "try" and r.body["try"] == chosen.digest for r in records):
        raise ConfirmError(
            f"'{method}' with the prompt set '{prompt}' was not scored on the other parts of "
            f"'{dataset}' as it is set now; run the workflow first, so that what is confirmed is "
            "what was chosen"
        )
    before = openings(records, locked["parts"])
    by = settings_digest(settings)
    file.open_locked(dataset, locked["parts"], of=chosen, by=by)
    candidates = {r.body["try"] for r in before} | {chosen.digest}
    said = [f"opened before: {r.date} by the settings {r.body['by']}" for r in before]
    said.append(
        f"{locked['n_nok']} defective and {locked['n_ok']} good parts are opened for candidate "
        f"{len(candidates)}"
        + (", whose bounds hold for all of them" if len(candidates) > 1 else "")
    )
    results = Path(settings.results_dir) / "confirmed" / dataset / method / prompt
    path = results.with_name(f"{prompt}.yaml")
    block = settings.methods[method]
    alone = block.only_prompt(prompt) if prompt in block.own_prompts(dataset) else {}
    own = settings_of(raw, dataset, method, prompt, results, alone)
    write_text(yaml.safe_dump(own, sort_keys=False), path)
    return Confirmation(path, results, said)


def _only_locked(settings: Settings) -> str:
    names = [n for n, block in settings.datasets.items() if block.split.confirm_fraction]
    if len(names) != 1:
        found = ", ".join(names) or "none"
        raise ConfirmError(
            f"expected one data set with locked parts (split.confirm_fraction), found {found}; "
            "name it with --dataset, or lock parts before anything is scored"
        )
    return names[0]


def settings_of(
    raw: Mapping[str, Any],
    dataset: str,
    method: str,
    prompt: str,
    results: Path,
    alone: Mapping[str, Any],
) -> dict[str, Any]:
    """Give the settings with one run alone, on the locked parts.

    Args:
        raw: The settings that the method was chosen under, as parsed.
        dataset: Name of the data set.
        method: Name of the method block.
        prompt: Name of the prompt set, or of the rater.
        results: Folder of the results.
        alone: Keys of the block with which it has the prompt alone; see `only_prompt`.
    """
    own = copy.deepcopy(dict(raw))
    block = own["datasets"][dataset]
    block["split"] = {**block["split"], "opened": True}
    block["methods"] = [method]
    for name in ("preregistered", "tries_elsewhere"):  # they are about the other parts
        block.pop(name, None)
    own["results_dir"] = str(results)
    own["datasets"] = {dataset: block}
    own["methods"] = {method: own["methods"][method]}
    if alone:
        own["methods"][method] |= alone
    prompts = own.pop("prompts", None) or {}
    if prompt != NO_PROMPT and not alone:
        own["prompts"] = {dataset: {prompt: prompts[dataset][prompt]}}
    own["evaluation"] = {**(own.get("evaluation") or {}), "area_verdicts": False}
    return own
