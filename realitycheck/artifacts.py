"""Tables between stages: their schemas, how they are read and written.

A table is Parquet, keys first, one observation a row. It is checked against its schema when it is
written, appears in one step, is read only as it was written (`parquet`), holds no time stamp, and
carries in its metadata the package version and the digests of what it was computed from. So the
same inputs give the same bytes.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from realitycheck.names import AUDIT_CHECKS, VERDICT_STATUSES
from realitycheck.parquet import ArtifactError as ArtifactError
from realitycheck.parquet import open_parquet, write_parquet
from realitycheck.provenance import ARTIFACT_FORMAT, package_version
from realitycheck.writing import write_atomically as write_atomically
from realitycheck.writing import write_text as write_text

METADATA_KEY = b"realitycheck"

#: Rows of a table that are held in memory where all of them need not be.
PART_ROWS = 2048


@dataclass(frozen=True)
class Schema:
    """Columns of a table.

    Attributes:
        name: The table's name in messages.
        fields: Column types, keys first.
        keys: Columns that name a row; their combination is unique.
        allowed: Closed lists of values of some columns.
        unit_interval: Columns whose values lie within 0 and 1.
    """

    name: str
    fields: tuple[tuple[str, pa.DataType], ...]
    keys: tuple[str, ...]
    allowed: Mapping[str, frozenset[str]] = None  # type: ignore[assignment]
    unit_interval: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """Column names in order."""
        return [name for name, _ in self.fields]

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema."""
        return pa.schema([pa.field(n, t) for n, t in self.fields])


_text, _int, _real, _bool = pa.string(), pa.int64(), pa.float64(), pa.bool_()

LABELS = frozenset({"OK", "NOK"})
ALIGNMENT_STATUSES = frozenset({"aligned", "kept_original", "not_requested"})
MASK_STATUSES = frozenset(
    {
        "ok",  # a mask was found
        "no_box",  # the detector found nothing
        "empty",  # the method found no region
        "no_mask",  # the automatic generator found nothing
        "nothing_selected",  # no automatic mask fits the text
        "constant_map",  # the similarity map is flat
        "not_comparable",  # not aligned, and of another size than the reference
    }
)
#: Statuses of a mask that is none: the method could not judge the image, which stays unanswered.
NOT_JUDGED = frozenset({"not_comparable"})
TRUTH_STATUSES = frozenset(
    {
        "complete",  # every defect lies on the canvas, or there is none
        "partly_lost",  # alignment moved some defect pixels beyond it
        "lost",  # and here all of them
        "not_drawn",  # defective, but nobody drew where
    }
)

MANIFEST = Schema(
    "manifest",
    (
        ("dataset", _text),
        ("image_id", _text),  # category/…/stem, safe as a path
        ("category", _text),
        ("label", _text),
        ("defect_type", _text),  # null on good parts and where none is known
        ("split", _text),  # test: scored; train: thresholds and references
        ("group", _text),  # views of one part, one lot; null: every image is its own part
        ("image_path", _text),
        ("mask_path", _text),  # null where there is no mask
        ("width_px", _int),
        ("height_px", _int),
        ("bit_depth", _int),
        ("n_channels", _int),
        ("sha256", _text),
        ("mask_sha256", _text),
        ("mask_reading", _text),  # JSON of `realitycheck.masks.MaskReading`; null without a mask
    ),
    ("dataset", "image_id"),
    {"label": LABELS, "split": frozenset({"train", "test"})},
)

#: What a file below a data set's folder is used as.
FILE_USES = ("image", "mask", "list", "not used")

INVENTORY = Schema(
    "inventory",
    (
        ("dataset", _text),
        ("folder", _text),  # below `root`, "." for itself; path of a list, or of what is not used
        ("used_as", _text),
        ("form", _text),  # ending; bits and channels of images, encoding of lists
        ("n_files", _int),
        ("n_views", _int),  # of the images, those that show a part which others show, too
        ("reason", _text),  # why it is not used; empty where it is
        ("remedy", _text),  # what to do if it is to be used; empty where it is
    ),
    ("dataset", "folder", "used_as", "form", "reason"),
    {"used_as": frozenset(FILE_USES)},
)

