"""Typed settings: everything a run can be told, checked before its first job.

Reads a plain mapping (the parsed YAML) and returns frozen objects. Every fault is reported in one
message, with its key path, what was found and what to do. Free of torch, pandas and pyarrow,
because the Snakefile imports it for every job.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from realitycheck.lvlm.gates import CLOUD_MODELS
from realitycheck.models.files import network_files
from realitycheck.names import (
    AREA_SUFFIX,
    LABEL_FLOORS,
    MASK_FLOORS,
    MAX_DECODED_MB,
    NO_PROMPT,
)
from realitycheck.settings_values import Category, FilePath, as_meant, check_numbers, plain, without

NAME_PATTERN = r"^[a-z0-9_]+$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]

#: What a value of a truth mask can mean.
MASK_MEANINGS = ("defect", "background", "ignore")

#: Lowest detector score that is stored. Thresholds at or above it cost no detector run.
DETECTION_FLOOR = 0.05


class SettingsError(ValueError):
    """All faults of a settings file, one line each.

    Attributes:
        faults: The lines, each beginning with a key path.
        sound: The settings without the entries that have faults; None where nothing is left.
        left_out: Key paths of those entries.
    """

    def __init__(
        self, faults: list[str], *, sound: BaseModel | None = None, left_out: Iterable[str] = ()
    ):
        self.faults = faults
        self.sound = sound
        self.left_out = frozenset(left_out)
        noun = "fault" if len(faults) == 1 else "faults"
        super().__init__(
            f"the settings have {len(faults)} {noun}:\n" + "\n".join(f"  - {f}" for f in faults)
        )


class _Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _read_as_meant(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        kinds = {name: field.annotation for name, field in cls.model_fields.items()}
        return {k: as_meant(kinds[k], value) if k in kinds else value for k, value in given.items()}


# ---------------------------------------------------------------------------------------- data sets


class IntensitySettings(_Strict):
    """How grey values become 8-bit RGB."""

    mapping: Literal["identity", "window", "fixed"] = Field(
        "identity",
        description="identity: 8-bit values as viewers show them, 16-bit divided by 257; window: "
        "from the image's own quantiles low and high; fixed: from the grey values low and high, "
        "such as 0 and 4095 for 12 bits in 16; the last two take the file's values without its "
        "colour profile",
    )
    low: float | None = Field(None, description="lower end: a quantile (window) or a grey value")
    high: float | None = Field(None, description="upper end: a quantile (window) or a grey value")

    @model_validator(mode="after")
    def _check_ends(self) -> IntensitySettings:
        if self.mapping == "identity":
            if self.low is not None or self.high is not None:
                raise ValueError("low and high mean nothing with mapping 'identity'; remove them")
            return self
        if self.low is None or self.high is None or not self.low < self.high:
            raise ValueError(
                f"mapping '{self.mapping}' needs low < high, got low={self.low}, high={self.high}"
            )
        if self.mapping == "window" and (self.low < 0 or self.high > 1):
            raise ValueError(
                f"mapping 'window' takes quantiles within 0 and 1, got {self.low} and {self.high}"
            )
        return self


class AlignmentSettings(_Strict):
    """Registration of every image to the reference."""

    method: Literal["none", "phase", "ecc", "features"] = Field(
        "none", description="none | phase (correlation) | ecc (intensity) | features (keypoints)"
    )
    motion: Literal["translation", "euclidean", "similarity", "affine", "homography"] = Field(
        "euclidean", description="what the part may do under the camera"
    )
    quarter_turns: bool | Literal["auto"] = Field(
        "auto",
        description="whether parts may lie turned by 90, 180, 270 degrees; auto looks for turns "
        "where the unturned match is poor",
    )

    @model_validator(mode="after")
    def _check_motion(self) -> AlignmentSettings:
        if self.method == "phase" and self.motion in ("affine", "homography"):
            raise ValueError(
                f"phase correlation cannot estimate motion '{self.motion}'; use translation, "
                "euclidean or similarity, or method 'ecc' or 'features'"
            )
        return self


class SplitSettings(_Strict):
    """Which images are scored, and which good ones are kept for thresholds and references."""

    kind: Literal["official", "paper", "all"] = Field(
        "all", description="official: the data set's own split; paper: the study's draw; all"
    )
    seed: int = Field(0, ge=0, description="seed of the draw")
    train_fraction: float = Field(
        0.0, ge=0.0, lt=1.0, description="share of good images kept for training (folder, all)"
    )


class _DatasetSettings(_Strict):
    title: str | None = Field(None, description="the product's name for people; default: the key")
    intensity: IntensitySettings = IntensitySettings()
    reference: FilePath | dict[Category, FilePath] = Field(
        "auto",
        description="auto: the medoid of the good training images, one per category; none; a path; "
        "or {category: path}",
    )
    alignment: AlignmentSettings = AlignmentSettings()
    split: SplitSettings = SplitSettings()
    shards: int = Field(1, ge=1, le=999, description="number of jobs a GPU stage is cut into")
    methods: tuple[Name, ...] | None = Field(
        None, description="method blocks that run on this data set; default: all that apply"
    )
    published_as: Literal["industrial_sat", "mvtec_ad", "oxford_iiit_pet"] | None = Field(
        None, description="row of the study's tables that stands beside ours"
    )
    ignore_border: Literal["ignore", "foreground", "background"] = Field(
        "ignore", description="what a truth pixel counts as that the annotator left undecided"
    )
    object_name: str | dict[Category, str] | None = Field(
        None,
        description="what the images show, for {object} in prompts; default: the category's name",
    )
    defect_names: tuple[str, ...] = Field(
        (), description="defects that may occur, for {defects} in prompts and for clip_zero_shot"
    )
    may_leave_site: bool = Field(
        False, description="whether images may be sent to a service that is not on the site"
    )
    allow_duplicates: bool = Field(False, description="accept images with identical content")
    missing_masks: Literal["fault", "label_only"] = Field(
        "fault",
        description="defective images without a mask, where others have one. fault: the run stops; "
        "label_only: they count by their label alone, in Table 2 and not in Table 1",
    )
    max_decoded_mb: float = Field(
        MAX_DECODED_MB,
        gt=0,
        description="largest image file, and largest image in it, that is decoded, in MB (10^6 "
        "bytes) of its samples; a small file can unpack to fill the memory",
    )
    pixel_pitch_mm: float | None = Field(
        None, gt=0, description="side of a pixel on the part, so that defects have areas in mm²"
    )

    mask_values: Literal["auto", "nonzero"] | dict[str, float | str] = Field(
        "auto",
        description="what the values of truth masks mean. auto: the background is found, all else "
        "is defect, and soft edges are a fault; nonzero: all but the background is defect, soft "
        "edges too; {threshold: 128}: 128 and above is defect; or each value: {255: defect, 128: "
        "ignore, 0: background}, also '#ff0000' for a colour and transparent",
    )
    mask_background: Literal["auto", "dark", "bright"] = Field(
        "auto",
        description="background of truth masks. auto: 0, black, index 0 of a palette or "
        "transparent, unless borders and areas of all masks say otherwise; dark; bright",
    )
    mask_orientation: Literal["auto", "shown", "stored"] = Field(
        "auto",
        description="how masks lie on images with an EXIF orientation that they lack. shown: on "
        "the image as viewers show it; stored: on its pixels as they are stored; auto: as sizes "
        "tell, else a fault",
    )

    #: Archives that can be fetched for this format (names in `realitycheck.download`).
    fetchable: ClassVar[bool] = False
    generated: ClassVar[bool] = False

    def keeps_back(self, name: str) -> str | None:
        """Key path of what says how many good parts become training images; None: folders do."""
        if self.generated:
            return f"datasets.{name}.n_train"
        is_drawn = self.format == "folder" and self.split.kind == "all"
        return f"datasets.{name}.split.train_fraction" if is_drawn else None

    @field_validator("mask_values", mode="after")
    @classmethod
    def _check_mask_values(cls, found: str | dict[str, float | str]) -> Any:
        if isinstance(found, str):
            return found
        if "threshold" in found:
            level = found["threshold"]
            if len(found) > 1 or isinstance(level, str) or level <= 0:
                raise ValueError(
                    "threshold stands alone and is a level above 0, as in {threshold: 128}"
                )
            return found
        for value, meaning in found.items():
            if not re.fullmatch(r"\d+|#[0-9A-Fa-f]{6}|transparent", value):
                raise ValueError(
                    f"a value is a number, a colour such as '#ff0000' or transparent, got {value!r}"
                )
            if meaning not in MASK_MEANINGS:
                raise ValueError(
                    f"{value} must be one of {', '.join(MASK_MEANINGS)}, got {meaning!r}"
                )
        if "defect" not in found.values():
            raise ValueError("name at least one value that is defect, as in {255: defect}")
        return {value.lower(): meaning for value, meaning in found.items()}

    @model_validator(mode="after")
    def _check_alignment(self) -> _DatasetSettings:
        if self.reference == "none" and self.alignment.method != "none":
            raise ValueError(
                f"alignment method '{self.alignment.method}' needs a reference, but reference is "
                "'none'; set reference: auto or a path, or alignment: {method: none}"
            )
        return self


class FolderDataset(_DatasetSettings):
    """Images of one's own: `OK/` and `NOK/[defect type]/`, with `masks/` beside them."""

    format: Literal["folder"]
    root: FilePath = Field(description="folder that holds the images")

    @model_validator(mode="after")
    def _check_split(self) -> FolderDataset:
        if self.split.kind == "paper":
            raise ValueError(
                "split kind 'paper' is defined for the study's data sets only; use all"
            )
        return self


