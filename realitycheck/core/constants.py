"""Names that settings, tables and paths share. Imported by every job, so it imports nothing."""

#: Prompt name of methods that need no text prompt; it fills the `{prompt}` part of their paths.
NO_PROMPT = "none"

#: Floors with a mask or a verdict for each image; see `realitycheck.metrics.baselines`. The coin at
#: the prevalence has expected counts only and joins in the table.
MASK_FLOORS = ("whole_image",)
LABEL_FLOORS = ("reject_everything", "accept_everything")

#: Ends the name of a mask method where its verdict is by predicted area, not by any mask at all.
AREA_SUFFIX = "_area"

#: Begins the note on rows of methods whose networks ran on a file of the user's.
OWN_WEIGHTS = "weights of "

#: Note on masks by a model that learned from labelled images, and never from the image at hand.
OUT_OF_FOLD_NOTE = "trained on labelled images of the other folds"

#: What the audit looks for. `group_in_two_folds` has no setting: folds are ours, and a group that
#: lies in two of them is a bug of this program. Nor have the last two: they invalidate no score.
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

#: Verdicts, and what they are compared with: a good part, and a defective one.
LABELS = ("OK", "NOK")

#: What images are for: to be learned from, and to be scored.
SPLITS = ("train", "test")

#: What became of an image in alignment; see `realitycheck.alignment.Alignment`.
ALIGNMENT_STATUSES = ("aligned", "kept_original", "not_requested")

#: Default of the largest image that is decoded, in MB (10^6 bytes) of its samples: some 14,000 x
#: 14,000 pixels in colour. A small file can unpack to fill the memory.
MAX_DECODED_MB = 600

#: File name endings, in lower case, that the listings of data sets take for images.
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")

#: What can become of a question to a vision language model, or to somebody else. Only `answered`
#: has a label.
VERDICT_STATUSES = (
    "answered",  # a label, a score and a reasoning
    "refused",  # the model or a filter declined; finish_reason says why
    "prompt_blocked",  # the request was turned away before the model; finish_reason says why
    "truncated",  # the token limit was reached, by thinking or by the answer
    "stopped",  # ended for a reason that is none of the known ones; finish_reason holds it
    "empty",  # a reply without any text
    "not_in_schema",  # a text that is not the object asked for
    "unreadable",  # a reply that is no reply of this kind of service
    "failed",  # no reply, after all tries; finish_reason says what happened
    "wrong_model",  # another model answered than was asked; kept, not scored
    "not_asked",  # never sent; finish_reason says why
    "missing",  # made elsewhere, and there is none of this image
)
