"""Audit: what would make a number say more than it knows, looked for before anything costs time.

Some findings invalidate a score (a model was shown what it is scored on) and stop the run; others a
reader must know, and they stand as a flag beside every row they touch. `audit` in the settings says
which is which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.masks import MaskReading
from realitycheck.datasets.findings import NOTHING, Finding, count_text, named_defects
from realitycheck.datasets.near_duplicates import near_duplicates, thumbnail
from realitycheck.datasets.registry import list_records
from realitycheck.methods.needs import lacking, lacking_files
from realitycheck.methods.registry import open_part
from realitycheck.stages.training_overlap import AuditError, check_training

Read = Callable[[str], np.ndarray]

#: A guess by size must be right this much more often than by the commoner label.
_MAX_P_VALUE = 0.01
#: Faults of files from elsewhere that are told at most.
_MOST_LINES = 200
_REMEDIES = {
    "reference_is_scored": "name another image as `reference`, or keep good images for training "
    "(`split: {train_fraction: 0.2}`), from which the reference is then taken",
    "group_in_two_splits": "move all views of a part into one split",
    "near_duplicate_across_splits": "remove one of each pair, or move both into one split",
    "near_duplicate_parts": "give both images one group (`groups.csv`), or remove one",
    "size_by_label": "crop or resample all images to one size and depth",
    "prompt_names_defects": "word the prompt without looking at the scored images",
}


# -------------------------------------------------------------------------------- of the data set


def audit_dataset(
    dataset: str,
    manifest: pd.DataFrame,
    train: pd.DataFrame,
    references: pd.DataFrame,
    *,
    read: Read,
    rules: Mapping[str, str],
    uses_reference: bool,
    told: Mapping[str, str],
    learners: Mapping[str, Mapping[str, Any]],
    needs: Mapping[str, Sequence[str]],
    keeps_back: str | None = None,
    sources: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    listed: Mapping[str, Any] | None = None,
    declared: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    n_workers: int = 1,
) -> list[dict[str, Any]]:
    """Check a data set for leakage, duplicates and label faults.

    Args:
        dataset: The data set's id.
        manifest: Scored images.
        train: Images for thresholds and references.
        references: Reference image of each category.
        read: Reads an image by its path, uint8 RGB.
        rules: `stop` or `flag` for each check.
        uses_reference: Whether some method is shown the reference.
        told: Texts that methods are told, by the key path of each, where naming a defect stops.
        learners: See `realitycheck.methods.needs.lacking`.
        needs: See `realitycheck.methods.needs.lacking_files`.
        keeps_back: See `realitycheck.methods.needs.lacking`.
        sources: Kind and settings of each method whose answers were made elsewhere.
        listed: How all images of the data set are listed, where there are such methods.
        declared: `paths` of the images that each method has learned from elsewhere.
        n_workers: Threads that decode.

    Returns:
        Rows of the audit findings table, one a check.

    Raises:
        AuditError: With every method that lacks what it needs, or every finding that stops, where
            it is and what to do.
    """
    missing = [
        *lacking(manifest, train, learners, keeps_back=keeps_back, references=references),
        *lacking_files(manifest, references, needs),
    ]
    if missing:
        raise AuditError(
            f"data set {dataset}: these methods lack what they need:\n"
            + "\n".join(f"  {line}" for line in missing)
            + f"\nor leave them out with datasets.{dataset}.methods"
        )
    _check_sources(dataset, manifest, train, sources, listed, n_workers=n_workers)
    for method, each in declared.items():
        check_training(dataset, method, each["paths"], manifest, read=read, n_workers=n_workers)
    found = {
        "reference_is_scored": scored_reference(references) if uses_reference else NOTHING,
        "group_in_two_splits": shared_groups(manifest, train),
        "size_by_label": label_by_size(manifest),
        "truth_by_rule": truth_by_rule(manifest),
        **_duplicates(manifest, train, read=read, n_workers=n_workers),
    }
    named = [(path, named_defects(text, manifest["defect_type"])) for path, text in told.items()]
    stopping = [
        f"prompt_names_defects: {path} names {', '.join(types)}, which occur among the scored "
        f"images; {_REMEDIES['prompt_names_defects']}"
        for path, types in named
        if types
    ]
    stopping += [
        f"{check}: {each.finding} (first: {each.example}); {_REMEDIES[check]}"
        for check, each in found.items()
        if each.n_affected and rules.get(check) == "stop"
    ]
    if stopping:
        checks = sorted({line.partition(":")[0] for line in stopping})
        flags = ", ".join(f"{check}: flag" for check in checks)
        raise AuditError(
            f"data set {dataset}: the audit stops here, before anything costs time:\n"
            + "\n".join(f"  {line}" for line in stopping)
            + f"\nor run all the same, with every affected row flagged: audit: {{{flags}}}"
        )
    return [{"dataset": dataset, "check": check, **each._asdict()} for check, each in found.items()]


def _check_sources(
    dataset: str,
    manifest: pd.DataFrame,
    train: pd.DataFrame,
    sources: Mapping[str, Mapping[str, Any]],
    listed: Mapping[str, Any] | None,
    *,
    n_workers: int,
) -> None:
    """Refuse files from elsewhere that say nothing, or several things, of an image."""
    if not sources:
        return
    # Locked images, and those that are scored before they are opened, have names, too.
    records = list_records({**listed, "split": {**listed["split"], "opened": False}}).records
    lines = []
    for method, each in sources.items():
        faults = open_part(each["kind"], "source").faults(
            dataset, each["settings"], manifest, train, records, n_workers=n_workers
        )
        lines += [f"{method}: {fault}" for fault in faults]
    if lines:
        raise AuditError(
            f"data set {dataset}: what was made elsewhere has {count_text(len(lines), 'fault')}:\n"
            + "\n".join(f"  {line}" for line in lines[:_MOST_LINES])
            + (f"\n  … and {len(lines) - _MOST_LINES} more" if len(lines) > _MOST_LINES else "")
        )


def scored_reference(references: pd.DataFrame) -> Finding:
    """Find references that are themselves scored."""
    scored = references[references["is_scored"].astype(bool)]
    if scored.empty:
        return NOTHING
    return Finding(
        f"the reference of {_of(len(scored), len(references), 'category', 'categories')} is itself "
        "scored",
        len(scored),
        str(scored.iloc[0]["image_id"]),
    )


def shared_groups(manifest: pd.DataFrame, train: pd.DataFrame) -> Finding:
    """Find groups of views that are both trained on and scored."""
    shared = set(manifest["group"].dropna()) & set(train["group"].dropna())
    if not shared:
        return NOTHING
    affected = manifest[manifest["group"].isin(shared)]
    return Finding(
        f"{count_text(len(shared), 'group')} of views lie in the training and in the scored images",
        len(affected),
        f"{affected.iloc[0]['image_id']}, group {affected.iloc[0]['group']}",
    )


def label_by_size(manifest: pd.DataFrame) -> Finding:
    """Find out whether the label can be guessed from size, bit depth and number of channels.

    Each image is guessed to be what most others of its category with the same facts are, else what
    is common in its category. The check fires if that is right more often than the commoner label
    alone, by an exact one-sided sign test at 1 %, or if all images of a label share one size and
    the other label has another one. Photographs that all differ in size give nothing away.
    """
    facts = ["category", "width_px", "height_px", "bit_depth", "n_channels"]
    is_nok = (manifest["label"] == "NOK").to_numpy()
    by_facts = manifest.assign(nok=is_nok).groupby(facts)["nok"]
    others = by_facts.transform("size").to_numpy() - 1
    others_nok = by_facts.transform("sum").to_numpy() - is_nok
    by_category = manifest.assign(nok=is_nok).groupby("category")["nok"]
    common = by_category.transform("mean").to_numpy() > 0.5
    guess = np.where(2 * others_nok == others, common, 2 * others_nok > others)
    won = (guess == is_nok) & (common != is_nok)
    lost = (guess != is_nok) & (common == is_nok)
    is_told = False
    if won.sum() > lost.sum():
        from scipy.special import bdtrc

        n = int(won.sum() + lost.sum())
        p_value = float(bdtrc(int(won.sum()) - 1, n, 0.5))
        is_told = p_value < _MAX_P_VALUE or _is_parted(manifest, facts)
    if not is_told:
        return NOTHING
    first = manifest[won].iloc[0]
    right = int((guess == is_nok).sum())
    return Finding(
        f"the label of {right} of {len(manifest)} images can be told from size, bit depth and "
        f"channels, {int((common == is_nok).sum())} by guessing the commoner label",
        int(won.sum()),
        f"{first['image_id']}, {first['label']}, {first['width_px']} x {first['height_px']} px, "
        f"{first['bit_depth']} bit, {first['n_channels']} channels",
    )


def truth_by_rule(manifest: pd.DataFrame) -> Finding:
    """Find masks whose reading neither convention nor a setting decided."""
    drawn = manifest[manifest["mask_reading"].notna()]
    told = drawn["mask_reading"].map(lambda text: MaskReading.from_text(text).told)
    affected = drawn[told != ""]
    if affected.empty:
        return NOTHING
    return Finding(
        "; ".join(dict.fromkeys(told[told != ""])),
        len(affected),
        str(affected["image_id"].iloc[0]),
    )


def _is_parted(manifest: pd.DataFrame, facts: Sequence[str]) -> bool:
    """Whether in each category every label has one size of its own, in two images or more."""
    n_sizes = manifest.groupby(["category", "label"])[list(facts)].apply(
        lambda own: len(own.drop_duplicates())
    )
    n_images = manifest.groupby(["category", "label"]).size()
    shared = manifest.groupby(list(facts))["label"].nunique()
    return bool((n_sizes == 1).all() and (n_images >= 2).all() and (shared == 1).all())


def _duplicates(
    manifest: pd.DataFrame, train: pd.DataFrame, *, read: Read, n_workers: int
) -> dict[str, Finding]:
    """Find near-duplicates between training and scored images, and among scored ones."""
    images = pd.concat([manifest, train], ignore_index=True)
    across: list[tuple[str, str, float, str]] = []
    among: list[tuple[str, str, float, str]] = []
    for _, own in images.groupby("category", sort=True):
        with ThreadPoolExecutor(n_workers) as pool:
            small = np.stack(list(pool.map(lambda path: thumbnail(read(path)), own["image_path"])))
        splits, groups = own["split"].tolist(), own["group"].tolist()
        names = own["image_id"].tolist()
        for i, j, correlation, pose in near_duplicates(small):
            pair = (names[i], names[j], correlation, pose)
            if splits[i] != splits[j]:
                across.append(pair)
            elif splits[i] == "test" and (pd.isna(groups[i]) or groups[i] != groups[j]):
                among.append(pair)
    return {
        "near_duplicate_across_splits": _pairs(across, manifest, "a training and a scored image"),
        "near_duplicate_parts": _pairs(among, manifest, "two scored images without a common group"),
    }


def _pairs(
    pairs: Sequence[tuple[str, str, float, str]], manifest: pd.DataFrame, what: str
) -> Finding:
    if not pairs:
        return NOTHING
    scored = set(manifest["image_id"])
    affected = {name for first, second, *_ in pairs for name in (first, second) if name in scored}
    first, second, correlation, pose = max(pairs, key=lambda pair: pair[2])
    return Finding(
        f"{count_text(len(pairs), 'pair')} of {what} show nearly the same picture",
        len(affected),
        f"{first} and {second}, correlation {correlation:.3f}" + (f", {pose}" if pose else ""),
    )


def _of(n: int, total: int, one: str, many: str) -> str:
    return f"the one {one}" if total == 1 else f"{n} of {total} {many}"
