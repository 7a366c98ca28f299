"""Where a run's files lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from realitycheck.core.provenance import shard_names


@dataclass(frozen=True)
class Paths:
    """Where the files of a run lie.

    Attributes:
        results: Folder of all results.
        dataset: The data set's id.
        method: Name of the method block.
        prompt: Name of the prompt set.
        names: Names of the shards that the job works on.
        n_shards: Shards of the data set.
        has_training: Whether there are training images.
        owner: Gives the block under whose name a part that several blocks share lies.
        is_later: Whether the masks are made: then what was stored with them can be read.
    """

    results: str
    dataset: str
    method: str
    prompt: str
    names: tuple[str, ...]
    n_shards: int
    has_training: bool
    owner: Callable[[str], str]
    is_later: bool = False

    def shards(self, folder: str) -> list[str]:
        """Tables of the job's shards in a folder below the results."""
        return [f"{self.results}/{folder}/{name}.parquet" for name in self.names]

    def training_shards(self, folder: str) -> list[str]:
        """Tables of the training images."""
        names = shard_names(self.n_shards, training=True)
        return [f"{self.results}/{folder}/{name}.parquet" for name in names]

    def calibration_shards(self, folder: str) -> list[str]:
        """Tables of the images that set thresholds: training images, or else the scored ones."""
        return self.training_shards(folder) if self.has_training else self.shards(folder)

    def encodings(self, encoder: str) -> list[str]:
        """Encodings that every method shares."""
        return self.shards(f"encodings/{self.dataset}/{encoder}")

    def own_encodings(self, encoder: str, part: str) -> list[str]:
        """Encodings that depend on the method block; see `Plan.encoding_owner` for the part."""
        return self.encodings(f"{encoder}/{self.owner(part)}")

    @property
    def boxes(self) -> list[str]:
        """Boxes of the detector."""
        return self.shards(f"detections/{self.dataset}/{self.prompt}/shards")

    @property
    def aligned(self) -> str:
        """Folder of the transforms' shards, below the results."""
        return f"aligned/{self.dataset}/shards"

    @property
    def manifest(self) -> str:
        """Scored images."""
        return f"{self.results}/manifests/{self.dataset}.parquet"

    @property
    def train(self) -> str:
        """Training images."""
        return f"{self.results}/manifests/{self.dataset}/train.parquet"

    @property
    def references(self) -> str:
        """Reference images."""
        return f"{self.results}/manifests/{self.dataset}/references.parquet"

    @property
    def truth(self) -> str:
        """Truth table, beside the warped truth masks."""
        return f"{self.results}/truth/{self.dataset}/truth.parquet"

    def prediction(self, name: str) -> str:
        """A file of the run's own predictions, of all images."""
        return f"{self.results}/predictions/{self.dataset}/{self.method}/{self.prompt}/{name}"

    def predictions(self, folder: str, part: str | None = None) -> list[str]:
        """Tables in a folder of the predictions, of this block or of the one that owns a part."""
        return self.shards(self._predictions(folder, part))

    def calibration_predictions(self, folder: str, part: str) -> list[str]:
        """The same of the images that set thresholds."""
        return self.calibration_shards(self._predictions(folder, part))

    def _predictions(self, folder: str, part: str | None) -> str:
        method = self.owner(part) if part else self.method
        return f"predictions/{self.dataset}/{method}/{self.prompt}/{folder}"
