"""The tables between stages: columns with units and ranges, keys, closed lists of values."""

from __future__ import annotations

import pyarrow as pa

from realitycheck.core.constants import (
    ALIGNMENT_STATUSES,
    AUDIT_CHECKS,
    LABELS,
    SPLITS,
    VERDICT_STATUSES,
)
from realitycheck.core.tables import BOOLEAN, INTEGER, REAL, TEXT, Schema

MASK_STATUSES = frozenset(
    {
        "ok",  # a mask was found
        "no_box",  # the detector found nothing
        "empty",  # the method found no region
        "no_mask",  # the automatic generator found nothing
        "nothing_selected",  # no automatic mask fits the text
        "constant_map",  # the similarity map is flat
        "not_comparable",  # not aligned, and of another size than the reference
        "missing",  # made elsewhere, and there is none of this image
    }
)
#: Statuses of a mask that is none: the method could not judge the image, which stays unanswered.
NOT_JUDGED = frozenset({"not_comparable", "missing"})
TRUTH_STATUSES = frozenset(
    {
        "complete",  # every defect lies on the canvas, or there is none
        "partly_lost",  # alignment moved some defect pixels beyond it
        "lost",  # and here all of them
        "not_drawn",  # defective, but without a mask
    }
)

MANIFEST = Schema(
    "manifest",
    (
        ("dataset", TEXT),
        ("image_id", TEXT),  # category/…/stem, safe as a path
        ("category", TEXT),
        ("label", TEXT),
        ("defect_type", TEXT),  # null on good parts and where none is known
        ("split", TEXT),  # test: scored; train: thresholds and references
        ("group", TEXT),  # views of one part, one lot; null: every image is its own part
        ("image_path", TEXT),
        ("mask_path", TEXT),  # null where there is no mask
        ("width_px", INTEGER),
        ("height_px", INTEGER),
        ("bit_depth", INTEGER),
        ("n_channels", INTEGER),
        ("sha256", TEXT),
        ("mask_sha256", TEXT),
        (
            "mask_reading",
            TEXT,
        ),  # JSON of `realitycheck.core.masks.MaskReading`; null without a mask
    ),
    ("dataset", "image_id"),
    {"label": LABELS, "split": SPLITS},
)

#: What a file below a data set's folder is used as.
FILE_USES = ("image", "mask", "list", "not used")

INVENTORY = Schema(
    "inventory",
    (
        ("dataset", TEXT),
        ("folder", TEXT),  # below `root`, "." for itself; path of a list, or of what is not used
        ("used_as", TEXT),
        ("form", TEXT),  # ending; bits and channels of images, encoding of lists
        ("n_files", INTEGER),
        ("n_views", INTEGER),  # of the images, those that show a part which others show, too
        ("reason", TEXT),  # why it is not used; empty where it is
        ("remedy", TEXT),  # what to do if it is to be used; empty where it is
    ),
    ("dataset", "folder", "used_as", "form", "reason"),
    {"used_as": frozenset(FILE_USES)},
)

REFERENCES = Schema(
    "references",
    (
        ("dataset", TEXT),
        ("category", TEXT),
        ("image_id", TEXT),  # null where the reference is no image of the data set
        ("image_path", TEXT),
        ("sha256", TEXT),
        ("is_scored", BOOLEAN),  # whether the reference is itself among the scored images
    ),
    ("dataset", "category"),
)

TRANSFORMS = Schema(
    "transforms",
    (
        ("dataset", TEXT),
        ("image_id", TEXT),
        ("category", TEXT),
        ("status", TEXT),
        *((f"m{r}{c}", REAL) for r in range(3) for c in range(3)),  # reference ← image, px
        ("residual_before", REAL),  # 0 same, 1 unrelated; null without a reference
        ("residual_after", REAL),
        ("overlap", REAL),  # share of the reference's canvas that the image covers
        ("width_px", INTEGER),  # of the aligned image
        ("height_px", INTEGER),
        ("pixels_sha256", TEXT),  # of the aligned pixels
    ),
    ("dataset", "image_id"),
    {"status": ALIGNMENT_STATUSES},
    ("overlap",),
)

