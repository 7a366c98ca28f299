"""Stage 7: scores become tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from realitycheck.core.constants import AREA_SUFFIX, UNTRAINED_NOTE
from realitycheck.core.parquet import read_frame
from realitycheck.core.schemas import MASKS, SCORES, VERDICTS
from realitycheck.core.tables import Schema, read_table
from realitycheck.methods.registry import detector_captions
from realitycheck.metrics.agreement import agreement_of
from realitycheck.report.tables.base import ANSWER_COLUMNS, KEYS, dataset_name, method_name
from realitycheck.stages.timing import part_time

UNTRAINED = "untrained miniature networks, whose scores mean nothing"


def read_scores(paths: Sequence[str | Path]) -> pd.DataFrame:
    """Scores of several runs in one table."""
    return pd.concat([read_table(p, schema=SCORES) for p in paths], ignore_index=True)


def answer_facts(paths: Sequence[str | Path]) -> pd.DataFrame:
    """What is known of the answers of several runs: repeats, their agreement, their cost.

    The cost of 1,000 parts is that of all answers, whatever their status, over the parts; it is
    missing where nothing was asked and where an answer has no price.

    Args:
        paths: Verdicts tables, one a run.

    Returns:
        One row a run, columns `KEYS`, `ANSWER_COLUMNS` and `note`.
    """
    rows = []
    for path in paths:
        verdicts = read_table(path, schema=VERDICTS)
        if verdicts.empty:
            continue
        agreement = agreement_of(verdicts)
        came_back = verdicts["latency_s"].notna()
        has_cost = came_back.any() and verdicts.loc[came_back, "cost_usd"].notna().all()
        cost = 1000 * verdicts["cost_usd"].sum() / agreement.n_images if has_cost else None
        n_without_key = int((verdicts["finish_reason"] == "no_key").sum())
        note = "not asked: no key" if n_without_key == len(verdicts) else ""
        if 0 < n_without_key < len(verdicts):
            note = f"{n_without_key} of {len(verdicts)} questions not asked: no key"
        facts = {
            "n_samples": agreement.n_samples,
            "fleiss_kappa": agreement.fleiss_kappa,
            "flip_rate": agreement.flip_rate,
            "cost_per_1000_parts_usd": cost,
        }
        rows.append({key: verdicts[key].iloc[0] for key in KEYS} | facts | {"note": note})
    return pd.DataFrame(rows, columns=[*KEYS, *ANSWER_COLUMNS, "note"])


def untrained_notes(methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What stands below a table or above a figure in which untrained networks took part."""
    names = [
        method_name(method, methods)
        for method, about in methods.items()
        # Verdicts by area are of masks that have a method of their own.
        if UNTRAINED_NOTE in about.get("note", "") and about.get("verdict_by") != "area"
    ]
    return [f"Made with {UNTRAINED}: {', '.join(dict.fromkeys(names))}."] if names else []


def untrained_banner(methods: Mapping[str, Mapping[str, Any]]) -> str:
    """What a figure's red band says, if untrained networks took part."""
    return "untrained miniature networks" if untrained_notes(methods) else ""


def read_tables(paths: Sequence[str | Path], *, schema: Schema) -> pd.DataFrame:
    """Tables of several runs as one; with the schema's columns where there is none."""
    read = [read_table(path, schema=schema) for path in paths]
    filled = [table for table in read if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=schema.columns)


def part_times(
    paths: Sequence[str | Path], area_runs: Sequence[tuple[str, str, str]]
) -> pd.DataFrame:
    """Seconds of one part of each run, that of a verdict by area being its masks'.

    Args:
        paths: Masks and verdicts tables, one a run.
        area_runs: Runs with verdicts by area.

    Returns:
        Columns `KEYS`, `seconds_per_part` and `seconds_note`.
    """
    rows = []
    for path in paths:
        keys = read_frame(path, KEYS)[:1].to_dict("records")
        if keys:
            found = part_time(path)
            rows.append({**keys[0], "seconds_per_part": found.seconds, "seconds_note": found.note})
    of_run = {tuple(row[key] for key in KEYS): row for row in rows}
    for dataset, method, prompt in area_runs:
        own = of_run.get((dataset, method.removesuffix(AREA_SUFFIX), prompt))
        if own is not None:
            rows.append({**own, "method": method})
    return pd.DataFrame(rows, columns=[*KEYS, "seconds_per_part", "seconds_note"])


def mask_sizes(
    paths: Sequence[str | Path], area_runs: Sequence[tuple[str, str, str]]
) -> pd.DataFrame:
    """Number of pixels of each mask, columns `KEYS`, `image_id` and `mask_px`.

    Args:
        paths: Masks tables, one a run.
        area_runs: Runs with verdicts by the area of those masks.
    """
    columns = [*KEYS, "image_id", "mask_height_px", "mask_width_px"]
    masks = pd.concat(
        [read_table(path, schema=MASKS, columns=columns) for path in paths], ignore_index=True
    )
    masks["mask_px"] = masks.pop("mask_height_px") * masks.pop("mask_width_px")
    again = masks.assign(method=masks["method"] + AREA_SUFFIX)
    is_run = again[KEYS].apply(tuple, axis=1).isin({tuple(run) for run in area_runs})
    return pd.concat([masks, again[is_run]], ignore_index=True)


def audited_runs(
    runs: Sequence[Mapping[str, Any]],
    manifests: Mapping[str, pd.DataFrame],
    *,
    datasets: Mapping[str, Mapping[str, Any]],
    methods: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Fill in what the plan cannot know of a run: names, and words that depend on categories."""
    filled = []
    for run in runs:
        told = run["told"]
        if run["composed"] is not None:
            categories = sorted(set(manifests[run["dataset"]]["category"]))
            captions = [text for c in categories for text in detector_captions(run["composed"], c)]
            told = ". ".join(dict.fromkeys(captions))
        filled.append(
            {
                **run,
                "told": told,
                "dataset_name": dataset_name(run["dataset"], datasets),
                "method_name": method_name(run["method"], methods),
            }
        )
    return filled


def read_folds(
    paths: Sequence[str | Path], runs: Sequence[tuple[str, str, str]]
) -> dict[tuple[str, str, str], pd.DataFrame]:
    """Fold of each image, by run.

    Args:
        paths: Verdicts or thresholds tables.
        runs: The run of each.
    """
    return {
        tuple(run): read_frame(path, ["image_id", "fold"])
        for run, path in zip(runs, paths, strict=True)
    }