REFERENCES = Schema(
    "references",
    (
        ("dataset", _text),
        ("category", _text),
        ("image_id", _text),  # null where the reference is no image of the data set
        ("image_path", _text),
        ("sha256", _text),
        ("is_scored", _bool),  # whether the reference is itself among the scored images
    ),
    ("dataset", "category"),
)

TRANSFORMS = Schema(
    "transforms",
    (
        ("dataset", _text),
        ("image_id", _text),
        ("category", _text),
        ("status", _text),
        *((f"m{r}{c}", _real) for r in range(3) for c in range(3)),  # reference ← image, px
        ("residual_before", _real),  # 0 same, 1 unrelated; null without a reference
        ("residual_after", _real),
        ("overlap", _real),  # share of the reference's canvas that the image covers
        ("width_px", _int),  # of the aligned image
        ("height_px", _int),
        ("pixels_sha256", _text),  # of the aligned pixels
    ),
    ("dataset", "image_id"),
    {"status": ALIGNMENT_STATUSES},
    ("overlap",),
)

TRUTH = Schema(
    "truth",
    (
        ("dataset", _text),
        ("image_id", _text),
        ("has_truth", _bool),  # false: defective, but nobody drew where
        ("truth_px", _int),  # defect pixels, those among them that are lost
        ("undecided_px", _int),
        ("pixels_sha256", _text),
        ("status", _text),
        ("lost_px", _int),  # defect pixels that alignment moved beyond the canvas
        # Where some are lost: all defect pixels, on a canvas that holds them (COCO counts), and the
        # place of the reference's canvas on it.
        ("whole_rle", _text),
        ("whole_height_px", _int),
        ("whole_width_px", _int),
        ("left_px", _int),
        ("top_px", _int),
    ),
    ("dataset", "image_id"),
    {"status": TRUTH_STATUSES},
)

ENCODINGS = Schema(
    "encodings",
    (
        ("dataset", _text),
        ("image_id", _text),
        ("key", _text),  # of the entry in the store
        ("storage_error", _real),  # largest loss of the stored values, relative to their spread;
        # null where they are stored as they are
        ("latency_s", _real),  # of the computation, whenever that was
    ),
    ("dataset", "image_id"),
)

BOXES = Schema(
    "boxes",
    (
        ("dataset", _text),
        ("image_id", _text),
        ("prompt", _text),
        ("box_id", _int),  # the detector's query behind the box
        ("text", _text),
        ("x_min", _real),
        ("y_min", _real),
        ("x_max", _real),
        ("y_max", _real),
        ("score", _real),
        ("token_scores", pa.list_(pa.float32())),  # one a token
        ("tokens", pa.list_(_text)),  # word pieces of the text, [CLS] … [SEP]
        ("relative_box", pa.list_(pa.float32())),  # the detector's own cx, cy, w, h
    ),
    ("dataset", "image_id", "prompt", "text", "box_id"),
    unit_interval=("score",),
)

THRESHOLDS = Schema(
    "thresholds",
    (
        ("dataset", _text),
        ("image_id", _text),
        ("threshold", _real),
        ("fold", _int),  # whose other folds set it; null: set by images that are not scored
    ),
    ("dataset", "image_id"),
)

ANOMALY_MAPS = Schema(
    "anomaly maps",
    (
        ("dataset", _text),
        ("image_id", _text),
        ("prompt", _text),
        ("height_px", _int),
        ("width_px", _int),
        # The map is the sum of mask · score, divided by 1 + the number of masks, at each pixel.
        ("mask_rles", pa.list_(_text)),
        ("mask_scores", pa.list_(pa.float32())),
        ("n_boxes", _int),
        ("object_area", _real),  # largest box of the product, relative to the image
        ("score", _real),
        ("status", _text),
        ("latency_s", _real),
    ),
    ("dataset", "image_id", "prompt"),
    {"status": MASK_STATUSES},
)

