"""Words for people that tables, figures, panels and the page share."""

from __future__ import annotations

from typing import NamedTuple


class Words(NamedTuple):
    """What a status is called, and what it means in a sentence; nothing where the name says it."""

    short: str
    sentence: str = ""


#: Every status that a mask or an answer can have.
STATUS_WORDS = {
    "ok": Words("mask found", "a mask was found"),
    "no_box": Words("no box found", "the detector found no box to cut out, so the mask is empty"),
    "empty": Words("no region left", "no region is left, so the mask is empty"),
    "no_mask": Words(
        "SAM cut nothing out",
        "SAM cut nothing out of the image, so there was nothing to choose from",
    ),
    "nothing_selected": Words(
        "no mask fits the text", "none of SAM's masks fits the prompt well enough"
    ),
    "constant_map": Words(
        "similarity is the same everywhere",
        "the similarity map is the same everywhere, so there is no place to point at",
    ),
    "not_comparable": Words(
        "not comparable to the reference",
        "the image is not aligned and has another size than the reference",
    ),
    "missing": Words(
        "no prediction", "what was imported holds nothing of this image, which has no verdict"
    ),
    "no_threshold": Words("too few good parts for a threshold"),
    "answered": Words("answered"),
    "refused": Words("refused by the model"),
    "prompt_blocked": Words("question blocked"),
    "truncated": Words("answer cut short"),
    "stopped": Words("stopped"),
    "not_in_schema": Words("answer out of form"),
    "unreadable": Words("reply unreadable"),
    "failed": Words("no reply", "the program could not judge the image"),
    "wrong_model": Words("another model answered"),
    "not_asked": Words("not asked"),
}
#: Of an answer `empty` means something else.
EMPTY_ANSWER = "empty answer"
