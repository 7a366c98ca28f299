"""Audit: what would make a number say more than it knows, looked for before anything costs time.

Some findings invalidate a score (a model was shown what it is scored on) and stop the run; others a
reader must know, and they stand as a flag beside every row they touch. `audit` in the settings says
which is which.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from realitycheck.core.constants import AUDIT_CHECKS
from realitycheck.core.masks import MaskReading
from realitycheck.core.schemas import WHOLE_DATASET
from realitycheck.datasets.near_duplicates import near_duplicates, thumbnail
from realitycheck.methods.needs import lacking, lacking_files
from realitycheck.report.tables.audit import AUDIT

Read = Callable[[str], np.ndarray]

#: A guess by size must be right this much more often than by the commoner label.
_MAX_P_VALUE = 0.01
#: Words that name no particular type of defect.
_GENERIC = frozenset(
    {"anomaly", "anomalous", "bad", "damage", "damaged", "defect", "defective"}
    | {"fault", "faulty", "flaw", "flawed", "nok", "other", "unknown"}
)

_REMEDIES = {
    "reference_is_scored": "name another image as `reference`, or keep good images for training "
    "(`split: {train_fraction: 0.2}`), from which the reference is then taken",
    "group_in_two_splits": "move all views of a part into one split",
    "near_duplicate_across_splits": "remove one of each pair, or move both into one split",
    "near_duplicate_parts": "give both images one group (`groups.csv`), or remove one",
    "size_by_label": "crop or resample all images to one size and depth",
    "prompt_names_defects": "word the prompt without looking at the scored images",
}
_CONSEQUENCES = {
    "reference_is_scored": "The method is shown this image as its reference and then judges it: "
    "its verdict there says nothing.",
    "group_in_two_splits": "The method's threshold has seen other views of scored parts.",
    "group_in_two_folds": "A verdict has seen another view of its own part.",
    "near_duplicate_across_splits": "The method's threshold has seen nearly the scored picture.",
    "near_duplicate_parts": "Both count as parts of their own, so bounds are too narrow; folds may "
    "have parted them.",
    "size_by_label": "A method can tell the label without looking at the part.",
    "threshold_on_scored": "The score is better than on new parts, where this threshold cannot be "
    "set.",
    "prompt_names_defects": "The prompt knows which defects will come; on other defects the score "
    "may be worse.",
    "truth_by_rule": "Wrong if the rule is: look at a truth mask in the report; `mask_background` "
    "and `mask_orientation` decide.",
    "defects_lost": "No method sees what lies beyond the image: it counts as not found in IoU and "
    "in the probability of detection, and is left out of pixel scores. Align otherwise, or frame "
    "the part with a margin.",
}


class AuditError(ValueError):
    """Findings that stop a run."""


class Finding(NamedTuple):
    """What a check found; nothing where `n_affected` is 0."""

    finding: str
    n_affected: int
    example: str | None


NOTHING = Finding("nothing found", 0, None)


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
        f"{_count(len(shared), 'group')} of views lie in the training and in the scored images",
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
        from scipy.stats import binomtest

        test = binomtest(int(won.sum()), int(won.sum() + lost.sum()), alternative="greater")
        is_told = test.pvalue < _MAX_P_VALUE or _is_parted(manifest, facts)
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


def defects_lost(truth: pd.DataFrame) -> Finding:
    """Find images with defects that alignment moved out of the image.

    Args:
        truth: Truth table of a data set.
    """
    lost = truth[truth["lost_px"] > 0]
    if lost.empty:
        return NOTHING
    defective = truth[truth["truth_px"] > 0]
    n_wholly = int((lost["status"] == "lost").sum())
    first = lost.sort_values("lost_px").iloc[-1]
    return Finding(
        f"alignment moved {int(lost['lost_px'].sum()):,} of {int(truth['truth_px'].sum()):,} "
        f"defect pixels out of the image, in {len(lost)} of {len(defective)} defective images, all "
        f"of them in {n_wholly}",
        len(lost),
        f"{first['image_id']}, {int(first['lost_px']):,} of {int(first['truth_px']):,} px",
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
        f"{_count(len(pairs), 'pair')} of {what} show nearly the same picture",
        len(affected),
        f"{first} and {second}, correlation {correlation:.3f}" + (f", {pose}" if pose else ""),
    )


# --------------------------------------------------------------------------------- of the methods


def named_defects(text: str, defect_types: Iterable[Any]) -> list[str]:
    """Tell which of the defect types a text names.

    A type is named if each of its words stands in the text, in the singular or plural, whatever the
    case. Words such as "defect" or "damage" name no type.

    Args:
        text: What a method is told.
        defect_types: Types of the scored images; missing ones do not count.

    Returns:
        The types, sorted.
    """
    known = {_stem(word) for word in _words(text)}
    types = sorted({str(each) for each in defect_types if each is not None and not pd.isna(each)})
    return [
        each
        for each in types
        if (words := [_stem(w) for w in _words(each) if w not in _GENERIC])
        and all(word in known for word in words)
    ]


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.lower())


def _stem(word: str) -> str:
    """Take the ending of a plural away."""
    if len(word) > 4 and word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] != "s" else word


def groups_in_two_folds(folds: pd.DataFrame, manifest: pd.DataFrame) -> Finding:
    """Find groups whose images lie in several folds.

    Args:
        folds: Columns `image_id` and `fold` of a verdicts or thresholds table; a missing fold is
            that of no fold.
        manifest: Scored images.
    """
    table = folds.merge(manifest[["image_id", "group"]], on="image_id").dropna(
        subset=["fold", "group"]
    )
    n_folds = table.groupby("group")["fold"].nunique()
    parted = n_folds[n_folds > 1].index
    if not len(parted):
        return NOTHING
    affected = table[table["group"].isin(parted)]["image_id"].unique()
    return Finding(
        f"{_count(len(parted), 'group')} of views lie in several folds", len(affected), affected[0]
    )


def audit_table(
    findings: pd.DataFrame,
    runs: Sequence[Mapping[str, Any]],
    manifests: Mapping[str, pd.DataFrame],
    folds: Mapping[tuple[str, str, str], pd.DataFrame],
    truths: Mapping[str, pd.DataFrame],
) -> pd.DataFrame:
    """Put what was found beside every row of the tables that it touches.

    Args:
        findings: Audit findings of all data sets.
        runs: Every run with `dataset`, `method`, `prompt`, their names, and what it does:
            `uses_reference`, `uses_training_images`, `uses_test_truth` (why, or nothing), `told`.
        manifests: Scored images of each data set.
        folds: Columns `image_id` and `fold` of each run that has folds.
        truths: Truth table of each data set.

    Returns:
        The table, columns of `AUDIT`. A check that found nothing in a data set has one row there,
        with `*` for method and prompt.
    """
    rows: list[dict[str, Any]] = []
    of_check = {(row["dataset"], row["check"]): row for row in findings.to_dict("records")}
    for dataset, truth in truths.items():
        of_check[dataset, "defects_lost"] = defects_lost(truth)._asdict()
    for dataset in manifests:
        own = [run for run in runs if run["dataset"] == dataset]
        for check in AUDIT_CHECKS:
            touched = list(
                _touched(check, own, of_check.get((dataset, check)), manifests[dataset], folds)
            )
            rows += touched or [_clean(dataset, check, own)]
    return pd.DataFrame(rows, columns=AUDIT.columns)


def _touched(
    check: str,
    runs: Sequence[Mapping[str, Any]],
    found: Mapping[str, Any] | None,
    manifest: pd.DataFrame,
    folds: Mapping[tuple[str, str, str], pd.DataFrame],
) -> Iterator[dict[str, Any]]:
    for run in runs:
        finding = _of_run(check, run, found, manifest, folds)
        if finding.n_affected:
            yield {
                **{key: run[key] for key in ("dataset", "method", "prompt")},
                "check": check,
                **finding._asdict(),
                "consequence": _CONSEQUENCES[check],
                "dataset_name": run["dataset_name"],
                "method_name": run["method_name"],
            }


def _of_run(
    check: str,
    run: Mapping[str, Any],
    found: Mapping[str, Any] | None,
    manifest: pd.DataFrame,
    folds: Mapping[tuple[str, str, str], pd.DataFrame],
) -> Finding:
    if check == "threshold_on_scored":
        why = run["uses_test_truth"]
        return Finding(why, len(manifest), str(manifest["image_id"].iloc[0])) if why else NOTHING
    if check == "prompt_names_defects":
        types = named_defects(run["told"], manifest["defect_type"])
        if not types:
            return NOTHING
        affected = manifest[manifest["defect_type"].isin(types)]
        return Finding(
            f"the prompt names {', '.join(types)}, and {_count(len(affected), 'scored image')} "
            "show that",
            len(affected),
            str(affected["image_id"].iloc[0]),
        )
    if check == "group_in_two_folds":
        key = (run["dataset"], run["method"], run["prompt"])
        return groups_in_two_folds(folds[key], manifest) if key in folds else NOTHING
    needs = {
        "reference_is_scored": "uses_reference",
        "group_in_two_splits": "uses_training_images",
        "near_duplicate_across_splits": "uses_training_images",
    }
    if found is None or (check in needs and not run[needs[check]]):
        return NOTHING
    return Finding(found["finding"], int(found["n_affected"]), found["example"])


def _clean(dataset: str, check: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "method": WHOLE_DATASET,
        "prompt": WHOLE_DATASET,
        "check": check,
        **NOTHING._asdict(),
        "consequence": "",
        "dataset_name": runs[0]["dataset_name"] if runs else dataset,
        "method_name": "all",
    }


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _of(n: int, total: int, one: str, many: str) -> str:
    return f"the one {one}" if total == 1 else f"{n} of {total} {many}"
