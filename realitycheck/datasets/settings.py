"""The block of a data set in the settings: what every format has; each adds its own."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from realitycheck.core.constants import MAX_DECODED_MB
from realitycheck.core.settings import Category, FilePath, Fraction, Name, Strict

#: What a value of a truth mask can mean.
MASK_MEANINGS = ("defect", "background", "ignore")

#: `LICENCE` of a format whose images are drawn.
DRAWN_LICENCE = "drawn here, free of others' rights"


class IntensitySettings(Strict):
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


class AlignmentSettings(Strict):
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


class SplitSettings(Strict):
    """Which images are scored, and which good ones are kept for thresholds and references."""

    kind: Literal["official", "paper", "all"] = Field(
        "all", description="official: the data set's own split; paper: the study's draw; all"
    )
    seed: int = Field(0, ge=0, description="seed of the draw")
    train_fraction: float = Field(
        0.0, ge=0.0, lt=1.0, description="share of good images kept for training (folder, all)"
    )
    confirm_fraction: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="share of the parts that is locked away, and scored by `realitycheck confirm` "
        "alone; views of one part stay together",
    )
    opened: bool = Field(
        False,
        description="set by `realitycheck confirm`, which records it: the locked parts are scored, "
        "in place of the others",
    )

    @model_validator(mode="after")
    def _check_lock(self) -> SplitSettings:
        if self.opened and not self.confirm_fraction:
            raise ValueError("opened needs locked parts; remove it, or set confirm_fraction")
        return self


class LineCostSettings(Strict):
    """What one part costs on the line, by what happens to it; default: not known."""

    escape: float | None = Field(None, ge=0, description="a defective part that passes, in USD")
    false_reject: float | None = Field(
        None, ge=0, description="a good part that is rejected and not checked again, in USD"
    )
    check: float | None = Field(None, ge=0, description="a part that a person checks, in USD")
    inspection: float | None = Field(
        None,
        ge=0,
        description="a part that the method inspects, in USD; default: what a service is paid",
    )


class LineSettings(Strict):
    """The production line, whose share of defective parts is not that of the images."""

    defect_rate: tuple[Fraction, ...] | None = Field(
        None,
        description="share of its parts that are defective, or the lowest and the highest, as in "
        "[0.001, 0.01]; default: not known, and figures are given at 0.1, 1 and 10 %",
    )
    parts_per_day: float | None = Field(None, gt=0, description="default: not known")
    cost_usd: LineCostSettings = LineCostSettings()

    @field_validator("defect_rate", mode="after")
    @classmethod
    def _check_defect_rate(cls, found: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if found is not None and (len(found) not in (1, 2) or found[0] > found[-1]):
            raise ValueError(
                "expected one share, or the lowest and the highest, such as [0.001, 0.01], but got "
                f"{list(found)}"
            )
        return found


def checked_mask_values(found: str | dict[str, float | str]) -> Any:
    """Refuse a meaning of mask values that makes no sense; values are given in lower case."""
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
            raise ValueError(f"{value} must be one of {', '.join(MASK_MEANINGS)}, got {meaning!r}")
    if "defect" not in found.values():
        raise ValueError("name at least one value that is defect, as in {255: defect}")
    return {value.lower(): meaning for value, meaning in found.items()}


class DatasetBlock(Strict):
    """What every data set can be told; the base of a format's `Settings`.

    Beside the fields, a format says by class variables and methods how its images come to be.
    """

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

    line: LineSettings = Field(
        LineSettings(),
        description="the line that makes this product; what it leaves open says the block `line` "
        "at the top",
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

    preregistered: bool = Field(
        False,
        description="all methods and prompts of this data set were fixed before any was scored, "
        "and share the error among themselves only. Recorded with its date when the first is "
        "scored, and refused after that",
    )
    tries_elsewhere: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict,
        description="tries on the same parts that tries_file did not see: {why or where: how many}",
    )

    #: Whether the images are fetched, or drawn; if neither, the user's folder must be there.
    fetchable: ClassVar[bool] = False
    generated: ClassVar[bool] = False
    #: What lies in that folder, in words.
    layout: ClassVar[str] = "the images"
    #: Whether `split.train_fraction` draws the training images from the good ones.
    draws_train: ClassVar[bool] = False
    #: Whether the networks of drawn everyday scenes must find its defects, if the set-up is right.
    is_easy: ClassVar[bool] = False

    def keeps_back(self, name: str) -> str | None:
        """Key path of what says how many good parts become training images; None: folders do."""
        if self.generated:
            return f"datasets.{name}.n_train"
        is_drawn = self.draws_train and self.split.kind == "all"
        return f"datasets.{name}.split.train_fraction" if is_drawn else None

    def category_names(self) -> list[str] | None:
        """Names of the categories, as far as the settings say; None: only the folder does."""
        return None

    def folder_faults(self, key: str, root: Path) -> Iterator[str]:
        """Yield what the settings and a first look at the folder do not agree on.

        Args:
            key: Key path of the block, with which every fault begins.
            root: Its folder, which need not be there.
        """
        yield from ()

    def listing_settings(self) -> dict[str, Any]:
        """What a format adds and its listing depends on, `root` among it, as plain values."""
        return self.model_dump(mode="json", exclude=set(DatasetBlock.model_fields))

    @field_validator("mask_values", mode="after")
    @classmethod
    def _check_mask_values(cls, found: str | dict[str, float | str]) -> Any:
        return checked_mask_values(found)

    @model_validator(mode="after")
    def _check_alignment(self) -> DatasetBlock:
        if self.reference == "none" and self.alignment.method != "none":
            raise ValueError(
                f"alignment method '{self.alignment.method}' needs a reference, but reference is "
                "'none'; set reference: auto or a path, or alignment: {method: none}"
            )
        return self


class DrawnDataset(DatasetBlock):
    """What every data set has whose images are drawn: `n_ok`, `n_nok` and `n_train` images."""

    split: SplitSettings = SplitSettings(kind="official")
    generated: ClassVar[bool] = True

    def category_names(self) -> list[str]:
        """The one product that is drawn."""
        return ["product"]


def unknown_category(key: str, name: str, known: Sequence[str]) -> Iterator[str]:
    """Yield a fault if there is no category of this name, with the one that is nearest."""
    if name in known:
        return
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"categories: {', '.join(known)}"
    yield f"{key}: there is no category '{name}'; {hint}"
