"""How many parts to collect before anything is run, in words: `realitycheck plan`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from realitycheck.metrics.sample_size import parts_needed, what_parts_prove
from realitycheck.settings.run import Settings


def plan_lines(
    *,
    max_slip_rate: float,
    max_overkill_rate: float,
    n_errors: int,
    confidence: float,
    at_hand: Mapping[str, tuple[int, int]],
) -> Iterator[str]:
    """Say how many defective and good parts prove the limits, and what the parts at hand prove.

    Args:
        max_slip_rate: Limit of the share of defective parts that pass, inside (0, 1).
        max_overkill_rate: Limit of the share of good parts that are rejected, inside (0, 1).
        n_errors: Errors up to which the numbers are given.
        confidence: One-sided, inside (0, 1).
        at_hand: Numbers of defective and good parts by name.

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
    for name, (n_nok, n_ok) in at_hand.items():
        yield f"{name}:"
        for (rate, kind, wrong, limit), n_parts in zip(kinds, (n_nok, n_ok), strict=True):
            article = "an" if rate[0] in "aeiou" else "a"
            proof = what_parts_prove(n_parts, limit, confidence=confidence)
            told = f"  {n_parts:,} {kind} parts: with none {wrong} they prove {article} {rate} "
            told += f"rate of at most {proof.provable_rate * 100:.3g} %"
            if proof.n_more:
                told += f"; {proof.n_more:,} more are needed for {limit * 100:g} %"
            else:
                told += f"; {limit * 100:g} % holds with up to {proof.n_errors_allowed} {wrong}"
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
