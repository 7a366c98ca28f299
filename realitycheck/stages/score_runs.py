"""Stage 6: the scores of all runs of a data set in one job; those that are up to date stay.

Whatever the scores of a run are computed from stands in their metadata, by its digest. A table that
was written from just that is left alone, so that an edit costs the runs that it concerns.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from realitycheck.core.constants import AREA_SUFFIX
from realitycheck.core.job import run_facts
from realitycheck.core.provenance import digest_of, file_digest
from realitycheck.core.schemas import DEFECTS, MANIFEST, MASKS, SCORES, TRUTH, VERDICTS
from realitycheck.core.tables import (
    is_written_from,
    read_table,
    read_together,
    write_parts,
    write_table,
)
from realitycheck.stages.evaluate import (
    floor_verdicts,
    score_areas,
    score_defects,
    score_labels,
    score_masks,
)

log = logging.getLogger("realitycheck")


def score_all_masks(
    manifest: str | Path,
    truth: str | Path,
    masks: Sequence[str | Path],
    outputs: Sequence[tuple[str | Path, str | Path]],
    *,
    ignore_border: str,
    defects: Mapping[str, Any],
    labels: str,
    code: str,
) -> int:
    """Score the masks of runs, image by image and defect by defect.

    Args:
        manifest: Scored images of the data set.
        truth: Their truth table, beside the masks of the truth.
        masks: Masks table of each run.
        outputs: Scores and defects table of each run.
        ignore_border: What undecided pixels count as.
        defects: `min_covered_share` and `pixel_pitch_mm`.
        labels: Digest of the labels in the manifest.
        code: Digest of the code that scores.

    Returns:
        How many runs were scored; the others are up to date.
    """
    shared = {"truth_folder": Path(truth).parent, "ignore_border": ignore_border}
    given = [labels, file_digest(truth)]
    n_scored = 0
    for path, (scores_path, defects_path) in zip(masks, outputs, strict=True):
        settings = {"ignore_border": ignore_border, "code": code}
        facts = run_facts(settings) | {"inputs": digest_of([*given, file_digest(path)])}
        defect_facts = {**facts, **defects}
        if is_written_from(scores_path, schema=SCORES, facts=facts) and is_written_from(
            defects_path, schema=DEFECTS, facts=defect_facts
        ):
            continue
        tables = ((manifest, MANIFEST), (truth, TRUTH), (path, MASKS))
        scores = (score_masks(*part, **shared) for part in read_together(*tables))
        write_parts(chain.from_iterable(scores), scores_path, schema=SCORES, facts=facts)
        found = (score_defects(*part, **shared, **defects) for part in read_together(*tables))
        write_parts(chain.from_iterable(found), defects_path, schema=DEFECTS, facts=defect_facts)
        n_scored += 1
    return n_scored


def score_all_areas(
    scores: Sequence[str | Path],
    outputs: Sequence[str | Path],
    *,
    max_overkill_rate: float,
    seed: int,
    code: str,
) -> int:
    """Judge by the area of the masks of runs; see `score_areas` and `score_all_masks`.

    Args:
        scores: Scores of each run with masks.
        outputs: Where the same scores go, with the verdicts by area.
        max_overkill_rate: Share of good images that a threshold may reject.
        seed: Of the folds.
        code: Digest of the code that judges.
    """
    settings = {"max_overkill_rate": max_overkill_rate, "seed": seed}
    n_scored = 0
    for path, output in zip(scores, outputs, strict=True):
        facts = run_facts({**settings, "code": code}) | {"inputs": file_digest(path)}
        method = f"{Path(path).parts[-3]}{AREA_SUFFIX}"

        def rows(path: str | Path = path, method: str = method) -> Iterable[dict[str, Any]]:
            return score_areas(read_table(path, schema=SCORES), method, **settings)

        n_scored += _written(rows, output, facts)
    return n_scored


def score_all_labels(
    manifest: str | Path,
    verdicts: Sequence[str | Path],
    outputs: Sequence[str | Path],
    *,
    floors: Sequence[str | Path] = (),
    labels: str,
    code: str,
) -> int:
    """Put the verdicts of runs beside the labels; see `score_labels` and `score_all_masks`.

    Args:
        manifest: Scored images of the data set.
        verdicts: Verdicts table of each run.
        outputs: Scores table of each run, and of each baseline.
        floors: Verdicts table of each baseline, `…/{baseline}/{prompt}/labels.parquet`, which needs
            no model and is written here.
        labels: Digest of the labels in the manifest.
        code: Digest of the code that scores.

    Returns:
        How many runs and baselines were scored; the others are up to date.
    """
    n_scored = 0
    images = read_table(manifest, schema=MANIFEST)
    for path in floors:
        floor, prompt = Path(path).parts[-3:-1]
        facts = run_facts({"code": code}) | {"inputs": labels}
        if not is_written_from(path, schema=VERDICTS, facts=facts):
            table = floor_verdicts(images, floor=floor, prompt=prompt)
            write_table(table, path, schema=VERDICTS, facts=facts)
    for path, output in zip([*verdicts, *floors], outputs, strict=True):
        facts = run_facts({"code": code}) | {"inputs": digest_of([labels, file_digest(path)])}

        def rows(path: str | Path = path) -> Iterable[dict[str, Any]]:
            return score_labels(images, read_table(path, schema=VERDICTS))

        n_scored += _written(rows, output, facts)
    return n_scored


def _written(rows: Any, output: str | Path, facts: Mapping[str, Any]) -> bool:
    """Write scores, unless the table that is there was written from the same facts."""
    if is_written_from(output, schema=SCORES, facts=facts):
        return False
    write_table(list(rows()), output, schema=SCORES, facts=facts)
    return True
