"""Sizes and numbers of images that a service accepts, checked before the first question."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from realitycheck.lvlm.questions import Picture, Question, encoded_png

_PNG_OVERHEAD = 1.002
"""A PNG file is at most this times larger than its pixels, and 1,000 bytes."""

_N_TOLD = 5


@dataclass(frozen=True)
class ImageLimits:
    """What a service accepts in one request; None: no known limit.

    Attributes:
        image_bytes: Largest encoded image.
        request_bytes: Largest sum of encoded images, before they are written as text.
        n_images: Most images.
    """

    image_bytes: int | None = None
    request_bytes: int | None = None
    n_images: int | None = None


def check_images(questions: Iterable[Question], limits: ImageLimits) -> None:
    """Refuse questions whose images a service would turn away.

    An image is encoded only if its pixels do not show already that it is small enough.

    Raises:
        ValueError: Naming the images, what is too much, and the settings to change.
    """
    faults = [fault for question in questions if (fault := _fault(question, limits)) is not None]
    if faults:
        more = f"; and {len(faults) - _N_TOLD} more" if len(faults) > _N_TOLD else ""
        raise ValueError(
            f"{len(faults)} questions hold more than the service accepts: "
            + "; ".join(faults[:_N_TOLD])
            + f"{more}. Set a smaller max_side_px under the method, or show fewer images (examples "
            "and reference of the prompt set)"
        )


def _fault(question: Question, limits: ImageLimits) -> str | None:
    where, pictures = f"image {question.image_id}", question.pictures
    if limits.n_images is not None and len(pictures) > limits.n_images:
        return f"{where}: {len(pictures)} images in one question, at most {limits.n_images} allowed"
    for picture in pictures:
        if limits.image_bytes is not None and _most_bytes(picture) > limits.image_bytes:
            size = len(encoded_png(picture))
            if size > limits.image_bytes:
                return (
                    f"{where}: an image of {picture.width_px} x {picture.height_px} px takes "
                    f"{size:,} bytes as PNG, at most {limits.image_bytes:,} allowed"
                )
    if (
        limits.request_bytes is not None
        and sum(map(_most_bytes, pictures)) > limits.request_bytes
        and (size := sum(len(encoded_png(picture)) for picture in pictures)) > limits.request_bytes
    ):
        return (
            f"{where}: the images of the question take {size:,} bytes as PNG, at most "
            f"{limits.request_bytes:,} allowed"
        )
    return None


def _most_bytes(picture: Picture) -> float:
    return _PNG_OVERHEAD * picture.height_px * (3 * picture.width_px + 1) + 1_000
