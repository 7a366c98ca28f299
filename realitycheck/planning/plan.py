"""What the workflow asks while it plans: resources, lists of results.

Read from small files only; free of torch, pandas and pyarrow, because every job of a cluster run
plans anew.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from realitycheck.core.constants import (
    AREA_SUFFIX,
    LABEL_FLOORS,
    MASK_FLOORS,
    NO_PROMPT,
    OUT_OF_FOLD_NOTE,
    UNTRAINED_NOTE,
)
from realitycheck.core.provenance import is_training, shard_names
from realitycheck.datasets.registry import FORMATS
from realitycheck.lvlm.backends.registry import DEFAULT_KEY_ENV
from realitycheck.models.checkpoints.known import expected_sha256, network_files, own_files
from realitycheck.planning.facts import Facts, settings_digest
from realitycheck.planning.page import _variant_text
from realitycheck.planning.resources import (
    _CPU_SLOWNESS,
    _MINIATURE,
    _NEEDS,
    _SMALL_NETWORK,
    _Needs,
)


class Plan(Facts):
    """What the settings make of a run: resources, runs, files."""

    # ------------------------------------------------------------------------------------ resources

    def _needs(self, network: str) -> _Needs:
        variant = getattr(self.settings.models, network).variant
        if variant in ("miniature", "everyday"):
            return _MINIATURE
        if isinstance(variant, str):
            return _NEEDS.get((network, variant), _SMALL_NETWORK)
        return _NEEDS[("sam", "vit_h")] if network == "sam" else _SMALL_NETWORK

    def threads(self, network: str) -> int:
        """CPU threads of a job that runs a network."""
        wanted = self.settings.compute.threads
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
            n_images = self.n_images(dataset, "test") + self.n_images(dataset, "train")
        else:
            split = "train" if is_training(shard) else "test"
            n_images = -(-self.n_images(dataset, split) // self.settings.datasets[dataset].shards)
        if not n_images:
            return 1 if self.settings.datasets[dataset].generated else 4
        return min(-(-n_images // 50), 4)

    def n_in_shard(self, dataset: str, shard: str | None) -> int:
        """About how many images a shard holds, or, with None, a data set; before the check, 100."""
        split = "train" if shard is not None and is_training(shard) else "test"
        n_images = max(self.n_images(dataset, split), 100)
        return n_images if shard is None else -(-n_images // self.settings.datasets[dataset].shards)

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
            runs: Data set, method and prompt of each; a run has a row an image.
            kb_per_row: What the job holds of a row.
            attempt: The first is 1.
        """
        n_rows = sum(self.n_images(dataset) for dataset, _, _ in runs)
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
        if self.settings.compute.device == "cpu":
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

    def broken_down_runs(self) -> list[tuple[str, str, str]]:
        """Every run with its verdicts by area, and the mask floors, which know the truth's size."""
        floors = [(d, floor, NO_PROMPT) for d in self.settings.datasets for floor in MASK_FLOORS]
        return [*self.settings.runs(), *self.area_runs(), *floors]

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
            told = [
                *(
                    [UNTRAINED_NOTE]
                    if self.settings.is_untrained(name)
                    else self._own_weights(block.networks)
                ),
                *([OUT_OF_FOLD_NOTE] if block.learns_in_folds and block.gives_masks else []),
            ]
            if told:
                note["note"] = "; ".join(told)
            if getattr(block, "uses_test_truth", False):
                note["uses_test_truth"] = True
            notes[name] = note
            if block.gives_masks:
                notes[f"{name}{AREA_SUFFIX}"] = note | {"verdict_by": "area"}
        return notes | {floor: {"kind": floor} for floor in (*MASK_FLOORS, *LABEL_FLOORS)}

    def _own_weights(self, networks: Iterable[str]) -> list[str]:
        """What is told of networks that run on a file of the user's."""
        models = self.settings.models
        names = [(network, own_files(network, getattr(models, network))) for network in networks]
        return [
            f"weights of {network} from the file {', '.join(own)}" for network, own in names if own
        ]

    def self_tested(self) -> dict[str, Any]:
        """Easy data sets, and the kind of every method that must not fail on them.

        Empty where no easy data set, or no everyday networks alone, take part.
        """
        datasets = [
            name
            for name, block in self.settings.datasets.items()
            if block.is_easy and self.runs_of(name)
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

    def further_tables(self) -> list[str]:
        """Tables of a run that only the everyday networks give, by their names."""
        return [
            *(["self_test"] if self.self_tested() else []),
            *(["domain_gap"] if self.measures_domain_gap() else []),
        ]

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

    def shown_runs(self, dataset: str) -> list[tuple[str, str, str]]:
        """Every (data set, method, prompt) of one data set, verdicts by area behind, no floors."""
        return [run for run in [*self.settings.runs(), *self.area_runs()] if run[0] == dataset]

    def panel_tables(self) -> list[str]:
        """Tables of the panels that are wanted."""
        if self.settings.report.panels == "none":
            return []
        pattern = "predictions/{dataset}/{method}/{prompt}/panels.parquet"
        return self.paths(f"{self.settings.results_dir}/{pattern}", self.settings.mask_runs())

    def page_figures(self) -> list[str]:
        """Every figure of the report, in a reader's order."""
        masked = [name for name in self.settings.datasets if self.runs_of(name)]
        names = ["slip_overkill", "iou_distribution"]
        if any(block.published_as for block in self.settings.datasets.values()):
            names.append("published_scores")
        if self.measures_domain_gap() and masked:
            names.insert(0, "domain_gap")
        names += [f"detection_probability_{name}" for name in masked]
        names += [f"overlays_{name}" for name in masked]
        return [f"{self.settings.results_dir}/figures/{name}.png" for name in names]

    def page_runs(self) -> list[dict[str, Any]]:
        """What the page shows of each image: every method but the floors.

        Returns:
            dataset, method, prompt; `masks_of`: the method whose masks the verdict comes from, or
            None; `has_panels`: whether there are pictures of what it saw.
        """
        wants_panels = self.settings.report.panels != "none"
        rows = []
        for dataset, method, prompt in [*self.settings.runs(), *self.area_runs()]:
            is_area = method not in self.settings.methods
            masked = method.removesuffix(AREA_SUFFIX) if is_area else method
            block = self.settings.methods[masked]
            rows.append(
                {
                    "dataset": dataset,
                    "method": method,
                    "prompt": prompt,
                    "masks_of": masked if block.gives_masks else None,
                    "has_panels": block.gives_masks and wants_panels and not is_area,
                }
            )
        return rows

    def page_facts(self) -> dict[str, Any]:
        """What the page says of the settings behind it, in plain values."""
        settings = self.settings
        statistics = settings.evaluation
        return {
            "title": ", ".join(note["name"] for note in self.dataset_notes().values()),
            "settings_digest": settings_digest(settings),
            "results_dir": settings.results_dir,
            "intervals": f"{100 * statistics.confidence:g} % confidence, "
            f"{statistics.n_resamples:,} bootstrap resamples, seed {statistics.seed}",
            "networks": {
                name: _variant_text(getattr(settings.models, name).variant)
                for name in settings.used_networks()
            },
            "licences": {
                name: FORMATS.open(block.format).LICENCE
                for name, block in settings.datasets.items()
            },
            "asked": self._asked(),
        }

    def _asked(self) -> list[list[str]]:
        """Data set, prompt set, whom it asks, and the words."""
        rows = []
        for dataset, prompts in self.settings.prompts.items():
            methods = [self.settings.methods[name] for name in self.settings.methods_of(dataset)]
            keys = {method.prompt_key for method in methods}
            for name, prompt in prompts.items():
                if prompt.segmentation and "segmentation" in keys:
                    words = "; ".join(prompt.segmentation)
                    rows.append([dataset, name, "text-prompted segmenters", words])
                if prompt.saa_plus and "saa_plus" in keys:
                    words = self.saa_plus_prompts(dataset, name)
                    rows.append([dataset, name, "SAA+", _saa_plus_text(words)])
                if prompt.lvlm and "lvlm" in keys:
                    shown = "with" if prompt.reference else "without"
                    words = f"{prompt.lvlm} ({shown} a defect-free reference image)"
                    rows.append([dataset, name, "vision language models", words])
        return rows

    def network_files(self, network: str) -> list[dict[str, Any]]:
        """Files of a network, as plain values, each with the digests that it must have."""
        files = network_files(network, getattr(self.settings.models, network))
        return [dataclasses.asdict(file) | {"sha256": expected_sha256(file)} for file in files]


def _saa_plus_text(prompts: Any) -> str:
    """SAA+'s prompts by category, in few words."""
    if isinstance(prompts, str):
        return "its prompts for known products" if prompts == "auto" else prompts
    parts = []
    for category, block in prompts.items():
        if isinstance(block, str):
            words = f"its prompts for {block}"
        else:
            pairs = [f"{defect} on {product}" for defect, product in block["class_prompts"]]
            words = "; ".join([block["class_name"], *pairs])
        parts.append(words if category == "default" else f"{category}: {words}")
    return "; ".join(parts)


def _why_test_truth(binarise: str) -> str:
    """How a rule of SAA+ looks at what it is scored on; nothing if it does not."""
    if binarise == "f1max":
        return "the threshold is the best one for the truth of the scored images (binarise f1max)"
    if binarise.startswith("fixed"):
        return f"the threshold is a share of the range over the scored images (binarise {binarise})"
    return ""
