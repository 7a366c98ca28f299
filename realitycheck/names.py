"""Names that settings, tables and paths share. Imported by every job, so it imports nothing."""

#: Prompt name of methods that need no text prompt; it fills the `{prompt}` part of their paths.
NO_PROMPT = "none"

#: Floors with a mask or a verdict for each image; see `realitycheck.methods.floors`. The coin at
#: the prevalence has expected counts only and joins in the table.
MASK_FLOORS = ("whole_image",)
LABEL_FLOORS = ("reject_everything", "accept_everything")

#: Ends the name of a mask method where its verdict is by predicted area, not by any mask at all.
AREA_SUFFIX = "_area"

#: Note on rows of methods that ran on networks with random weights.
UNTRAINED_NOTE = "untrained miniature"

#: Note on masks by a model that learned from labelled images, and never from the image at hand.
OUT_OF_FOLD_NOTE = "trained on labelled images of the other folds"

#: What the audit looks for. `group_in_two_folds` has no setting: folds are ours, and a group that
#: lies in two of them is a fault of this program. Nor have the last two: they void no number.
AUDIT_CHECKS = (
    "reference_is_scored",
    "group_in_two_splits",
    "group_in_two_folds",
    "near_duplicate_across_splits",
    "near_duplicate_parts",
    "size_by_label",
    "threshold_on_scored",
    "prompt_names_defects",
    "truth_by_rule",
    "defects_lost",
)

#: Default of the largest image that is decoded, in MB (10^6 bytes) of its samples: some 14,000 x
#: 14,000 pixels in colour. A small file can unpack to fill the memory.
MAX_DECODED_MB = 600
