"""Threads, memory and time that jobs ask for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from realitycheck.core.provenance import is_training
from realitycheck.methods.settings import Job

if TYPE_CHECKING:
    from realitycheck.settings.run import Settings


@dataclasses.dataclass(frozen=True)
class _Needs:
    """What a job of a network takes.

    Attributes:
        memory_mb: Its float32 weights, torch, and the largest intermediate result.
        threads: CPU threads that it makes use of.
        time: Time of an image, relative to the largest variant.
    """

    memory_mb: int
    threads: int
    time: float = 1.0


_NEEDS = {
    ("sam", "vit_h"): _Needs(12_000, 8),
    ("sam", "vit_l"): _Needs(9_000, 8, 0.5),
    ("sam", "vit_b"): _Needs(7_000, 4, 0.25),
    ("grounding_dino", "swint_ogc"): _Needs(6_000, 4),
}

_SMALL_NETWORK = _Needs(3_000, 4)

_TINY_NETWORK = _Needs(1_500, 1, 0.01)

#: Of the file of a network whose dimensions the settings give: below, it is tiny.
_TINY_BYTES = 50_000_000

#: Times as long as on a GPU that a network takes on one thread of a CPU.
_CPU_SLOWNESS = 100


class Resources:
    """What jobs ask for, by the settings and the number of images.

    Args:
        settings: The settings of the run.
        n_images: From a data set and `test` or `train` to the number of its images; 0 before they
            are counted.
    """

    def __init__(self, settings: Settings, n_images: Callable[[str, str], int]):
        self._settings = settings
        self._n_images = n_images

    def _needs(self, network: str) -> _Needs:
        block = getattr(self._settings.models, network)
        if block.variant == "everyday":
            return _TINY_NETWORK
        if isinstance(block.variant, str):
            return _NEEDS.get((network, block.variant), _SMALL_NETWORK)
        weights = Path(block.weights)
        if weights.is_file() and weights.stat().st_size < _TINY_BYTES:
            return _TINY_NETWORK
        return _NEEDS[("sam", "vit_h")] if network == "sam" else _SMALL_NETWORK

    def threads(self, network: str) -> int:
        """CPU threads of a job that runs a network."""
        wanted = self._settings.compute.threads
        return self._needs(network).threads if wanted == "auto" else wanted

    def image_threads(self, dataset: str, shard: str | None = None) -> int:
        """CPU threads of a job that takes image after image: one for 50 images, four at most.

        A job that asks for more cores than it can use keeps others from them while it waits.

        Args:
            dataset: The data set. A folder that was not counted yet may hold many images; with a
                generated one a thread is quickly through.
            shard: Its shard; None where the job has all images.
        """
        if shard is None:
            n_images = self._n_images(dataset, "test") + self._n_images(dataset, "train")
        else:
            split = "train" if is_training(shard) else "test"
            n_images = -(-self._n_images(dataset, split) // self._settings.datasets[dataset].shards)
        if not n_images:
            return 1 if self._settings.datasets[dataset].generated else 4
        return min(-(-n_images // 50), 4)

    def n_in_shard(self, dataset: str, shard: str | None) -> int:
        """About how many images a shard holds, or, with None, a data set; before the check, 100."""
        split = "train" if shard is not None and is_training(shard) else "test"
        n_images = max(self._n_images(dataset, split), 100)
        return (
            n_images if shard is None else -(-n_images // self._settings.datasets[dataset].shards)
        )

    def memory_mb(
        self,
        network: str,
        dataset: str,
        shard: str | None,
        *,
        kb_per_image: float,
        attempt: int = 1,
    ) -> int:
        """Memory to ask for in a job that runs a network, in MB; doubled on every attempt.

        Args:
            network: The network.
            dataset: The data set.
            shard: Its shard; None where the job has all images.
            kb_per_image: What the job keeps of each image until it ends.
            attempt: The first is 1.
        """
        rows_mb = self.n_in_shard(dataset, shard) * kb_per_image / 1000
        return int(self._needs(network).memory_mb + rows_mb) * 2 ** (attempt - 1)

    def table_mb(
        self,
        runs: Iterable[tuple[str, str, str]],
        *,
        kb_per_row: float = 2.5,
        attempt: int = 1,
    ) -> int:
        """Memory to ask for in a job that holds the scores of runs at once, in MB; see `memory_mb`.

        Args:
            runs: Data set, method and prompt of each; a run has one row per image.
            kb_per_row: What the job holds of a row.
            attempt: The first is 1.
        """
        n_rows = sum(self._n_images(dataset, "test") for dataset, _, _ in runs)
        return int(1_000 + n_rows * kb_per_row / 1000) * 2 ** (attempt - 1)

    def network_min(
        self,
        network: str,
        dataset: str,
        shard: str | None,
        *,
        seconds_per_image: float,
        attempt: int = 1,
    ) -> int:
        """Minutes to ask for in a job that runs a network; see `runtime_min`.

        Args:
            network: The network.
            dataset: The data set.
            shard: Its shard; None where the job has all images.
            seconds_per_image: Of its largest variant on a GPU.
            attempt: The first is 1.
        """
        seconds = seconds_per_image * self._needs(network).time
        if self._settings.compute.device == "cpu":
            seconds *= _CPU_SLOWNESS / self.threads(network)
        return self.runtime_min(dataset, shard, seconds_per_image=seconds, attempt=attempt)

    def runtime_min(
        self,
        dataset: str,
        shard: str | None = None,
        *,
        seconds_per_image: float,
        attempt: int = 1,
    ) -> int:
        """Minutes to ask for: start-up, and the images of a shard; doubled on every attempt."""
        images = self.n_in_shard(dataset, shard)
        return int(10 + images * seconds_per_image / 60) * 2 ** (attempt - 1)

    def job_threads(self, job: Job) -> int:
        """CPU threads of the job of a method."""
        return self.threads(job.network) if job.network else job.threads

    def job_mb(self, job: Job, dataset: str, shard: str | None, *, attempt: int = 1) -> int:
        """Memory to ask for in the job of a method, in MB; see `memory_mb`."""
        if job.network:
            kb_per_image = job.kb_per_image
            return self.memory_mb(
                job.network, dataset, shard, kb_per_image=kb_per_image, attempt=attempt
            )
        rows_mb = self.n_in_shard(dataset, shard) * job.kb_per_image / 1000
        return int(job.memory_mb + rows_mb) * 2 ** (attempt - 1)

    def job_min(self, job: Job, dataset: str, shard: str | None, *, attempt: int = 1) -> int:
        """Minutes to ask for in the job of a method; see `runtime_min`."""
        if job.minutes:
            return job.minutes * attempt
        seconds = job.seconds_per_image
        if job.network:
            return self.network_min(
                job.network, dataset, shard, seconds_per_image=seconds, attempt=attempt
            )
        return self.runtime_min(dataset, shard, seconds_per_image=seconds, attempt=attempt)