TRUTH = Schema(
    "truth",
    (
        ("dataset", TEXT),
        ("image_id", TEXT),
        ("has_truth", BOOLEAN),  # false: defective, but without a mask
        ("truth_px", INTEGER),  # defect pixels, those among them that are lost
        ("undecided_px", INTEGER),
        ("pixels_sha256", TEXT),
        ("status", TEXT),
        ("lost_px", INTEGER),  # defect pixels that alignment moved beyond the canvas
        # Where some are lost: all defect pixels, on a canvas that holds them (COCO counts), and the
        # place of the reference's canvas on it.
        ("whole_rle", TEXT),
        ("whole_height_px", INTEGER),
        ("whole_width_px", INTEGER),
        ("left_px", INTEGER),
        ("top_px", INTEGER),
    ),
    ("dataset", "image_id"),
    {"status": TRUTH_STATUSES},
)

ENCODINGS = Schema(
    "encodings",
    (
        ("dataset", TEXT),
        ("image_id", TEXT),
        ("key", TEXT),  # of the entry in the store
        ("storage_error", REAL),  # largest loss of the stored values, relative to their spread;
        # null where they are stored as they are
        ("latency_s", REAL),  # of the computation, whenever that was
    ),
    ("dataset", "image_id"),
)

BOXES = Schema(
    "boxes",
    (
        ("dataset", TEXT),
        ("image_id", TEXT),
        ("prompt", TEXT),
        ("box_id", INTEGER),  # the detector's query behind the box
        ("text", TEXT),
        ("x_min", REAL),
        ("y_min", REAL),
        ("x_max", REAL),
        ("y_max", REAL),
        ("score", REAL),
        ("token_scores", pa.list_(pa.float32())),  # one a token
        ("tokens", pa.list_(TEXT)),  # word pieces of the text, [CLS] … [SEP]
        ("relative_box", pa.list_(pa.float32())),  # the detector's own cx, cy, w, h
    ),
    ("dataset", "image_id", "prompt", "text", "box_id"),
    unit_interval=("score",),
)

THRESHOLDS = Schema(
    "thresholds",
    (
        ("dataset", TEXT),
        ("image_id", TEXT),
        ("threshold", REAL),
        ("fold", INTEGER),  # whose other folds set it; null: set by images that are not scored
    ),
    ("dataset", "image_id"),
)

#: Score maps as a method computed them, one value for each patch.
SCORE_GRIDS = Schema(
    "score grids",
    (
        ("dataset", TEXT),
        ("image_id", TEXT),
        ("method", TEXT),
        ("prompt", TEXT),
        ("n_rows", INTEGER),
        ("values", pa.list_(pa.float32())),  # row by row
    ),
    ("dataset", "image_id", "method", "prompt"),
)

ANOMALY_MAPS = Schema(
    "anomaly maps",
    (
        ("dataset", TEXT),
        ("image_id", TEXT),
        ("prompt", TEXT),
        ("height_px", INTEGER),
        ("width_px", INTEGER),
        # The map is the sum of mask · score, divided by 1 + the number of masks, at each pixel.
        ("mask_rles", pa.list_(TEXT)),
        ("mask_scores", pa.list_(pa.float32())),
        ("n_boxes", INTEGER),
        ("object_area", REAL),  # largest box of the product, relative to the image
        ("score", REAL),
        ("status", TEXT),
        ("latency_s", REAL),
    ),
    ("dataset", "image_id", "prompt"),
    {"status": MASK_STATUSES},
)

MASKS = Schema(
    "masks",
    (
        ("dataset", TEXT),
        ("image_id", TEXT),
        ("method", TEXT),
        ("prompt", TEXT),
        ("mask_height_px", INTEGER),
        ("mask_width_px", INTEGER),
        ("mask_rle", TEXT),  # COCO compressed counts
        ("score", REAL),  # null where the method gives none
        ("n_regions", INTEGER),
        ("status", TEXT),
        ("latency_s", REAL),
    ),
    ("dataset", "image_id", "method", "prompt"),
    {"status": MASK_STATUSES},
)

