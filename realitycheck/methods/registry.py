"""Kinds of methods by their names: which folder holds each, of this package or of somebody's own.

A method from elsewhere is an entry point of the group `realitycheck.methods`: its name is the kind,
its value a package that holds the modules that `realitycheck.methods.base` names. They are read by
one kind's name at a time, so an edit of one method runs no other.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Union

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
            *("imported", "command"),
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
    registry = BASELINES if kind in BASELINES else METHODS
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


def facts_of(kind: str, settings: Mapping[str, Any]) -> type[MethodBlock] | MethodBlock:
    """Whose facts a job goes by: the class of the kind, or the block where those hang on it.

    Args:
        kind: The kind.
        settings: The block as plain values, as a job is told it.
    """
    block = block_of(kind)
    if not block.gives_either:
        return block
    # They were checked when they were read; as plain values they hold what was not given, too.
    return block.model_construct(**{k: v for k, v in settings.items() if k in block.model_fields})


@functools.cache
def blocks() -> Mapping[str, type[MethodBlock]]:
    """The settings class of every kind that the settings may name."""
    return {kind: block_of(kind) for kind in METHODS}


class Family(NamedTuple):
    """Methods that share the rules of a stage.

    Attributes:
        name: What the names of the rules end in.
        kind: The kind.
        block: Whose facts the rules go by: the class of the kind, or the one block.
        methods: Names of the method blocks.
    """

    name: str
    kind: str
    block: type[MethodBlock] | MethodBlock
    methods: tuple[str, ...]


def segmenters(methods: Mapping[str, MethodBlock]) -> list[Family]:
    """Those that give masks, of every kind that there is, baselines last.

    Args:
        methods: The method blocks of the settings.
    """
    baselines = [Family(kind, kind, block_of(kind), (kind,)) for kind in BASELINES]
    return [each for each in _families(methods) if each.block.gives_masks] + baselines


def classifiers(methods: Mapping[str, MethodBlock]) -> list[Family]:
    """Those that give verdicts by themselves, without asking a service; see `segmenters`."""
    return [
        each
        for each in _families(methods)
        if not each.block.gives_masks and not each.block.asks_service
    ]


def _families(methods: Mapping[str, MethodBlock]) -> Iterator[Family]:
    for kind, block in blocks().items():
        own = {name: each for name, each in methods.items() if each.kind == kind}
        if block.gives_either:
            yield from (Family(f"{kind}_{name}", kind, each, (name,)) for name, each in own.items())
        else:
            yield Family(kind, kind, block, tuple(own))


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