MASKS = Schema(
    "masks",
    (
        ("dataset", _text),
        ("image_id", _text),
        ("method", _text),
        ("prompt", _text),
        ("mask_height_px", _int),
        ("mask_width_px", _int),
        ("mask_rle", _text),  # COCO compressed counts
        ("score", _real),  # null where the method gives none
        ("n_regions", _int),
        ("status", _text),
        ("latency_s", _real),
    ),
    ("dataset", "image_id", "method", "prompt"),
    {"status": MASK_STATUSES},
)

VERDICTS = Schema(
    "verdicts",
    (
        ("dataset", _text),
        ("image_id", _text),
        ("method", _text),
        ("prompt", _text),
        ("sample", _int),
        ("label_predicted", _text),
        ("score", _real),
        ("reasoning", _text),
        ("status", _text),
        ("fold", _int),
        ("model_requested", _text),
        ("model_returned", _text),
        ("finish_reason", _text),
        ("tokens_in", _int),
        ("tokens_out", _int),
        ("tokens_thinking", _int),
        ("cost_usd", _real),
        ("latency_s", _real),
    ),
    ("dataset", "image_id", "method", "prompt", "sample"),
    {"label_predicted": LABELS, "status": VERDICT_STATUSES},
    ("score",),
)

SCORES = Schema(
    "scores",
    (
        ("dataset", _text),
        ("image_id", _text),
        ("method", _text),
        ("prompt", _text),
        ("category", _text),
        ("group", _text),
        ("label", _text),
        ("label_predicted", _text),
        ("score", _real),
        ("iou", _real),  # null where it is undefined: good parts, parts without truth
        ("intersection_px", _int),
        ("union_px", _int),
        ("truth_px", _int),
        ("predicted_px", _int),
        ("lost_px", _int),  # of truth_px: what alignment moved beyond the canvas
        ("defect_type", _text),
        ("status", _text),
    ),
    ("dataset", "image_id", "method", "prompt"),
    {"label": LABELS, "label_predicted": LABELS},
    ("iou",),
)

DEFECTS = Schema(
    "defects",
    (
        ("dataset", _text),
        ("image_id", _text),
        ("defect_id", _int),  # connected components of the truth mask of one image, from 1
        ("method", _text),
        ("prompt", _text),
        ("category", _text),
        ("group", _text),
        ("defect_type", _text),
        ("area_px", _int),  # in pixels of the aligned image, those beyond its canvas among them
        ("lost_px", _int),  # of these: what alignment moved beyond the canvas
        ("area_mm2", _real),  # null without `pixel_pitch_mm`
        ("covered_share", _real),  # of its area that the method predicts
        ("is_hit", _bool),  # whether that is `evaluation.min_covered_share` or more
    ),
    ("dataset", "image_id", "defect_id", "method", "prompt"),
    unit_interval=("covered_share",),
)

PIXEL_SCORES = Schema(
    "pixel scores",
    (
        ("dataset", _text),
        ("method", _text),
        ("prompt", _text),
        ("category", _text),
        ("n_images", _int),  # with ground truth, good ones with it
        ("n_defective", _int),
        ("auroc", _real),
        ("aupro", _real),  # up to a false positive rate of 0.3
        ("f1_max", _real),
        ("f1_max_threshold", _real),
        ("uses_test_truth", _bool),  # true: the threshold of the best F1 is taken from the truth
    ),
    ("dataset", "method", "prompt", "category"),
    unit_interval=("auroc", "aupro", "f1_max"),
)

#: Method and prompt of a check of the whole data set.
WHOLE_DATASET = "*"

