"""What is scored is recorded as tried, and tables learn among how many tries they decide."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from realitycheck.core.constants import AREA_SUFFIX
from realitycheck.core.files import write_text
from realitycheck.core.parquet import read_frame
from realitycheck.core.provenance import digest_of
from realitycheck.core.schemas import MANIFEST, NOT_JUDGED, REFERENCES
from realitycheck.core.tables import read_table
from realitycheck.core.tries_file import (
    Count,
    Record,
    Tried,
    TriesFile,
    Try,
    count,
    openings,
    parts_digest,
    read_note,
)

Runs = Sequence[Mapping[str, Any]]


def parts_of(manifest: pd.DataFrame) -> str:
    """Digest of the scored parts: each image, its label, its mask and how that is read."""
    truth = manifest[["mask_sha256", "mask_reading", "label"]].astype(object)
    truth = truth.where(truth.notna(), None).values.tolist()
    return parts_digest(
        (image, digest_of(each)) for image, each in zip(manifest["sha256"], truth, strict=True)
    )


def record_scored(
    manifest: str | Path,
    references: str | Path,
    files: Iterable[str | Path],
    *,
    file: str | Path,
    runs: Runs,
    family: Runs,
) -> int:
    """Record what a job is about to score, before anyone can know how good it is.

    A run that judged nothing, such as one whose questions were never sent, is not tried.

    Args:
        manifest: Scored images of the data set.
        references: Its reference images.
        files: Masks, verdicts or scores of runs, `…/{method}/{prompt}/name.parquet`.
        file: The file of tries.
        runs: Runs as `realitycheck.planning.tries.tries_of` gives them; files of others, such as
            baselines, are not looked at.
        family: All runs of the data set where they were fixed before any was scored; else none.

    Returns:
        How many runs judged something.

    Raises:
        TriesError: If they cannot be recorded; or if the family was not fixed before.
    """
    images = read_table(manifest, schema=MANIFEST)
    if images.empty:
        return 0
    dataset, parts = str(images["dataset"].iloc[0]), parts_of(images)
    digests = _references(references)
    tries = TriesFile(file)
    if family and count(tries.read(), dataset, parts).family_date is None:
        named = [_try(dataset, parts, run, digests).digest for run in family]
        tries.name_family(dataset, parts, named)
    judged = {Path(path).parts[-3:-1] for path in files if _judges(path)}
    # Verdicts by area are made from the scores of the masks.
    found = [
        _try(dataset, parts, run, digests)
        for run in runs
        if {(name, run["prompt"]) for name in _names(run["method"])} & judged
    ]
    tries.add_tries(found)
    return len(found)


def tried_so_far(
    tries: Mapping[str, Runs],
    manifests: Mapping[str, str | Path],
    references: Mapping[str, str | Path],
    *,
    judged: Collection[tuple[str, str, str]],
    file: str | Path,
    note: str | Path,
    elsewhere: Mapping[str, Mapping[str, int]],
    locked: Mapping[str, Mapping[str, Any]],
) -> dict[str, Tried]:
    """Count what was ever tried on the parts of each data set.

    What the tables at hand show is recorded, if it is not yet: results may be older than the file.

    Args:
        tries: Runs by data set, as `realitycheck.planning.tries.tries_of` gives them.
        manifests: Scored images of each data set.
        references: Reference images of each.
        judged: Data set, method and prompt of the runs that judged something.
        file: The file of tries.
        note: Where the results keep how far they have seen the file.
        elsewhere: Numbers of tries that were made elsewhere, by data set and reason.
        locked: Of data sets with locked parts: `n_ok`, `n_nok`, `parts` (their digest) and
            `is_opened`, whether it is they that are scored.

    Raises:
        TriesError: If the file is damaged, shorter than before, or cannot be written.
    """
    store, seen = TriesFile(file), read_note(note)
    store.read(*seen)
    found = {}
    for dataset, runs in tries.items():
        parts = parts_of(read_table(manifests[dataset], schema=MANIFEST))
        digests = _references(references[dataset])
        made = {
            (run["method"], run["prompt"]): _try(dataset, parts, run, digests)
            for run in runs
            if (dataset, run["method"], run["prompt"]) in judged
        }
        store.add_tries(made.values())
        for where, n_tries in elsewhere.get(dataset, {}).items():
            store.declare_elsewhere(dataset, parts, where=where, n_tries=n_tries)
        found[dataset] = parts, {run: each.digest for run, each in made.items()}
    records = store.read(*seen)
    if records:
        last = {"n_records": len(records), "digest": records[-1].digest}
        write_text(json.dumps(last), note)
    return {
        dataset: Tried(
            _with_locked(count(records, dataset, parts), records, locked.get(dataset)), digests
        )
        for dataset, (parts, digests) in found.items()
    }


def _with_locked(
    found: Count, records: Sequence[Record], locked: Mapping[str, Any] | None
) -> Count:
    """Add what is known of locked parts; who opened them is a try on them, scored or not."""
    if not locked:
        return found
    opened = openings(records, locked["parts"])
    if locked["is_opened"]:
        n_candidates = len({each.body["try"] for each in opened})
        # The tries that chose them were on the other parts, and began no new count.
        found = replace(found, n_scored=max(found.n_scored, n_candidates), n_before=0)
    return replace(
        found,
        n_locked=locked["n_ok"] + locked["n_nok"],
        opened=tuple((each.date, each.body["by"]) for each in opened),
        is_opened=locked["is_opened"],
    )


def try_of(manifest: str | Path, references: str | Path, run: Mapping[str, Any]) -> Try:
    """Give the try that a run is on the parts of a manifest."""
    images = read_table(manifest, schema=MANIFEST)
    dataset = str(images["dataset"].iloc[0])
    return _try(dataset, parts_of(images), run, _references(references))


def _try(dataset: str, parts: str, run: Mapping[str, Any], references: Mapping[str, str]) -> Try:
    tried = dict(run["tried"])
    shown = dict(references) if run["uses_reference"] else None
    return Try(dataset, parts, **tried | {"settings": {**tried["settings"], "references": shown}})


def _references(path: str | Path) -> dict[str, str]:
    table = read_table(path, schema=REFERENCES)
    return dict(zip(table["category"], table["sha256"], strict=True))


def _names(method: str) -> tuple[str, str]:
    return method, method.removesuffix(AREA_SUFFIX)


def _judges(path: str | Path) -> bool:
    """Whether masks, verdicts or scores say anything of any image."""
    if Path(path).name == "labels.parquet":
        return bool(read_frame(path, ["label_predicted"])["label_predicted"].notna().any())
    return bool((~read_frame(path, ["status"])["status"].isin(NOT_JUDGED)).any())