class MvtecAdDataset(_DatasetSettings):
    """MVTec AD in its own layout."""

    format: Literal["mvtec_ad"]
    root: FilePath = Field(
        "resources/datasets/mvtec_ad", description="folder with one folder a category"
    )
    categories: tuple[str, ...] = Field(
        ("carpet", "grid", "leather", "tile", "wood"), min_length=1, description="categories used"
    )
    fetchable: ClassVar[bool] = True


class OxfordPetDataset(_DatasetSettings):
    """Oxford-IIIT-Pet: cats are NOK, dogs are OK."""

    format: Literal["oxford_iiit_pet"]
    root: FilePath = Field(
        "resources/datasets/oxford_iiit_pet", description="holds images/, annotations/"
    )
    reference: FilePath | dict[Category, FilePath] = "none"
    mask_values: Literal["auto", "nonzero"] | dict[str, float | str] = {
        "1": "defect",  # the animal
        "2": "background",
        "3": "ignore",  # its border
    }
    fetchable: ClassVar[bool] = True


class SyntheticSatDataset(_DatasetSettings):
    """Generated scanning-acoustic images with exact truth."""

    format: Literal["synthetic_sat"]
    split: SplitSettings = SplitSettings(kind="official")
    n_ok: int = Field(231, ge=1, description="good parts that are scored")
    n_nok: int = Field(32, ge=1, description="defective parts that are scored")
    n_train: int = Field(
        60, ge=0, description="further good parts, for thresholds and the reference"
    )
    image_size_px: int = Field(512, ge=96, le=4096, description="width and height")
    seed: int = Field(0, ge=0)
    bit_depth: Literal[8, 16] = 8
    max_rotation_deg: float = Field(8.0, ge=0, le=45)
    max_shift_fraction: float = Field(0.05, ge=0, le=0.3, description="of the width")
    max_scale_fraction: float = Field(0.03, ge=0, le=0.2)
    max_brightness_fraction: float = Field(0.30, ge=0, le=0.8)
    quarter_turns: bool = Field(False, description="parts also lie turned by 90, 180, 270 degrees")
    generated: ClassVar[bool] = True


class SyntheticPetsDataset(_DatasetSettings):
    """Drawn pets on everyday backgrounds: cats are NOK, dogs are OK."""

    format: Literal["synthetic_pets"]
    split: SplitSettings = SplitSettings(kind="official")
    reference: FilePath | dict[Category, FilePath] = "none"
    n_ok: int = Field(60, ge=1, description="dogs that are scored")
    n_nok: int = Field(60, ge=1, description="cats, which are to be found")
    n_train: int = Field(20, ge=0, description="further dogs, for thresholds")
    image_size_px: int = Field(256, ge=96, le=1024, description="width and height")
    seed: int = Field(0, ge=0)
    generated: ClassVar[bool] = True


class SyntheticTexturesDataset(_DatasetSettings):
    """Drawn textures with defects: carpet, grid, leather, tile, wood."""

    format: Literal["synthetic_textures"]
    split: SplitSettings = SplitSettings(kind="official")
    categories: tuple[Literal["carpet", "grid", "leather", "tile", "wood"], ...] = Field(
        ("carpet", "grid", "leather", "tile", "wood"), min_length=1, description="surfaces"
    )
    n_ok: int = Field(12, ge=1, description="good images of each surface that are scored")
    n_nok: int = Field(12, ge=1, description="defective images of each surface that are scored")
    n_train: int = Field(8, ge=0, description="further good images of each surface")
    image_size_px: int = Field(256, ge=96, le=1024, description="width and height")
    seed: int = Field(0, ge=0)
    generated: ClassVar[bool] = True


DatasetSettings = Annotated[
    FolderDataset
    | MvtecAdDataset
    | OxfordPetDataset
    | SyntheticSatDataset
    | SyntheticPetsDataset
    | SyntheticTexturesDataset,
    Field(discriminator="format"),
]


