"""Kinds of methods by their names: which folder holds each, of this package or of somebody's own.

A method from elsewhere is an entry point of the group `realitycheck.methods`: its name is the kind,
its value a package that holds the modules that `realitycheck.methods.base` names. They are read by
one kind's name at a time, so an edit of one method runs no other.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field

from realitycheck.core.registry import Registry
from realitycheck.methods.settings import MethodBlock

#: In the order in which the settings' schema lists them.
METHODS = Registry(
    "method",
    group="realitycheck.methods",
    shipped={
        kind: f"realitycheck.methods.{kind}"
        for kind in (
            *("grounded_sam", "sam_clip", "clip_surgery_sam", "saa_plus", "pixel_difference"),
            *("few_shot", "adapted_sam", "lvlm", "clip_zero_shot", "tuned_clip", "resnet_mlp"),
            "imported",
        )
    },
)

#: Baselines that the mask methods' rule makes; they have no block in the settings.
BASELINES = Registry(
    "baseline",
    group="realitycheck.baselines",
    shipped={"whole_image": "realitycheck.methods.whole_image"},
)


def open_part(kind: str, part: str) -> ModuleType:
    """Import a module of a kind's folder.

    Args:
        kind: The kind.
        part: `settings`, `segmenter`, `views`, `classifier` or `prompts`.

    Raises:
        RegistryError: If the kind is not known; names those that are.
        ModuleNotFoundError: If its folder has no such module.
    """
    return importlib.import_module(f"{_folder(kind)}.{part}")


def _folder(kind: str) -> str:
    registry = BASELINES if kind in BASELINES.modules else METHODS
    return registry.module_of(kind)


def code_of_part(kind: str, part: str) -> list[str]:
    """What the digest of a job that runs a part of a kind starts at; see `source_digest`.

    Of a package from elsewhere, whose imports are not followed, every module of the folder counts,
    but for the views where there is no view, and the block, whose settings the job is told.
    """
    folder = _folder(kind)
    if folder.startswith("realitycheck."):
        return [f"{folder}.{part}"]
    found = Path(importlib.util.find_spec(f"{folder}.{part}").origin)
    others = {"settings.py", "views.py"} - {found.name}
    return [str(path) for path in sorted(found.parent.rglob("*.py")) if path.name not in others]


@functools.cache
def block_of(kind: str) -> type[MethodBlock]:
    """The settings class of a kind."""
    return open_part(kind, "settings").Settings


@functools.cache
def blocks() -> Mapping[str, type[MethodBlock]]:
    """The settings class of every kind that the settings may name."""
    return {kind: block_of(kind) for kind in METHODS.modules}


def segmenters() -> dict[str, type[MethodBlock]]:
    """The settings class of every kind that may give masks, baselines last."""
    known = {
        kind: block for kind, block in blocks().items() if block.gives_either or block.gives_masks
    }
    return known | {kind: block_of(kind) for kind in BASELINES.modules}


def classifiers() -> dict[str, type[MethodBlock]]:
    """The settings class of every kind that may give verdicts, without asking a service."""
    return {
        kind: block
        for kind, block in blocks().items()
        if (block.gives_either or not block.gives_masks) and not block.asks_service
    }


def detector_captions(composed: Mapping[str, Any], category: str) -> list[str]:
    """Captions that a kind makes of its prompts for images of a category.

    Args:
        composed: `kind`, `told` and `settings`, from `MethodBlock.caption_settings`.
        category: The category.
    """
    captions_of = open_part(composed["kind"], "prompts").detector_captions
    return captions_of(composed["told"], category, **composed["settings"])


def known_prompts() -> list[str]:
    """Names of products whose prompts a kind knows by itself."""
    return [name for block in blocks().values() for name in block.known_prompts()]


if TYPE_CHECKING:
    MethodSettings = MethodBlock
else:
    MethodSettings = Annotated[Union[tuple(blocks().values())], Field(discriminator="kind")]  # noqa: UP007
