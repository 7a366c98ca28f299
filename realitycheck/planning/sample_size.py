"""How many parts to collect before anything is run, in words: `realitycheck plan`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from realitycheck.metrics.sample_size import (
    PLANNED_TRIES,
    best_share,
    parts_needed,
    what_parts_prove,
)
from realitycheck.metrics.tries import confidence_of_each
from realitycheck.settings.run import Settings

#: True rates that a split is planned for, as shares of the limit: of the one fit method, and of the
#: others that are tried beside it.
_FIT, _UNFIT = 0.1, 2.0


def plan_lines(
    *,
    max_slip_rate: float,
    max_overkill_rate: float,
    n_errors: int,
    confidence: float,
    at_hand: Mapping[str, tuple[int, int]],
    n_tries: int = 1,
) -> Iterator[str]:
    """Say how many defective and good parts prove the limits, and what the parts at hand prove.

    Args:
        max_slip_rate: Limit of the share of defective parts that pass, inside (0, 1).
        max_overkill_rate: Limit of the share of good parts that are rejected, inside (0, 1).
        n_errors: Errors up to which the numbers are given.
        confidence: One-sided, inside (0, 1).
        at_hand: Numbers of defective and good parts by name.
        n_tries: How many methods or texts will be tried on the parts.

    Yields:
        Lines of text.

    Raises:
        ValueError: If a value is out of its range.
    """
    kinds = (
        ("slip", "defective", "missed", max_slip_rate),
        ("overkill", "good", "rejected", max_overkill_rate),
    )
    yield f"to prove at {confidence * 100:g} % confidence (exact binomial bound, one-sided):"
    for rate, kind, _, limit in kinds:
        yield f"  {rate} rate at most {limit * 100:g} %"
        for errors in range(n_errors + 1):
            needed = parts_needed(limit, n_errors=errors, confidence=confidence)
            what = {0: "none", 1: "at most 1"}.get(errors, f"at most {errors}")
            yield f"    {needed:>7,} {kind} parts, {what} of them judged wrongly"
        for tries in sorted({*PLANNED_TRIES, n_tries} - {1}):
            each = confidence_of_each(tries, confidence)
            needed = parts_needed(limit, confidence=each)
            yield f"    {needed:>7,} {kind} parts, none of them, for each of {tries} tried on them"
    for name, (n_nok, n_ok) in at_hand.items():
        yield f"{name}:"
        for (rate, kind, wrong, limit), n_parts in zip(kinds, (n_nok, n_ok), strict=True):
            article = "an" if rate[0] in "aeiou" else "a"
            each = confidence_of_each(n_tries, confidence)
            proof = what_parts_prove(n_parts, limit, confidence=each)
            among = f" for each of {n_tries} tried" if n_tries > 1 else ""
            told = (
                f"  {n_parts:,} {kind} parts: with none {wrong} they prove{among} {article} {rate} "
            )
            told += f"rate of at most {proof.provable_rate * 100:.3g} %"
            if proof.n_more:
                told += f"; {proof.n_more:,} more are needed for {limit * 100:g} %"
            else:
                told += f"; {limit * 100:g} % holds with up to {proof.n_errors_allowed} {wrong}"
            yield told
        limits = (max_slip_rate, max_overkill_rate)
        tries = sorted({*PLANNED_TRIES, n_tries} - {1})
        yield from _share_lines(n_nok, n_ok, limits, tries, confidence)


def _share_lines(
    n_nok: int, n_ok: int, limits: tuple[float, float], tries: list[int], confidence: float
) -> Iterator[str]:
    """Say how to share parts between choosing one of many and confirming it."""
    fit = (_FIT * limits[0], _FIT * limits[1])
    unfit = _UNFIT * limits[0]
    yield (
        f"  one fit method (slip {100 * fit[0]:.3g} %, overkill {100 * fit[1]:.3g} %) among others "
        f"(slip {100 * unfit:.3g} %) is found and proven"
    )
    for n_tries in tries:
        found = best_share(
            n_nok,
            n_ok,
            limits=limits,
            fit=fit,
            unfit_slip_rate=unfit,
            n_tries=n_tries,
            confidence=confidence,
        )
        told = (
            f"    of {n_tries} tried: in {100 * found.power_together:.0f} % of cases with all "
            "parts used for all"
        )
        if found.share:
            ok = f" and {found.n_ok:,} good" if n_ok else ""
            told += (
                f", in {100 * found.power:.0f} % with confirm_fraction: {found.share:g} "
                f"({found.n_nok:,} defective{ok} parts) locked away until one is chosen"
            )
        elif found.power:
            told += "; to lock some away is no better"
        else:
            told += ", and no better with some locked away: they are too few"
        yield told


def parts_at_hand(settings: Settings) -> dict[str, tuple[int, int]]:
    """Count scored parts of each data set; views of one part (a group) count once.

    Args:
        settings: Settings of a run.

    Returns:
        Numbers of defective and good parts by the data set's id. A data set that was not prepared
        yet is left out, save a generated one, whose numbers stand in its settings.
    """
    found = {}
    for name, block in settings.datasets.items():
        manifest = Path(settings.results_dir) / "manifests" / f"{name}.parquet"
        if block.generated:
            found[name] = (block.n_nok, block.n_ok)
        elif manifest.is_file():
            from realitycheck.core.parquet import read_frame

            table = read_frame(manifest, ["image_id", "label", "group"])
            part = table["group"].fillna(table["image_id"])
            counts = part.groupby(table["label"]).nunique()
            found[name] = (int(counts.get("NOK", 0)), int(counts.get("OK", 0)))
    return found