# --------------------------------------------------------------------------------- prompts, methods


class SaaPlusPrompt(_Strict):
    """What SAA+ is told of a product; see `realitycheck.methods.saa_plus.SaaPlusPrompts`."""

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


class LvlmExample(_Strict):
    """A labelled image that stands in a question."""

    image: FilePath = Field(description="path")
    label: Literal["OK", "NOK"]


class PromptSettings(_Strict):
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


class _MethodSettings(_Strict):
    title: str | None = Field(None, description="name in tables; default: the method's usual name")

    #: Key of a prompt set that the method needs; None: it needs no prompt.
    prompt_key: ClassVar[str | None] = "segmentation"
    #: Whether it gives masks, or verdicts only.
    gives_masks: ClassVar[bool] = True
    #: Whether its masks come from a map with a value for each pixel.
    gives_score_map: ClassVar[bool] = False
    needs_reference: ClassVar[bool] = False
    #: Whether what it says of an image was learned from the labelled images of other folds.
    learns_in_folds: ClassVar[bool] = False
    #: Networks (keys of `models`) the method needs.
    networks: ClassVar[tuple[str, ...]] = ()

    def plain(self) -> dict[str, Any]:
        """The block as plain values, without the name it has in tables."""
        return self.model_dump(mode="json", exclude={"title"})


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
        from realitycheck.methods.switches import switched

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


class GroundedSamMethod(_VariantMethod):
    """GroundingDINO proposes boxes, SAM turns each into a mask (Text2Seg)."""

    kind: Literal["grounded_sam"]
    box_threshold: float = Field(0.35, ge=DETECTION_FLOOR, lt=1)
    text_threshold: float = Field(0.25, ge=0.0, lt=1)
    networks: ClassVar[tuple[str, ...]] = ("sam", "grounding_dino")


class SamClipMethod(_VariantMethod):
    """SAM cuts everything out, CLIP picks what fits the text (Text2Seg)."""

    kind: Literal["sam_clip"]
    points_per_side: int = Field(
        10, ge=1, le=128, description="points of the grid; 10 in Text2Seg's notebook, 32 in SAM"
    )
    pred_iou_thresh: float = Field(0.88, ge=0, le=1, description="least predicted IoU of a mask")
    stability_score_thresh: float = Field(0.95, ge=0, le=1)
    stability_score_offset: float = Field(1.0, gt=0)
    box_nms_thresh: float = Field(0.7, gt=0, le=1)
    logit_scale: float = Field(100.0, gt=0)
    threshold: float = Field(0.05, gt=0, lt=1, description="least share of the softmax over masks")
    networks: ClassVar[tuple[str, ...]] = ("sam", "clip")

    def masks_settings(self) -> dict[str, Any]:
        """What the automatic masks depend on."""
        return self.model_dump(
            mode="json",
            include={
                "points_per_side",
                "pred_iou_thresh",
                "stability_score_thresh",
                "stability_score_offset",
                "box_nms_thresh",
            },
        )

    def crops_settings(self) -> dict[str, Any]:
        """What the features of the crops depend on."""
        return self.masks_settings() | self._only("switches")


class ClipSurgerySamMethod(_VariantMethod):
    """CLIP Surgery points at what fits the text, SAM turns the points into a mask (Text2Seg)."""

    kind: Literal["clip_surgery_sam"]
    variant: Literal["published", "repaired", "plain_clip"] = "published"
    clip_input_size: int = Field(224, ge=32, le=1024, multiple_of=16, description="px")
    threshold: float = Field(0.8, ge=0, le=1, description="share of the map's range for a point")
    downsample: int = Field(2, ge=1, description="patches a cell of the map")
    gives_score_map: ClassVar[bool] = True
    networks: ClassVar[tuple[str, ...]] = ("sam", "clip")

    def patches_settings(self) -> dict[str, Any]:
        """What the patch features depend on."""
        return self._only("switches", "clip_input_size")


class SaaPlusMethod(_VariantMethod):
    """Segment Any Anomaly +: several prompts, filtered boxes, saliency."""

    kind: Literal["saa_plus"]
    box_threshold: float = Field(0.10, ge=DETECTION_FLOOR, lt=1)
    text_threshold: float = Field(0.10, ge=0.0, lt=1)
    binarise: str = Field(
        "f1max",
        pattern=r"^(union|f1max|good|fixed:(0(\.\d+)?|1(\.0+)?))$",
        description="from the anomaly map to a mask. f1max: best F1 on the test set's truth, as "
        "published (flagged uses_test_truth); good: threshold from good images; union; fixed:<t>",
    )
    eval_resolution: Literal["native", "400"] = Field(
        "native", description="size at which map and truth meet; 400 as in the published code"
    )
    max_overkill_rate: Fraction = Field(
        0.05, description="binarise good: share of good images that the threshold may reject"
    )
    n_folds: int = Field(5, ge=2, description="binarise good: folds without training images")
    seed: int = Field(0, ge=0)
    prompt_key: ClassVar[str | None] = "saa_plus"
    gives_score_map: ClassVar[bool] = True
    networks: ClassVar[tuple[str, ...]] = ("sam", "grounding_dino", "saliency")

    @property
    def uses_test_truth(self) -> bool:
        """Whether the mask looks at the images, or the truth, that it is scored with."""
        return self.binarise == "f1max" or self.binarise.startswith("fixed")

    def maps_settings(self) -> dict[str, Any]:
        """What the anomaly maps depend on."""
        return self._only("switches", "box_threshold", "text_threshold")


class PixelDifferenceMethod(_MethodSettings):
    """Absolute difference to the aligned reference, thresholded on good images."""

    kind: Literal["pixel_difference"]
    smoothing_sigma_px: float = Field(2.0, ge=0, description="Gaussian smoothing of the difference")
    max_overkill_rate: Fraction = Field(
        0.05, description="share of good images that the threshold may reject"
    )
    min_area_px: int = Field(20, ge=1, description="smaller regions are dust")
    n_folds: int = Field(5, ge=2, description="folds where no training images exist")
    seed: int = Field(0, ge=0)
    prompt_key: ClassVar[str | None] = None
    gives_score_map: ClassVar[bool] = True
    needs_reference: ClassVar[bool] = True


class FewShotMethod(_MethodSettings):
    """A few good training images are remembered; what looks like none of them is marked."""

    kind: Literal["few_shot"]
    n_good: int = Field(16, ge=2, description="good training images of a category remembered")
    input_size_px: int = Field(512, ge=64, le=2048, multiple_of=16, description="of the network")
    position_weight: float = Field(
        1.0, ge=0, description="how far a patch's place counts; 0 for parts that are not aligned"
    )
    max_patches: int = Field(20_000, ge=100, description="of a memory bank; more are thinned out")
    smoothing_sigma_px: float = Field(2.0, ge=0, description="Gaussian smoothing of the score map")
    max_overkill_rate: Fraction = Field(
        0.05, description="share of good training images that the threshold may reject"
    )
    min_area_px: int = Field(20, ge=1, description="smaller regions are dust")
    seed: int = Field(0, ge=0, description="of what is remembered")
    prompt_key: ClassVar[str | None] = None
    gives_score_map: ClassVar[bool] = True
    networks: ClassVar[tuple[str, ...]] = ("resnet",)


