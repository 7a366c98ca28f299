"""What the gallery of the page shows: every image under every method, in a compact form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from realitycheck.core.constants import NO_PROMPT
from realitycheck.report.page.outlines import screen_size
from realitycheck.report.words import EMPTY_ANSWER, STATUS_WORDS

_LABELS = {"OK": 0, "NOK": 1}
_MAX_REASONING = 4000


@dataclass(frozen=True)
class Run:
    """A method with a prompt on a data set."""

    dataset: str
    method: str
    prompt: str
    method_name: str


class Gallery:
    """Collects images and what methods said of them.

    Args:
        datasets: What is said of each data set, by its id.
    """

    def __init__(self, datasets: Mapping[str, Mapping[str, Any]]):
        self._datasets = list(datasets)
        self._names = [datasets[name].get("name", name) for name in datasets]
        self._images: list[dict[str, Any]] = []
        self._place: dict[tuple[str, str], int] = {}
        self._first: dict[str, int] = {}
        self._runs: list[dict[str, Any]] = []
        self._masks: list[dict[int, str]] = []
        self._mask_place: dict[tuple[str, str, str], int] = {}
        self._statuses: list[str] = []
        #: Address of each image's picture, in the order of `images`.
        self.pictures: list[str] = []
        self.n_bytes = 0

    @property
    def n_results(self) -> int:
        """Images times methods."""
        return sum(len(run["predicted"]) for run in self._runs)

    @property
    def n_images(self) -> int:
        """Images of all data sets."""
        return len(self._images)

    def images(self) -> Iterator[tuple[str, str]]:
        """Data set and id of each image, in order."""
        return ((self._datasets[image["d"]], image["id"]) for image in self._images)

    def add_dataset(
        self, dataset: str, images: pd.DataFrame, *, truth_paths: Mapping[str, str]
    ) -> None:
        """Add the images of a data set.

        Args:
            dataset: Its id.
            images: Manifest and truth table in one.
            truth_paths: Outlines of the truth, by image id, where there is one.
        """
        self._first[dataset] = len(self._images)
        for row in images.to_dict("records"):
            height, width = screen_size(int(row["height_px"]), int(row["width_px"]))
            image = {
                "d": self._datasets.index(dataset),
                "id": row["image_id"],
                "c": row["category"],
                "l": _LABELS[row["label"]],
                "w": width,
                "h": height,
                "W": int(row["width_px"]),
                "H": int(row["height_px"]),
            }
            if pd.notna(row["defect_type"]):
                image["t"] = row["defect_type"]
            if row["has_truth"]:
                image["px"] = int(row["truth_px"])
            if row["image_id"] in truth_paths:
                image["path"] = truth_paths[row["image_id"]]
                self.n_bytes += len(image["path"])
            self._place[dataset, row["image_id"]] = len(self._images)
            self._images.append(image)
            self.n_bytes += 120

    def add_run(
        self,
        run: Run,
        scores: pd.DataFrame,
        *,
        mask_paths: Mapping[str, str] | None,
        mask_key: tuple[str, str, str] | None,
        answers: pd.DataFrame | None,
    ) -> None:
        """Add what a method said of every image of a data set.

        Args:
            run: The method.
            scores: One row per image.
            mask_paths: Outlines of the masks that are not empty, by image id; None without masks.
            mask_key: What the masks are known by, so that methods can share them.
            answers: Verdicts with their reasoning, one or several per image; None without.
        """
        first = self._first[run.dataset]
        own = scores.assign(
            place=[self._place[run.dataset, image_id] - first for image_id in scores["image_id"]]
        ).sort_values("place")
        packed = {
            "d": self._datasets.index(run.dataset),
            "first": first,
            "method": run.method,
            "prompt": "" if run.prompt == NO_PROMPT else run.prompt,
            "name": run.method_name,
            "predicted": [_LABELS.get(label, -1) for label in own["label_predicted"]],
            "status": [self._status(status, answers is not None) for status in own["status"]],
        }
        for name in ("score", "iou"):
            if own[name].notna().any():
                packed[name] = [None if pd.isna(v) else round(float(v), 4) for v in own[name]]
        if mask_paths is not None:
            if mask_key not in self._mask_place:
                self._mask_place[mask_key] = len(self._masks)
                paths = {
                    self._place[run.dataset, name] - first: path
                    for name, path in mask_paths.items()
                }
                self._masks.append(paths)
                self.n_bytes += sum(len(path) + 12 for path in paths.values())
            packed["masks"] = self._mask_place[mask_key]
        if answers is not None:
            said = self._answers(answers, run.dataset, first)
            if said:
                packed["answers"] = said
        self._runs.append(packed)
        self.n_bytes += 24 * len(own)

    def add_panel(self, dataset: str, method: str, prompt: str, image_id: str, source: str) -> None:
        """Add the picture of what a method saw on an image."""
        shown = "" if prompt == NO_PROMPT else prompt
        place = self._datasets.index(dataset)
        for run in self._runs:
            if (run["d"], run["method"], run["prompt"]) == (place, method, shown):
                number = self._place[dataset, image_id] - self._first[dataset]
                run.setdefault("panels", {})[number] = source

    def packed(self) -> dict[str, Any]:
        """Everything but the pictures, ready to be written as JSON."""
        return {
            "datasets": [
                {"id": name, "name": title}
                for name, title in zip(self._datasets, self._names, strict=True)
            ],
            "images": self._images,
            "runs": self._runs,
            "masks": self._masks,
            "statuses": self._statuses,
        }

    def _status(self, status: Any, is_answer: bool) -> int:
        if pd.isna(status):
            name = "no status"
        elif is_answer and status == "empty":
            name = EMPTY_ANSWER
        else:
            name = STATUS_WORDS[status].short
        if name not in self._statuses:
            self._statuses.append(name)
        return self._statuses.index(name)

    def _answers(self, answers: pd.DataFrame, dataset: str, first: int) -> dict[int, list[Any]]:
        """Reasoning of each answer that has one: label, score, words."""
        said: dict[int, list[Any]] = {}
        has_words = answers["reasoning"].fillna("").astype(str).str.strip() != ""
        for row in answers[has_words].sort_values(["image_id", "sample"]).itertuples():
            words = str(row.reasoning).strip()
            if len(words) > _MAX_REASONING:
                words = words[:_MAX_REASONING] + " … (cut here; the whole is in the verdicts table)"
            score = None if pd.isna(row.score) else round(float(row.score), 3)
            label = _LABELS.get(row.label_predicted, -1)
            said.setdefault(self._place[dataset, row.image_id] - first, []).append(
                [label, score, words]
            )
            self.n_bytes += len(words.encode()) + 20
        return said
