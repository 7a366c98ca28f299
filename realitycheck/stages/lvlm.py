"""Stage 5: questions to a vision language model, from aligned images and a prompt set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from realitycheck.core.constants import MAX_DECODED_MB
from realitycheck.core.images import read_image
from realitycheck.core.pictures import read_aligned
from realitycheck.core.words import object_name
from realitycheck.lvlm.backends.base import Backend
from realitycheck.lvlm.backends.gemini import vertex_address
from realitycheck.lvlm.backends.registry import backend_for
from realitycheck.lvlm.backends.replay import ReplayBackend
from realitycheck.lvlm.gates import (
    DEFAULT_ADDRESS,
    is_on_site,
    leaves_by_model,
    proxy_of,
    without_login,
)
from realitycheck.lvlm.pricing import PriceTable, read_prices
from realitycheck.lvlm.prompts import SYSTEM_TEXT, PromptTemplate
from realitycheck.lvlm.questions import Picture, Question, Subject, picture_of, questions_for
from realitycheck.lvlm.run import Pace
from realitycheck.lvlm.runner import ask
from realitycheck.lvlm.verdict_rows import unasked_rows

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


def backend_of(settings: Mapping[str, Any]) -> Backend:
    """Make the backend that a method's settings describe.

    Raises:
        MissingKeyError: If the key is not where the settings say.
    """
    names = ("base_url", "key_env", "key_file", "project", "location", "credentials_file")
    return backend_for(
        settings["service"],
        replay=settings["backend"] == "replay",
        on_site=settings["on_site"],
        in_flight=settings["in_flight"],
        **{name: settings[name] for name in names},
    )


def destination_of(settings: Mapping[str, Any]) -> tuple[str, bool, str]:
    """Where a method's questions go, by its settings; asks and resolves nothing.

    Returns:
        The address, whether it is of the site, and both with the proxy in words.
    """
    service, declared = settings["service"], settings["on_site"]
    if settings["backend"] == "replay":
        return "", True, "answers come from the ledger alone"
    default = DEFAULT_ADDRESS
    if service == "vertex":
        default = vertex_address(settings["location"] or "global")
    address = settings["base_url"] or default
    on_site = is_on_site(service, settings["base_url"], declared=declared)
    on_site &= not leaves_by_model(settings["model"], cloud_models=settings["cloud_models"])
    proxy = proxy_of(service, address, on_site=declared)
    return (
        address,
        on_site,
        f"images go to {address} ({'on' if on_site else 'off'} the site), "
        + (f"through the proxy {without_login(proxy)}" if proxy else "without a proxy"),
    )


def pace_of(settings: Mapping[str, Any]) -> Pace:
    """How fast questions are asked."""
    return Pace(
        in_flight=settings["in_flight"],
        requests_per_minute=settings["requests_per_minute"],
        timeout_s=settings["timeout_s"],
        max_wait_s=settings["max_wait_s"],
    )


def known_rows(
    questions: Sequence[Question], keys: Mapping[str, str], *, settings: Mapping[str, Any]
) -> pd.DataFrame:
    """Rows where there is no key to ask with: what the ledger holds, and `no_key` for the rest.

    Args:
        questions: All questions of a run.
        keys: `dataset`, `method` and `prompt` of the rows.
        settings: Of the method.
    """
    if not Path(settings["ledger"]).is_file():
        return unasked_rows(
            dict.fromkeys(question.image_id for question in questions),
            **keys,
            model=settings["model"],
            reason="no_key",
            n_samples=settings["n_samples"],
        )
    rows, _ = ask(
        questions,
        settings["ledger"],
        backend=ReplayBackend(settings["service"]),
        prices=prices_of(settings),
        accepted_models=settings["accepted_models"],
        **keys,
    )
    is_open = rows["status"] == "not_asked"
    return rows.assign(finish_reason=rows["finish_reason"].mask(is_open, "no_key"))


def prices_of(settings: Mapping[str, Any]) -> PriceTable:
    """Prices of the price file, with the method's own where the settings give one."""
    prices = read_prices()
    if settings["price"] is None:
        return prices
    rates = {name: rate for name, rate in settings["price"].items() if rate is not None}
    return prices.with_model(settings["model"], rates)