class AdaptedSamMethod(_MethodSettings):
    """SAM's mask decoder learns from the labelled images of the other folds."""

    kind: Literal["adapted_sam"]
    n_folds: int = Field(5, ge=2, description="stratified; views of one part stay together")
    n_steps: int = Field(200, ge=1, description="steps of the optimiser in each fold")
    batch_size: int = Field(4, ge=1, description="images a step; half of them show defects")
    learning_rate: float = Field(
        1e-3, gt=0, description="the highest one; chosen on the everyday network"
    )
    min_area_px: int = Field(20, ge=1, description="smaller regions are dust")
    seed: int = Field(0, ge=0, description="of folds and draws; that of resnet_mlp: same folds")
    prompt_key: ClassVar[str | None] = None
    gives_score_map: ClassVar[bool] = True
    learns_in_folds: ClassVar[bool] = True
    networks: ClassVar[tuple[str, ...]] = ("sam",)


class PriceSettings(_Strict):
    """Rates of a model, in USD per million tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0, description="answers, thinking included")
    cached_input: float | None = Field(None, ge=0, description="default: as input")


class LvlmMethod(_MethodSettings):
    """A vision language model is asked about each image."""

    kind: Literal["lvlm"]
    backend: Literal["gemini", "vertex", "openai_compatible", "replay"] = Field(
        "gemini", description="replay: answers out of the ledger only, with no key and no network"
    )
    replay_of: Literal["gemini", "vertex", "openai_compatible"] = Field(
        "gemini", description="replay: the backend that the stored answers came from"
    )
    model: str = Field("gemini-3.8-flash", min_length=1)
    model_revision: str = Field("", description="what a server of one's own runs under that name")
    accepted_models: tuple[str, ...] = Field((), description="other names that a reply may give")
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="temperature, seed, thinking_budget …; what is set is sent",
    )
    n_samples: int = Field(1, ge=1, le=50, description="how often each image is asked about")
    max_side_px: int | None = Field(None, ge=64, description="larger images are reduced to this")
    base_url: str | None = Field(None, description="address; default: the service's own")
    on_site: bool | None = Field(None, description="whether that address belongs to the site")
    cloud_models: tuple[str, ...] = Field(
        CLOUD_MODELS,
        description="names of models that the server itself runs in a cloud; *: any text",
    )
    key_env: str | None = Field(None, description="environment variable that holds the key")
    key_file: FilePath | None = Field(None, description="file that holds the key")
    project: str | None = Field(None, description="vertex: Google Cloud project")
    location: str | None = Field(None, description="vertex: its place, such as europe-west4")
    credentials_file: FilePath | None = Field(None, description="vertex: service account file")
    max_cost_usd: float | None = Field(None, gt=0, description="limit on all money ever spent")
    price: PriceSettings | None = Field(
        None, description="in place of the price file's, such as a server's running cost"
    )
    in_flight: int = Field(4, ge=1, le=256, description="questions sent at once")
    requests_per_minute: int | None = Field(60, ge=1)
    timeout_s: float = Field(300.0, gt=0)
    max_wait_s: float = Field(
        300.0, gt=0, description="longest pause that the service may ask for; else the run stops"
    )
    ledger: FilePath = Field(
        "ledger/replies.sqlite", description="every answer ever paid for; never deleted by a run"
    )
    prompt_key: ClassVar[str | None] = "lvlm"
    gives_masks: ClassVar[bool] = False

    @model_validator(mode="after")
    def _check_backend(self) -> LvlmMethod:
        if self.backend == "openai_compatible" and not self.base_url:
            raise ValueError(
                "backend openai_compatible needs base_url, such as http://127.0.0.1:8000/v1"
            )
        if self.key_env and self.key_file:
            raise ValueError("give key_env or key_file, not both")
        from realitycheck.lvlm.parameters import check_parameters

        check_parameters(self.service, self.model, parameters=self.parameters)
        return self

    @property
    def service(self) -> str:
        """Kind of endpoint that the questions are worded for."""
        return self.replay_of if self.backend == "replay" else self.backend


class ClipZeroShotMethod(_MethodSettings):
    """CLIP compares each image with texts of flawless and of defective parts."""

    kind: Literal["clip_zero_shot"]
    threshold: float = Field(
        0.5, ge=0, le=1, description="probability of NOK above which it is NOK"
    )
    prompt_key: ClassVar[str | None] = None
    gives_masks: ClassVar[bool] = False
    networks: ClassVar[tuple[str, ...]] = ("clip",)


class TunedClipMethod(_MethodSettings):
    """CLIP zero-shot with the first words of its texts learned (CoOp), out of fold."""

    kind: Literal["tuned_clip"]
    n_folds: int = Field(5, ge=2, description="stratified; views of one part stay together")
    n_context: int = Field(4, ge=1, le=32, description="vectors that are learned")
    n_steps: int = Field(100, ge=1, description="of the optimiser, over all training images")
    learning_rate: float = Field(2e-3, gt=0)
    threshold: float = Field(
        0.5, ge=0, le=1, description="probability of NOK above which it is NOK"
    )
    seed: int = Field(0, ge=0, description="of the folds; that of resnet_mlp: same folds")
    prompt_key: ClassVar[str | None] = None
    gives_masks: ClassVar[bool] = False
    learns_in_folds: ClassVar[bool] = True
    networks: ClassVar[tuple[str, ...]] = ("clip",)


class ResnetMlpMethod(_MethodSettings):
    """Supervised baseline: frozen ResNet features, MLP head, stratified folds (the study)."""

    kind: Literal["resnet_mlp"]
    input_size_px: int = Field(512, ge=64, le=2048, multiple_of=16, description="of the network")
    n_folds: int = Field(5, ge=2, description="stratified; views of one part stay together")
    hidden_units: tuple[int, ...] = Field((128,), min_length=1, description="of the MLP's layers")
    weight_decay: float = Field(
        10.0,
        ge=0,
        description="L2 penalty on the MLP's weights; halved in a fold until the MLP learns "
        "anything there",
    )
    max_epochs: int = Field(300, ge=10, description="most steps over all training images")
    beta: float = Field(2.0, gt=0, description="the threshold is the best F-beta on training folds")
    seed: int = Field(0, ge=0)
    prompt_key: ClassVar[str | None] = None
    gives_masks: ClassVar[bool] = False
    learns_in_folds: ClassVar[bool] = True
    networks: ClassVar[tuple[str, ...]] = ("resnet",)


MethodSettings = Annotated[
    GroundedSamMethod
    | SamClipMethod
    | ClipSurgerySamMethod
    | SaaPlusMethod
    | PixelDifferenceMethod
    | FewShotMethod
    | AdaptedSamMethod
    | LvlmMethod
    | ClipZeroShotMethod
    | TunedClipMethod
    | ResnetMlpMethod,
    Field(discriminator="kind"),
]
METHOD_KINDS = (
    "grounded_sam",
    "sam_clip",
    "clip_surgery_sam",
    "saa_plus",
    "pixel_difference",
    "few_shot",
    "adapted_sam",
    "lvlm",
    "clip_zero_shot",
    "tuned_clip",
    "resnet_mlp",
)


# ------------------------------------------------------------------------------------------- models


class SamModel(_Strict):
    """Segment Anything."""

    variant: Literal["vit_h", "vit_l", "vit_b", "everyday", "miniature"] | dict[str, Any] = Field(
        "vit_h", description="a known name, or the model's dimensions"
    )
    weights: FilePath | None = Field(
        None, description="checkpoint; default: the known file's place"
    )

    @field_validator("variant", mode="after")
    @classmethod
    def _check_dimensions(cls, variant: str | dict[str, Any]) -> str | dict[str, Any]:
        if isinstance(variant, dict):
            from realitycheck.models.sam import SamDimensions

            known = sorted(field.name for field in dataclasses.fields(SamDimensions))
            unknown = [name for name in variant if name not in known]
            if unknown:
                raise ValueError(f"unknown dimension '{unknown[0]}'; known: {', '.join(known)}")
            check_numbers(variant)
        return variant


class GroundingDinoModel(_Strict):
    """GroundingDINO with the folder of its BERT tokenizer and configuration."""

    variant: Literal["swint_ogc", "everyday", "miniature"] | dict[str, Any] = Field(
        "swint_ogc", description="a known name, or the model's dimensions"
    )
    weights: FilePath | None = None
    text_encoder: FilePath | None = Field(
        None, description="folder with BERT's config and tokenizer"
    )

    @field_validator("variant", mode="after")
    @classmethod
    def _check_dimensions(cls, variant: str | dict[str, Any]) -> str | dict[str, Any]:
        if isinstance(variant, dict):
            from realitycheck.models.grounding_dino import grounding_dino_dimensions

            grounding_dino_dimensions(variant)
            check_numbers(variant)
        return variant


class ClipModel(_Strict):
    """CLIP, also the base of CLIP Surgery."""

    variant: str | dict[str, int] = Field(
        "ViT-B-16",
        description="ViT-B-16, everyday, miniature, another ViT of open_clip, or dimensions",
    )
    weights: FilePath | None = None

    @field_validator("variant", mode="after")
    @classmethod
    def _check_variant(cls, variant: str | dict[str, int]) -> str | dict[str, int]:
        if variant not in ("ViT-B-16", "everyday", "miniature"):
            from realitycheck.models.clip import known_sizes

            known_sizes(variant)
        return variant


class SaliencyModel(_Strict):
    """The residual network behind SAA+'s saliency."""

    variant: Literal["wide_resnet50_2", "everyday", "miniature"] | dict[str, list[int]] = Field(
        "wide_resnet50_2", description="a known name, or {layers: [4 numbers], channels: [4]}"
    )
    weights: FilePath | None = None

    @field_validator("variant", mode="after")
    @classmethod
    def _check_dimensions(cls, variant: str | dict[str, Any]) -> str | dict[str, Any]:
        if isinstance(variant, dict):
            from realitycheck.models.saliency import saliency_sizes

            saliency_sizes(variant)
        return variant


