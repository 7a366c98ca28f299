"""Registry."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    Field,
)

from realitycheck.methods.adapted_sam.settings import AdaptedSamMethod
from realitycheck.methods.clip_surgery_sam.settings import ClipSurgerySamMethod
from realitycheck.methods.clip_zero_shot.settings import ClipZeroShotMethod
from realitycheck.methods.few_shot.settings import FewShotMethod
from realitycheck.methods.grounded_sam.settings import GroundedSamMethod
from realitycheck.methods.lvlm.settings import LvlmMethod
from realitycheck.methods.pixel_difference.settings import PixelDifferenceMethod
from realitycheck.methods.resnet_mlp.settings import ResnetMlpMethod
from realitycheck.methods.saa_plus.settings import SaaPlusMethod
from realitycheck.methods.sam_clip.settings import SamClipMethod
from realitycheck.methods.tuned_clip.settings import TunedClipMethod

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
