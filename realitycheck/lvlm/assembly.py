"""Putting together the questions of one data set under one prompt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from realitycheck.lvlm.backends.registry import service_of
from realitycheck.lvlm.prompts import RESPONSE_SCHEMA, PromptTemplate, fill
from realitycheck.lvlm.questions import Picture, Question


@dataclass(frozen=True)
class Subject:
    """An image that is asked about, with what stands beside it.

    Attributes:
        image_id: Its key in the tables; not sent.
        image: The image.
        reference: A defect-free image of the same product, or None.
        examples: Labelled images (OK or NOK), in the order in which they are shown.
        values: Words for the prompt's placeholders.
    """

    image_id: str
    image: Picture
    reference: Picture | None = None
    examples: tuple[tuple[str, Picture], ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)


def questions_for(
    subjects: Iterable[Subject],
    prompt: PromptTemplate,
    *,
    service: str,
    model: str,
    model_revision: str = "",
    parameters: Mapping[str, Any] | None = None,
    n_samples: int = 1,
) -> list[Question]:
    """Put together the questions.

    Order of the parts: reference, examples, the image itself, each after its caption, then the
    question. What all questions share comes first, which is what services can reuse and bill less.

    Args:
        subjects: The images.
        prompt: What is asked.
        service: Name of the service.
        model: Model name as requested.
        model_revision: See `Question`.
        parameters: Generation parameters; see `Backend.check_parameters`.
        n_samples: How often each image is asked about.

    Returns:
        One question for each image and sample, images in the given order, samples innermost.

    Raises:
        ValueError: If a setting makes no sense, a reference or words for a placeholder are missing,
            or an image id occurs twice.
    """
    if n_samples < 1:
        raise ValueError(f"n_samples: expected at least 1, got {n_samples}")
    backend = service_of(service)
    checked = backend.check_parameters(model, parameters)
    schema = backend.schema(RESPONSE_SCHEMA)
    questions: list[Question] = []
    seen: set[str] = set()
    for subject in subjects:
        if subject.image_id in seen:
            raise ValueError(f"image {subject.image_id} is given twice; give each image once")
        seen.add(subject.image_id)
        try:
            system, parts = _assembled(subject, prompt)
        except ValueError as error:
            raise ValueError(f"image {subject.image_id}: {error}") from error
        questions += [
            Question(
                subject.image_id,
                sample,
                service,
                model,
                model_revision,
                checked,
                system,
                parts,
                schema,
            )
            for sample in range(n_samples)
        ]
    return questions


def _assembled(subject: Subject, prompt: PromptTemplate) -> tuple[str, tuple[str | Picture, ...]]:
    parts: list[str | Picture] = []
    if prompt.uses_reference:
        if subject.reference is None:
            raise ValueError(
                "the prompt shows a reference image, but there is none; give the data set a "
                "reference, or use a prompt without"
            )
        parts += [prompt.reference_caption, subject.reference]
    for label, example in subject.examples:
        if label not in ("OK", "NOK"):
            raise ValueError(f"an example must be labelled OK or NOK, got {label!r}")
        parts += [fill(prompt.example_caption, {"label": label}), example]
    parts += [prompt.image_caption, subject.image, fill(prompt.text, subject.values)]
    return fill(prompt.system, subject.values), tuple(p for p in parts if p != "")
