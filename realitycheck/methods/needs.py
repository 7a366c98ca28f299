"""What each method needs of a data set, told before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from realitycheck.methods.thresholds import besides_references
from realitycheck.metrics.folds import assign_folds, check_nested_folds


def lacking(
    scored: pd.DataFrame,
    train: pd.DataFrame,
    learners: Mapping[str, Mapping[str, Any]],
    *,
    keeps_back: str | None,
    references: pd.DataFrame | None = None,
) -> Iterator[str]:
    """Say of each method that learns from labelled parts which parts it lacks.

    Args:
        scored: Scored images: `image_id`, `category`, `label`, `group`.
        train: Training images, likewise.
        learners: What each method learns from, by its name. `parts`: `good training`, of which one
            at a time is left out; `good`, of training or, without any, the other scored ones; or
            `folds` of labelled ones, with `n_folds`, `seed` and, where each must leave so many good
            parts of each category, `least_good_parts`. `compares_with_reference`: pixel by pixel;
            without `is_aligned`, only images of the reference's size can be compared.
        keeps_back: Key path of the setting that says how many good parts become training images;
            None: the folders say it.
        references: Reference image of each category, where they are known. What is compared with
            the reference sets no threshold by the reference itself or by another view of its part.

    Yields:
        A line for each method and category: what is there, what is needed, what to do.
    """
    for name, settings in learners.items():
        if settings["parts"] == "good training":
            found = _few_good(scored, train, n_needed=2, keeps_back=keeps_back)
        elif settings["parts"] == "good":
            from_train = len(train) > 0
            compared = references if settings.get("compares_with_reference") else None
            if compared is not None and not settings["is_aligned"]:
                yield from (
                    f"{name}: {line}" for line in _other_sizes(scored, train, compared, n_needed=2)
                )
            found = _few_good(
                scored,
                train if from_train else scored,
                n_needed=1 if from_train else 2,
                keeps_back=keeps_back if from_train else None,
                references=compared,
            )
        else:
            found = _few_in_folds(scored, settings)
        for line in found:
            yield f"{name}: {line}"


def lacking_files(
    scored: pd.DataFrame, references: pd.DataFrame, needs: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """Say of each method, or of the alignment, which reference or masks it lacks.

    Args:
        scored: Scored images: `category`, `label`, `mask_path`.
        references: Reference image of each category.
        needs: What each needs: `reference`, or `truth`, a mask that shows a defect.

    Yields:
        A line for each method and category, with what would help.
    """
    of_reference = set(references["category"])
    for name, kinds in needs.items():
        for category, own in scored.groupby("category", sort=True):
            if "reference" in kinds and category not in of_reference:
                yield (
                    f"{name}: needs a reference, which reference: auto takes from good parts, and "
                    f"category {category} has none; add good parts, or name a reference image"
                )
            if "truth" in kinds and own[own["label"] == "NOK"]["mask_path"].isna().all():
                yield (
                    f"{name}: sets its threshold by the masks of defective parts, and category "
                    f"{category} has none; set binarise: good or union"
                )


def _other_sizes(
    scored: pd.DataFrame, train: pd.DataFrame, references: pd.DataFrame, *, n_needed: int
) -> Iterator[str]:
    """Find categories of which fewer images than needed have the size of their reference."""
    images = pd.concat([scored, train])
    sizes = images.set_index("image_id")[["height_px", "width_px"]]
    for reference in references[references["image_id"].isin(sizes.index)].itertuples():
        own = images[images["category"] == reference.category]
        height, width = sizes.loc[reference.image_id]
        n_alike = int(((own["height_px"] == height) & (own["width_px"] == width)).sum())
        if n_alike < min(n_needed, len(own)):
            yield (
                f"category {reference.category}: compares pixel with pixel, but the images are not "
                f"aligned and {len(own) - n_alike} of {len(own)} have another size than the "
                f"reference ({width} x {height} px); set an alignment other than none"
            )


def _few_in_folds(scored: pd.DataFrame, settings: Mapping[str, Any]) -> Iterator[str]:
    groups = scored["group"].fillna(scored["image_id"])
    deal = {"n_folds": settings["n_folds"], "seed": settings["seed"]}
    try:
        if least := settings.get("least_good_parts"):
            check_nested_folds(
                scored["label"],
                groups=groups,
                categories=scored["category"],
                least_good_parts=least,
                **deal,
            )
        else:
            assign_folds(scored["label"], groups, **deal)
    except ValueError as error:
        yield str(error)


def _few_good(
    scored: pd.DataFrame,
    learned: pd.DataFrame,
    *,
    n_needed: int,
    keeps_back: str | None,
    references: pd.DataFrame | None = None,
) -> Iterator[str]:
    """Find categories with too few independent good parts among those that are learned from."""
    usable = learned if references is None else besides_references(learned, references)
    n_learned, n_with_reference = _n_good(usable), _n_good(learned)
    n_all = _n_good(pd.concat([scored, learned[learned["split"] == "train"]]))
    is_train = learned is not scored
    for category in sorted(set(scored["category"])):
        here, of_all = n_learned.get(category, 0), n_all.get(category, 0)
        if here >= n_needed:
            continue
        kind = "good training parts" if is_train else "good parts"
        n_parts = n_needed
        if here < n_with_reference.get(category, 0):
            kind += " besides the reference"
            n_parts += 1  # the reference is a good part, too
        yield (
            f"category {category}: needs at least {n_needed} independent {kind}, found {here}"
            f"{f' (of {of_all} good ones)' if is_train else ''}; "
            f"{_remedy(category, of_all, n_parts, is_train=is_train, keeps_back=keeps_back)}"
        )


def _remedy(
    category: str, n_all: int, n_needed: int, *, is_train: bool, keeps_back: str | None
) -> str:
    if not is_train:
        return f"add good parts of {category}"
    if keeps_back is None:
        return f"put more good parts of {category} into train"
    if keeps_back.endswith("n_train"):
        return f"set {keeps_back} to {n_needed} or more"
    if n_all <= n_needed:
        return f"collect more good parts of {category}, so that some are left to be scored"
    share = math.ceil(100 * n_needed / n_all) / 100
    return f"set {keeps_back} to {share:g} or more, or collect more good parts of {category}"


def _n_good(table: pd.DataFrame) -> dict[str, int]:
    good = table[table["label"] == "OK"]
    part = good["group"].fillna(good["image_id"])
    return part.groupby(good["category"]).nunique().to_dict()
