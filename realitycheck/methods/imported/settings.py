"""Settings of `imported`, and the facts about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from realitycheck.core.settings import FilePath, Fraction
from realitycheck.datasets.settings import checked_mask_values
from realitycheck.methods.paths import Paths
from realitycheck.methods.settings import Fit, Job, MethodBlock

#: Keys that say where predictions come from.
SOURCES = ("masks", "coco", "maps", "verdicts")
#: Keys that mean something with some sources only.
_ONLY_WITH = {
    "coco_images": ("coco",),
    "geometry": ("masks", "coco", "maps"),
    "mask_values": ("masks",),
    "mask_orientation": ("masks", "coco", "maps"),
    "threshold": ("coco", "maps"),
    "max_overkill_rate": ("maps",),
    "min_area_px": ("maps",),
    "labels": ("verdicts",),
    "raters": ("verdicts",),
    "columns": ("verdicts",),
}

Column = Literal["image", "label", "score", "reasoning", "rater", "repeat", "seconds", "cost_usd"]


class ImportedMethod(MethodBlock):
    """Masks, score maps or verdicts from files: another system's, or people's."""

    kind: Literal["imported"]
    masks: FilePath | None = Field(
        None,
        description="folder of masks, one PNG, TIFF or BMP for each image; like the other three "
        "sources it may hold {dataset}, for the data set's name",
    )
    coco: FilePath | None = Field(
        None, description="COCO JSON of instances (polygons or run lengths), or of results"
    )
    coco_images: FilePath | None = Field(
        None, description="with an array of results: COCO JSON that lists their images"
    )
    maps: FilePath | None = Field(
        None,
        description="folder of score maps: .npy and float TIFF as they are, PNG of 8 and 16 bits "
        "as 0 to 1; the higher, the more defective",
    )
    verdicts: FilePath | None = Field(
        None,
        description="CSV or Parquet with the columns image and label, and perhaps score, "
        "reasoning, rater, repeat, seconds, cost_usd; each rater is a row of the tables",
    )
    geometry: Literal["original", "aligned"] = Field(
        "original",
        description="what masks and maps lie on: the image file, or the aligned image that this "
        "program writes",
    )
    mask_values: Literal["nonzero"] | dict[str, float | str] = Field(
        "nonzero",
        description="what the values of masks mean, as mask_values of a data set: nonzero, "
        "{threshold: 128}, or each value",
    )
    mask_orientation: Literal["auto", "shown", "stored"] = Field(
        "auto",
        description="how masks and maps lie on images with an EXIF orientation that they lack, as "
        "mask_orientation of a data set",
    )
    threshold: Literal["good"] | float | None = Field(
        None,
        description="maps: what is above is defective; good: set by good training images. coco: "
        "least score of an annotation; default: all count",
    )
    max_overkill_rate: Fraction = Field(
        0.05, description="threshold good: share of good training images that it may reject"
    )
    min_area_px: int = Field(1, ge=1, description="of a map: smaller regions are dust")
    labels: dict[str, Literal["OK", "NOK"]] = Field(
        default_factory=dict, description="what other words in the column label mean: {pass: OK}"
    )
    raters: tuple[str, ...] = Field((), description="only these raters; default: all")
    columns: dict[Column, Annotated[str, Field(min_length=1)]] = Field(
        default_factory=dict, description="columns of other names: {image: SerialNo}"
    )
    prompt_key: ClassVar[str | None] = None
    gives_either: ClassVar[bool] = True
    is_outside: ClassVar[bool] = True
    label: ClassVar[str] = "Imported"
    job: ClassVar[Job] = Job(memory_mb=1_500, kb_per_image=10, seconds_per_image=0.5)
    fits: ClassVar[Fit | None] = Fit(memory_mb=1_500, kb_per_image=10, seconds_per_image=0.5)

    @field_validator("mask_values", mode="after")
    @classmethod
    def _check_mask_values(cls, found: str | dict[str, float | str]) -> Any:
        return checked_mask_values(found)

    @model_validator(mode="after")
    def _check_source(self) -> ImportedMethod:
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"expected one of {', '.join(SOURCES)}, found {' and '.join(given) or 'none'}; "
                "give each source a block of its own"
            )
        for key in sorted(self.model_fields_set & set(_ONLY_WITH)):
            if given[0] not in _ONLY_WITH[key] and getattr(self, key) is not None:
                raise ValueError(
                    f"{key} means something with {' or '.join(_ONLY_WITH[key])} only, found "
                    f"{given[0]}; remove it"
                )
        if self.maps and self.threshold is None:
            raise ValueError("maps need a threshold: a number, or good (from good training images)")
        if self.coco and self.threshold == "good":
            raise ValueError("threshold: good is for maps; give the least score of an annotation")
        return self

    @property
    def gives_masks(self) -> bool:  # type: ignore[override]
        """Whether the source is not verdicts."""
        return self.verdicts is None

    @property
    def has_raters(self) -> bool:  # type: ignore[override]
        """Whether the source is verdicts, whose prompts are raters."""
        return self.verdicts is not None

    @property
    def gives_score_map(self) -> bool:  # type: ignore[override]
        """Whether the source is score maps."""
        return self.maps is not None

    @property
    def learns_from(self) -> dict[str, Any] | None:
        """Good training parts, where their maps set the threshold."""
        return {"parts": "good training"} if self.threshold == "good" else None

    def sources(self, dataset: str) -> list[str]:
        """The source of a data set, and the list of its images."""
        given = (getattr(self, name) for name in (*SOURCES, "coco_images"))
        return [path.replace("{dataset}", dataset) for path in given if path is not None]

    def own_prompts(self, dataset: str) -> list[str]:
        """Raters that the table of verdicts names."""
        if self.verdicts is None:
            return []
        from realitycheck.methods.imported.verdict_table import path_name, raters_of

        (path,) = self.sources(dataset)
        found = raters_of(Path(path), column=self.columns.get("rater", "rater"))
        wanted = {path_name(rater) for rater in self.raters}
        return [rater for rater in found if not wanted or rater in wanted]

    def judges_again(self, dataset: str) -> bool:
        """Whether its table of verdicts names several raters, or repeats."""
        if self.verdicts is None:
            return False
        from realitycheck.methods.imported.verdict_table import has_repeats

        (path,) = self.sources(dataset)
        column = self.columns.get("repeat", "repeat")
        return len(self.own_prompts(dataset)) > 1 or has_repeats(Path(path), column=column)

    def only_prompt(self, prompt: str) -> dict[str, Any]:
        """The one rater."""
        return {"raters": [prompt]}

    def tried(self, *, is_aligned: bool) -> dict[str, Any]:
        """How the files are read, not where they lie: their content is told beside it."""
        places = (*SOURCES, "coco_images", "raters")
        block = self.plain_for(is_aligned=is_aligned)
        return {name: value for name, value in block.items() if name not in places}

    def inputs(self, paths: Paths) -> dict[str, Any]:
        """What is known of the images, and thresholds where they are set here."""
        files: dict[str, Any] = {"manifest": paths.manifest, "train": paths.train}
        if self.verdicts is not None:
            return {"train": paths.train}
        if self.threshold == "good":
            files["thresholds"] = paths.prediction("thresholds.parquet")
        return files

    def fit_inputs(self, paths: Paths) -> dict[str, Any]:
        """Transforms of the training images."""
        return {"transforms": paths.training_shards(paths.aligned)}

    def faults(self, key: str, folder: Path, datasets: Mapping[str, Any]) -> Iterator[str]:
        """Sources that are not there; what they hold is looked at with the images' names."""
        for dataset in datasets:
            for path in self.sources(dataset):
                if not (folder / path).exists():
                    yield f"{key}: there is no file or folder {path}; correct the path"
                elif self.raters:
                    yield from self._rater_faults(key, folder / path)

    def _rater_faults(self, key: str, path: Path) -> Iterator[str]:
        from realitycheck.methods.imported.verdict_table import path_name, raters_of

        known = raters_of(path, column=self.columns.get("rater", "rater"))
        for rater in self.raters:
            if path_name(rater) not in known:
                named = ", ".join(known) or "none"
                yield f"{key}.raters: {path} names no rater {rater!r}, but {named}; correct it"


Settings = ImportedMethod
