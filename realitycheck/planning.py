"""What the workflow asks while it plans: digests of checked inputs, resources, lists of results.

Read from small files only; free of torch, pandas and pyarrow, because every job of a cluster run
plans anew.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from pathlib import Path
from typing import Any

from realitycheck.config import (
    AREA_SUFFIX,
    LABEL_FLOORS,
    MASK_FLOORS,
    NO_PROMPT,
    UNTRAINED_NOTE,
    Settings,
)
from realitycheck.datasets.inventory import inventory
from realitycheck.lvlm.backends.choose import DEFAULT_KEY_ENV
from realitycheck.methods.switches import switched
from realitycheck.models.files import network_files
from realitycheck.provenance import (
    digest_of,
    is_training,
    shard_digest,
    shard_names,
    stat_signature,
)

UNKNOWN = "unknown"

#: Memory that a job of each network takes beside its images, in MB: its float32 weights, torch, and
#: the largest intermediate result.
_NETWORK_MB = {
    ("sam", "vit_h"): 12_000,
    ("sam", "vit_l"): 9_000,
    ("sam", "vit_b"): 7_000,
    ("grounding_dino", "swint_ogc"): 6_000,
}
_SMALL_NETWORK_MB = 3_000


class Plan:
    """Answers of the settings and of what earlier jobs wrote down.

    Args:
        settings: The settings of the run.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        self.results = Path(settings.results_dir)

    # -------------------------------------------------------------------------- triggers of re-runs

    def inventory(self, dataset: str) -> str:
        """Digest of what lies in a data set's folder: names, sizes and times, not content.

        A generated data set has no folder of its own. A fetched one may not be there yet: then the
        answer is the one its record was made under, so that fetching it does not look like an edit.
        """
        block = self.settings.datasets[dataset]
        if block.generated:
            return "generated"
        current = inventory(block.root) if Path(block.root).is_dir() else "absent"
        return _unless_recorded(self.results / "manifests" / dataset / "digests.json", current)

    def weights_signature(self, network: str) -> str:
        """Digest of names, sizes and times of a network's files; see `inventory`."""
        files = network_files(network, getattr(self.settings.models, network))
        paths = [file.path for file in files if file.path]
        return _unless_recorded(
            self.results / "weights" / f"{network}.json", stat_signature(*paths)
        )

    def images_digest(self, dataset: str, kind: str, shard: str | None = None) -> str:
        """Digest of the checked images of a shard; see `realitycheck.provenance.shard_digest`."""
        return shard_digest(self.results / "manifests" / dataset / "digests.json", kind, shard)

    def shard_images_digest(self, dataset: str, shard: str) -> str:
        """Digest of the images of a shard, of scored or of training images."""
        kind = "train_images" if is_training(shard) else "images"
        return self.images_digest(dataset, kind, shard)

    def weights_digest(self, *networks: str) -> dict[str, str]:
        """Digest of the checked files of each network."""
        return {n: str(self._record(f"weights/{n}.json").get("digest", UNKNOWN)) for n in networks}

    def n_images(self, dataset: str, split: str = "test") -> int:
        """Number of images in the manifest; 0 before it is written."""
        record = self._record(f"manifests/{dataset}/digests.json")
        return int(record.get("counts", {}).get(split, 0))

    def _record(self, name: str) -> dict[str, Any]:
        path = self.results / name
        try:
            return _json(str(path), path.stat().st_mtime_ns)
        except FileNotFoundError:
            return {}

    # ------------------------------------------------------------------------------------ resources

    def memory_mb(self, network: str) -> int:
        """Memory to ask for in a job that runs a network, in MB."""
        variant = getattr(self.settings.models, network).variant
        if isinstance(variant, str):
            return _NETWORK_MB.get((network, variant), _SMALL_NETWORK_MB)
        return _NETWORK_MB[("sam", "vit_h")] if network == "sam" else _SMALL_NETWORK_MB

    def runtime_min(self, dataset: str, *, seconds_per_image: float, attempt: int = 1) -> int:
        """Minutes to ask for: start-up, and the images of a shard; doubled on every attempt."""
        shards = self.settings.datasets[dataset].shards
        images = max(self.n_images(dataset), 100) / shards
        return int(10 + images * seconds_per_image / 60) * 2 ** (attempt - 1)

    # -------------------------------------------------------------------------------------- results

    def mask_runs(self) -> list[tuple[str, str, str]]:
        """Every (data set, method, prompt) with masks, floors last."""
        floors = [(d, floor, NO_PROMPT) for d in self.settings.datasets for floor in MASK_FLOORS]
        return [*self.settings.mask_runs(), *floors]

    def detector_runs(self) -> list[tuple[str, str]]:
        """Every (data set, prompt) that some method asks the detector with."""
        wanted = [
            (dataset, prompt)
            for dataset, method, prompt in self.settings.runs()
            if "grounding_dino" in self.settings.methods[method].networks
        ]
        return list(dict.fromkeys(wanted))

    def label_runs(self) -> list[tuple[str, str, str]]:
        """Every (data set, method, prompt) with verdicts, those by area behind, floors last."""
        floors = [(d, floor, NO_PROMPT) for d in self.settings.datasets for floor in LABEL_FLOORS]
        return [*self.settings.runs(), *self.area_runs(), *floors]

    def area_runs(self) -> list[tuple[str, str, str]]:
        """Runs with masks once more, with the verdict by predicted area."""
        if not self.settings.evaluation.area_verdicts:
            return []
        return [(d, f"{m}{AREA_SUFFIX}", p) for d, m, p in self.settings.mask_runs()]

    def paths(self, pattern: str, runs: list[tuple[str, str, str]]) -> list[str]:
        """Fill `{dataset}`, `{method}` and `{prompt}` of a path for every run."""
        return [pattern.format(dataset=d, method=m, prompt=p) for d, m, p in runs]

    def method_notes(self) -> dict[str, dict[str, Any]]:
        """What tables and figures say of each method."""
        notes: dict[str, dict[str, Any]] = {}
        for name, block in self.settings.methods.items():
            note: dict[str, Any] = {"kind": block.kind}
            if block.title:
                note["name"] = block.title
            if block.kind == "lvlm":
                note["model"] = block.model
                note.setdefault("name", block.model)
            if getattr(block, "variant", None):
                note["variant"] = block.variant
            if self.settings.is_untrained(name):
                note["note"] = UNTRAINED_NOTE
            if getattr(block, "uses_test_truth", False):
                note["uses_test_truth"] = True
            notes[name] = note
            if block.gives_masks:
                notes[f"{name}{AREA_SUFFIX}"] = note | {"verdict_by": "area"}
        return notes | {floor: {"kind": floor} for floor in (*MASK_FLOORS, *LABEL_FLOORS)}

    def self_tested(self) -> dict[str, Any]:
        """Easy data sets, and the kind of every method that must not fail on them.

        Empty where no drawn pets, or no everyday networks alone, take part.
        """
        datasets = [
            name
            for name, block in self.settings.datasets.items()
            if block.format == "synthetic_pets" and self.runs_of(name)
        ]
        kinds = {
            name: self.settings.methods[name].kind
            for name in self.settings.mask_methods()
            if self.settings.is_everyday(name)
        }
        return {"datasets": datasets, "kinds": kinds} if datasets and kinds else {}

    def measures_domain_gap(self) -> bool:
        """Whether the gap to the everyday scenes is measured: by the network trained on them."""
        return "resnet" in self.settings.used_networks() and (
            self.settings.models.resnet.variant == "everyday"
        )

    def automatic_masks(self, dataset: str) -> list[str]:
        """Tables of SAM's automatic masks of a data set; none where no method asks for them."""
        names = [
            name
            for name in self.settings.methods_of(dataset)
            if self.settings.methods[name].kind == "sam_clip"
        ]
        if not names:
            return []
        owner = self.encoding_owner(names[0], "masks")
        folder = f"{self.settings.results_dir}/encodings/{dataset}/automatic_masks/{owner}"
        shards = shard_names(self.settings.datasets[dataset].shards)
        return [f"{folder}/{shard}.parquet" for shard in shards]

    def runs_of(self, dataset: str) -> list[tuple[str, str, str]]:
        """Every (data set, method, prompt) of one data set with masks, floors left out."""
        return [run for run in self.settings.mask_runs() if run[0] == dataset]

    def dataset_notes(self) -> dict[str, dict[str, Any]]:
        """What the tables and figures say of each data set."""
        return {
            name: {"name": block.title or name.replace("_", " ")}
            | ({"published_as": block.published_as} if block.published_as else {})
            for name, block in self.settings.datasets.items()
        }

    def lvlm_prompt(self, dataset: str, prompt: str) -> dict[str, Any]:
        """What a vision language model is asked under a prompt set, and in which words."""
        asked = self.settings.prompts[dataset][prompt].model_dump(
            mode="json", include={"lvlm", "system", "reference", "examples"}
        )
        return {**asked, **self.words(dataset)}

    def words(self, dataset: str) -> dict[str, Any]:
        """Names of object and defects of a data set."""
        block = self.settings.datasets[dataset]
        return block.model_dump(mode="json", include={"object_name", "defect_names"})

    def has_key(self, method: str) -> bool:
        """Whether a vision language model can be asked: its key is there, or it needs none."""
        block = self.settings.methods[method]
        if block.backend == "replay":
            return True
        if block.key_file:
            return Path(block.key_file).is_file()
        name = block.key_env or DEFAULT_KEY_ENV.get(block.service)
        return name is None or bool(os.environ.get(name))

    def segmentation_texts(self, dataset: str, prompt: str) -> list[str]:
        """Phrases of a prompt set."""
        return list(self.settings.prompts[dataset][prompt].segmentation)

    def detector_prompts(self, dataset: str, prompt: str) -> dict[str, Any]:
        """What the detector is asked for under a prompt set.

        Returns:
            `texts`: phrases for every image. `saa_plus`: prompts of SAA+ by category, or None where
            no method of the data set needs them. `object_comma`: forms of SAA+'s object caption.
        """
        methods = [self.settings.methods[name] for name in self.settings.methods_of(dataset)]
        kinds = {method.kind for method in methods}
        forms = {
            switched("saa_plus", method.variant, method.switches).object_comma
            for method in methods
            if method.kind == "saa_plus"
        }
        return {
            "texts": self.segmentation_texts(dataset, prompt) if "grounded_sam" in kinds else [],
            "saa_plus": self.saa_plus_prompts(dataset, prompt) if forms else None,
            "object_comma": sorted(forms),
        }

    def saa_plus_prompts(self, dataset: str, prompt: str) -> Any:
        """Prompts of SAA+ under a prompt set, as plain values."""
        return self.settings.prompts[dataset][prompt].model_dump(mode="json")["saa_plus"]

    def encoding_owner(self, method: str, part: str) -> str:
        """The first method block that shares a method's encodings, under whose name they lie.

        Args:
            method: Name of the method block.
            part: `masks`, `crops`, `patches` or `maps`.
        """
        block = self.settings.methods[method]
        wanted = getattr(block, f"{part}_settings")()
        return next(
            name
            for name, other in self.settings.methods.items()
            if other.kind == block.kind and getattr(other, f"{part}_settings")() == wanted
        )

    def saa_plus_colour(self, method: str) -> str:
        """Colour order that SAM and the saliency network see under a block of SAA+."""
        block = self.settings.methods[method]
        return "bgr" if switched("saa_plus", block.variant, block.switches).bgr else "rgb"

    def panel_files(self, dataset: str, method: str, prompt: str) -> dict[str, str | list[str]]:
        """Files that a method left on its way to its masks, by the name that panels know them by.

        A list holds one file a shard.
        """
        block = self.settings.methods[method]
        encodings = f"{self.settings.results_dir}/encodings/{dataset}"
        manifests = f"{self.settings.results_dir}/manifests"
        predictions = f"{self.settings.results_dir}/predictions/{dataset}"

        def shards(folder: str) -> list[str]:
            names = shard_names(self.settings.datasets[dataset].shards)
            return [f"{folder}/{name}.parquet" for name in names]

        def owned(folder: str, part: str) -> list[str]:
            return shards(f"{encodings}/{folder}/{self.encoding_owner(method, part)}")

        boxes = shards(f"{self.settings.results_dir}/detections/{dataset}/{prompt}/shards")
        thresholds = f"{predictions}/{method}/{prompt}/thresholds.parquet"
        if block.kind == "grounded_sam":
            return {"boxes": boxes}
        if block.kind == "sam_clip":
            return {
                "automatic_masks": owned("automatic_masks", "masks"),
                "crops": owned("crops", "crops"),
            }
        if block.kind == "clip_surgery_sam":
            return {"patches": owned("patches", "patches")}
        if block.kind == "saa_plus":
            maps = self.encoding_owner(method, "maps")
            return {
                "boxes": boxes,
                "saliency": shards(f"{encodings}/saliency_{self.saa_plus_colour(method)}"),
                "maps": shards(f"{predictions}/{maps}/{prompt}/maps"),
                "thresholds": thresholds,
            }
        return {
            "manifest": f"{manifests}/{dataset}.parquet",
            "references": f"{manifests}/{dataset}/references.parquet",
            "thresholds": thresholds,
        }

    def asked(self, dataset: str, method: str, prompt: str) -> Any:
        """What a method is told: the phrases of a prompt set, SAA+'s prompts, or nothing."""
        block = self.settings.methods[method]
        if block.prompt_key is None:
            return []
        if block.kind == "saa_plus":
            return self.saa_plus_prompts(dataset, prompt)
        return self.segmentation_texts(dataset, prompt)

    def network_files(self, network: str) -> list[dict[str, Any]]:
        """Files of a network, as plain values."""
        files = network_files(network, getattr(self.settings.models, network))
        return [dataclasses.asdict(file) for file in files]


def _unless_recorded(record: Path, current: str) -> str:
    """The trigger that a record was made under, as long as the files are those it recorded."""
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return current
    return found["trigger"] if found.get("signature") == current else current


@functools.lru_cache(maxsize=64)
def _json(path: str, _mtime_ns: int) -> dict[str, Any]:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def settings_digest(settings: Settings) -> str:
    """Digest of all settings."""
    return digest_of(settings.model_dump(mode="json"))[:16]
