"""What the workflow asks while it plans: resources, lists of results.

Read from small files only; free of torch, pandas and pyarrow, because every job of a cluster run
plans anew.
"""

from __future__ import annotations

import dataclasses
from functools import partial
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
from realitycheck.methods.paths import Paths
from realitycheck.methods.registry import block_of, code_of_part
from realitycheck.methods.settings import Job, MethodBlock, PromptSettings
from realitycheck.models.checkpoints.known import expected_sha256, network_files
from realitycheck.models.settings import DETECTION_FLOOR
from realitycheck.planning.facts import sources_digest
from realitycheck.planning.page import ReportPlan
from realitycheck.planning.resources import Resources
from realitycheck.settings.run import Settings


class Plan(ReportPlan):
    """What the settings make of a run: resources, runs, files."""

    def __init__(self, settings: Settings):
        super().__init__(settings)
        self.resources = Resources(settings, self.n_images)

    # ------------------------------------------------------------------------- runs of the methods

    def block(self, method: str) -> MethodBlock:
        """The block of a method, or of a baseline, which has none in the settings."""
        if method in self.settings.methods:
            return self.settings.methods[method]
        return block_of(method)(kind=method)

    def paths_of(
        self, dataset: str, method: str, prompt: str, *, shard: str | None, is_later: bool = False
    ) -> Paths:
        """Where the files of a run lie.

        Args:
            dataset: The data set's id.
            method: Name of the method block.
            prompt: Name of the prompt set.
            shard: The job's shard; None where it has all scored images.
            is_later: Whether the masks are made.
        """
        n_shards = self.settings.datasets[dataset].shards
        return Paths(
            self.settings.results_dir,
            dataset,
            method,
            prompt,
            names=tuple(shard_names(n_shards)) if shard is None else (shard,),
            n_shards=n_shards,
            has_training=self.n_images(dataset, "train") > 0,
            owner=partial(self.encoding_owner, method),
            is_later=is_later,
        )

    def run_of(
        self, dataset: str, method: str, prompt: str, job: Job, **changed: Any
    ) -> dict[str, Any]:
        """What a job is told of a run: the fields of `realitycheck.methods.base.Run`.

        Only what plays a part, so that an edit of anything else runs no job again.

        Args:
            dataset: The data set's id.
            method: Name of the method block.
            prompt: Name of the prompt set.
            job: What the job asks for.
            changed: Fields that differ.
        """
        block, settings = self.block(method), self.settings
        run = {
            "dataset": dataset,
            "method": method,
            "prompt": prompt,
            "settings": block.plain_for(is_aligned=self._is_aligned(dataset)),
            "told": self.asked(dataset, method, prompt),
            "networks": {name: settings.network_settings(name) for name in job.opens},
            "weights": self.weights_digest(*block.networks),
        }
        if "grounding_dino" in block.networks:
            run["floor"] = DETECTION_FLOOR
        if block.needs_reference:
            run["intensity"] = settings.alignment_settings(dataset)["intensity"]
        if block.names_object:
            run["words"] = self.words(dataset)
        if sources := block.sources(dataset):
            run["sources"] = sources_digest(sources)
        if getattr(job, "reads_truth", False):
            run["ignore_border"] = settings.datasets[dataset].ignore_border
        return run | changed

    def asked(self, dataset: str, method: str, prompt: str) -> Any:
        """What a method is told by a prompt set, as plain values; nothing where it needs none."""
        return self.block(method).told(self._prompts(dataset, prompt))

    def _prompts(self, dataset: str, prompt: str) -> PromptSettings | None:
        return self.settings.prompts.get(dataset, {}).get(prompt)

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
            if hasattr(self.settings.methods[name], "masks_settings")
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
        block = self.settings.methods[method]
        own = code_of_part(block.kind, "classifier")
        return source_digest("scripts/ask_lvlm.py", *own, SERVICES.module_of(block.service))

    def detector_prompts(self, dataset: str, prompt: str) -> dict[str, Any]:
        """What the detector is asked for under a prompt set.

        Returns:
            `texts`: phrases for every image. `composed`: what methods make captions of for each
            category; see `realitycheck.methods.registry.detector_captions`.
        """
        texts: list[str] = []
        composed: list[dict[str, Any]] = []
        for name in self.settings.methods_of(dataset):
            block = self.settings.methods[name]
            if "grounding_dino" not in block.networks:
                continue
            told, settings = block.told(self._prompts(dataset, prompt)), block.caption_settings()
            if settings is None:
                texts = told
            elif told:
                composed.append({"kind": block.kind, "told": told, "settings": settings})
        distinct = [each for i, each in enumerate(composed) if each not in composed[:i]]
        return {"texts": texts, "composed": distinct}

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

    def uses_reference(self, dataset: str, method: str, prompt: str) -> bool:
        """Whether a method is shown the reference image and judges by it."""
        if self.settings.datasets[dataset].reference == "none":
            return False
        return self.settings.methods[method].shows_reference(self._prompts(dataset, prompt))

    def told(self, dataset: str, method: str, prompt: str) -> str:
        """The words about defects that a method is told, as far as they stand in the settings."""
        words = self.settings.datasets[dataset].defect_names
        return self.settings.methods[method].words(self._prompts(dataset, prompt), words)

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
            **self._brought(dataset),
        }

    def _brought(self, dataset: str) -> dict[str, Any]:
        """What was made or learned elsewhere, and is looked at before anything else.

        Nothing is added where there is none: then no audit runs again for it.
        """
        blocks = {name: self.settings.methods[name] for name in self.settings.methods_of(dataset)}
        sources = {
            name: {
                "kind": block.kind,
                "settings": block.plain_for(is_aligned=self._is_aligned(dataset)),
                "digest": sources_digest(block.sources(dataset)),
            }
            for name, block in blocks.items()
            if block.sources(dataset)
        }
        declared = {
            name: {"paths": block.training_images, "digest": sources_digest(block.training_images)}
            for name, block in blocks.items()
            if block.training_images
        }
        found: dict[str, Any] = {}
        if sources:
            listed = self.settings.preparation_settings(dataset)
            found |= {"sources": sources, "listed": listed}
        return found | ({"declared": declared} if declared else {})

    def source_code(self, dataset: str) -> list[str]:
        """Modules that look at what methods bring along; see `code_of_part`."""
        blocks = [self.settings.methods[name] for name in self.settings.methods_of(dataset)]
        kinds = sorted({block.kind for block in blocks if block.sources(dataset)})
        return [entry for kind in kinds for entry in code_of_part(kind, "source")]

    def _is_aligned(self, dataset: str) -> bool:
        return self.settings.datasets[dataset].alignment.method != "none"

    def learners(self, dataset: str) -> dict[str, dict[str, Any]]:
        """Methods that learn from labelled parts; see `realitycheck.methods.needs.lacking`."""
        blocks = {name: self.settings.methods[name] for name in self.settings.methods_of(dataset)}
        return {
            name: block.learns_from | {"is_aligned": self._is_aligned(dataset)}
            for name, block in blocks.items()
            if block.learns_from
        }

    def _needs_of(self, dataset: str) -> dict[str, list[str]]:
        """What else methods need; see `realitycheck.methods.needs.lacking_files`."""
        needs: dict[str, set[str]] = {}
        if self._is_aligned(dataset):
            needs["alignment"] = {"reference"}
        for _, method, prompt in (run for run in self.settings.runs() if run[0] == dataset):
            own = needs.setdefault(method, set())
            if self.settings.methods[method].needs_truth:
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
            learned = (block.learns_from or {}).get("parts", "")
            captions = block.caption_settings()
            composed = {
                "kind": block.kind,
                "told": self.asked(dataset, own, prompt),
                "settings": captions,
            }
            found.append(
                {
                    "dataset": dataset,
                    "method": method,
                    "prompt": prompt,
                    "uses_reference": self.uses_reference(dataset, own, prompt),
                    "uses_training_images": learned.startswith("good"),
                    "uses_test_truth": _why_test_truth(block),
                    "told": self.told(dataset, own, prompt),
                    "composed": None if captions is None else composed,
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
        blocks = self.settings.methods
        return [run for run in self.settings.runs() if blocks[run[1]].judges_in_folds]

    def fold_tables(self) -> list[str]:
        """Table of each of those runs that says which fold an image was judged in."""
        results = self.settings.results_dir
        return [
            f"{results}/predictions/{dataset}/{method}/{prompt}/thresholds.parquet"
            if self.settings.methods[method].gives_masks
            else f"{results}/verdicts/{dataset}/{method}/{prompt}/labels.parquet"
            for dataset, method, prompt in self.fold_runs()
        ]

    def network_files(self, network: str) -> list[dict[str, Any]]:
        """Files of a network, as plain values, each with the digests that it must have."""
        files = network_files(network, getattr(self.settings.models, network))
        return [dataclasses.asdict(file) | {"sha256": expected_sha256(file)} for file in files]


def _why_test_truth(block: MethodBlock) -> str:
    """How a method looks at what it is scored on; nothing if it does not."""
    use = block.test_truth
    return f"{use.reason} ({use.key} {use.value})" if use else ""