class ResnetModel(SaliencyModel):
    """The residual network behind `resnet_mlp`."""


class ModelsSettings(_Strict):
    """The networks, one block each."""

    sam: SamModel = SamModel()
    grounding_dino: GroundingDinoModel = GroundingDinoModel()
    clip: ClipModel = ClipModel()
    saliency: SaliencyModel = SaliencyModel()
    resnet: ResnetModel = ResnetModel()


#: Networks whose arithmetic is a setting, and the setting of `compute`.
PRECISION_SETTINGS = {
    "sam": "precision",
    "clip": "precision",
    "grounding_dino": "detector_precision",
}


class ComputeSettings(_Strict):
    """Where and how the networks run."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="arithmetic of SAM and of CLIP's image encoder. bfloat16 is about twice as "
        "fast where the processor or GPU has it, and changes masks slightly; CLIP's texts, "
        "residual networks and all training stay in float32",
    )
    detector_precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="arithmetic of GroundingDINO. bfloat16 saves a third of its time on a CPU, "
        "but scores move by 0.03 in the mean: boxes near a threshold come and go",
    )
    compile: bool = Field(
        False,
        description="compile SAM's image encoder, in every job that encodes: half a minute and "
        "more for the first batch. Meant for CUDA; on a CPU every batch is slower after it. What "
        "was measured is in docs/performance.md",
    )
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    threads: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto", description="CPU threads of a job that runs a network; auto: by its size"
    )
    encoding_dtype: Literal["float32", "float16"] = Field(
        "float32", description="how image embeddings are stored; float16 halves the disk they take"
    )


class EvaluationSettings(_Strict):
    """How scores are summed up."""

    n_resamples: int = Field(10_000, ge=200, description="bootstrap resamples")
    confidence: float = Field(0.95, gt=0.5, lt=1)
    seed: int = Field(0, ge=0)
    area_verdicts: bool = Field(
        True,
        description="also judge by the predicted area: NOK above what good images reach, so that "
        "at most requirements.max_overkill_rate of them are rejected",
    )

    min_covered_share: float = Field(
        0.1, gt=0, le=1, description="share of a defect's area that must be predicted to find it"
    )

    def detection(self) -> dict[str, Any]:
        """What the probability of detection depends on."""
        return self.model_dump(mode="json", include={"min_covered_share", "confidence"})

    def statistics(self) -> dict[str, Any]:
        """What the numbers of a table depend on."""
        return self.model_dump(mode="json", include={"n_resamples", "confidence", "seed"})


class ReportSettings(_Strict):
    """What is drawn."""

    n_overlays: int = Field(6, ge=1, le=50, description="rows of an overlay figure")
    seed: int = Field(0, ge=0, description="of the random draw among the rows")
    panels: Literal["none", "chosen", "all"] = Field(
        "none",
        description="pictures of what each method saw. chosen: of the images of the overlay "
        "figure; all: of every image",
    )


class RequirementsSettings(_Strict):
    """What the product asks of an inspection."""

    max_slip_rate: Fraction = Field(0.02, description="share of defective parts that may pass")
    max_overkill_rate: Fraction = Field(0.05, description="share of good parts rejected")
    max_seconds_per_part: float | None = Field(
        None, gt=0, description="all steps of one part together; default: no limit"
    )
    max_cost_per_part_usd: float | None = Field(
        None, ge=0, description="paid to a service; default: no limit"
    )

    def limits(self) -> dict[str, Any]:
        """The four limits by name."""
        return self.model_dump(mode="json")


Consequence = Literal["stop", "flag"]


class AuditSettings(_Strict):
    """What each finding of the audit leads to: the run stops, or every affected row is flagged."""

    reference_is_scored: Consequence = Field(
        "stop", description="the reference image that methods are shown is itself scored"
    )
    group_in_two_splits: Consequence = Field(
        "stop", description="views of one part are trained on and scored"
    )
    near_duplicate_across_splits: Consequence = Field(
        "stop", description="a scored image looks like a training image"
    )
    size_by_label: Consequence = Field(
        "stop", description="the label can be told from an image's size, bit depth or channels"
    )
    near_duplicate_parts: Consequence = Field(
        "flag", description="two scored images look alike and are not in one group"
    )
    threshold_on_scored: Consequence = Field(
        "flag", description="a threshold is fitted on the images that it is scored on"
    )
    prompt_names_defects: Consequence = Field(
        "flag", description="a prompt names defect types that occur among the scored images"
    )


class Settings(_Strict):
    """All settings of a run."""

    results_dir: FilePath = Field(
        "results", min_length=1, description="folder of everything computed"
    )
    datasets: dict[Name, DatasetSettings] = Field(min_length=1)
    prompts: dict[Name, dict[Name, PromptSettings]] = Field(default_factory=dict)
    methods: dict[Name, MethodSettings] = Field(default_factory=dict)
    models: ModelsSettings = ModelsSettings()
    compute: ComputeSettings = ComputeSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    report: ReportSettings = ReportSettings()
    requirements: RequirementsSettings = RequirementsSettings()
    audit: AuditSettings = AuditSettings()

    # ------------------------------------------------------------------- what follows from them

    def method_names(self, *kinds: str) -> list[str]:
        """Names of the method blocks of these kinds."""
        return [name for name, method in self.methods.items() if method.kind in kinds]

    def methods_of(self, dataset: str) -> list[str]:
        """Names of the method blocks that apply to a data set, in the order of the settings."""
        settings = self.datasets[dataset]
        names = settings.methods if settings.methods is not None else tuple(self.methods)
        return [
            name
            for name in names
            if name in self.methods
            and not (self.methods[name].needs_reference and settings.reference == "none")
        ]

    def prompts_of(self, dataset: str, method: str) -> list[str]:
        """Names of the prompt sets a method is run with on a data set."""
        if self.methods[method].prompt_key is None:
            return [NO_PROMPT]
        needed = self.methods[method].prompt_key
        return [n for n, p in self.prompts.get(dataset, {}).items() if getattr(p, needed)]

    def runs(self) -> list[tuple[str, str, str]]:
        """Every (data set, method, prompt), floors left out."""
        return [
            (dataset, method, prompt)
            for dataset in self.datasets
            for method in self.methods_of(dataset)
            for prompt in self.prompts_of(dataset, method)
        ]

    def mask_methods(self) -> list[str]:
        """Names of the method blocks that give masks."""
        return [name for name, block in self.methods.items() if block.gives_masks]

    def map_methods(self) -> list[str]:
        """Names of the method blocks that give a value for each pixel."""
        return [name for name, block in self.methods.items() if block.gives_score_map]

    def verdict_methods(self) -> list[str]:
        """Names of the method blocks that give verdicts and no masks."""
        return [name for name, block in self.methods.items() if not block.gives_masks]

    def mask_runs(self) -> list[tuple[str, str, str]]:
        """Those runs that give masks."""
        return [run for run in self.runs() if self.methods[run[1]].gives_masks]

    def map_runs(self) -> list[tuple[str, str, str]]:
        """Those runs that give a value for each pixel."""
        return [run for run in self.runs() if self.methods[run[1]].gives_score_map]

    def verdict_runs(self) -> list[tuple[str, str, str]]:
        """Those runs that give verdicts and no masks."""
        return [run for run in self.runs() if not self.methods[run[1]].gives_masks]

    def used_networks(self) -> list[str]:
        """Names of the networks that some run needs."""
        used = {net for _, method, _ in self.runs() for net in self.methods[method].networks}
        return sorted(used)

    def generator_settings(self, dataset: str) -> dict[str, Any]:
        """What a synthetic data set is drawn with."""
        block = self.datasets[dataset]
        shared = set(_DatasetSettings.model_fields) | {"format"}
        return block.model_dump(mode="json", exclude=shared)

    def preparation_settings(self, dataset: str) -> dict[str, Any]:
        """What the manifest of a data set depends on."""
        block = self.datasets[dataset]
        settings = block.model_dump(
            mode="json",
            include={"format", "root", "categories", "split", "reference", "intensity"}
            | {"allow_duplicates", "missing_masks", "max_decoded_mb"}
            | {"mask_values", "mask_background", "mask_orientation"},
        )
        if block.generated:
            settings["root"] = f"{self.results_dir}/raw/{dataset}"
            if not block.n_train:  # then there is no folder of training images
                settings["split"] = {**settings["split"], "kind": "all"}
            settings["format"] = "folder"
        named = {
            f"datasets.{dataset}.{key}": sorted(getattr(block, key))
            for key in ("reference", "object_name")
            if isinstance(getattr(block, key), dict)
        }
        for name, prompt in self.prompts.get(dataset, {}).items():
            if isinstance(prompt.saa_plus, dict):
                categories = sorted({*prompt.saa_plus} - {"default"})
                named[f"prompts.{dataset}.{name}.saa_plus"] = categories
        return {**settings, "named_categories": named}

    def alignment_settings(self, dataset: str) -> dict[str, Any]:
        """What an aligned image depends on."""
        return self.datasets[dataset].model_dump(mode="json", include={"alignment", "intensity"})

    def encoder_settings(self) -> dict[str, Any]:
        """What a stored image embedding of SAM depends on, weights apart."""
        return {
            **self.network_settings("sam"),
            "compile": self.compute.compile,
            "dtype": self.compute.encoding_dtype,
        }

    def detector_settings(self) -> dict[str, Any]:
        """What stored boxes depend on, weights and texts apart."""
        return {**self.network_settings("grounding_dino"), "floor": DETECTION_FLOOR}

    def network_settings(self, network: str) -> dict[str, Any]:
        """What a network's answers depend on, weights apart."""
        block = getattr(self.models, network).model_dump(mode="json")
        setting = PRECISION_SETTINGS.get(network)
        return {
            "variant": block["variant"],
            "precision": getattr(self.compute, setting) if setting else "float32",
        }

    def method_settings(self, method: str) -> dict[str, Any]:
        """A method block, without the name it has in tables and with every switch."""
        return self.methods[method].plain()

    def lvlm_settings(self, method: str) -> dict[str, Any]:
        """A vision language model's block; where its key lies, never the key."""
        block = self.methods[method]
        return {**self.method_settings(method), "service": block.service}

    def is_everyday(self, method: str) -> bool:
        """Whether a method runs on the shipped networks of drawn everyday scenes, and no others."""
        networks = [getattr(self.models, net) for net in self.methods[method].networks]
        return bool(networks) and all(
            block.variant == "everyday" and block.weights is None for block in networks
        )

    def is_untrained(self, method: str) -> bool:
        """Whether a method runs on untrained miniature networks, whose scores mean nothing."""
        return any(
            getattr(self.models, net).variant == "miniature"
            and getattr(self.models, net).weights is None
            for net in self.methods[method].networks
        )


