"""Typed settings: everything a run can be told, checked before its first job.

Reads a plain mapping (the parsed YAML) and returns frozen objects. Every fault is reported in one
message, with its key path, what was found and what to do. Free of torch, pandas and pyarrow,
because the Snakefile imports it for every job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from realitycheck.core.constants import NO_PROMPT
from realitycheck.core.settings import FilePath, Fraction, Name, Strict
from realitycheck.datasets.registry import any_dataset
from realitycheck.datasets.settings import DatasetBlock, LineSettings
from realitycheck.methods.registry import MethodSettings
from realitycheck.methods.settings import PromptSettings
from realitycheck.models.registry import network
from realitycheck.models.settings import DETECTION_FLOOR, ModelsSettings

#: A data set's block, in any format.
if TYPE_CHECKING:
    AnyDataset = Any
else:
    AnyDataset = any_dataset()


class ComputeSettings(Strict):
    """Where and how the networks run."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="arithmetic of SAM and of CLIP's image encoder. bfloat16 is about twice as "
        "fast where the processor or GPU has it, and changes masks slightly; CLIP's texts, "
        "residual networks and all training stay in float32",
    )
    detector_precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="arithmetic of GroundingDINO. bfloat16 saves a third of its time on a CPU, "
        "but scores move by 0.03 in the mean: boxes near a threshold come and go",
    )
    compile: bool = Field(
        False,
        description="compile SAM's image encoder, in every job that encodes: half a minute and "
        "more for the first batch. Meant for CUDA; on a CPU every batch is slower after it. What "
        "was measured is in docs/performance.md",
    )
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    threads: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto", description="CPU threads of a job that runs a network; auto: by its size"
    )
    encoding_dtype: Literal["float32", "float16"] = Field(
        "float32", description="how image embeddings are stored; float16 halves the disk they take"
    )


class EvaluationSettings(Strict):
    """How scores are summed up."""

    n_resamples: int = Field(10_000, ge=200, description="bootstrap resamples")
    confidence: float = Field(0.95, gt=0.5, lt=1)
    seed: int = Field(0, ge=0)
    area_verdicts: bool = Field(
        True,
        description="also judge by the predicted area: NOK above what good images reach, so that "
        "at most requirements.max_overkill_rate of them are rejected",
    )

    tries_file: FilePath = Field(
        "ledger/tries.jsonl",
        min_length=1,
        description="everything ever tried, by which decisions are proven; only ever added to, "
        "never deleted by a run, shared by several results or users. Not inside results_dir",
    )

    min_covered_share: float = Field(
        0.1, gt=0, le=1, description="share of a defect's area that must be predicted to find it"
    )

    def detection(self) -> dict[str, Any]:
        """What the probability of detection depends on."""
        return self.model_dump(mode="json", include={"min_covered_share", "confidence"})

    def statistics(self) -> dict[str, Any]:
        """What the numbers of a table depend on."""
        return self.model_dump(mode="json", include={"n_resamples", "confidence", "seed"})


class ReportSettings(Strict):
    """What is drawn."""

    n_overlays: int = Field(6, ge=1, le=50, description="rows of an overlay figure")
    seed: int = Field(0, ge=0, description="of the random draw among the rows")
    panels: Literal["none", "chosen", "all"] = Field(
        "none",
        description="pictures of what each method saw. chosen: of the images of the overlay "
        "figure; all: of every image",
    )


class RequirementsSettings(Strict):
    """What the product asks of an inspection."""

    max_slip_rate: Fraction = Field(0.02, description="share of defective parts that may pass")
    max_overkill_rate: Fraction = Field(0.05, description="share of good parts rejected")
    max_seconds_per_part: float | None = Field(
        None, gt=0, description="all steps of one part together; default: no limit"
    )
    max_cost_per_part_usd: float | None = Field(
        None, ge=0, description="paid to a service; default: no limit"
    )

    max_recheck_share: Fraction | None = Field(
        None,
        description="share of the line's parts that people may have to check again where a method "
        "assists them; of its good parts where the line's defect_rate is not known; default: no "
        "limit",
    )

    def limits(self) -> dict[str, Any]:
        """The limits by name."""
        return self.model_dump(mode="json")


Consequence = Literal["stop", "flag"]


class AuditSettings(Strict):
    """What each finding of the audit leads to: the run stops, or every affected row is flagged."""

    reference_is_scored: Consequence = Field(
        "stop", description="the reference image that methods are shown is itself scored"
    )
    group_in_two_splits: Consequence = Field(
        "stop", description="views of one part are trained on and scored"
    )
    near_duplicate_across_splits: Consequence = Field(
        "stop", description="a scored image looks like a training image"
    )
    size_by_label: Consequence = Field(
        "stop", description="the label can be told from an image's size, bit depth or channels"
    )
    near_duplicate_parts: Consequence = Field(
        "flag", description="two scored images look alike and are not in one group"
    )
    threshold_on_scored: Consequence = Field(
        "flag", description="a threshold is fitted on the images that it is scored on"
    )
    prompt_names_defects: Consequence = Field(
        "flag", description="a prompt names defect types that occur among the scored images"
    )


