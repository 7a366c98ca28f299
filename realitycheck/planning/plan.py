"""What the workflow asks while it plans: resources, lists of results.

Read from small files only; free of torch, pandas and pyarrow, because every job of a cluster run
plans anew.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from realitycheck.core.constants import (
    AREA_SUFFIX,
    LABEL_FLOORS,
    MASK_FLOORS,
    NO_PROMPT,
)
from realitycheck.core.provenance import (
    shard_names,
    source_digest,
)
from realitycheck.lvlm.backends.registry import SERVICES
from realitycheck.models.checkpoints.known import expected_sha256, network_files
from realitycheck.planning.page import ReportPlan
from realitycheck.planning.resources import Resources
from realitycheck.settings.run import Settings


class Plan(ReportPlan):
    """What the settings make of a run: resources, runs, files."""

    def __init__(self, settings: Settings):
        super().__init__(settings)
        self.resources = Resources(settings, self.n_images)

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
        return self.settings.methods[method].has_key()

    def service_code(self, method: str) -> str:
        """Digest of the code that asks a vision language model's service and reads its answers."""
        service = self.settings.methods[method].service
        return source_digest("scripts/ask_lvlm.py", SERVICES.module_of(service))

    def segmentation_texts(self, dataset: str, prompt: str) -> list[str]:
        """Phrases of a prompt set."""
        return list(self.settings.prompts[dataset][prompt].segmentation)

    def detector_prompts(self, dataset: str, prompt: str) -> dict[str, Any]:
        """What the detector is asked for under a prompt set.

        Returns:
            `texts`: phrases for every image. `saa_plus`: prompts of SAA+ by category, or None where
            the set has none or no method of the data set needs them. `object_comma`: forms of
            SAA+'s object caption, none where it has no prompts.
        """
        methods = [self.settings.methods[name] for name in self.settings.methods_of(dataset)]
        kinds = {method.kind for method in methods}
        forms = {
            method.all_switches()["object_comma"] for method in methods if method.kind == "saa_plus"
        }
        told = self.saa_plus_prompts(dataset, prompt) if forms else None
        return {
            "texts": self.segmentation_texts(dataset, prompt) if "grounded_sam" in kinds else [],
            "saa_plus": told,
            "object_comma": sorted(forms) if told else [],
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
        return "bgr" if block.all_switches()["bgr"] else "rgb"

    def panel_files(self, dataset: str, method: str, prompt: str) -> dict[str, str | list[str]]:
        """Files that a method left on its way to its masks, by the name that panels know them by.

        A list holds one file per shard.
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
        if block.kind == "few_shot":
            return {
                "manifest": f"{manifests}/{dataset}.parquet",
                "bank": f"{predictions}/{method}/{prompt}/bank.safetensors",
                "features": shards(f"{encodings}/resnet_features_{block.input_size_px}"),
                "thresholds": thresholds,
            }
        if block.kind == "adapted_sam":
            return {
                "decoders": f"{predictions}/{method}/{prompt}/decoders.safetensors",
                "embeddings": shards(f"{encodings}/sam_rgb"),
                "thresholds": thresholds,
            }
        return {
            "manifest": f"{manifests}/{dataset}.parquet",
            "references": f"{manifests}/{dataset}/references.parquet",
            "thresholds": thresholds,
        }

    def uses_reference(self, dataset: str, method: str, prompt: str) -> bool:
        """Whether a method is shown the reference image and judges by it."""
        block = self.settings.methods[method]
        if self.settings.datasets[dataset].reference == "none":
            return False
        return block.needs_reference or (
            block.kind == "lvlm" and self.settings.prompts[dataset][prompt].reference
        )

    def told(self, dataset: str, method: str, prompt: str) -> str:
        """The words about defects that a method is told; those of SAA+ are looked up elsewhere."""
        block, words = self.settings.methods[method], self.settings.datasets[dataset].defect_names
        if block.kind == "clip_zero_shot":
            return ". ".join(words)
        if block.prompt_key is None or block.kind == "saa_plus":
            return ""
        asked = self.settings.prompts[dataset][prompt]
        if block.kind != "lvlm":
            return ". ".join(asked.segmentation)
        text = f"{asked.system or ''} {asked.lvlm}"
        return text + (". ".join(words) if "{defects}" in text else "")

    def audited(self, dataset: str) -> dict[str, Any]:
        """What the audit of a data set depends on, besides its images."""
        rules = self.settings.audit.model_dump(mode="json")
        runs = [run for run in self.settings.runs() if run[0] == dataset]
        told: dict[str, str] = {}
        if rules["prompt_names_defects"] == "stop":
            told = {
                f"prompt {prompt} of {method}": self.told(dataset, method, prompt)
                for _, method, prompt in runs
            }
        return {
            "rules": rules,
            "uses_reference": any(self.uses_reference(*run) for run in runs),
            "told": told,
            "learners": self.learners(dataset),
            "keeps_back": self.settings.datasets[dataset].keeps_back(dataset),
            "needs": self._needs_of(dataset),
        }

    def learners(self, dataset: str) -> dict[str, dict[str, Any]]:
        """Methods that learn from labelled parts; see `realitycheck.methods.needs.lacking`."""
        blocks = {name: self.settings.methods[name] for name in self.settings.methods_of(dataset)}
        is_aligned = self.settings.datasets[dataset].alignment.method != "none"
        return {
            name: block.model_dump(include={"kind", "n_folds", "seed"}) | {"is_aligned": is_aligned}
            for name, block in blocks.items()
            if block.learns_in_folds
            or block.kind in ("few_shot", "pixel_difference")
            or getattr(block, "binarise", "") == "good"
        }

    def _needs_of(self, dataset: str) -> dict[str, list[str]]:
        """What else methods need; see `realitycheck.methods.needs.lacking_files`."""
        needs: dict[str, set[str]] = {}
        if self.settings.datasets[dataset].alignment.method != "none":
            needs["alignment"] = {"reference"}
        for _, method, prompt in (run for run in self.settings.runs() if run[0] == dataset):
            own = needs.setdefault(method, set())
            if getattr(self.settings.methods[method], "binarise", "") == "f1max":
                own.add("truth")
            if self.uses_reference(dataset, method, prompt):
                own.add("reference")
        return {name: sorted(kinds) for name, kinds in needs.items() if kinds}

    def audited_runs(self) -> list[dict[str, Any]]:
        """What each run does that the audit must know, verdicts by area among them."""
        found = []
        for dataset, method, prompt in [*self.settings.runs(), *self.area_runs()]:
            own = (
                method.removesuffix(AREA_SUFFIX) if method not in self.settings.methods else method
            )
            block = self.settings.methods[own]
            rule = getattr(block, "binarise", "")
            found.append(
                {
                    "dataset": dataset,
                    "method": method,
                    "prompt": prompt,
                    "uses_reference": self.uses_reference(dataset, own, prompt),
                    "uses_training_images": (
                        block.kind in ("pixel_difference", "few_shot") or rule == "good"
                    ),
                    "uses_test_truth": _why_test_truth(rule),
                    "told": self.told(dataset, own, prompt),
                    "saa_plus": (
                        self.saa_plus_prompts(dataset, prompt) if block.kind == "saa_plus" else None
                    ),
                }
            )
        return found

    def audited_images(self) -> dict[str, list[Any]]:
        """What the findings of each data set's audit depend on."""
        kinds = ("images", "train_images", "labels")
        return {
            dataset: [
                self.audited(dataset)["uses_reference"],
                *(self.images_digest(dataset, kind) for kind in kinds),
            ]
            for dataset in self.settings.datasets
        }

    def fold_runs(self) -> list[tuple[str, str, str]]:
        """Every (data set, method, prompt) whose verdicts or thresholds come from folds."""
        kinds = ("resnet_mlp", "tuned_clip", "pixel_difference", "saa_plus", "adapted_sam")
        return [run for run in self.settings.runs() if self.settings.methods[run[1]].kind in kinds]

    def fold_tables(self) -> list[str]:
        """Table of each of those runs that says which fold an image was judged in."""
        results = self.settings.results_dir
        return [
            f"{results}/predictions/{dataset}/{method}/{prompt}/thresholds.parquet"
            if self.settings.methods[method].gives_masks
            else f"{results}/verdicts/{dataset}/{method}/{prompt}/labels.parquet"
            for dataset, method, prompt in self.fold_runs()
        ]

    def map_files(self, dataset: str, method: str, prompt: str) -> dict[str, str | list[str]]:
        """Files that a method's score maps are made again from, by name; a list has one a shard."""
        names = {
            "saa_plus": ("maps",),
            "clip_surgery_sam": ("patches",),
            "pixel_difference": ("references",),
            "few_shot": ("bank", "features"),
            "adapted_sam": ("decoders", "embeddings", "thresholds"),
        }
        files = self.panel_files(dataset, method, prompt)
        return {name: files[name] for name in names[self.settings.methods[method].kind]}

    def asked(self, dataset: str, method: str, prompt: str) -> Any:
        """What a method is told: the phrases of a prompt set, SAA+'s prompts, or nothing."""
        block = self.settings.methods[method]
        if block.prompt_key is None:
            return []
        if block.kind == "saa_plus":
            return self.saa_plus_prompts(dataset, prompt)
        return self.segmentation_texts(dataset, prompt)

    def network_files(self, network: str) -> list[dict[str, Any]]:
        """Files of a network, as plain values, each with the digests that it must have."""
        files = network_files(network, getattr(self.settings.models, network))
        return [dataclasses.asdict(file) | {"sha256": expected_sha256(file)} for file in files]


def _why_test_truth(binarise: str) -> str:
    """How a rule of SAA+ looks at what it is scored on; nothing if it does not."""
    if binarise == "f1max":
        return "the threshold is the best one for the truth of the scored images (binarise f1max)"
    if binarise.startswith("fixed"):
        return f"the threshold is a share of the range over the scored images (binarise {binarise})"
    return ""