AUDIT_FINDINGS = Schema(
    "audit findings",
    (
        ("dataset", _text),
        ("check", _text),
        ("finding", _text),
        ("n_affected", _int),  # images; 0: nothing was found
        ("example", _text),
    ),
    ("dataset", "check"),
    {"check": frozenset(AUDIT_CHECKS)},
)

# ---------------------------------------------------------------------------------- result tables

DECISIONS = ("ready", "assist", "not_ready", "cannot_tell")
READINESS = Schema(
    "readiness",
    (
        ("dataset", _text),
        ("method", _text),
        ("prompt", _text),
        ("decision", _text),
        ("reason", _text),  # one sentence with its numbers
        ("n_ok", _int),
        ("n_nok", _int),
        ("n_answered", _int),
        ("slip_rate", _real),  # null where unanswered parts make it a range
        ("slip_rate_low", _real),  # one-sided bounds; unanswered parts count as right, as wrong
        ("slip_rate_high", _real),
        ("overkill_rate", _real),
        ("overkill_rate_low", _real),
        ("overkill_rate_high", _real),
        ("f2", _real),
        ("f2_floor", _real),
        ("seconds_per_part", _real),  # null where a step was not timed
        ("cost_per_part_usd", _real),  # paid to a service; 0 where none is asked
        ("max_slip_rate", _real),
        ("max_overkill_rate", _real),
        ("max_seconds_per_part", _real),
        ("max_cost_per_part_usd", _real),
        ("recheck_share", _real),  # of the parts at hand, rejected or without a verdict
        ("more_nok_needed", _int),  # further parts that would settle it; null: no number would
        ("more_ok_needed", _int),
        ("f2_low", _real),
        ("f2_high", _real),
        ("is_no_better_than_floor", _bool),
        ("seconds_note", _text),  # the steps that it adds up, or why it is not known
        ("uses_test_truth", _bool),
        ("confidence", _real),
        ("dataset_name", _text),
        ("method_name", _text),
        ("note", _text),
    ),
    ("dataset", "method", "prompt"),
    {"decision": frozenset(DECISIONS)},
    ("slip_rate", "slip_rate_low", "slip_rate_high", "overkill_rate", "overkill_rate_low")
    + ("overkill_rate_high", "f2", "recheck_share"),
)

DETECTION_STATUSES = frozenset(
    {
        "estimated",
        "no_defects",  # nobody drew a defect
        "too_few_hits",  # fewer than 10
        "too_few_misses",
        "separation",  # a size parts hits from misses: the likelihood has no maximum
        "no_growth",  # larger defects are not found more often
    }
)
DETECTION_PROBABILITY = Schema(
    "detection probability",
    (
        ("dataset", _text),
        ("method", _text),
        ("prompt", _text),
        ("unit", _text),
        ("status", _text),
        ("reason", _text),
        ("n_defects", _int),
        ("n_hits", _int),
        ("n_misses", _int),
        ("intercept", _real),  # of logit POD = intercept + slope · ln(area)
        ("slope", _real),
        ("a50", _real),  # area that is found with probability 0.5
        ("a90", _real),
        ("a90_95", _real),  # 95 % upper bound of a90; null where there is none
        ("min_covered_share", _real),
        ("smallest", _real),  # area of the smallest defect
        ("largest", _real),
        ("n_groups", _int),
        ("dataset_name", _text),
        ("method_name", _text),
        ("note", _text),
    ),
    ("dataset", "method", "prompt"),
    {"status": DETECTION_STATUSES, "unit": frozenset({"px", "mm2"})},
)
DETECTION_CURVE = Schema(
    "detection curve",
    (
        ("dataset", _text),
        ("method", _text),
        ("prompt", _text),
        ("size", _real),  # area in the unit of the detection probability table
        ("probability", _real),
        ("probability_low", _real),  # one-sided 95 % bounds
        ("probability_high", _real),
    ),
    ("dataset", "method", "prompt", "size"),
    unit_interval=("probability", "probability_low", "probability_high"),
)
DETECTION_BINS = Schema(
    "detection bins",
    (
        ("dataset", _text),
        ("method", _text),
        ("prompt", _text),
        ("size_low", _real),  # included
        ("size_high", _real),  # excluded, save in the last bin
        ("n_defects", _int),
        ("n_hits", _int),
        ("recall", _real),
        ("recall_low", _real),  # two-sided interval
        ("recall_high", _real),
    ),
    ("dataset", "method", "prompt", "size_low"),
    unit_interval=("recall", "recall_low", "recall_high"),
)

