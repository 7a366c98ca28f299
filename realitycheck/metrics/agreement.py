"""How far repeated verdicts, and those of several raters, agree with each other and the truth.

Attribute agreement analysis as in AIAG (2010), Measurement Systems Analysis, 4th edition, chapter
III.C, and ISO 14468: shares of parts on which all verdicts are the same, and kappas, which take off
what chance alone would agree on. Verdicts are numbers (0 for OK, 1 for NOK, or other codes of
categories), NaN where there is none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from realitycheck.metrics.intervals import clopper_pearson

NAN = float("nan")


class Share(NamedTuple):
    """A share of parts on which verdicts agree.

    Attributes:
        n_parts: All parts.
        n_agree: Parts with every verdict, and all the same.
        n_open: Parts that lack a verdict while those that there are agree.
        share: n_agree / n_parts; NaN where `n_open` makes it a range.
        low: Lower limit, open parts taken as disagreeing.
        high: Upper limit, open parts taken as agreeing.
    """

    n_parts: int
    n_agree: int
    n_open: int
    share: float
    low: float
    high: float


class Kappa(NamedTuple):
    """Agreement beyond chance: 1 if all agree, 0 as by chance.

    Attributes:
        n_parts: Parts that it is taken over.
        value: The kappa.
        se: Its standard error, whatever its true value.
        se_null: Its standard error if the true value were 0, for a test of that.
    """

    n_parts: int
    value: float
    se: float
    se_null: float


def agreed_share(verdicts: np.ndarray, *, confidence: float = 0.95) -> Share:
    """Share of parts on which all verdicts agree, with its exact two-sided interval.

    A part counts once, however many verdicts it has, because its verdicts are not independent; the
    interval (Clopper and Pearson 1934) takes parts as independent. A part that lacks a verdict
    disagrees if two of its others differ already; else it may agree or not, and the share is a
    range. Within a rater the columns are repeats; between raters all repeats of all raters;
    against the truth the truth and all repeats.

    Args:
        verdicts: Codes, float, shape (N, M), NaN where there is none.
        confidence: Of the interval, inside (0, 1).

    Returns:
        The share; share and limits are NaN without a part, and with one column, which has nothing
        to agree with.
    """
    n_parts, n_columns = verdicts.shape
    if n_parts == 0 or n_columns < 2:
        return Share(n_parts, 0, 0, NAN, NAN, NAN)
    is_known = ~np.isnan(verdicts)
    lowest = np.where(is_known, verdicts, np.inf).min(axis=1)
    highest = np.where(is_known, verdicts, -np.inf).max(axis=1)
    is_alike = lowest >= highest  # also where nothing is known
    n_agree = int((is_alike & is_known.all(axis=1)).sum())
    n_open = int(is_alike.sum()) - n_agree
    return Share(
        n_parts,
        n_agree,
        n_open,
        NAN if n_open else n_agree / n_parts,
        clopper_pearson(n_agree, n_parts, confidence=confidence)[0],
        clopper_pearson(n_agree + n_open, n_parts, confidence=confidence)[1],
    )


def cohen_kappa(first: np.ndarray, second: np.ndarray) -> Kappa:
    """Cohen's kappa of two raters, or of a rater and the truth, over the parts that both judged.

    With p_ij the share of parts that the first calls i and the second j: p_o = sum p_ii, p_e = sum
    p_i. p_.i, kappa = (p_o - p_e) / (1 - p_e). With perfect agreement the standard error is 0,
    which proves nothing; the interval of the share of parts that agree does.

    Source: Cohen (1960), Educational and Psychological Measurement 20, 37-46. Standard errors:
    Fleiss, Cohen and Everitt (1969), Psychological Bulletin 72, 323-327, equations 13 and 14.

    Args:
        first: Codes of the first, float, shape (N,), NaN where there is none.
        second: Codes of the second, likewise.

    Returns:
        The kappa; NaN without a part that both judged, and where both use one and the same category
        only, since chance alone would then agree as well.
    """
    is_known = ~np.isnan(first) & ~np.isnan(second)
    n_parts = int(is_known.sum())
    categories, codes = np.unique(
        np.concatenate([first[is_known], second[is_known]]), return_inverse=True
    )
    n_categories = len(categories)
    if n_categories < 2:
        return Kappa(n_parts, NAN, NAN, NAN)
    counts = np.zeros((n_categories, n_categories))
    np.add.at(counts, (codes[:n_parts], codes[n_parts:]), 1)
    p = counts / n_parts
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    by_chance = float(rows @ columns)
    kappa = (float(np.trace(p)) - by_chance) / (1 - by_chance)
    on_diagonal = (np.diag(p) * (1 - (rows + columns) * (1 - kappa)) ** 2).sum()
    weights = (columns[:, None] + rows[None, :]) ** 2
    np.fill_diagonal(weights, 0.0)
    beside = (1 - kappa) ** 2 * (p * weights).sum()
    variance = on_diagonal + beside - (kappa - by_chance * (1 - kappa)) ** 2
    null = by_chance + by_chance**2 - (rows * columns * (rows + columns)).sum()
    scale = n_parts * (1 - by_chance) ** 2
    return Kappa(n_parts, kappa, *(float(max(v, 0.0) / scale) ** 0.5 for v in (variance, null)))


def fleiss_kappa(counts: np.ndarray) -> Kappa:
    """Fleiss' kappa of any number of raters, or of the repeats of one.

    With n_ij of m verdicts on part i in category j: P_i = sum_j n_ij (n_ij - 1) / (m (m - 1)), p_j
    the share of all verdicts in j, P_e = sum p_j^2, kappa = (mean P_i - P_e) / (1 - P_e).

    Source: Fleiss (1971), Psychological Bulletin 76, 378-382. Standard error if kappa were 0:
    Fleiss, Nee and Landis (1979), Psychological Bulletin 86, 974-977, equation 12; whatever kappa
    is: Gwet (2021), Educational and Psychological Measurement 81, 781-790, whose linearised kappa
    of each part takes parts, not verdicts, as drawn by chance.

    Args:
        counts: How often each part got each category, int, shape (N, K); equal row sums, 2 or more.

    Returns:
        The kappa; NaN without a part, and where all verdicts are in one category. `se` is NaN with
        a single part.
    """
    n_parts = len(counts)
    if n_parts == 0 or np.count_nonzero(counts.sum(axis=0)) < 2:
        return Kappa(n_parts, NAN, NAN, NAN)
    m = counts.sum(axis=1)[0]
    p = counts.sum(axis=0) / counts.sum()
    observed = ((counts * counts).sum(axis=1) - m) / (m * (m - 1.0))
    by_chance = (p * p).sum()
    kappa = float((observed.mean() - by_chance) / (1 - by_chance))
    spread = (p * (1 - p)).sum()
    null = spread**2 - (p * (1 - p) * (1 - 2 * p)).sum()
    se_null = float(np.sqrt(2 * max(null, 0.0) / (n_parts * m * (m - 1))) / spread)
    se = NAN
    if n_parts > 1:
        own = (observed - by_chance) / (1 - by_chance)
        own = own - 2 * (1 - kappa) * ((counts @ p) / m - by_chance) / (1 - by_chance)
        se = float(np.sqrt(((own - kappa) ** 2).sum() / (n_parts * (n_parts - 1))))
    return Kappa(n_parts, kappa, se, se_null)


def kappa_of_raters(verdicts: np.ndarray) -> Kappa:
    """Fleiss' kappa over the parts that every column has a verdict on; see `fleiss_kappa`.

    Args:
        verdicts: Codes, float, shape (N, M), NaN where there is none.

    Returns:
        The kappa; NaN with fewer than two columns, too.
    """
    complete = verdicts[~np.isnan(verdicts).any(axis=1)]
    if verdicts.shape[1] < 2:
        return Kappa(len(complete), NAN, NAN, NAN)
    categories = np.unique(complete)
    return fleiss_kappa((complete[:, :, None] == categories).sum(axis=1))


def verdict_matrix(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Lay out the verdicts of one method and prompt: a row per part, a column per repeat.

    Args:
        verdicts: Columns `image_id`, `sample` and `label_predicted` (OK, NOK, or null where there
            is no answer). A part that has fewer repeats than others lacks a verdict in the rest.

    Returns:
        0 for OK, 1 for NOK, NaN for none; the index is `image_id`, the columns are `sample`.

    Raises:
        ValueError: If a repeat of an image occurs twice.
    """
    if verdicts.duplicated(["image_id", "sample"]).any():
        raise ValueError(
            "a repeat of an image occurs twice; give the rows of one method and prompt"
        )
    codes = verdicts["label_predicted"].map({"OK": 0.0, "NOK": 1.0}).astype(float)
    return verdicts.assign(code=codes).pivot(index="image_id", columns="sample", values="code")


