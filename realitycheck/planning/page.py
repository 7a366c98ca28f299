"""What the report asks while it is planned: its tables, figures and runs, and words about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from realitycheck.core.constants import (
    AREA_SUFFIX,
    LABEL_FLOORS,
    MASK_FLOORS,
    NO_PROMPT,
    OUT_OF_FOLD_NOTE,
    OWN_WEIGHTS,
)
from realitycheck.datasets.registry import FORMATS
from realitycheck.models.checkpoints.known import own_files
from realitycheck.planning.facts import Facts, settings_digest
from realitycheck.report.figures.registry import wanted_figures
from realitycheck.report.tables.registry import wanted_tables


class ReportPlan(Facts):
    """The part of `Plan` that the report asks."""

    # ------------------------------------------------------------------------- tables and figures

    def report_tables(self) -> list[str]:
        """Names of the tables of the report, in their order."""
        return wanted_tables(self._present())

    def report_figures(self) -> dict[str, tuple[str, str | None]]:
        """Figure and data set of each figure of the report, by its file's name, in their order."""
        masked = [name for name in self.settings.datasets if self.runs_of(name)]
        return wanted_figures(self._present(), masked)

    def _present(self) -> set[str]:
        """What not every run has, and this one does."""
        found = {
            "self_test": bool(self.self_tested()),
            "domain_gap": self.measures_domain_gap(),
            "agreement": bool(self.repeated_runs()),
            "published": any(block.published_as for block in self.settings.datasets.values()),
        }
        return {name for name, is_there in found.items() if is_there}

    def report_files(self) -> dict[str, list[str]]:
        """Every file that tables and figures read, by kind; see `Results`."""
        settings, results = self.settings, self.settings.results_dir
        scored = dict.fromkeys([*self.mask_runs(), *self.label_runs()])
        run = "{dataset}/{method}/{prompt}"

        def of_datasets(pattern: str) -> list[str]:
            return [f"{results}/{pattern.format(dataset=name)}" for name in settings.datasets]

        return {
            "scores": self.paths(f"{results}/scores/{run}/images.parquet", list(scored)),
            "masks": self.paths(f"{results}/predictions/{run}/masks.parquet", self.mask_runs()),
            "verdicts": self.paths(
                f"{results}/verdicts/{run}/labels.parquet", settings.verdict_runs()
            ),
            "defects": self.paths(f"{results}/scores/{run}/defects.parquet", settings.mask_runs()),
            "pixels": self.paths(f"{results}/scores/{run}/pixels.parquet", settings.map_runs()),
            "manifests": of_datasets("manifests/{dataset}.parquet"),
            "references": of_datasets("manifests/{dataset}/references.parquet"),
            "findings": of_datasets("manifests/{dataset}/audit.parquet"),
            "transforms": of_datasets("aligned/{dataset}/transforms.parquet"),
            "truth": of_datasets("truth/{dataset}/truth.parquet"),
            "folds": self.fold_tables(),
            "domain_gap": (
                [f"{results}/scores/domain_gap.parquet"] if self.measures_domain_gap() else []
            ),
        }

    def table_facts(self) -> dict[str, Any]:
        """What the settings say to tables; see `Results`."""
        settings = self.settings
        tested = self.self_tested()
        return {
            **self._common_facts(),
            "evaluation": settings.evaluation.statistics(),
            "detection": settings.evaluation.detection(),
            "requirements": settings.requirements.limits(),
            "tries": {
                "file": settings.evaluation.tries_file,
                "elsewhere": {
                    name: block.tries_elsewhere for name, block in settings.datasets.items()
                },
            },
            "lines": {name: settings.line_of(name) for name in settings.datasets},
            "pixel_pitch_mm": {
                name: block.pixel_pitch_mm for name, block in settings.datasets.items()
            },
            "audited_runs": self.audited_runs(),
            **({"self_test": tested} if tested else {}),
        }

    def figure_facts(self) -> dict[str, Any]:
        """What the settings say to figures; see `Results`."""
        report = self.settings.report.model_dump(mode="json", include={"n_overlays", "seed"})
        return {**self._common_facts(), "report": report}

    def _common_facts(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "datasets": self.dataset_notes(),
            "methods": self.method_notes(),
            "runs": {
                "masks": self.mask_runs(),
                "shown_masks": settings.mask_runs(),
                "labels": self.label_runs(),
                "area": self.area_runs(),
                "compared": [*settings.runs(), *self.area_runs()],
                "broken_down": self.broken_down_runs(),
                "folds": self.fold_runs(),
                "repeated": self.repeated_runs(),
            },
        }

    def verdict_runs(self) -> list[tuple[str, str, str]]:
        """Every (data set, method, prompt) with verdicts and no masks, baselines last."""
        floors = [(d, floor, NO_PROMPT) for d in self.settings.datasets for floor in LABEL_FLOORS]
        return [*self.settings.verdict_runs(), *floors]

    def broken_down_runs(self) -> list[tuple[str, str, str]]:
        """Every run, its verdicts by area, and the mask baseline, which knows the truth's size."""
        floors = [(d, floor, NO_PROMPT) for d in self.settings.datasets for floor in MASK_FLOORS]
        return [*self.settings.runs(), *self.area_runs(), *floors]

    def repeated_runs(self) -> list[tuple[str, str, str]]:
        """Every run with several verdicts on an image, of repeats or of several raters."""
        blocks, runs = self.settings.methods, self.settings.verdict_runs()
        return [run for run in runs if blocks[run[1]].judges_again(run[0])]

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

    # ----------------------------------------------------------------------------------- the page

    def panel_tables(self) -> list[str]:
        """Tables of the panels that are wanted."""
        if self.settings.report.panels == "none":
            return []
        pattern = "predictions/{dataset}/{method}/{prompt}/panels.parquet"
        return self.paths(f"{self.settings.results_dir}/{pattern}", self.settings.mask_runs())

    def page_runs(self) -> list[dict[str, Any]]:
        """What the page shows of each image: every method but the baselines.

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
            "asked": self._what_is_asked(),
        }

    def _what_is_asked(self) -> list[list[str]]:
        """Data set, prompt set, who is asked, and the words."""
        rows = []
        for dataset, prompts in self.settings.prompts.items():
            methods = [self.settings.methods[name] for name in self.settings.methods_of(dataset)]
            # By their keys in the order in which a prompt set has them.
            by_key = {method.prompt_key: method for method in methods if method.prompt_key}
            for name, prompt in prompts.items():
                for key in type(prompt).model_fields:
                    if key in by_key and getattr(prompt, key):
                        rows.append([dataset, name, *by_key[key].summary(prompt)])
        return rows

    # -------------------------------------------------------------------------------------- words

    def method_notes(self) -> dict[str, dict[str, Any]]:
        """What tables and figures say of each method."""
        notes: dict[str, dict[str, Any]] = {}
        n_called = Counter(map(_called, self.settings.methods.values()))
        for name, block in self.settings.methods.items():
            note: dict[str, Any] = {
                "kind": block.kind,
                "label": block.label,
                "gives_masks": block.gives_masks,
            }
            if block.title or block.model_name:
                note["name"] = block.title or block.model_name
            if block.model_name:
                note["model"] = block.model_name
            if getattr(block, "variant", None):
                note["variant"] = block.variant
            if n_called[_called(block)] > 1 or (block.is_outside and not block.title):
                note["told_apart"] = name
            told = self._own_weights(block.networks)
            if block.learns_in_folds and block.gives_masks:
                told.append(OUT_OF_FOLD_NOTE)
            told += block.notes
            if told:
                note["note"] = "; ".join(told)
            if block.test_truth:
                note["uses_test_truth"] = True
            if block.has_raters:
                note["has_raters"] = True
            if block.training_unknown:
                note["training_unknown"] = True
            if block.transductive:
                note["transductive"] = True
            notes[name] = note
            if block.gives_masks:
                notes[f"{name}{AREA_SUFFIX}"] = note | {"verdict_by": "area"}
        return notes | {floor: {"kind": floor} for floor in (*MASK_FLOORS, *LABEL_FLOORS)}

    def _own_weights(self, networks: Iterable[str]) -> list[str]:
        """What is told of networks that run on a file of the user's."""
        models = self.settings.models
        names = [(network, own_files(network, getattr(models, network))) for network in networks]
        return [
            f"{OWN_WEIGHTS}{network} from the file {', '.join(own)}"
            for network, own in names
            if own
        ]

    def dataset_notes(self) -> dict[str, dict[str, Any]]:
        """What the tables and figures say of each data set."""
        return {
            name: {"name": block.title or name.replace("_", " ")}
            | ({"published_as": block.published_as} if block.published_as else {})
            for name, block in self.settings.datasets.items()
        }


def _variant_text(variant: Any) -> str:
    if isinstance(variant, str):
        return variant
    return ", ".join(f"{key} {value}" for key, value in variant.items())


def _called(block: Any) -> tuple[str, str | None]:
    """What a method's block is called in tables, if no other is called so."""
    return block.title or block.model_name or block.label, getattr(block, "variant", None)
