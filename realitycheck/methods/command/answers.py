"""Answers of programs: made once for a shard, kept, and found again by image."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from realitycheck.core.files import image_file, write_text
from realitycheck.core.job import gpu_of
from realitycheck.core.parquet import ArtifactError
from realitycheck.core.pictures import check_listed
from realitycheck.core.provenance import digest_of, recorded
from realitycheck.core.schemas import MANIFEST, TRANSFORMS
from realitycheck.methods.base import Inputs, Run
from realitycheck.methods.command.exchange import (
    FORMAT,
    Answer,
    Picture,
    read_answers,
    read_map,
    read_mask,
    write_request,
)
from realitycheck.methods.command.program import command_words, environment_for, run_program
from realitycheck.methods.command.settings import AFTERWARDS, LIMITS

log = logging.getLogger("realitycheck")

#: Written last, when the answers are checked: what they were made from, and all but the pictures.
_FINISHED = "finished.json"


class Answers:
    """Checked answers of a program.

    Args:
        found: By image: folder, number, digest of the aligned pixels, and the answer.
    """

    def __init__(self, found: Mapping[str, tuple[Path, int, str, Answer]]):
        self._found = found

    def has(self, row: Any) -> bool:
        """Whether there is one of an image, as it is now; a row of the transforms table."""
        return row.image_id in self._found and self._found[row.image_id][2] == row.pixels_sha256

    def of(self, row: Any) -> Answer:
        """What the program says of an image."""
        return self._found[row.image_id][3]

    def mask(self, row: Any) -> np.ndarray:
        """Its mask, bool (H, W)."""
        folder, index, *_ = self._found[row.image_id]
        return read_mask(folder, index)

    def map(self, row: Any) -> np.ndarray:
        """Its map, float32 (H, W), 0 to 1."""
        folder, index, *_ = self._found[row.image_id]
        return read_map(folder, index)


def answers_folder(inputs: Inputs, run: Run) -> Path:
    """Folder of all answers of a run."""
    results = inputs.images_folder.parents[1]
    return results / "commands" / run.dataset / run.method / run.prompt


def stored_answers(inputs: Inputs, run: Run) -> Answers:
    """Answers of all shards, which were made when the masks were.

    Raises:
        ArtifactError: If those of an image are gone; then the masks go, too.
    """
    folder = answers_folder(inputs, run)
    found: dict[str, tuple[Path, int, str, Answer]] = {}
    for record in sorted(folder.glob(f"*-of-*/{_FINISHED}")):
        found |= _kept(record.parent)
    answers = Answers(found)
    gone = [row.image_id for row in _rows(inputs, "transforms") if not answers.has(row)]
    if gone:
        masks = folder.parents[3] / "predictions" / run.dataset / run.method / run.prompt
        for path in masks.glob("shards/*.parquet"):
            path.unlink(missing_ok=True)
        raise ArtifactError(
            f"{folder}: the program's answers about {len(gone)} images are gone (first: "
            f"{gone[0]}); run again, which makes them anew, and what follows from them"
        )
    return answers


def made_answers(
    inputs: Inputs,
    run: Run,
    name: str,
    rows: Sequence[Any],
    *,
    training: Sequence[Any],
    device: str,
    until: float | None = None,
) -> Answers:
    """Answers about images, by running the program unless it has judged just these before.

    Args:
        inputs: Files of the job.
        run: What it is told.
        name: Name of the shard.
        rows: Images to judge: rows of a transforms table.
        training: Good training images that it is given, likewise.
        device: Device that it is told to use.
        until: When its time is over, by `time.monotonic`; default: after its minutes.

    Raises:
        ProgramError: If it fails.
        ExchangeError: If its answers are not as the format says.
    """
    if not rows:
        return Answers({})
    folder = answers_folder(inputs, run) / name
    references = inputs.references(run) if "references" in inputs else {}
    made_from = _made_from(run, rows, training, references)
    if recorded(folder / _FINISHED).get("made_from") == made_from:
        log.info("%s: judged before by the same program; it is not run again", folder)
        return Answers(_kept(folder))
    settings = run.settings
    started = time.monotonic()
    limit_s = (until or started + 60 * settings["minutes"]) - started
    # In an order that says nothing: names of images often begin with their labels.
    ordered = sorted(rows, key=lambda row: hashlib.sha256(row.image_id.encode()).digest())
    pictures = [_picture(inputs.images_folder, row) for row in ordered]
    write_request(
        folder,
        _request(run, device, categories=sorted({row.category for row in rows})),
        images=pictures,
        training=[_picture(inputs.images_folder, row) for row in training],
        references=references,
    )
    interpreter = _interpreter(inputs, settings)
    seconds = run_program(
        command_words(settings["command"], interpreter),
        folder.absolute(),
        environment=environment_for(
            os.environ,
            named=settings["environment"],
            network=settings["network"],
            interpreter=interpreter,
            threads=settings["threads"],
            gpu=gpu_of(device),
        )
        | {"REALITYCHECK_FOLDER": str(folder.absolute())},
        limit_s=limit_s,
        log=folder / "program.log",
    )
    found = read_answers(folder, pictures, gives=settings["gives"])
    told = [answer.seconds for answer in found]
    by_image = {
        row.image_id: {
            "index": index,
            "pixels": row.pixels_sha256,
            # All of its time, that of learning too, where it does not tell its own.
            **dataclasses.asdict(answer),
            "seconds": seconds / len(rows) if told[index] is None else told[index],
        }
        for index, (row, answer) in enumerate(zip(ordered, found, strict=True))
    }
    write_text(json.dumps({"made_from": made_from, "images": by_image}), folder / _FINISHED)
    for given in ("images", "training", "references"):
        shutil.rmtree(folder / given, ignore_errors=True)
    _remove_others(folder)
    return Answers(_kept(folder))


def _made_from(
    run: Run, rows: Sequence[Any], training: Sequence[Any], references: Mapping[str, np.ndarray]
) -> str:
    """Digest of everything that the answers depend on."""

    def content(rows: Sequence[Any]) -> list[list[str]]:
        return sorted([row.image_id, row.category, row.pixels_sha256] for row in rows)

    left_out = (*LIMITS, *AFTERWARDS)
    return digest_of(
        {
            "format": FORMAT,
            "settings": {k: v for k, v in run.settings.items() if k not in left_out},
            "told": run.told,
            "words": dict(run.words),
            "images": content(rows),
            "training": content(training),
            "references": {
                category: hashlib.sha256(image.tobytes()).hexdigest()
                for category, image in sorted(references.items())
            },
        }
    )


def _request(run: Run, device: str, *, categories: Sequence[str]) -> dict[str, Any]:
    settings = run.settings
    request: dict[str, Any] = {
        "dataset": run.dataset,
        "method": run.method,
        "prompt": run.prompt,
        "gives": settings["gives"],
        "categories": list(categories),
        "seed": settings["seed"],
        "device": device,
        "threads": settings["threads"],
    }
    if settings["prompts"] != "none":
        request |= {"told": run.told, **run.words}
    return request


def _interpreter(inputs: Inputs, settings: Mapping[str, Any]) -> str:
    """Path of the program's interpreter."""
    if "environment" in inputs:
        prefix = inputs.path("environment").read_text(encoding="utf-8").strip()
        return str(Path(prefix) / "bin" / "python")
    return str(Path(settings["python"]).absolute()) if settings["python"] else sys.executable


