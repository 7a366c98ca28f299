"""Settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from realitycheck.core.settings import (
    Category,
    FilePath,
    Strict,
)

# --------------------------------------------------------------------------------- prompts, methods


class SaaPlusPrompt(Strict):
    """SAA+'s prompts for a product; see `realitycheck.methods.saa_plus.prompts.SaaPlusPrompts`."""

    class_name: str = Field(min_length=1, description="the product's name in general prompts")
    object_name: str | None = Field(
        None, description="what to look for to learn the product's size; default: class_name"
    )
    class_prompts: tuple[tuple[str, str], ...] = Field(
        (), description="pairs [caption, phrase]: a box whose label holds the phrase is dropped"
    )
    general_prompts: bool = Field(True, description="also ask 'defect on', 'damage on', 'flaw on'")
    n_objects: int = Field(1, ge=1, description="how many products an image shows")
    max_masks: int = Field(5, ge=1, description="how many masks at most make up the map")
    area_ratio: float = Field(
        0.9,
        gt=0,
        le=2,
        description="a defect's box is smaller than this share of the product's largest box; above "
        "1 where the whole product may be what is looked for, as with a cat",
    )

    @model_validator(mode="after")
    def _check_prompts(self) -> SaaPlusPrompt:
        if not self.general_prompts and not self.class_prompts:
            raise ValueError("SAA+ needs general_prompts or at least one of class_prompts")
        return self


class LvlmExample(Strict):
    """A labelled image that stands in a question."""

    image: FilePath = Field(description="path")
    label: Literal["OK", "NOK"]


class PromptSettings(Strict):
    """One named set of prompts. Editing it re-runs what uses it, nothing else."""

    segmentation: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description="phrases for the text-prompted segmenters, such as 'defect'"
    )
    saa_plus: Literal["auto"] | dict[Category, str | SaaPlusPrompt] | None = Field(
        None,
        description="prompts of SAA+. auto: the published ones of a known category, and general "
        "ones for a new product; or {category or default: a known name, or a block}",
    )

    lvlm: str | None = Field(
        None, description="question to a vision language model; may hold {object} and {defects}"
    )
    system: str | None = Field(
        None, description="its system text; default: what to answer, and how"
    )
    reference: bool = Field(True, description="whether it is shown a defect-free reference first")
    examples: tuple[LvlmExample, ...] = Field(
        (), description="labelled images that it is shown, in order"
    )

    @field_validator("lvlm", "system", mode="after")
    @classmethod
    def _check_template(cls, text: str | None) -> str | None:
        if text is not None:
            from realitycheck.lvlm.prompts import check_text

            check_text(text, where="the text")
        return text

    @field_validator("segmentation", mode="after")
    @classmethod
    def _check_phrases(cls, phrases: tuple[str, ...]) -> tuple[str, ...]:
        for phrase in phrases:
            if not phrase.strip(" ."):
                raise ValueError(f"a phrase must contain a word, got {phrase!r}")
            if phrases.count(phrase) > 1:
                raise ValueError(f"the phrase {phrase!r} stands here twice; keep one")
        return phrases


class _MethodSettings(Strict):
    title: str | None = Field(None, description="name in tables; default: the method's usual name")

    #: Key of a prompt set that the method needs; None: it needs no prompt.
    prompt_key: ClassVar[str | None] = "segmentation"
    #: Whether it gives masks, or verdicts only.
    gives_masks: ClassVar[bool] = True
    #: Whether its masks come from a map with a value for each pixel.
    gives_score_map: ClassVar[bool] = False
    needs_reference: ClassVar[bool] = False
    #: Whether it is told what the images show and which defects there are.
    names_object: ClassVar[bool] = False
    #: Whether what it says of an image was learned from the labelled images of other folds.
    learns_in_folds: ClassVar[bool] = False
    #: Whether a paid service is asked, and may cost money.
    asks_service: ClassVar[bool] = False
    #: Networks (keys of `models`) the method needs.
    networks: ClassVar[tuple[str, ...]] = ()

    def faults(self, _key: str, _folder: Path, _datasets: Mapping[str, Any]) -> Iterator[str]:
        """Faults that the types do not show, such as a missing key file.

        Args:
            _key: Path of the block in the settings, with which a fault begins.
            _folder: Folder that relative paths are looked up in.
            _datasets: Blocks of the data sets that the method runs on, by name.
        """
        yield from ()

    def plain(self) -> dict[str, Any]:
        """The block as plain values, without the name it has in tables."""
        return self.model_dump(mode="json", exclude={"title"})

    def tried(self) -> dict[str, Any]:
        """The part of the block that what it says depends on: another value is another try."""
        return self.plain()


class _VariantMethod(_MethodSettings):
    variant: Literal["published", "repaired"] = Field(
        "published", description="published: with the slips of the study's code; repaired: without"
    )
    switches: dict[str, bool | str] = Field(
        default_factory=dict, description="single slips turned on or off, over the variant's own"
    )

    @model_validator(mode="after")
    def _check_switches(self) -> _VariantMethod:
        if self.switches:
            self.all_switches()
        return self

    def all_switches(self) -> dict[str, bool | str | int]:
        """Every switch of the method as this block sets it."""
        from realitycheck.core.variants import switched

        return dataclasses.asdict(switched(self.kind, self.variant, self.switches))

    def plain(self) -> dict[str, Any]:
        """The block as plain values: every switch, in place of the name of a preset of them.

        So a job depends on what a preset holds, not on what it is called.
        """
        block = super().plain()
        del block["variant"]
        return {**block, "switches": self.all_switches()}

    def _only(self, *names: str) -> dict[str, Any]:
        return {name: value for name, value in self.plain().items() if name in names}
