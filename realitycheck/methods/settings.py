"""What every method block has: its keys, and the facts about its kind that others go by."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

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
from realitycheck.methods.paths import Paths

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


@dataclasses.dataclass(frozen=True)
class Job:
    """What the job of a method asks for.

    Attributes:
        network: Network that it runs, whose memory, threads and time it needs; None: none.
        opens: Networks whose checked files it reads.
        memory_mb: Memory of a job without a network.
        kb_per_image: What it keeps of each image until it ends.
        seconds_per_image: Of the largest variant of the network on a GPU, or of one processor.
        minutes: Time of the whole job; None: by its images.
        steps: Tables among its inputs whose time is part of a result's, by the name of the step.
        packages: Distributions whose versions matter.
    """

    network: str | None = None
    opens: tuple[str, ...] = ()
    memory_mb: int = 2_000
    kb_per_image: float = 0
    seconds_per_image: float = 1
    minutes: int | None = None
    steps: Mapping[str, str] = dataclasses.field(default_factory=dict)
    packages: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Fit(Job):
    """The job in which a method sets thresholds or learns, before it segments.

    Attributes:
        verb: Its rule is called so, followed by the kind.
        outputs: File of each output beside the thresholds table.
        reads_truth: Whether undecided pixels of the truth play a part.
    """

    verb: str = "calibrate"
    outputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    reads_truth: bool = False


class TruthUse(NamedTuple):
    """How a method looks at what it is scored with.

    Attributes:
        key: Setting that has it do so.
        value: Of that setting.
        reason: In words.
        remedy: What to set instead.
    """

    key: str
    value: str
    reason: str
    remedy: str


#: Keys of every block that no answer depends on.
_DECLARED = {"title", "training_images", "transductive", "uses_test_truth"}


class MethodBlock(Strict):
    """A method block, and the facts about its kind that planning and tables go by."""

    if TYPE_CHECKING:
        kind: str  # of each block: a literal

    title: str | None = Field(None, description="name in tables; default: the method's usual name")
    training_images: tuple[FilePath, ...] | None = Field(
        None,
        description="images that it learned from: folders, images, or text files with one path per "
        "line; []: none. One of them that is scored stops the run. Default: not declared",
    )
    transductive: bool = Field(
        False, description="whether it judges an image by the other scored images, too; a flag"
    )
    uses_test_truth: bool = Field(
        False,
        description="whether the truth of the scored images played a part in it, for example when "
        "a threshold was chosen; a flag",
    )

    #: The method's usual name in tables.
    label: ClassVar[str]
    #: Key of a prompt set that the method needs; None: it needs no prompt.
    prompt_key: ClassVar[str | None] = "segmentation"
    #: Whether it gives masks, or verdicts only.
    gives_masks: ClassVar[bool] = True
    #: Whether each block says which of the two it gives: then `gives_masks` is a property, and the
    #: kind has both a `segmenter` and a `classifier`.
    gives_either: ClassVar[bool] = False
    #: Whether it comes from outside, so that what it learned from is known by `training_images`
    #: alone: a block without that is flagged.
    is_outside: ClassVar[bool] = False
    #: Whether its masks come from a map with a value for each pixel.
    gives_score_map: ClassVar[bool] = False
    #: Whether that map is kept, as small as it was computed, when the masks are made.
    keeps_score_grid: ClassVar[bool] = False
    #: Settings whose `auto` means another value for each data set; see `plain_for`.
    resolved: ClassVar[tuple[str, ...]] = ()
    needs_reference: ClassVar[bool] = False
    #: Whether it is told what the images show and which defects there are.
    names_object: ClassVar[bool] = False
    #: Whether what it says of an image was learned from the labelled images of other folds.
    learns_in_folds: ClassVar[bool] = False
    #: Whether its thresholds or verdicts table says which fold an image was judged in.
    judges_in_folds: ClassVar[bool] = False
    #: Whether its prompts are raters: people or systems, each of whom judges the same parts.
    has_raters: ClassVar[bool] = False
    #: Whether a paid service is asked, and may cost money.
    asks_service: ClassVar[bool] = False
    #: Networks (keys of `models`) the method needs.
    networks: ClassVar[tuple[str, ...]] = ()
    #: Its job, and the one before it, if any.
    job: ClassVar[Job] = Job()
    fits: ClassVar[Fit | None] = None

    def faults(self, _key: str, _folder: Path, _datasets: Mapping[str, Any]) -> Iterator[str]:
        """Faults that the types do not show, such as a missing key file.

        Args:
            _key: Path of the block in the settings, with which a fault begins.
            _folder: Folder that relative paths are looked up in.
            _datasets: Blocks of the data sets that the method runs on, by name.
        """
        yield from ()

    def plain(self) -> dict[str, Any]:
        """The block as plain values, without its name in tables and what it only declares."""
        return self.model_dump(mode="json", exclude=_DECLARED)

    def plain_for(self, *, is_aligned: bool) -> dict[str, Any]:
        """What the jobs of a data set are told: `plain`, with `auto` as what it means there.

        Args:
            is_aligned: Whether the parts of the data set are aligned.
        """
        return self.plain()

    def tried(self, *, is_aligned: bool) -> dict[str, Any]:
        """What of the block its answers depend on: another value is another try."""
        return self.plain_for(is_aligned=is_aligned)

    def inputs(self, paths: Paths) -> dict[str, str | list[str]]:
        """Files that the method's masks, scores and views, or its verdicts, are made from.

        Beside them a job has `transforms` (masks) or `manifest` (verdicts), and the record of each
        network that it opens.
        """
        return {}

    def sources(self, dataset: str) -> list[str]:
        """Files and folders that hold its answers, where those were made elsewhere.

        A kind that has some has `source.py` beside `settings.py`; see `realitycheck.methods.base`.
        """
        return []

    def own_prompts(self, dataset: str) -> list[str]:
        """Names that stand in place of prompt sets, where the block's sources say them."""
        return []

    def only_prompt(self, prompt: str) -> dict[str, Any]:
        """Keys of the block with which it has one of these names alone."""
        return {}

    def fit_inputs(self, paths: Paths) -> dict[str, str | list[str]]:
        """Files that it learns from, beside `manifest`, `train` and the records of networks."""
        return {}

    def judges_again(self, dataset: str) -> bool:
        """Whether an image has several verdicts of it: of repeats, or of several raters."""
        return False

    def told(self, asked: PromptSettings | None) -> Any:
        """What a prompt set says to the method, as plain values."""
        return list(asked.segmentation) if asked and self.prompt_key else []

    def words(self, asked: PromptSettings | None, defect_names: Sequence[str]) -> str:
        """Words about defects that the method is told, as far as they stand in the settings."""
        return ". ".join(self.told(asked))

    def summary(self, asked: PromptSettings) -> tuple[str, str]:
        """Whom a prompt set asks by the method's key, and the words, for people."""
        return "text-prompted segmenters", "; ".join(asked.segmentation)

    def network_texts(
        self, told: Any, object_names: Mapping[str, str], defect_names: Sequence[str]
    ) -> Iterator[tuple[str | None, str, str]]:
        """Every text that a network is told.

        Args:
            told: From `told`.
            object_names: What the images of each known category show.
            defect_names: Names of defects in the settings of the data set.

        Yields:
            Where it stands below the key of the prompt set (None: the text is made of the object's
            name), network, text.
        """
        yield from ()

    @classmethod
    def known_prompts(cls) -> list[str]:
        """Names of products that a prompt set may give in place of prompts for them."""
        return []

    def caption_settings(self) -> dict[str, Any] | None:
        """What captions depend on that `detector_captions` in the kind's `prompts.py` makes.

        None: the detector is asked with the phrases of the prompt set.
        """
        return None

    def shows_reference(self, asked: PromptSettings | None) -> bool:
        """Whether the method is shown the reference image and judges by it."""
        return self.needs_reference

    @property
    def learns_from(self) -> dict[str, Any] | None:
        """Parts that it learns from; see `realitycheck.methods.needs.lacking`."""
        return None

    @property
    def needs_truth(self) -> bool:
        """Whether it needs a mask that shows a defect."""
        return False

    @property
    def test_truth(self) -> TruthUse | None:
        """How it looks at the images, or the truth, that it is scored with, if it does."""
        if not self.uses_test_truth:
            return None
        reason = "the truth of the scored images played a part in it, as the settings declare"
        remedy = "give what was made without it, and leave the key out"
        return TruthUse("uses_test_truth", "true", reason, remedy)

    @property
    def training_unknown(self) -> bool:
        """Whether it may have learned from the scored images, for all that is known."""
        return self.is_outside and self.training_images is None

    @property
    def notes(self) -> list[str]:
        """What every row of the tables says of what the block declares, or does not."""
        found = []
        if self.training_unknown:
            found.append("training images not known: scored parts may be among them")
        if self.transductive:
            found.append("judges an image by the other scored images, too (transductive)")
        return found

    @property
    def service(self) -> str:
        """Service that is asked; empty: none."""
        return ""

    def has_key(self) -> bool:
        """Whether a service can be asked: the key is there, or none is needed."""
        return True

    @property
    def model_name(self) -> str | None:
        """Name of the model that answers, where the block says which one."""
        return None


class VariantBlock(MethodBlock):
    """A method that is published code, with switches for its bugs."""

    variant: Literal["published", "repaired"] = Field(
        "published", description="published: with the slips of the study's code; repaired: without"
    )
    switches: dict[str, bool | str] = Field(
        default_factory=dict, description="single slips turned on or off, over the variant's own"
    )

    @model_validator(mode="after")
    def _check_switches(self) -> VariantBlock:
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

    def only(self, *names: str) -> dict[str, Any]:
        """Some keys of the block as plain values."""
        return {name: value for name, value in self.plain().items() if name in names}