def _picture(folder: Path, row: Any) -> Picture:
    path = image_file(folder, row.image_id)
    check_listed(path, row.image_id, tables=folder.glob("shards/*.parquet"))
    return Picture(path, row.category, int(row.height_px), int(row.width_px))


def _kept(folder: Path) -> dict[str, tuple[Path, int, str, Answer]]:
    record = recorded(folder / _FINISHED)
    found = {}
    for image_id, about in record["images"].items():
        answer = {name: value for name, value in about.items() if name not in ("index", "pixels")}
        found[image_id] = (folder, about["index"], about["pixels"], Answer(**answer))
    return found


def _remove_others(folder: Path) -> None:
    """Remove the answers of shards of another number."""
    if "-of-" in folder.name:
        count = folder.name.rpartition("-of-")[2]
        for other in folder.parent.glob("*-of-*"):
            if other.name.rpartition("-of-")[2] != count:
                shutil.rmtree(other, ignore_errors=True)


def _rows(inputs: Inputs, name: str) -> list[Any]:
    return list(inputs.table(name, TRANSFORMS).itertuples())


# ---------------------------------------------------------------------------------------- training


def training_rows(inputs: Inputs, run: Run, *, held_back: bool) -> list[Any]:
    """Good training images that the program is given, or those that are held back from it.

    Args:
        inputs: Files of the job; without `train` there are none.
        run: With the settings.
        held_back: Which of the two.

    Returns:
        Rows of the transforms table. Of each category some parts (views of one part stay together)
        are held back where they set a threshold, at least one of them and never all.
    """
    if "train" not in inputs:
        return []
    settings = run.settings
    train = inputs.table("train", MANIFEST)
    good = train[train["label"] == "OK"]
    part = good["group"].fillna(good["image_id"])
    sets_threshold = settings["gives"] == "maps" and settings["threshold"] == "auto"
    kept_back: set[str] = set()
    if sets_threshold:
        for _, names in part.groupby(good["category"], sort=True):
            parts = sorted(set(names))
            n_held = min(max(1, round(settings["held_back"] * len(parts))), len(parts) - 1)
            order = np.random.default_rng(settings["seed"]).permutation(len(parts))
            kept_back |= {parts[index] for index in order[:n_held]}
    wanted = set(good.loc[part.isin(kept_back) == held_back, "image_id"])
    return [row for row in _rows(inputs, "training") if row.image_id in wanted]
