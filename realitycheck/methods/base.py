"""The contract of a method: what a job gives to it, and what it gives back.

The folder of a kind holds `settings.py` with its block, `Settings`, which names the method's files
and the facts that planning goes by; see `realitycheck.methods.settings.MethodBlock`. Beside it are,
for masks:

- `segmenter.py` with `open(inputs, run, device)`: an object with `segment(row)`, and, where the
  block says so, `score_map(row)` and `score_grid(row)`; rows are those of the transforms table.
  Where the block names `fits`, `fit(inputs, run, device, outputs)` as well: the rows of the
  thresholds table, whatever else is learned being written to `outputs`;
- `views.py` with `views(segmenter, row, image, truth)`: what the method saw of an image.

Or, for verdicts alone, `classifier.py` with `verdicts(inputs, run, manifest, device)`.

Where the block names `sources`, `source.py` as well, for the audit and for `realitycheck check`:
`faults(dataset, settings, manifest, train, records, n_workers=…)` and, of names alone,
`name_faults(dataset, settings, records, folder)`.

What only some jobs need is read, and loaded, when it is first asked for: one `open` serves masks,
scores and views.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd

from realitycheck.core.provenance import read_record
from realitycheck.core.references import read_references
from realitycheck.core.schemas import ENCODINGS, SCORE_GRIDS, THRESHOLDS, VERDICTS
from realitycheck.core.store import EncodingStore
from realitycheck.core.tables import Schema, read_shards
from realitycheck.encoders.base import Encodings, keys_of


class Segmentation(NamedTuple):
    """What a method says of one image.

    Attributes:
        mask: bool, shape (H, W); all False unless `status` is `ok`.
        score: 0 to 1, or None where nothing was compared.
        n_regions: Masks that were united.
        status: `ok`, or why the mask is empty.
        seconds: Time that it took before, and elsewhere; None where nobody knows.
    """

    mask: np.ndarray
    score: float | None
    n_regions: int
    status: str
    seconds: float | None = 0.0


class Segmenter(Protocol):
    """What `open` of a segmentation method returns; see above for what it may have beside."""

    def segment(self, row: Any) -> Segmentation:
        """Mark the defects of an image."""
        ...


class Verdicts(NamedTuple):
    """What a classifier says of a data set.

    Attributes:
        table: A verdicts table, one row per image.
        seconds: Time of the verdicts of all images, what was learned for them apart; None where
            the table says it of each.
        training_seconds: Time of learning, verdicts with it; None without any.
    """

    table: pd.DataFrame
    seconds: float | None
    training_seconds: float | None = None


class OutOfFold(NamedTuple):
    """Verdicts of images by models that did not see them.

    Attributes:
        scores: Probability of NOK, float64, (N,).
        labels: OK or NOK, (N,).
        folds: Fold that each image was held out in, int64, (N,).
        thresholds: Threshold of each fold, float64, (n_folds,).
    """

    scores: np.ndarray
    labels: np.ndarray
    folds: np.ndarray
    thresholds: np.ndarray


@dataclass(frozen=True)
class Run:
    """What a job is told of a run, in plain values.

    Attributes:
        dataset: The data set's id.
        method: Name of the method block.
        prompt: Name of the prompt set.
        settings: The block.
        told: What the prompt set says to the method.
        networks: Settings of each network that the job opens.
        weights: Digest of the weights of each network that the method uses.
        floor: Score that boxes were stored down to.
        intensity: How reference images become 8-bit RGB.
        words: `object_name` and `defect_names` of the data set.
        ignore_border: What undecided pixels of the truth count as.
        sources: Digest of the files that the answers come from, where those were made elsewhere.
    """

    dataset: str
    method: str
    prompt: str
    settings: Mapping[str, Any]
    told: Any = ()
    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    floor: float = 0.0
    intensity: Mapping[str, Any] = field(default_factory=dict)
    words: Mapping[str, Any] = field(default_factory=dict)
    ignore_border: str = "ignore"
    sources: str = ""


class Inputs:
    """Files of a job by name, and what is read from them.

    Args:
        files: A path, or a list of one for each shard.
    """

    def __init__(self, files: Mapping[str, str | Path | Sequence[str | Path]]):
        self._files = {
            name: [Path(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]
            for name, paths in files.items()
        }

    def __contains__(self, name: str) -> bool:
        return bool(self._files.get(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def paths(self, name: str) -> list[Path]:
        """All files of a name."""
        return self._files[name]

    def path(self, name: str) -> Path:
        """The file of a name."""
        (path,) = self._files[name]
        return path

    def table(self, name: str, schema: Schema) -> pd.DataFrame:
        """Table of a name, its shards together."""
        return read_shards(self._files[name], schema=schema)

    @property
    def images_folder(self) -> Path:
        """Folder of the aligned images, `<results>/aligned/{dataset}`."""
        path = self._files["transforms"][0]
        return path.parents[1] if path.parent.name == "shards" else path.parent

    @property
    def encodings_folder(self) -> Path:
        """Folder of all encodings."""
        return self.images_folder.parents[1] / "encodings"

    def encodings(self, name: str) -> Encodings:
        """Encodings that the tables of a name list."""
        folder = self.encodings_folder / self.images_folder.name
        encoder = self._files[name][0].relative_to(folder).parts[0]
        return Encodings(EncodingStore(folder / encoder), keys_of(self.table(name, ENCODINGS)))

    def weights(self, network: str) -> Path:
        """Checked weights file of a network."""
        return Path(read_record(self.path(f"{network}_weights"))["files"]["weights"]["path"])

    def limits(self) -> dict[str, float]:
        """Threshold of each image."""
        table = self.table("thresholds", THRESHOLDS)
        return dict(zip(table["image_id"], table["threshold"], strict=True))

    def references(self, run: Run) -> dict[str, np.ndarray]:
        """Reference image, uint8 RGB (H, W, 3), of each category that has one."""
        return read_references(self.path("references"), intensity=run.intensity)

    def score_grids(self) -> dict[str, np.ndarray]:
        """Stored score map of each image, float32, (G, G'), at the size it was computed in."""
        return {
            row.image_id: np.asarray(row.values, np.float32).reshape(row.n_rows, -1)
            for row in self.table("score_grids", SCORE_GRIDS).itertuples(index=False)
        }


def held_out(manifest: pd.DataFrame, run: Run, found: OutOfFold) -> pd.DataFrame:
    """Verdicts table of out-of-fold verdicts."""
    return verdict_table(manifest, run).assign(
        label_predicted=found.labels, score=found.scores, fold=found.folds
    )


def verdict_table(manifest: pd.DataFrame, run: Run) -> pd.DataFrame:
    """Verdicts table with every image of a manifest, labels and scores left open."""
    keys = manifest[["dataset", "image_id"]].reset_index(drop=True)
    table = keys.assign(method=run.method, prompt=run.prompt, sample=0, status="answered")
    return table.reindex(columns=VERDICTS.columns).astype(
        {"label_predicted": object, "score": float}
    )
