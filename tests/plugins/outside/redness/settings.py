"""Settings of `redness`."""

from typing import ClassVar, Literal

from realitycheck.methods.settings import MethodBlock


class Settings(MethodBlock):
    """A part with much red is defective."""

    kind: Literal["redness"]
    label: ClassVar[str] = "Redness"
    prompt_key: ClassVar[str | None] = None
    gives_masks: ClassVar[bool] = False