VERDICTS = Schema(
    "verdicts",
    (
        ("dataset", TEXT),
        ("image_id", TEXT),
        ("method", TEXT),
        ("prompt", TEXT),
        ("sample", INTEGER),
        ("label_predicted", TEXT),
        ("score", REAL),
        ("reasoning", TEXT),
        ("status", TEXT),
        ("fold", INTEGER),
        ("model_requested", TEXT),
        ("model_returned", TEXT),
        ("finish_reason", TEXT),
        ("tokens_in", INTEGER),
        ("tokens_out", INTEGER),
        ("tokens_thinking", INTEGER),
        ("cost_usd", REAL),
        ("latency_s", REAL),
    ),
    ("dataset", "image_id", "method", "prompt", "sample"),
    {"label_predicted": LABELS, "status": VERDICT_STATUSES},
    ("score",),
)

SCORES = Schema(
    "scores",
    (
        ("dataset", TEXT),
        ("image_id", TEXT),
        ("method", TEXT),
        ("prompt", TEXT),
        ("category", TEXT),
        ("group", TEXT),
        ("label", TEXT),
        ("label_predicted", TEXT),
        ("score", REAL),
        ("iou", REAL),  # null where it is undefined: good parts, parts without truth
        ("intersection_px", INTEGER),
        ("union_px", INTEGER),
        ("truth_px", INTEGER),
        ("predicted_px", INTEGER),
        ("lost_px", INTEGER),  # of truth_px: what alignment moved beyond the canvas
        ("defect_type", TEXT),
        ("status", TEXT),
    ),
    ("dataset", "image_id", "method", "prompt"),
    {"label": LABELS, "label_predicted": LABELS},
    ("iou",),
)

DEFECTS = Schema(
    "defects",
    (
        ("dataset", TEXT),
        ("image_id", TEXT),
        ("defect_id", INTEGER),  # connected components of the truth mask of one image, from 1
        ("method", TEXT),
        ("prompt", TEXT),
        ("category", TEXT),
        ("group", TEXT),
        ("defect_type", TEXT),
        ("area_px", INTEGER),  # in pixels of the aligned image, those beyond its canvas among them
        ("lost_px", INTEGER),  # of these: what alignment moved beyond the canvas
        ("area_mm2", REAL),  # null without `pixel_pitch_mm`
        ("covered_share", REAL),  # of its area that the method predicts
        ("is_hit", BOOLEAN),  # whether that is `evaluation.min_covered_share` or more
    ),
    ("dataset", "image_id", "defect_id", "method", "prompt"),
    unit_interval=("covered_share",),
)

PIXEL_SCORES = Schema(
    "pixel scores",
    (
        ("dataset", TEXT),
        ("method", TEXT),
        ("prompt", TEXT),
        ("category", TEXT),
        ("n_images", INTEGER),  # with ground truth, good ones with it
        ("n_defective", INTEGER),
        ("auroc", REAL),
        ("aupro", REAL),  # up to a false positive rate of 0.3
        ("f1_max", REAL),
        ("f1_max_threshold", REAL),
        ("uses_test_truth", BOOLEAN),  # true: the threshold of the best F1 is taken from the truth
    ),
    ("dataset", "method", "prompt", "category"),
    unit_interval=("auroc", "aupro", "f1_max"),
)

#: Method and prompt of a check of the whole data set.
WHOLE_DATASET = "*"

AUDIT_FINDINGS = Schema(
    "audit findings",
    (
        ("dataset", TEXT),
        ("check", TEXT),
        ("finding", TEXT),
        ("n_affected", INTEGER),  # images; 0: nothing was found
        ("example", TEXT),
    ),
    ("dataset", "check"),
    {"check": frozenset(AUDIT_CHECKS)},
)

PANELS = Schema(
    "panels",
    (
        ("dataset", TEXT),
        ("image_id", TEXT),
        ("method", TEXT),
        ("prompt", TEXT),
        ("path", TEXT),  # of the PNG, relative to the folder of all results
    ),
    ("dataset", "image_id", "method", "prompt"),
)
