"""Settings of `red_marks`."""

from typing import ClassVar, Literal

from pydantic import Field

from realitycheck.methods.settings import MethodBlock


class Settings(MethodBlock):
    """What is red is a defect."""

    kind: Literal["red_marks"]
    threshold: float = Field(0.2, ge=0, le=1, description="excess of red")
    label: ClassVar[str] = "Red marks"
    prompt_key: ClassVar[str | None] = None
    gives_score_map: ClassVar[bool] = True
