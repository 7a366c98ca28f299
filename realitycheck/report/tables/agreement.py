"""People and repeats: attribute agreement analysis of runs that judged parts more than once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.parquet import read_frame
from realitycheck.core.schemas import WHOLE_DATASET
from realitycheck.core.tables import INTEGER, REAL, TEXT, Schema
from realitycheck.metrics.agreement import (
    Kappa,
    agreed_share,
    cohen_kappa,
    kappa_of_raters,
    verdict_matrix,
)
from realitycheck.report.results import KEYS, Notes, Results, Run
from realitycheck.report.tables.base import (
    Section,
    dataset_name,
    groups_of,
    method_name,
    typed_table,
)
from realitycheck.report.text import (
    MISSING,
    TableText,
    confidence_text,
    percent_range,
    split_notes,
    table_by_run,
)

#: What is compared, in words for people; of a pair the other rater stands behind them.
QUANTITIES = {
    "within": "its own repeats",
    "truth": "with the truth",
    "between": "all raters with each other",
    "all_truth": "all raters with the truth",
    "pair": "with",
}

AGREEMENT = Schema(
    "agreement",
    (
        ("dataset", TEXT),
        ("method", TEXT),
        ("prompt", TEXT),  # the rater, or "*" where it is of all raters of the method
        ("quantity", TEXT),  # what is compared
        ("other_prompt", TEXT),  # the other rater of a pair, else "*"
        ("n_parts", INTEGER),  # all parts; views of one part count each
        ("n_verdicts", INTEGER),  # of a part: all repeats of those compared, the truth left out
        ("n_agree", INTEGER),  # parts with every verdict, and all the same
        ("n_open", INTEGER),  # parts that lack a verdict while those that there are agree
        ("agreement", REAL),  # n_agree / n_parts; null where open parts make it a range
        ("agreement_worst", REAL),  # open parts disagree
        ("agreement_best", REAL),  # open parts agree
        ("agreement_low", REAL),  # two-sided Clopper-Pearson
        ("agreement_high", REAL),
        ("kappa_kind", TEXT),  # Fleiss or Cohen
        ("n_kappa", INTEGER),  # parts that it is taken over
        ("kappa", REAL),
        ("kappa_se", REAL),  # whatever the true kappa
        ("kappa_se_null", REAL),  # if the true kappa were 0
        ("confidence", REAL),
        ("dataset_name", TEXT),
        ("method_name", TEXT),
        ("note", TEXT),
    ),
    ("dataset", "method", "prompt", "quantity", "other_prompt"),
    {"quantity": frozenset(QUANTITIES)},
    ("agreement", "agreement_worst", "agreement_best", "agreement_low", "agreement_high"),
)
SCHEMAS = {"agreement": AGREEMENT}
SETTINGS = ("evaluation",)


def compute(results: Results) -> dict[str, pd.DataFrame]:
    """Make the table of a run; see `agreement_table`."""
    runs = results.runs("repeated")
    columns = ["image_id", "sample", "label_predicted"]
    table = agreement_table(
        results.scores(runs),
        {
            run: verdict_matrix(read_frame(path, columns))
            for run, path in zip(runs, results.files_of("verdicts", runs), strict=True)
        },
        datasets=results.datasets,
        methods=results.methods,
        confidence=results.facts["evaluation"]["confidence"],
    )
    return {"agreement": table}


def texts(tables: Mapping[str, pd.DataFrame]) -> dict[str, list[TableText]]:
    """Put the table into words: raters, and pairs of them if there are any."""
    table = tables["agreement"]
    is_pair = table["quantity"] == "pair"
    parts = [_text(table[~is_pair], "People and repeats: who agrees with whom")]
    if is_pair.any():
        parts.append(_text(table[is_pair], "People and repeats: pairs of raters", is_pairs=True))
    return {"agreement": parts}


def section(tables: Mapping[str, pd.DataFrame]) -> Section:
    """Show the table; there is one only where a run has repeats or raters."""
    shown = texts(tables)["agreement"] if len(tables.get("agreement", ())) else []
    return Section(shown, heading="People and repeats")


def agreement_table(
    scores: pd.DataFrame,
    verdicts: Mapping[Run, pd.DataFrame],
    *,
    datasets: Notes,
    methods: Notes,
    confidence: float,
) -> pd.DataFrame:
    """Say how far raters agree with themselves, with each other and with the truth.

    Of each rater (a method and prompt): its repeats with each other (`within`) and all of them with
    the truth (`truth`). Of a method whose prompts are raters (`has_raters`), if there are two at
    least: all verdicts of all raters with each other (`between`) and with the truth
    (`all_truth`), and of two of them each (`pair`). A share is of parts on which all these verdicts
    are the same; see `agreed_share`, also for parts that lack one. Fleiss' kappa is that of repeats
    (within), or of raters (between); Cohen's that of a rater with the truth, or with another. A
    rater's verdict is then the one that the scores have, of most repeats. Of all raters and
    the truth there is no kappa.

    Args:
        scores: Scores of the runs; labels, and one verdict per part.
        verdicts: Of each run its verdicts, as `verdict_matrix` gives them.
        datasets: Description of each data set.
        methods: Description of each method.
        confidence: Of the intervals, inside (0, 1).

    Returns:
        The table, columns of `AGREEMENT`; empty without a run.

    Raises:
        ValueError: If verdicts are of other images than the scores.
    """
    rows: list[dict[str, Any]] = []
    images = {tuple(key): own for key, own in scores.groupby(KEYS, sort=False, observed=True)}
    raters: dict[tuple[str, ...], dict[str, _Rater]] = {}
    for run, matrix in verdicts.items():
        raters.setdefault(run[:2], {})[run[2]] = _rater(run, images[run], matrix)
    for (dataset, method), own in raters.items():
        about = {
            "dataset": dataset,
            "method": method,
            "confidence": confidence,
            "dataset_name": dataset_name(dataset, datasets),
            "method_name": method_name(method, methods),
        }
        has_raters = bool(methods.get(method, {}).get("has_raters"))
        for row in _rows(own, has_raters=has_raters, confidence=confidence):
            rows.append(about | row)
    return typed_table(rows, AGREEMENT)


class _Rater:
    """Verdicts of a rater on the parts, in the order of their names."""

    def __init__(self, images: pd.DataFrame, matrix: pd.DataFrame):
        images = images.set_index("image_id").sort_index()
        self.repeats = matrix.loc[images.index].to_numpy()
        self.verdict = _codes(images["label_predicted"])
        self.truth = _codes(images["label"])
        groups = groups_of(images)
        named = [group for group in groups or [] if group is not None]
        self.n_groups = len(images) - len(named) + len(set(named))


def _rater(run: Run, images: pd.DataFrame, matrix: pd.DataFrame) -> _Rater:
    if set(images["image_id"]) != set(matrix.index):
        raise ValueError(
            f"verdicts of {'/'.join(run)}: expected those of the {len(images)} scored images, but "
            f"found {len(matrix)} images; score the run again"
        )
    return _Rater(images, matrix)


def _codes(labels: pd.Series) -> np.ndarray:
    return labels.map({"OK": 0.0, "NOK": 1.0}).to_numpy(float)


def _rows(
    raters: Mapping[str, _Rater], *, has_raters: bool, confidence: float
) -> Iterator[dict[str, Any]]:
    """What is compared within one data set and method; nothing where all was judged once."""

    def row(
        prompt: str,
        quantity: str,
        shown: Sequence[_Rater],
        kind: str | None,
        kappa: Kappa | None,
        other: str = WHOLE_DATASET,
    ) -> dict[str, Any]:
        columns = [each.repeats for each in shown]
        if quantity.endswith("truth"):
            columns = [shown[0].truth[:, None], *columns]
        share = agreed_share(np.hstack(columns), confidence=confidence)
        ends = (share.n_agree, share.n_agree + share.n_open)
        is_known = share.n_parts > 0 and not np.isnan(share.low)
        worst, best = (end / share.n_parts if is_known else np.nan for end in ends)
        return {
            "prompt": prompt,
            "quantity": quantity,
            "other_prompt": other,
            "n_parts": share.n_parts,
            "n_verdicts": sum(each.repeats.shape[1] for each in shown),
            "n_agree": share.n_agree if is_known else None,
            "n_open": share.n_open if is_known else None,
            "agreement": share.share,
            "agreement_worst": worst,
            "agreement_best": best,
            "agreement_low": share.low,
            "agreement_high": share.high,
            "kappa_kind": kind,
            "n_kappa": None if kappa is None else kappa.n_parts,
            "kappa": None if kappa is None else kappa.value,
            "kappa_se": None if kappa is None else kappa.se,
            "kappa_se_null": None if kappa is None else kappa.se_null,
            "note": "; ".join(_notes(quantity, shown, kappa)),
        }

    is_panel = has_raters and len(raters) > 1
    if not is_panel and all(own.repeats.shape[1] < 2 for own in raters.values()):
        return
    for prompt, own in raters.items():
        yield row(prompt, "within", [own], "Fleiss", kappa_of_raters(own.repeats))
        yield row(prompt, "truth", [own], "Cohen", cohen_kappa(own.verdict, own.truth))
    if not is_panel:
        return
    all_of_them = list(raters.values())
    kappa = kappa_of_raters(np.stack([each.verdict for each in all_of_them], axis=1))
    yield row(WHOLE_DATASET, "between", all_of_them, "Fleiss", kappa)
    yield row(WHOLE_DATASET, "all_truth", all_of_them, None, None)
    for (prompt, first), (other, second) in combinations(raters.items(), 2):
        kappa = cohen_kappa(first.verdict, second.verdict)
        yield row(prompt, "pair", [first, second], "Cohen", kappa, other)


def _notes(quantity: str, shown: Sequence[_Rater], kappa: Kappa | None) -> Iterator[str]:
    n_parts = len(shown[0].truth)
    if quantity == "within" and shown[0].repeats.shape[1] < 2:
        yield "judged each part once: nothing to compare"
        return
    if kappa is not None and np.isnan(kappa.value):
        what = "all verdicts are the same" if kappa.n_parts else "no part has every verdict"
        yield f"no kappa: {what}"
    elif kappa is not None and kappa.n_parts < n_parts:
        yield f"kappa over the {kappa.n_parts} of {n_parts} parts that have every verdict"
    if shown[0].n_groups < n_parts:
        yield (
            f"{n_parts} images of {shown[0].n_groups} groups: intervals and standard errors take "
            "images as independent"
        )


# ------------------------------------------------------------------------------------------- words


def _text(table: pd.DataFrame, caption: str, *, is_pairs: bool = False) -> TableText:
    header = ["Data set", "Method", "Rater or prompt", "Compared", "Verdicts of a part", "Parts"]
    header += ["Agree", "Open", "Share [interval]", "κ (standard error)"]

    def cells(row: pd.Series) -> list[str]:
        compared = QUANTITIES[row["quantity"]]
        return [
            f"{compared} {row['other_prompt']}" if is_pairs else compared,
            str(row["n_verdicts"]),
            str(row["n_parts"]),
            MISSING if pd.isna(row["n_agree"]) else str(row["n_agree"]),
            str(row["n_open"]) if pd.notna(row["n_open"]) and row["n_open"] else MISSING,
            share_text(row),
            kappa_text(row),
        ]

    return table_by_run(
        caption,
        header,
        table,
        cells,
        n_text_columns=4,
        notes=lambda row: split_notes(row["note"]),
        legend=_legend(table, is_pairs=is_pairs),
    )


def _legend(table: pd.DataFrame, *, is_pairs: bool) -> list[str]:
    share = (
        "Share of parts on which all these verdicts are the same, with its exact "
        f"{confidence_text(table)} interval (Clopper and Pearson); a part counts once, however "
        "many verdicts it has."
    )
    if table["n_open"].gt(0).any():
        share += (
            " Open: parts that lack a verdict while those that there are agree; the share then is "
            "a range, and the interval covers it."
        )
    if is_pairs:
        return [share, "κ of Cohen, of the verdicts that Table 2 has of both."]
    return [
        share,
        "With the truth: every repeat is right. κ: agreement beyond chance, 1 at best and 0 as by "
        "chance; of Fleiss for repeats and for all raters, of Cohen with the truth, with a "
        "standard error that holds whatever κ is.",
        "Several repeats of a part are one verdict in Table 2, in κ with the truth and between "
        "raters, and in every other table: that of most of them, NOK where they are split evenly.",
    ]


def share_text(row: Mapping[str, Any]) -> str:
    """Print a share in per cent, or its range, with its interval in brackets."""
    if pd.isna(row["agreement_low"]):
        return MISSING
    low, high = (f"{100 * row[f'agreement_{end}']:.1f}" for end in ("low", "high"))
    return f"{percent_range(row, 'agreement')} [{low}, {high}]"


def kappa_text(row: Mapping[str, Any]) -> str:
    """Print a kappa with its standard error in brackets."""
    if pd.isna(row["kappa"]):
        return MISSING
    error = "" if pd.isna(row["kappa_se"]) else f" ({row['kappa_se']:.2f})"
    return f"{row['kappa']:.2f}{error}".replace("-", "−")