# ------------------------------------------------------------------------------------------ loading

_REMEDIES = {
    "missing": "add the key",
    "union_tag_not_found": "add the key that names the kind",
    "too_short": "give at least one entry",
    "string_type": "put it in quotes if it is meant as a text",
    "float_parsing": "write a number such as 0.35, with a point",
    "int_parsing": "write a whole number such as 4",
    "tuple_type": "write a list in brackets, such as [a, b]",
}


def load_settings(raw: Mapping[str, Any], *, folder: str | Path = ".") -> Settings:
    """Check a parsed settings file and return it typed.

    Args:
        raw: The parsed YAML.
        folder: Folder that relative paths are looked up in, to see that files exist.

    Raises:
        SettingsError: With every fault at once: key path, what was found, what to do.
    """
    if not isinstance(raw, Mapping):
        found = _shorten(raw)
        raise SettingsError([f"(top level): expected keys such as 'datasets', found {found}"])
    data = _with_method_kinds(json.loads(json.dumps(plain(raw), default=str)))
    faults: list[str] = []
    left_out: set[str] = set()
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        faults = _describe(error, data)
        rest, left_out = without(data, [item["loc"] for item in error.errors()])
        with contextlib.suppress(ValidationError):
            settings = Settings.model_validate(rest)
    if settings is not None:
        found = [*_cross_faults(settings), *_file_faults(settings, Path(folder))]
        faults += unaffected(found, left_out)
    if faults:
        raise SettingsError(faults, sound=settings, left_out=left_out)
    return settings


