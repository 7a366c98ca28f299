"""The tipping number equals brute force over all relabellings of small tables."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realitycheck.metrics.labels import label_doubt, threshold_distance, tipping_labels
from realitycheck.metrics.readiness import Evidence, Requirements, decision_of

#: Limits and a confidence at which eight parts can prove something.
SMALL = Requirements(0.4, 0.4)
LIMITS = Requirements(0.02, 0.05)


def small(evidence):
    return decision_of(evidence, SMALL, confidence=0.6)


def evidence_of(is_nok, is_rejected):
    """Count part by part."""
    pairs = list(zip(is_nok, is_rejected, strict=True))
    return Evidence(
        n_nok=sum(is_nok),
        n_ok=len(pairs) - sum(is_nok),
        missed=sum(nok and v is False for nok, v in pairs),
        rejected=sum(not nok and v is True for nok, v in pairs),
        unanswered_nok=sum(nok and v is None for nok, v in pairs),
        unanswered_ok=sum(not nok and v is None for nok, v in pairs),
    )


def by_brute_force(is_nok, is_rejected, doubt):
    """Fewest changed labels, and the most doubt that a set of so many has."""
    now = small(evidence_of(is_nok, is_rejected))
    for n in range(1, len(is_nok) + 1):
        sums = [
            sum(doubt[part] for part in chosen)
            for chosen in combinations(range(len(is_nok)), n)
            if small(
                evidence_of([own != (i in chosen) for i, own in enumerate(is_nok)], is_rejected)
            )
            != now
        ]
        if sums:
            return n, max(sums)
    return None


parts = st.tuples(st.booleans(), st.sampled_from([True, False, None]), st.integers(0, 5))


@given(st.lists(parts, min_size=1, max_size=8))
@settings(max_examples=80, deadline=None)
def test_tipping_number_is_that_of_brute_force(table):
    """And the named parts do change the decision, with as much doubt as any set of so many."""
    is_nok, is_rejected, doubt = map(list, zip(*table, strict=True))
    found = tipping_labels(is_nok, is_rejected, small, doubt=doubt)
    expected = by_brute_force(is_nok, is_rejected, doubt)
    if expected is None:
        assert found is None
        return
    assert (found.n_labels, sum(doubt[part] for part in found.parts)) == expected
    relabelled = [own != (i in found.parts) for i, own in enumerate(is_nok)]
    assert len(found.parts) == found.n_labels
    assert small(evidence_of(relabelled, is_rejected)) == found.decision
    assert found.decision != small(evidence_of(is_nok, is_rejected))


def test_one_label_overturns_149_of_149():
    """A rejected good part that is defective in truth helps; a passed one makes a miss."""
    is_nok = [True] * 149 + [False] * 300
    is_rejected = [True] * 149 + [False] * 300
    doubt = np.zeros(449)
    doubt[[5, 200]] = 1.0, 3.0
    found = tipping_labels(is_nok, is_rejected, lambda e: decision_of(e, LIMITS), doubt=doubt)
    # Either a passed good part is defective, or one of the 149 is good.
    assert found == (1, "cannot_tell", (200,))
    is_nok, is_rejected = [True] * 400 + [False] * 300, [True] * 400 + [False] * 300
    found = tipping_labels(is_nok, is_rejected, lambda e: decision_of(e, LIMITS))
    assert found.n_labels == 4  # with 404 parts three misses leave 2 % proven: 1.91 %


def test_number_is_not_looked_for_without_end():
    """Hundreds of wrong labels need no search."""
    is_nok = [True] * 300 + [False] * 300
    decide = lambda e: decision_of(e, LIMITS)  # noqa: E731
    assert tipping_labels(is_nok, [False] * 600, decide, max_labels=4) is None
    assert tipping_labels([], [], decide) is None


def test_doubt_counts_methods_then_nearness():
    """Two methods against a label outweigh any score."""
    found = label_doubt(
        [True, True, False],
        [[False, True, None], [False, None, True]],
        distance=[9.0, 0.0, float("nan")],
    )
    assert found == pytest.approx([2.05, 0.5, 1.0])


def test_threshold_lies_between_the_verdicts_in_each_stratum():
    """Half-way where they are apart, nowhere where folds have thresholds of their own."""
    nan = float("nan")
    verdicts = [True, True, False, False, None, True]
    found = threshold_distance(verdicts, [0.9, 0.6, 0.4, 0.1, 0.5, nan], ["a"] * 6)
    assert found == pytest.approx([0.5, 0.125, 0.125, 0.5, nan, nan], nan_ok=True)
    found = threshold_distance([True, True, False, False], [9, 3, 5, 1], ["a"] * 4)
    assert found == pytest.approx([0.5, 0, 0, 0.25])
    found = threshold_distance([True, True, False, False], [2, 4, 30, 10], list("aabb"))
    assert found == pytest.approx([0, 1, 0, 1])
    assert threshold_distance([False], [3], ["a"]) == pytest.approx([0])