class Agreement(NamedTuple):
    """Agreement of repeats.

    Attributes:
        n_images: Images asked about.
        n_complete: Of these, with a label in every repeat; the others are left out of the rest.
        n_samples: Repeats of an image.
        fleiss_kappa: 1: all agree; 0: as by chance; NaN where every label is the same or there is
            one repeat, because chance alone would then agree too.
        flip_rate: Share of complete images whose repeats do not all agree; NaN without any.
        pair_disagreement: Share of pairs of repeats on one image that differ; NaN likewise.
    """

    n_images: int
    n_complete: int
    n_samples: int
    fleiss_kappa: float
    flip_rate: float
    pair_disagreement: float


def agreement_of(verdicts: pd.DataFrame) -> Agreement:
    """Measure the agreement of repeats in a verdicts table of one method and prompt.

    Args:
        verdicts: As for `verdict_matrix`.

    Returns:
        Fleiss' kappa (Fleiss 1971), the flip rate and the disagreement of pairs.

    Raises:
        ValueError: If a repeat of an image occurs twice.
    """
    matrix = verdict_matrix(verdicts).to_numpy()
    complete = matrix[~np.isnan(matrix).any(axis=1)]
    n_images, n_samples = matrix.shape
    if n_samples < 2 or not len(complete):
        return Agreement(n_images, len(complete), n_samples, NAN, NAN, NAN)
    n_nok = complete.sum(axis=1).astype(int)
    counts = np.column_stack([n_samples - n_nok, n_nok])
    differing = 1 - (counts * (counts - 1)).sum(axis=1) / (n_samples * (n_samples - 1))
    return Agreement(
        n_images,
        len(complete),
        n_samples,
        fleiss_kappa(counts).value,
        float((counts.max(axis=1) < n_samples).mean()),
        float(differing.mean()),
    )