BREAKDOWN = Schema(
    "breakdown",
    (
        ("dataset", _text),
        ("method", _text),
        ("prompt", _text),
        ("by", _text),
        ("value", _text),
        ("n_images", _int),
        ("n_nok", _int),
        ("mean_iou", _real),
        ("mean_iou_low", _real),
        ("mean_iou_high", _real),
        ("slip_rate", _real),
        ("slip_rate_high", _real),
        ("overkill_rate", _real),
        ("overkill_rate_high", _real),
        ("ok_with_mask_rate", _real),  # share of good images with a mask
        ("ok_mask_area_share", _real),  # mean share of the image that such a mask covers
        ("n_answered", _int),
        ("n_scored", _int),  # defective images with truth and mask: what the IoU is taken over
        ("dataset_name", _text),
        ("method_name", _text),
        ("rank", _int),  # order of the values of one `by`
    ),
    ("dataset", "method", "prompt", "by", "value"),
    {"by": frozenset({"category", "defect_type", "defect_size"})},
    ("mean_iou", "slip_rate", "slip_rate_high", "overkill_rate", "overkill_rate_high")
    + ("ok_with_mask_rate", "ok_mask_area_share"),
)

COMPARISON = Schema(
    "comparison",
    (
        ("dataset", _text),
        ("quantity", _text),
        ("method", _text),
        ("prompt", _text),
        ("other_method", _text),
        ("other_prompt", _text),
        ("n", _int),  # parts that both were scored on
        ("difference", _real),  # value minus other value
        ("difference_low", _real),
        ("difference_high", _real),
        ("p_value", _real),
        ("p_value_holm", _real),  # within the pairs of one data set and quantity
        ("value", _real),  # of the method on those parts; of verdicts the share that is right
        ("other_value", _real),
        ("test", _text),
        ("n_pairs", _int),  # comparisons of the same data set and quantity
        ("dataset_name", _text),
        ("method_name", _text),
        ("other_method_name", _text),
    ),
    ("dataset", "quantity", "method", "prompt", "other_method", "other_prompt"),
    {"quantity": frozenset({"iou", "f2", "verdict"})},
    ("p_value", "p_value_holm"),
)

PIXEL_TABLE = Schema(
    "pixel score table",
    (
        ("dataset", _text),
        ("method", _text),
        ("prompt", _text),
        ("n_images", _int),
        ("auroc", _real),
        ("aupro", _real),
        ("f1_max", _real),
        ("uses_test_truth", _bool),
        ("n_defective", _int),
        ("n_categories", _int),  # that the scores are averaged over
        ("dataset_name", _text),
        ("method_name", _text),
        ("note", _text),
    ),
    ("dataset", "method", "prompt"),
    unit_interval=("auroc", "aupro", "f1_max"),
)

AUDIT = Schema(
    "audit",
    (
        ("dataset", _text),
        ("method", _text),  # "*" with the prompt: the check found nothing in the data set
        ("prompt", _text),
        ("check", _text),
        ("finding", _text),
        ("n_affected", _int),  # images; 0: nothing was found
        ("example", _text),
        ("consequence", _text),
        ("dataset_name", _text),
        ("method_name", _text),
    ),
    ("dataset", "method", "prompt", "check"),
    {"check": frozenset(AUDIT_CHECKS)},
)

