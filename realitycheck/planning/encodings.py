"""What the rule of an encoding asks while it is planned."""

from __future__ import annotations

from typing import Any

from realitycheck.core.provenance import source_digest
from realitycheck.encoders.registry import ENCODERS
from realitycheck.models.registry import NETWORKS
from realitycheck.planning.plan import Plan


class EncodingRule:
    """One encoding as its rule sees it.

    Args:
        plan: Answers of the settings.
        name: Of the encoding, see `realitycheck.encoders.registry`.

    Attributes:
        encoder: Class of the encoding.
        folder: Of its tables, with wildcards.
        log_folder: Of its logs and benchmarks.
        code: Digest of the code that a job of it runs.
    """

    def __init__(self, plan: Plan, name: str):
        self.name = name
        self.encoder = ENCODERS.open(name)
        self.folder = f"<results>/encodings/{{dataset}}/{self.encoder.folder}"
        self.log_folder = f"{self.encoder.rule}/{{dataset}}/{self.encoder.log_folder}".rstrip("/")
        self.code = source_digest(
            ENCODERS.module_of(name),
            NETWORKS.module_of(self.encoder.network),
            "realitycheck.stages.encode",
        )
        self._plan = plan

    @property
    def methods(self) -> list[str]:
        """Method blocks with an encoding of their own; none where all share one."""
        wanted = self.encoder.settings_of
        blocks = self._plan.settings.methods
        return [name for name, block in blocks.items() if wanted and hasattr(block, wanted)]

    @property
    def network(self) -> dict[str, Any]:
        """Settings of the network."""
        return self._plan.settings.network_settings(self.encoder.network)

    def settings(self, wildcards: Any) -> dict[str, Any]:
        """Settings of the encoding: those of the method block that owns it, or the input's size."""
        if self.encoder.settings_of:
            block = self._plan.settings.methods[wildcards.method]
            return getattr(block, self.encoder.settings_of)()
        return {"input_size_px": int(wildcards.size)} if "{size}" in self.folder else {}

    def source(self, wildcards: Any) -> dict[str, str]:
        """Table of the shard's encodings that this one starts from, by the name of the input."""
        if self.encoder.source is None:
            return {}
        name, key = self.encoder.source
        source = ENCODERS.open(name)
        folder = source.folder
        if source.settings_of:
            part = source.settings_of.removesuffix("_settings")
            folder = folder.format(method=self._plan.encoding_owner(wildcards.method, part))
        folder = folder.format(colour="rgb")
        results = self._plan.settings.results_dir
        return {key: f"{results}/encodings/{wildcards.dataset}/{folder}/{wildcards.shard}.parquet"}

    def weights(self, wildcards: Any) -> dict[str, str]:
        """Digest of the network's checked files."""
        return self._plan.weights_digest(self.encoder.network)

    @property
    def threads(self) -> int:
        """CPU threads of a job."""
        return self._plan.resources.threads(self.encoder.network)

    def memory_mb(self, wildcards: Any, attempt: int) -> int:
        """Memory of a job, in MB."""
        return self._plan.resources.memory_mb(
            self.encoder.network,
            wildcards.dataset,
            wildcards.shard,
            kb_per_image=self.encoder.kb_per_image,
            attempt=attempt,
        )

    def runtime_min(self, wildcards: Any, attempt: int) -> int:
        """Time of a job, in minutes."""
        return self._plan.resources.network_min(
            self.encoder.network,
            wildcards.dataset,
            wildcards.shard,
            seconds_per_image=self.encoder.seconds_per_image,
            attempt=attempt,
        )
