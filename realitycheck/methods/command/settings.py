"""Settings of `command`, and the facts about it."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from realitycheck.core.provenance import stat_signature
from realitycheck.core.settings import FilePath, Fraction
from realitycheck.methods.paths import Paths
from realitycheck.methods.settings import Fit, Job, MethodBlock, PromptSettings

#: Files up to this size are told apart by their content, larger ones by size and time.
_READ_BYTES = 10_000_000
#: Minutes of a job beside the program: images are copied before and answers checked after it.
_OWN_MINUTES = 10
#: Words that stand for the interpreter.
PYTHON = ("python", "python3")


class CommandMethod(MethodBlock):
    """A program of your own; what it reads and leaves is described in docs/methods/command.md."""

    kind: Literal["command"]
    command: str = Field(
        min_length=1,
        description="the program and its arguments; no shell. It starts in a folder with its "
        "images and leaves its answers there; a file named here is found from the run's folder",
    )
    gives: Literal["masks", "maps", "verdicts"] = Field(
        description="what it leaves: a mask, a score for each pixel, or a label of each image"
    )
    python: FilePath | None = Field(
        None,
        description="interpreter of another virtual environment, for the word python in the "
        "command; default: that of RealityCheck's own jobs",
    )
    conda: FilePath | None = Field(
        None, description="environment file in place of `python`; needs --sdm conda"
    )
    files: tuple[FilePath, ...] = Field(
        (), description="further files or folders that, when they change, run it again"
    )
    gpu: Literal[0, 1] = Field(0, description="GPUs; without one it sees none")
    threads: int = Field(1, ge=1, description="CPU threads")
    memory_mb: int = Field(4_000, ge=100, description="memory of a job, in MB")
    minutes: int = Field(60, ge=1, description="time limit of the program in a job; then it ends")
    network: bool = Field(
        False,
        description="whether it needs the network; then it runs where Snakemake was started. "
        "false: it is told to stay offline, which is no barrier",
    )
    environment: tuple[str, ...] = Field(
        (), description="environment variables that it is given; keys and tokens never are unasked"
    )
    prompts: Literal["none", "segmentation", "lvlm"] = Field(
        "none", description="key of a prompt set that it is told; none: it needs no prompt"
    )
    training: Literal["good", "none"] = Field(
        "good", description="good: it is given the good training images; none: it is given none"
    )
    reference: bool = Field(False, description="whether it is given the reference images")
    threshold: Literal["auto"] | Annotated[float, Field(ge=0, le=1)] = Field(
        "auto",
        description="of maps; auto: from good training images that are held back from it. A number "
        "that was chosen by scored truth must be declared with uses_test_truth",
    )
    held_back: Fraction = Field(
        0.3, gt=0, lt=1, description="share of the good training images that set the threshold"
    )
    max_overkill_rate: Fraction = Field(
        0.05, description="share of those that the threshold may reject"
    )
    min_area_px: int = Field(20, ge=1, description="of maps: smaller regions are dust")
    seed: int = Field(0, ge=0, description="of what is held back; the program is told, too")
    label: ClassVar[str] = "Own program"
    gives_either: ClassVar[bool] = True
    is_outside: ClassVar[bool] = True

    @field_validator("environment", mode="after")
    @classmethod
    def _check_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise ValueError(
                    f"expected names of environment variables, got {name!r}; a value never belongs "
                    "into the settings"
                )
        return names

    @model_validator(mode="after")
    def _check_together(self) -> CommandMethod:
        if self.python and self.conda:
            raise ValueError("give python or conda, not both")
        try:
            words = shlex.split(self.command)
        except ValueError as error:
            raise ValueError(f"command: {error} in {self.command!r}") from None
        if not words:
            raise ValueError("command: expected a program, got an empty text")
        if self.sets_threshold and self.training == "none":
            raise ValueError(
                "threshold: auto needs good training images; set training: good, or a number"
            )
        return self

    # ------------------------------------------------------------------------------- what it says

    @property
    def gives_masks(self) -> bool:
        """Whether it gives masks or maps."""
        return self.gives != "verdicts"

    @property
    def gives_score_map(self) -> bool:
        """Whether it leaves a value for each pixel."""
        return self.gives == "maps"

    @property
    def sets_threshold(self) -> bool:
        """Whether its threshold comes from good training images."""
        return self.gives == "maps" and self.threshold == "auto"

    @property
    def prompt_key(self) -> str | None:
        """Key of the prompt sets that it is told."""
        return None if self.prompts == "none" else self.prompts

    @property
    def needs_reference(self) -> bool:
        """Whether it is given reference images."""
        return self.reference

    @property
    def names_object(self) -> bool:
        """Whether it is told what the images show: with every prompt."""
        return self.prompts != "none"

    @property
    def learns_from(self) -> dict[str, Any] | None:
        """Good training parts, some of them held back."""
        return {"parts": "good training"} if self.training == "good" else None

    @property
    def job(self) -> Job:
        """What its jobs ask for."""
        return Job(**self._asks())

    @property
    def fits(self) -> Fit | None:
        """The job that sets its threshold, if it has one."""
        return Fit(**self._asks()) if self.sets_threshold else None

    def _asks(self) -> dict[str, Any]:
        return {
            "memory_mb": self.memory_mb,
            "minutes": self.minutes + _OWN_MINUTES,
            "threads": self.threads,
            "gpu": bool(self.gpu),
            "is_local": self.network,
        }

    @property
    def environment_file(self) -> str | None:
        """Conda's file, if it has one."""
        return self.conda

    # ---------------------------------------------------------------------------------- its files

    def named_files(self) -> list[Path]:
        """Files that decide when it runs again: those of the command, and further ones."""
        words = [word for word in shlex.split(self.command) if Path(word).is_file()]
        interpreter = [self.python] if self.python else []
        about = [str(Path(each).parent.parent / "pyvenv.cfg") for each in interpreter]
        conda = [self.conda] if self.conda else []
        return [Path(each) for each in (*words, *about, *conda, *self.files)]

    def plain(self) -> dict[str, Any]:
        """The block as plain values, with the digests of its files."""
        return {
            **super().plain(),
            "digests": {str(path): _digest(path) for path in self.named_files()},
        }

    def tried(self, *, is_aligned: bool) -> dict[str, Any]:
        """What its answers depend on: not what it may take."""
        block = self.plain_for(is_aligned=is_aligned)
        return {name: value for name, value in block.items() if name not in LIMITS}

    def inputs(self, paths: Paths) -> dict[str, Any]:
        """What the program is given, and the threshold."""
        files: dict[str, Any] = {}
        if self.sets_threshold:
            files["thresholds"] = paths.prediction("thresholds.parquet")
        return files if paths.is_later else {**files, **self._given(paths)}

    def fit_inputs(self, paths: Paths) -> dict[str, Any]:
        """What the program is given."""
        return {**self._given(paths), "transforms": paths.training_shards(paths.aligned)}

    def _given(self, paths: Paths) -> dict[str, Any]:
        files: dict[str, Any] = {}
        if self.training == "good":
            files["train"] = paths.train
            files["training"] = paths.training_shards(paths.aligned)
        if self.reference:
            files["references"] = paths.references
        if self.conda:
            files["environment"] = f"{paths.results}/environments/{paths.method}.txt"
        if not self.gives_masks:
            files["shards"] = paths.shards(paths.aligned)
        return files

    # ------------------------------------------------------------------------------------ prompts

    def told(self, asked: PromptSettings | None) -> Any:
        """Phrases, or question and system text."""
        if asked is None or self.prompts == "none":
            return []
        if self.prompts == "segmentation":
            return list(asked.segmentation)
        return {"question": asked.lvlm, "system": asked.system}

    def words(self, asked: PromptSettings | None, defect_names: Sequence[str]) -> str:
        """Phrases or question, and what fills it."""
        told = self.told(asked)
        if isinstance(told, list):
            return ". ".join(told)
        text = f"{told['system'] or ''} {told['question']}"
        return text + (". ".join(defect_names) if "{defects}" in text else "")

    def summary(self, asked: PromptSettings) -> tuple[str, str]:
        """What a program is told."""
        return "own programs", asked.lvlm or "" if self.prompts == "lvlm" else super().summary(
            asked
        )[1]

    # ------------------------------------------------------------------------------------- faults

    def faults(self, key: str, folder: Path, datasets: Mapping[str, Any]) -> Iterator[str]:
        """Files that are not there, and variables that are not set; see `MethodBlock.faults`."""
        for name in ("python", "conda"):
            path = getattr(self, name)
            if path and not (folder / path).is_file():
                yield f"{key}.{name}: there is no file {path}; name one that is there"
            elif name == "python" and path and not os.access(folder / path, os.X_OK):
                yield f"{key}.python: {path} cannot be run; name an interpreter"
        for path in self.files:
            if not (folder / path).exists():
                yield f"{key}.files: there is no file or folder {path}; name one that is there"
        for word in shlex.split(self.command):
            # Only what looks like a file of the user's: an argument may be anything.
            if word.endswith((".py", ".sh", ".R", ".jl")) and not (folder / word).is_file():
                yield f"{key}.command: there is no file {word}; name one that is there"
        for name in self.environment:
            if name not in os.environ:
                yield f"{key}.environment: {name} is not set; set it, or leave it out"


#: What a program may take, on which its answers do not depend.
LIMITS = ("memory_mb", "minutes", "threads")
#: What becomes of its maps; they are kept when it changes.
AFTERWARDS = ("threshold", "max_overkill_rate", "min_area_px")


def _digest(path: Path) -> str:
    if path.is_file() and path.stat().st_size <= _READ_BYTES:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    if path.is_dir():
        members = sorted(each for each in path.rglob("*") if each.is_file())
        rows = [f"{each.relative_to(path)} {_digest(each)}" for each in members]
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]
    return stat_signature(path)


Settings = CommandMethod