DOMAIN_GAP = Schema(
    "domain gap",
    (
        ("dataset", _text),
        ("n_images", _int),
        ("frechet_distance", _real),  # of image features to the bank's; null for a single image
        ("nearest_neighbour_ratio", _real),  # 1: as near as everyday scenes to each other
        ("masks_per_image", _real),  # that SAM cuts out by itself; null where nobody asked it to
        ("median_predicted_iou", _real),  # quality that SAM expects of them
        ("dataset_name", _text),
    ),
    ("dataset",),
)

SELF_TEST = Schema(
    "self-test",
    (
        ("dataset", _text),
        ("method", _text),
        ("prompt", _text),
        ("mean_iou", _real),  # null: there is no score, so it has not passed
        ("least_iou", _real),  # the stored band
        ("passed", _bool),
        ("dataset_name", _text),
        ("method_name", _text),
    ),
    ("dataset", "method", "prompt"),
    unit_interval=("mean_iou", "least_iou"),
)

PANELS = Schema(
    "panels",
    (
        ("dataset", _text),
        ("image_id", _text),
        ("method", _text),
        ("prompt", _text),
        ("path", _text),  # of the PNG, relative to the folder of all results
    ),
    ("dataset", "image_id", "method", "prompt"),
)


def write_table(
    rows: pd.DataFrame | Sequence[Mapping[str, Any]],
    path: str | Path,
    *,
    schema: Schema,
    facts: Mapping[str, Any],
    sort: bool = True,
) -> None:
    """Check a table against its schema and write it as Parquet, in one step.

    Args:
        rows: The rows; other columns than the schema's are refused.
        path: File to write.
        schema: The contract.
        facts: What the numbers were computed from: settings digest, weights digests, device,
            precision, seed. Stored in the file's metadata; must hold no time of day.
        sort: Whether rows are sorted by the keys; a table for people keeps its order.

    Raises:
        ArtifactError: If a column is missing or foreign, a key is repeated, or a value lies outside
            its range; names the file, the column, the first offender and their number.
    """
    arrow = _checked(rows, schema, where=path, sort=sort)
    write_parquet(path, [arrow], schema=schema.arrow.with_metadata(_described(schema, facts)))


def write_parts(
    rows: Iterable[Mapping[str, Any]],
    path: str | Path,
    *,
    schema: Schema,
    facts: Mapping[str, Any],
    part_rows: int = PART_ROWS,
) -> None:
    """Write rows as they come, so that memory does not grow with their number; see `write_table`.

    Args:
        rows: The rows, sorted by the schema's keys.
        path: File to write.
        schema: The contract.
        facts: As for `write_table`.
        part_rows: Rows that are held at a time.

    Raises:
        ArtifactError: As for `write_table`, and if the rows are not sorted.
    """

    def parts() -> Iterator[pa.Table]:
        last: tuple[Any, ...] = ()
        pending = iter(rows)
        while part := list(itertools.islice(pending, part_rows)):
            table = _checked(part, schema, where=path)
            keys = [tuple(row[key] for key in schema.keys) for row in part]
            in_order = [last, *keys]
            for before, after in itertools.pairwise(in_order):
                if before >= after:
                    raise ArtifactError(
                        f"{path}: expected rows sorted by {', '.join(schema.keys)}, each once, "
                        f"found {after} after {before}"
                    )
            last = keys[-1]
            yield table

    write_parquet(path, parts(), schema=schema.arrow.with_metadata(_described(schema, facts)))


