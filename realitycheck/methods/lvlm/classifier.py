"""A vision language model as a classifier: from a method's settings to questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from realitycheck.core.constants import MAX_DECODED_MB
from realitycheck.core.images import read_image
from realitycheck.core.pictures import read_aligned
from realitycheck.core.words import object_name
from realitycheck.lvlm.assembly import Subject, questions_for
from realitycheck.lvlm.prompts import SYSTEM_TEXT, PromptTemplate
from realitycheck.lvlm.questions import Picture, Question, picture_of

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

    def picture(path: str | Path, how: Mapping[str, Any], limit: float | None = None) -> Picture:
        return picture_of(
            lambda: read_image(Path(path), intensity=how, max_decoded_mb=limit), max_side_px=side
        )

    shown = {
        row.category: picture(row.image_path, intensity)
        for row in references.itertuples()
        if asked["reference"]
    }
    examples = tuple(
        (each["label"], picture(each["image"], intensity, MAX_DECODED_MB))
        for each in asked["examples"]
    )
    subjects = [
        Subject(
            image_id=row.image_id,
            image=picture_of(partial(read_aligned, images_folder, row.image_id), max_side_px=side),
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