class Settings(Strict):
    """All settings of a run."""

    results_dir: FilePath = Field(
        "results", min_length=1, description="folder of everything computed"
    )
    datasets: dict[Name, AnyDataset] = Field(min_length=1)
    prompts: dict[Name, dict[Name, PromptSettings]] = Field(default_factory=dict)
    methods: dict[Name, MethodSettings] = Field(default_factory=dict)
    models: ModelsSettings = ModelsSettings()
    compute: ComputeSettings = ComputeSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    report: ReportSettings = ReportSettings()
    requirements: RequirementsSettings = RequirementsSettings()
    line: LineSettings = LineSettings()
    audit: AuditSettings = AuditSettings()

    # ------------------------------------------------------------------- what follows from them

    def method_names(self, *kinds: str) -> list[str]:
        """Names of the method blocks of these kinds."""
        return [name for name, method in self.methods.items() if method.kind in kinds]

    def methods_of(self, dataset: str) -> list[str]:
        """Names of the method blocks that apply to a data set, in the order of the settings."""
        settings = self.datasets[dataset]
        names = settings.methods if settings.methods is not None else tuple(self.methods)
        return [
            name
            for name in names
            if name in self.methods
            and not (self.methods[name].needs_reference and settings.reference == "none")
        ]

    def prompts_of(self, dataset: str, method: str) -> list[str]:
        """Names of the prompt sets a method is run with on a data set, or of its raters."""
        if own := self.methods[method].own_prompts(dataset):
            return own
        if self.methods[method].prompt_key is None:
            return [NO_PROMPT]
        needed = self.methods[method].prompt_key
        return [n for n, p in self.prompts.get(dataset, {}).items() if getattr(p, needed)]

    def runs(self) -> list[tuple[str, str, str]]:
        """Every (data set, method, prompt), floors left out."""
        return [
            (dataset, method, prompt)
            for dataset in self.datasets
            for method in self.methods_of(dataset)
            for prompt in self.prompts_of(dataset, method)
        ]

    def mask_methods(self) -> list[str]:
        """Names of the method blocks that give masks."""
        return [name for name, block in self.methods.items() if block.gives_masks]

    def map_methods(self) -> list[str]:
        """Names of the method blocks that give a value for each pixel."""
        return [name for name, block in self.methods.items() if block.gives_score_map]

    def mask_runs(self) -> list[tuple[str, str, str]]:
        """Those runs that give masks."""
        return [run for run in self.runs() if self.methods[run[1]].gives_masks]

    def map_runs(self) -> list[tuple[str, str, str]]:
        """Those runs that give a value for each pixel."""
        return [run for run in self.runs() if self.methods[run[1]].gives_score_map]

    def verdict_runs(self) -> list[tuple[str, str, str]]:
        """Those runs that give verdicts and no masks."""
        return [run for run in self.runs() if not self.methods[run[1]].gives_masks]

    def used_networks(self) -> list[str]:
        """Names of the networks that some run needs."""
        used = {net for _, method, _ in self.runs() for net in self.methods[method].networks}
        return sorted(used)

    def line_of(self, dataset: str) -> dict[str, Any]:
        """The line of a data set: its own block, and what that leaves open from the top's."""
        own = self.datasets[dataset].line.model_dump(mode="json")
        common = self.line.model_dump(mode="json")
        costs = {k: common["cost_usd"][k] if v is None else v for k, v in own["cost_usd"].items()}
        return {k: common[k] if v is None else v for k, v in own.items()} | {"cost_usd": costs}

    def generator_settings(self, dataset: str) -> dict[str, Any]:
        """What a synthetic data set is drawn with."""
        block = self.datasets[dataset]
        shared = set(DatasetBlock.model_fields) | {"format"}
        return block.model_dump(mode="json", exclude=shared)

    def preparation_settings(self, dataset: str) -> dict[str, Any]:
        """What the manifest of a data set depends on."""
        block = self.datasets[dataset]
        settings = block.model_dump(
            mode="json",
            include={"split", "reference", "intensity"}
            | {"allow_duplicates", "missing_masks", "max_decoded_mb"}
            | {"mask_values", "mask_background", "mask_orientation"},
        )
        if block.generated:
            settings |= {"format": "folder", "root": f"{self.results_dir}/raw/{dataset}"}
            if not block.n_train:  # then there is no folder of training images
                settings["split"] = {**settings["split"], "kind": "all"}
        else:
            settings |= block.listing_settings()
        if block.split.opened:
            settings["tries_file"] = self.evaluation.tries_file
        named = {
            f"datasets.{dataset}.{key}": sorted(getattr(block, key))
            for key in ("reference", "object_name")
            if isinstance(getattr(block, key), dict)
        }
        for name, prompt in self.prompts.get(dataset, {}).items():
            if isinstance(prompt.saa_plus, dict):
                categories = sorted({*prompt.saa_plus} - {"default"})
                named[f"prompts.{dataset}.{name}.saa_plus"] = categories
        return {**settings, "named_categories": named}

    def alignment_settings(self, dataset: str) -> dict[str, Any]:
        """What an aligned image depends on."""
        return self.datasets[dataset].model_dump(mode="json", include={"alignment", "intensity"})

    def detector_settings(self) -> dict[str, Any]:
        """What stored boxes depend on, weights and texts apart."""
        return {**self.network_settings("grounding_dino"), "floor": DETECTION_FLOOR}

    def network_settings(self, name: str) -> dict[str, Any]:
        """What a network's answers depend on, weights apart."""
        block = getattr(self.models, name).model_dump(mode="json")
        computed = {key: getattr(self.compute, own) for key, own in network(name).compute.items()}
        return {"variant": block["variant"], "precision": "float32", **computed}

    def method_settings(self, method: str) -> dict[str, Any]:
        """A method block, without the name it has in tables and with every switch."""
        return self.methods[method].plain()

    def is_everyday(self, method: str) -> bool:
        """Whether a method runs on the shipped networks of drawn everyday scenes, and no others."""
        networks = [getattr(self.models, net) for net in self.methods[method].networks]
        return bool(networks) and all(
            block.variant == "everyday" and block.weights is None for block in networks
        )
