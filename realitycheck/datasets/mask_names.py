"""How masks are called: names of their folders, and what tells a mask's name from its image's."""

import re

from realitycheck.datasets.records import nfc

#: What a mask's file name has before or behind that of its image.
_WORD = r"(?:masks?|gt|ground[ _-]?truth|labels?|seg|segmentation|annotations?)"
_ENDING = re.compile(rf"^(.+?)[ ._-]+{_WORD}$", re.IGNORECASE)
_START = re.compile(rf"^{_WORD}[ ._-]+(.+)$", re.IGNORECASE)
_FOLDER = re.compile(rf"(?:^|.*[ ._-]){_WORD}$", re.IGNORECASE)

#: Folders below `root` that hold masks, in lower case.
MASK_FOLDERS = ("masks", "mask", "ground_truth", "groundtruth", "gt")


def image_stems(stem: str) -> list[str]:
    """List what the image of a mask may be called, likeliest first: `7_mask` is of `7_mask` or `7`.

    Args:
        stem: The mask's file name without its ending.

    Returns:
        Stems, composed (NFC).
    """
    stem = nfc(stem)
    matches = (_ENDING.match(stem), _START.match(stem))
    return [stem, *(match[1] for match in matches if match)]


def is_mask_folder(name: str) -> bool:
    """Whether a folder is named as one of masks: `masks`, `ground_truth`, `NOK_masks`, …."""
    return bool(_FOLDER.match(nfc(name)))
