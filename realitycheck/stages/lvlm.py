"""Stage 5: questions to a vision language model, from aligned images and a prompt set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from realitycheck.artifacts import image_file
from realitycheck.images import read_image
from realitycheck.lvlm.keys import read_key
from realitycheck.lvlm.prompts import SYSTEM_TEXT, PromptTemplate
from realitycheck.lvlm.questions import Question, Subject, picture_of, questions_for
from realitycheck.lvlm.runner import Pace

#: Words for {defects} where the settings name none.
NO_DEFECT_NAMED = "any deviation from a flawless part"


def questions_of(
    transforms: pd.DataFrame,
    references: pd.DataFrame,
    *,
    images_folder: str | Path,
    asked: Mapping[str, Any],
    settings: Mapping[str, Any],
    intensity: Mapping[str, Any],
) -> list[Question]:
    """Put together the questions of one data set, method and prompt.

    Args:
        transforms: Rows of the aligned images.
        references: Reference image of each category.
        images_folder: Folder of the aligned images.
        asked: `lvlm` (the question), `system`, `reference`, `examples`, `object_name`,
            `defect_names`.
        settings: Of the method: service, model, parameters, `n_samples`, `max_side_px`.
        intensity: How grey values become 8 bits, for reference and examples.

    Raises:
        ValueError: If the prompt shows a reference and a category has none.
    """
    side = settings["max_side_px"]
    template = PromptTemplate(
        version="settings", text=asked["lvlm"], uses_reference=asked["reference"]
    )
    template = replace(template, system=asked["system"] or SYSTEM_TEXT)
    shown = {
        row.category: picture_of(
            lambda path=Path(row.image_path): read_image(path, intensity=intensity),
            max_side_px=side,
        )
        for row in references.itertuples()
        if asked["reference"]
    }
    examples = tuple(
        (
            each["label"],
            picture_of(
                lambda path=Path(each["image"]): read_image(path, intensity=intensity),
                max_side_px=side,
            ),
        )
        for each in asked["examples"]
    )
    subjects = [
        Subject(
            image_id=row.image_id,
            image=picture_of(
                lambda path=image_file(images_folder, row.image_id): read_image(path),
                max_side_px=side,
            ),
            reference=shown.get(row.category),
            examples=examples,
            values={
                "object": object_name(asked["object_name"], row.category),
                "defects": ", ".join(asked["defect_names"]) or NO_DEFECT_NAMED,
            },
        )
        for row in transforms.itertuples()
    ]
    return questions_for(
        subjects,
        template,
        service=settings["service"],
        model=settings["model"],
        model_revision=settings["model_revision"],
        parameters=settings["parameters"],
        n_samples=settings["n_samples"],
    )


def object_name(names: str | Mapping[str, str] | None, category: str) -> str:
    """What the images of a category show, in words."""
    default = category.replace("_", " ")
    if names is None:
        return default
    return names if isinstance(names, str) else names.get(category, default)


def backend_of(settings: Mapping[str, Any]) -> Any:
    """Make the backend that a method's settings describe.

    Raises:
        MissingKeyError: If the key is not where the settings say.
    """
    kind, place = settings["backend"], settings["key"]
    if kind == "replay":
        from realitycheck.lvlm.backends.replay import ReplayBackend

        return ReplayBackend(settings["service"])
    key = read_key(**place) if any(place.values()) else None
    shared = {"api_key": key, "max_connections": settings["in_flight"], "on_site": settings["on_site"]}
    if kind == "openai_compatible":
        from realitycheck.lvlm.backends.openai_compatible import OpenAICompatibleBackend

        return OpenAICompatibleBackend(settings["base_url"], **shared)
    from realitycheck.lvlm.backends.gemini import GeminiBackend

    return GeminiBackend(
        kind,
        base_url=settings["base_url"],
        project=settings["project"],
        location=settings["location"],
        credentials_file=settings["credentials_file"],
        **shared,
    )


def pace_of(settings: Mapping[str, Any]) -> Pace:
    """How fast questions are asked."""
    return Pace(
        in_flight=settings["in_flight"],
        requests_per_minute=settings["requests_per_minute"],
        timeout_s=settings["timeout_s"],
    )
