"""Which image a prediction is of, by whatever name its file gives it.

Free of pandas, because `realitycheck check` and planning look at names, too.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from realitycheck.core.constants import IMAGE_SUFFIXES
from realitycheck.datasets.records import Fault, nfc

_DIGEST = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)


class Image(NamedTuple):
    """An image that may be named.

    Attributes:
        image_id: Its id.
        path: Its file.
        sha256: Digest of the file; None where it is not known yet.
    """

    image_id: str
    path: str
    sha256: str | None = None


class Prediction(NamedTuple):
    """What a source says of one image.

    Attributes:
        names: By which the image may be called, likeliest first.
        where: Its file.
        place: Where in the file, with a blank at its start; empty: all of it.
        content: What is read from it, or how.
    """

    names: tuple[str, ...]
    where: Path
    place: str
    content: Any


class PredictionError(ValueError):
    """What is wrong with the files of a source, all of it.

    Attributes:
        faults: The faults.
    """

    def __init__(self, faults: list[Fault]):
        self.faults = faults
        noun = "fault" if len(faults) == 1 else "faults"
        lines = "\n".join(f"  {fault}" for fault in faults)
        super().__init__(f"{len(faults)} {noun} in imported predictions:\n{lines}")


class Names:
    """Images by their names: image id, path or the end of it, unique file name, sha256.

    Args:
        images: Every image of the data set.
    """

    def __init__(self, images: Iterable[Image]):
        self._ids: dict[str, str] = {}
        self._digests: dict[str, list[str]] = defaultdict(list)
        self._files: dict[str, list[tuple[str, tuple[str, ...]]]] = defaultdict(list)
        for image in images:
            self._ids[image.image_id] = image.image_id
            if image.sha256:
                self._digests[image.sha256].append(image.image_id)
            *folders, file = _parts(image.path)
            self._files[file].append((image.image_id, tuple(folders)))
            if (stem := _without_ending(file)) != file:
                self._files[stem].append((image.image_id, tuple(folders)))

    def may_know(self, name: str) -> bool:
        """Whether a name can be looked up: a digest cannot before files are digested."""
        return bool(self._digests) or not _DIGEST.fullmatch(name.strip())

    def find(self, name: str) -> list[str]:
        """Ids of the images that a name may be of: none, one, or, if it is ambiguous, several."""
        if _DIGEST.fullmatch(name.strip()):
            return self._digests.get(name.strip().lower(), [])
        parts = _parts(name)
        if not parts:
            return []
        *folders, file = parts
        for last in dict.fromkeys((file, _without_ending(file))):
            if (image_id := "/".join((*folders, last))) in self._ids:
                return [image_id]
            start = tuple(folders)
            found = [
                image_id
                for image_id, of_image in self._files.get(last, ())
                if not start or of_image[-len(start) :] == start
            ]
            if found:
                return list(dict.fromkeys(found))
        return []


def matched(
    predictions: Iterable[Prediction], names: Names
) -> tuple[dict[str, list[Prediction]], list[Fault]]:
    """Give the predictions of each image, and a fault for each name of none, or of several."""
    by_image: dict[str, list[Prediction]] = defaultdict(list)
    faults = []
    for each in predictions:
        found = next((ids for name in each.names if (ids := names.find(name))), [])
        if len(found) == 1:
            by_image[found[0]].append(each)
            continue
        if not names.may_know(each.names[0]):
            continue
        if found:
            problem = f"is the name of {len(found)} images ({', '.join(found[:3])}"
            problem += ", …)" if len(found) > 3 else ")"
            remedy = "name the image by its path or its image id"
        else:
            problem = "is the name of no image of the data set"
            remedy = (
                "name the image by its image id, its path, its unique file name or the sha256 of "
                "its file, or remove the prediction"
            )
        faults.append(Fault(each.where, f"{each.names[0]!r}{each.place} {problem}", remedy))
    return dict(by_image), faults


def doubled(by_image: Mapping[str, list[Prediction]]) -> list[Fault]:
    """Give a fault for each image that more than one prediction is of."""
    return [
        Fault(
            found[0].where,
            f"expected one prediction of {image_id}, found {len(found)}: "
            + ", ".join(f"{each.names[0]!r}{each.place}" for each in found[:4]),
            "keep one",
        )
        for image_id, found in by_image.items()
        if len(found) > 1
    ]


def _parts(name: str) -> list[str]:
    parts = nfc(name.strip()).replace("\\", "/").split("/")
    return [part for part in parts if part not in ("", ".")]


def _without_ending(file: str) -> str:
    stem, point, ending = file.rpartition(".")
    return stem if point and stem and f".{ending.lower()}" in IMAGE_SUFFIXES else file