def _checked(
    rows: pd.DataFrame | Sequence[Mapping[str, Any]],
    schema: Schema,
    *,
    where: str | Path,
    sort: bool = True,
) -> pa.Table:
    """Check rows and, where that is wanted, sort them by their keys."""
    table = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    if not len(table) and not len(table.columns):
        table = pd.DataFrame({name: [] for name in schema.columns})
    check_table(table, schema, where=where)
    table = table[schema.columns]
    if sort:
        table = table.sort_values(list(schema.keys), kind="stable")
    if not len(table):
        # Arrow converts no empty column to a column of lists.
        return schema.arrow.empty_table()
    try:
        return pa.Table.from_pandas(table, schema=schema.arrow, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ArtifactError(
            f"{where}: a column of the {schema.name} table holds values of another type than its "
            f"schema says ({'; '.join(map(str, error.args))})"
        ) from error


def _described(schema: Schema, facts: Mapping[str, Any]) -> dict[bytes, bytes]:
    described = {
        "artifact": schema.name,
        "format": ARTIFACT_FORMAT,
        "version": package_version(),
        **facts,
    }
    return {METADATA_KEY: json.dumps(described, sort_keys=True, default=str).encode()}


def check_table(table: pd.DataFrame, schema: Schema, *, where: str | Path) -> None:
    """Check columns, keys and ranges of a table; see `write_table`."""
    missing = [c for c in schema.columns if c not in table.columns]
    foreign = [c for c in table.columns if c not in schema.columns]
    if missing or foreign:
        raise ArtifactError(
            f"{where}: a {schema.name} table has the columns {', '.join(schema.columns)}; "
            f"missing: {', '.join(missing) or 'none'}; not known: {', '.join(foreign) or 'none'}"
        )
    keys = table[list(schema.keys)]
    if keys.isna().any(axis=None):
        raise ArtifactError(f"{where}: the keys {', '.join(schema.keys)} must be filled everywhere")
    repeated = keys.duplicated()
    if repeated.any():
        first = ", ".join(map(str, keys[repeated].iloc[0]))
        raise ArtifactError(
            f"{where}: each {', '.join(schema.keys)} may occur once, but {int(repeated.sum())} of "
            f"{len(table)} rows repeat one (first: {first})"
        )
    for column, values in (schema.allowed or {}).items():
        bad = ~table[column].isin(values) & table[column].notna()
        _refuse(bad, table, column, f"one of {', '.join(sorted(values))}", schema, where)
    for column in schema.unit_interval:
        numbers = pd.to_numeric(table[column])
        bad = ((numbers < 0) | (numbers > 1)) & numbers.notna()
        _refuse(bad, table, column, "within 0 and 1", schema, where)


def _refuse(
    bad: pd.Series, table: pd.DataFrame, column: str, expected: str, schema: Schema, where: Any
) -> None:
    if bad.any():
        first = table[bad].iloc[0]
        row = ", ".join(str(first[k]) for k in schema.keys)
        raise ArtifactError(
            f"{where}: {column} must be {expected}, but {int(bad.sum())} of {len(table)} rows are "
            f"not (first: {row}: {first[column]!r})"
        )


def read_table(
    path: str | Path, *, schema: Schema, columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """Read a table and make sure that it is the one asked for.

    Raises:
        ArtifactError: If the file is no such table; says what it is and what to do.
    """
    with _opened(path, schema, columns) as file:
        return file.read(columns=list(columns or schema.columns)).to_pandas()


def read_parts(
    path: str | Path,
    *,
    schema: Schema,
    part_rows: int = PART_ROWS,
    columns: Sequence[str] | None = None,
) -> Iterator[pd.DataFrame]:
    """Read a table some rows at a time, in their order; see `read_table`."""
    with _opened(path, schema, columns) as file:
        for batch in file.iter_batches(part_rows, columns=list(columns or schema.columns)):
            yield batch.to_pandas()


def read_together(*tables: tuple[str | Path, Schema]) -> Iterator[tuple[pd.DataFrame, ...]]:
    """Read tables with one row an image side by side, some images at a time.

    Args:
        tables: Path and schema of each.

    Raises:
        ArtifactError: If they have different numbers of rows, which one row an image never gives.
    """
    numbers = {}
    for path, schema in tables:
        with _opened(path, schema) as file:
            numbers[str(path)] = file.metadata.num_rows
    if len(set(numbers.values())) > 1:
        found = ", ".join(f"{path} {number}" for path, number in numbers.items())
        raise ArtifactError(f"expected one row for each image in every table, found: {found}")
    yield from zip(*(read_parts(path, schema=schema) for path, schema in tables), strict=True)


@contextlib.contextmanager
def _opened(
    path: str | Path, schema: Schema, columns: Sequence[str] | None = None
) -> Iterator[pq.ParquetFile]:
    """Open a table's file and make sure that it is the table asked for."""
    with open_parquet(path) as file:
        missing = [c for c in columns or schema.columns if c not in file.schema_arrow.names]
        if missing:
            raise ArtifactError(
                f"{path}: expected a {schema.name} table, but the columns {', '.join(missing)} are "
                "not there; it was written by another version: delete it and run again"
            )
        yield file


def read_shards(paths: Iterable[str | Path], *, schema: Schema) -> pd.DataFrame:
    """Read the tables of several shards as one."""
    return pd.concat([read_table(p, schema=schema) for p in paths], ignore_index=True)


def read_facts(path: str | Path) -> dict[str, Any]:
    """Metadata that `write_table` stored: version, digests, device, precision."""
    with open_parquet(path) as file:
        raw = (file.schema_arrow.metadata or {}).get(METADATA_KEY)
    return json.loads(raw) if raw else {}


def gather(paths: Iterable[str | Path], path: str | Path, *, schema: Schema) -> None:
    """Merge shard tables into one, some rows at a time; a fact that differs becomes a list."""
    paths = list(paths)
    facts = [read_facts(p) for p in paths]
    merged: dict[str, Any] = {}
    for key in sorted({k for f in facts for k in f} - {"artifact", "format", "version"}):
        values = [f.get(key) for f in facts]
        distinct = [v for i, v in enumerate(values) if v not in values[:i]]
        merged[key] = distinct[0] if len(distinct) == 1 else distinct

    def rows_of(shard: str | Path) -> Iterator[dict[str, Any]]:
        with _opened(shard, schema) as file:
            for batch in file.iter_batches(PART_ROWS // len(paths) + 1, columns=schema.columns):
                yield from batch.to_pylist()

    rows = heapq.merge(*map(rows_of, paths), key=lambda row: [row[key] for key in schema.keys])
    write_parts(rows, path, schema=schema, facts=merged)


def check_rows(table: pd.DataFrame, image_ids: Iterable[str], *, where: str | Path) -> None:
    """Check that a table has a row for every image of the manifest and no other.

    Raises:
        ArtifactError: With counts and the first offenders.
    """
    wanted, found = set(image_ids), set(table["image_id"])
    if wanted != found:
        lost, extra = sorted(wanted - found), sorted(found - wanted)
        raise ArtifactError(
            f"{where}: expected one row for each of {len(wanted)} images; {len(lost)} are missing "
            f"(first: {lost[:1]}), {len(extra)} are not in the manifest (first: {extra[:1]})"
        )


def encode_mask(mask: np.ndarray) -> str:
    """Compress a mask, bool (H, W), to COCO counts."""
    from pycocotools import mask as coco

    return coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode("ascii")


def decode_mask(counts: str, *, height_px: int, width_px: int) -> np.ndarray:
    """Unpack COCO counts to a mask, bool (H, W)."""
    from pycocotools import mask as coco

    return coco.decode({"size": [height_px, width_px], "counts": counts.encode()}).astype(bool)


def masks_of(table: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Image id and mask, bool (H, W), of each row of a masks table."""
    for row in table.itertuples():
        yield (
            row.image_id,
            decode_mask(
                row.mask_rle,
                height_px=int(row.mask_height_px),
                width_px=int(row.mask_width_px),
            ),
        )


def image_file(folder: str | Path, image_id: str) -> Path:
    """File of an aligned image, a mask or a truth mask below the folder of its kind."""
    return Path(folder) / f"{image_id}.png"
