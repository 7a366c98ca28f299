"""Tables between stages: their schemas, how they are read and written.

A table is Parquet, keys first, one observation a row. It is checked against its schema when it is
written, appears in one step, is read only as it was written (`parquet`), holds no time stamp, and
carries in its metadata the package version and the digests of what it was computed from. So the
same inputs give the same bytes.
"""

from __future__ import annotations

import pyarrow as pa

from realitycheck.core.constants import AUDIT_CHECKS, VERDICT_STATUSES
from realitycheck.core.tables import Schema, _bool, _int, _real, _text

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
        (
            "mask_reading",
            _text,
        ),  # JSON of `realitycheck.core.masks.MaskReading`; null without a mask
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

#: Score maps as a method computed them, one value for each patch.
SCORE_GRIDS = Schema(
    "score grids",
    (
        ("dataset", _text),
        ("image_id", _text),
        ("method", _text),
        ("prompt", _text),
        ("n_rows", _int),
        ("values", pa.list_(pa.float32())),  # row by row
    ),
    ("dataset", "image_id", "method", "prompt"),
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