def unaffected(faults: Iterable[str], left_out: Iterable[str]) -> list[str]:
    """Those faults that do not follow from entries having been left out."""
    blocks = {".".join(path.split(".")[:2]) for path in left_out}
    return [fault for fault in faults if not any(block in fault for block in blocks)]


def _with_method_kinds(data: dict[str, Any]) -> dict[str, Any]:
    """Fill `kind` of method blocks that are named after their kind."""
    methods = data.get("methods")
    if not isinstance(methods, dict):
        return data
    filled = {}
    for name, block in methods.items():
        block = {} if block is None else block
        if isinstance(block, dict) and "kind" not in block and name in METHOD_KINDS:
            block = {"kind": name, **block}
        filled[name] = block
    return {**data, "methods": filled}


def _describe(error: ValidationError, data: Mapping[str, Any]) -> list[str]:
    faults = []
    for item in error.errors():
        kind = item["type"]
        path = _key_path(item["loc"], data, is_absent=kind == "missing")
        found = item.get("input")
        if kind == "extra_forbidden":
            known = _known_keys(item["loc"], data)
            close = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(known)}"
            faults.append(f"{path}: unknown key; {hint}")
        elif kind == "union_tag_invalid":
            key, tag, tags = (item["ctx"][n] for n in ("discriminator", "tag", "expected_tags"))
            faults.append(f"{path}: {key} is {tag!r}; use one of {tags}")
        elif kind == "union_tag_not_found":
            key = item["ctx"]["discriminator"].strip("'")
            faults.append(
                f"{path}: the key '{key}' is missing; add it to say what kind this block is"
            )
        elif kind == "missing":
            faults.append(f"{path}: the key is missing; add it")
        elif kind == "string_pattern_mismatch":
            pattern = item["ctx"]["pattern"]
            form = "lower-case letters, digits and underscores only"
            form = form if pattern == NAME_PATTERN else f"the form {pattern}"
            faults.append(f"{path}: found {found!r}; use {form}")
        else:
            message = item["msg"].removeprefix("Value error, ")
            shown = "" if kind == "value_error" else f" (found {_shorten(found)})"
            remedy = f"; {_REMEDIES[kind]}" if kind in _REMEDIES else ""
            faults.append(f"{path}: {message}{shown}{remedy}")
    return list(dict.fromkeys(faults))


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _key_path(location: tuple[Any, ...], data: Mapping[str, Any], *, is_absent: bool) -> str:
    """Write a pydantic location as the user's own key path.

    What does not stand in the settings is the name of a union's member and left out, save the last
    step where just that key is absent.
    """
    parts: list[str] = []
    node: Any = data
    for place, step in enumerate(location):
        if isinstance(node, dict) and step in node:
            node = node[step]
            parts.append(str(step))
        elif isinstance(node, list) and isinstance(step, int) and step < len(node):
            node = node[step]
            parts.append(f"[{step}]")
        elif is_absent and place == len(location) - 1:
            parts.append(str(step))
    return re.sub(r"\.\[", "[", ".".join(parts)) or "(top level)"


def _known_keys(location: tuple[Any, ...], data: Mapping[str, Any]) -> list[str]:
    """Keys that the block around a location accepts."""
    annotation: Any = Settings
    node: Any = data
    for step in location[:-1]:
        is_key = isinstance(node, dict) and step in node
        node = node[step] if is_key else node
        annotation = _step_into(annotation, step, is_key=is_key)
    return sorted(getattr(annotation, "model_fields", {}))


def _step_into(annotation: Any, step: Any, *, is_key: bool) -> Any:
    """Type of what lies one step below a type: a field, an entry, or a union's member."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if not is_key:
        return next((m for m in _models_within(annotation) if _is_called(m, step)), annotation)
    if get_origin(annotation) is dict:
        return get_args(annotation)[1]
    fields = getattr(annotation, "model_fields", {})
    return fields[step].annotation if step in fields else annotation


def _is_called(model: type[BaseModel], tag: Any) -> bool:
    """Whether a union's member goes by a tag: its `format` or `kind`."""
    fields = [model.model_fields[n] for n in ("format", "kind") if n in model.model_fields]
    return any(tag in get_args(field.annotation) for field in fields)


def _models_within(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for member in get_args(annotation) for model in _models_within(member)]


