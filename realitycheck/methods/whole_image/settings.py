"""Facts about the baseline, which has no block in the settings."""

from __future__ import annotations

from typing import ClassVar, Literal

from realitycheck.methods.settings import Job, MethodBlock


class WholeImage(MethodBlock):
    """The whole image as the mask."""

    kind: Literal["whole_image"] = "whole_image"
    label: ClassVar[str] = "Baseline: whole image"
    prompt_key: ClassVar[str | None] = None
    job: ClassVar[Job] = Job(memory_mb=1_000, seconds_per_image=0.5)


Settings = WholeImage
