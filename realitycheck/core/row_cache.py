"""What long jobs have finished of a shard, so that a killed one costs the image in hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from realitycheck.core.store import FinishedRows
from realitycheck.core.tables import read_facts


def finished_rows(
    rule: str,
    images_folder: str | Path,
    *,
    params: Mapping[str, Any],
    tables: Iterable[str | Path] = (),
    device: str | None = None,
) -> FinishedRows:
    """Open the finished rows of a rule, of this data set and under these params.

    Args:
        rule: Name of the rule.
        images_folder: Folder of the data set's aligned images, `<results>/aligned/{dataset}`.
        params: Params of the rule, its code digest among them; no digests of the shard's images.
        tables: Input tables with rows of the images; the facts in their metadata count.
        device: Device the networks run on.
    """
    images_folder = Path(images_folder)
    encodings = images_folder.parents[1] / "encodings" / images_folder.name
    facts = {
        "params": dict(params),
        "tables": [_lasting(read_facts(path)) for path in tables],
        "device": device,
    }
    return FinishedRows(encodings / "finished" / rule, facts=facts)


def _lasting(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of a table without how long it took, which is another number every time."""
    return {name: value for name, value in facts.items() if name != "seconds"}


def finished_first(
    items: Iterable[Any],
    work: Callable[[Any], list[dict[str, Any]]],
    finished: FinishedRows | None,
    *,
    content_of: Callable[[Any], Any],
    is_intact: Callable[[list[dict[str, Any]]], bool] = lambda rows: True,
) -> Iterator[list[dict[str, Any]]]:
    """Work on items one after the other, except those that an earlier job finished.

    Args:
        items: The items, such as rows of the transforms table.
        work: From an item to its rows.
        finished: Where rows are kept; None keeps none.
        content_of: What an item's rows are made from, a plain value.
        is_intact: Whether what else belongs to finished rows, such as a picture, is still there.

    Yields:
        The rows of each item.
    """
    for item in items:
        rows = finished.get(content_of(item)) if finished else None
        if rows is None or not is_intact(rows):
            rows = work(item)
            if finished:
                finished.put(content_of(item), rows)
        yield rows


def image_content(row: Any) -> list[str]:
    """What a row of the transforms table says of its image, for the key of finished rows."""
    return [row.dataset, row.image_id, row.category, row.pixels_sha256]
