"""What is known of the inputs while the workflow is planned: digests, inventories, counts.

Read from small files only; free of torch, pandas and pyarrow, because every job of a cluster run
plans anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from realitycheck.core.provenance import digest_of, recorded, shard_digest, stat_signature
from realitycheck.datasets.inventory import inventory
from realitycheck.models.checkpoints.known import network_files
from realitycheck.settings.run import Settings

UNKNOWN = "unknown"


class Facts:
    """Answers of the settings and of what earlier jobs wrote down.

    Args:
        settings: The settings of the run.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        self.results = Path(settings.results_dir)

    def inventory(self, dataset: str) -> str:
        """Digest of what lies in a data set's folder: names, sizes and times, not content.

        A generated data set has no folder of its own. A fetched one may not be there yet: then the
        answer is the one its record was made under, so that fetching it does not look like an edit.
        """
        block = self.settings.datasets[dataset]
        if block.generated:
            return "generated"
        current = inventory(block.root) if Path(block.root).is_dir() else "absent"
        return self._unless_recorded(f"manifests/{dataset}/digests.json", current)

    def weights_signature(self, network: str) -> str:
        """Digest of names, sizes and times of a network's files; see `inventory`."""
        files = network_files(network, getattr(self.settings.models, network))
        current = stat_signature(*(file.path for file in files if file.path))
        return self._unless_recorded(f"weights/{network}.json", current)

    def _unless_recorded(self, record: str, current: str) -> str:
        """The trigger that a record was made under, as long as the files are those it recorded."""
        found = recorded(self.results / record)
        return found["trigger"] if found.get("signature") == current else current

    def images_digest(self, dataset: str, kind: str, shard: str | None = None) -> str:
        """Digest of a shard's checked images; see `realitycheck.core.provenance.shard_digest`."""
        return shard_digest(self.results / "manifests" / dataset / "digests.json", kind, shard)

    def weights_digest(self, *networks: str) -> dict[str, str]:
        """Digest of the checked files of each network."""
        records = {name: recorded(self.results / "weights" / f"{name}.json") for name in networks}
        return {name: str(record.get("digest", UNKNOWN)) for name, record in records.items()}

    def locked(self, dataset: str) -> dict[str, Any]:
        """Numbers and digest of the locked parts; nothing where there are none."""
        path = self.results / "manifests" / dataset / "digests.json"
        found = recorded(path).get("locked", {})
        return found if found.get("n_ok") or found.get("n_nok") else {}

    def n_images(self, dataset: str, split: str = "test") -> int:
        """Number of images in the manifest; 0 before it is written."""
        record = recorded(self.results / "manifests" / dataset / "digests.json")
        return int(record.get("counts", {}).get(split, 0))


def sources_digest(paths: Iterable[str | Path], *, by_time: bool = True) -> str:
    """Digest of files, by their content, and of folders, by names, sizes and times.

    What is not there has a digest, too: that is a fault, and told where it is looked for.

    Args:
        paths: Files and folders.
        by_time: Whether the times of files in folders count.
    """
    found = []
    for path in map(Path, paths):
        if path.is_file():
            with path.open("rb") as file:
                found.append(hashlib.file_digest(file, "sha256").hexdigest())
        else:
            found.append(inventory(path, by_time=by_time) if path.is_dir() else UNKNOWN)
    return digest_of(found)


def settings_digest(settings: Settings) -> str:
    """Digest of all settings."""
    return digest_of(settings.model_dump(mode="json"))[:16]