_PROMPT_EXAMPLES = {
    "segmentation": "segmentation: [defect]",
    "saa_plus": "saa_plus: auto",
    "lvlm": "lvlm: Does the image show a defect?",
}


def _cross_faults(settings: Settings) -> list[str]:
    """Faults between blocks."""
    faults = []
    floors = {*MASK_FLOORS, *LABEL_FLOORS, "coin_at_prevalence"}
    for name in settings.methods:
        if name in floors:
            faults.append(f"methods.{name}: this name belongs to a floor; choose another")
        if name.removesuffix(AREA_SUFFIX) in settings.methods and name.endswith(AREA_SUFFIX):
            faults.append(
                f"methods.{name}: this name stands for the verdicts of "
                f"'{name.removesuffix(AREA_SUFFIX)}' by area; choose another"
            )
    if settings.audit.threshold_on_scored == "stop":
        for name, block in settings.methods.items():
            if getattr(block, "uses_test_truth", False):
                faults.append(
                    f"methods.{name}.binarise: '{block.binarise}' looks at the images that are "
                    "scored, and audit.threshold_on_scored is stop; set binarise: good or union, "
                    "or audit: {threshold_on_scored: flag}"
                )
    for dataset, prompts in settings.prompts.items():
        if dataset not in settings.datasets:
            known = ", ".join(settings.datasets)
            faults.append(f"prompts.{dataset}: there is no such data set; data sets: {known}")
        if NO_PROMPT in prompts:
            faults.append(
                f"prompts.{dataset}.{NO_PROMPT}: this name stands for 'no prompt'; choose another"
            )
    for dataset, block in settings.datasets.items():
        unknown = [m for m in block.methods or () if m not in settings.methods]
        for method in sorted({m for m in block.methods or () if block.methods.count(m) > 1}):
            faults.append(f"datasets.{dataset}.methods: '{method}' stands here twice; keep one")
        for method in unknown:
            known = ", ".join(settings.methods) or "none"
            faults.append(
                f"datasets.{dataset}.methods: there is no method block '{method}'; blocks: {known}"
            )
        if unknown:
            continue
        for method in settings.methods_of(dataset):
            if not settings.prompts_of(dataset, method):
                example = _PROMPT_EXAMPLES[settings.methods[method].prompt_key]
                faults.append(
                    f"prompts.{dataset}: method '{method}' needs a text prompt here; add for "
                    f"example prompts: {{{dataset}: {{plain: {{{example}}}}}}}, "
                    f"or list the methods to run under datasets.{dataset}.methods"
                )
        has_training = getattr(block, "n_train", block.split.train_fraction)
        for method in settings.methods_of(dataset):
            kept_none = block.split.kind == "all" or block.generated
            if settings.methods[method].kind == "few_shot" and kept_none and not has_training:
                remedy = (
                    f"set datasets.{dataset}.n_train"
                    if block.generated
                    else f"set datasets.{dataset}.split: {{kind: all, train_fraction: 0.2}}"
                )
                faults.append(
                    f"methods.{method}: few_shot learns from good training images, and data set "
                    f"'{dataset}' keeps none back; {remedy}, or list the methods to run under "
                    f"datasets.{dataset}.methods"
                )
        for method in block.methods or ():
            if settings.methods[method].needs_reference and block.reference == "none":
                faults.append(
                    f"datasets.{dataset}.methods: '{method}' needs a reference image, but "
                    f"datasets.{dataset}.reference is none; set reference: auto"
                )
    return faults


def _file_faults(settings: Settings, folder: Path) -> list[str]:
    """Files and folders that must exist before the first job and cannot be fetched."""
    faults = []
    for name, block in settings.datasets.items():
        if isinstance(block, FolderDataset) and not (folder / block.root).is_dir():
            faults.append(
                f"datasets.{name}.root: there is no folder {block.root}; give the folder that "
                "holds OK/ and NOK/"
            )
        key = f"datasets.{name}.reference"
        if isinstance(block.reference, dict):
            for category, path in block.reference.items():
                if path != "auto" and not (folder / path).is_file():
                    faults.append(
                        f"{key}.{category}: there is no file {path}; give an image or auto"
                    )
        elif block.reference not in ("auto", "none") and not (folder / block.reference).is_file():
            faults.append(f"{key}: there is no file {block.reference}; give an image, auto or none")
    for network in settings.used_networks():
        for file in network_files(network, getattr(settings.models, network)):
            if file.path is None:
                faults.append(
                    f"models.{network}.{file.key}: this variant has no file of its own; give a path"
                )
            elif not file.is_obtainable and not (folder / file.path).exists():
                faults.append(
                    f"models.{network}.{file.key}: there is no file {file.path}; put it there"
                )
            elif (path := folder / file.path).exists() and path.is_dir() != (
                file.key == "text_encoder"
            ):
                wanted = "a folder" if file.key == "text_encoder" else "a file"
                faults.append(
                    f"models.{network}.{file.key}: {file.path} is not {wanted}; give {wanted}"
                )
    return faults


def json_schema() -> dict[str, Any]:
    """JSON schema of the settings file, for editors."""
    schema = Settings.model_json_schema(mode="validation")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "RealityCheck settings"
    for definition in schema["$defs"].values():
        for name, field in definition.get("properties", {}).items():
            definition["properties"][name] = _allow_one_for_list(field)
    _allow_kind_by_name(schema["properties"]["methods"], schema["$defs"])
    return schema


def _allow_one_for_list(field: dict[str, Any]) -> dict[str, Any]:
    """Let the schema accept one entry where a list is meant, as `as_meant` does."""
    notes = {key: field[key] for key in ("title", "description", "default") if key in field}
    members = field.get("anyOf", [{k: v for k, v in field.items() if k not in notes}])
    single = [
        member["items"]
        for member in members
        if member.get("type") == "array" and member.get("items", {}).get("type") != "array"
    ]
    single = [entry for entry in single if entry]
    return {**notes, "anyOf": [*members, *single]} if single else field


def _allow_kind_by_name(methods: dict[str, Any], definitions: Mapping[str, Any]) -> None:
    """Let the schema accept a block that is named after its kind, as `_with_method_kinds` does."""
    ((names, of_any_kind),) = methods["patternProperties"].items()
    methods["properties"] = {}
    for kind, reference in of_any_kind["discriminator"]["mapping"].items():
        full = definitions[reference.rsplit("/", 1)[1]]
        bare = full | {
            "properties": {k: v for k, v in full["properties"].items() if k != "kind"},
            "required": [key for key in full["required"] if key != "kind"],
        }
        methods["properties"][kind] = {"anyOf": [bare, {"type": "null"}, of_any_kind]}
    others = f"^(?!({'|'.join(methods['properties'])})$)" + names.removeprefix("^")
    methods["patternProperties"] = {others: of_any_kind}
    methods["additionalProperties"] = False
