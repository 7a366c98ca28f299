"""Difference to the reference, and thresholds that only good images set."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from realitycheck.methods import thresholds
from realitycheck.methods.pixel_difference import algorithm as pd
from realitycheck.methods.thresholds import peak_level, segment


def grey(values):
    """A grey image from values of 0 to 255."""
    return np.repeat(np.asarray(values, np.uint8)[..., None], 3, axis=2)


def test_unsmoothed_difference_is_the_change_of_luminance():
    """Worked out by hand, brighter and darker alike."""
    reference, image = grey([[100, 100, 100]]), grey([[151, 100, 49]])
    found = pd.difference_map(image, reference, smoothing_sigma_px=0)
    np.testing.assert_allclose(found, [[0.2, 0, 0.2]], atol=1e-6)
    red = np.zeros((1, 1, 3), np.uint8)
    red[..., 0] = 255
    assert pd.difference_map(red, red * 0, smoothing_sigma_px=0)[0, 0] == pytest.approx(0.299)


def test_noise_averages_out_but_a_region_stays():
    """The signed difference is smoothed, not its size."""
    rng = np.random.default_rng(0)
    reference = np.full((60, 60), 128)
    noise = rng.normal(0, 10, (60, 60))
    noise[20:40, 20:40] += 40
    found = pd.difference_map(grey(reference + noise), grey(reference), smoothing_sigma_px=3)
    assert found[25:35, 25:35].min() > 0.12
    assert found[:10].max() < 0.03


def test_uncovered_pixels_differ_in_nothing_and_spoil_no_neighbour():
    """Alignment leaves margins that the image does not show."""
    reference = grey(np.full((30, 30), 200))
    image = reference.copy()
    image[:, 20:] = 0
    covered = np.ones((30, 30), bool)
    covered[:, 20:] = False
    found = pd.difference_map(image, reference, smoothing_sigma_px=4, covered=covered)
    assert found.max() < 1e-6
    image[5:10, 5:10] += 50
    found = pd.difference_map(image, reference, smoothing_sigma_px=1, covered=covered)
    assert found[7, 7] > 0.15 and not found[:, 20:].any()


def brute_peak(values, min_area):
    """Try every level from the top."""
    for level in np.unique(values)[::-1]:
        labels, n_labels = ndimage.label(values >= level, structure=np.ones((3, 3)))
        if n_labels and np.bincount(labels.ravel())[1:].max() >= min_area:
            return level
    return 0.0


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_peak_level_equals_trying_every_level(seed, min_area):
    """It halves its way, which is right only because regions grow as the level falls."""
    values = np.random.default_rng(seed).integers(0, 8, (6, 7)).astype(np.float32) / 8
    assert peak_level(values, min_area_px=min_area) == brute_peak(values, min_area)


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 12), st.floats(0, 1))
def test_mask_exists_exactly_below_the_peak_level(seed, min_area, threshold):
    """So thresholds can be set from peaks alone, without keeping maps."""
    values = np.random.default_rng(seed).random((8, 9)).astype(np.float32)
    found = segment(values, threshold, min_area_px=min_area)
    peak = peak_level(values, min_area_px=min_area)
    # The comparison is made in the map's precision.
    assert (found.status == "ok") == (np.float32(peak) > np.float32(threshold))
    assert found.mask.any() == (found.status == "ok")
    assert found.score == pytest.approx(peak)


def test_dust_is_left_out_and_regions_are_counted():
    """Worked out by hand: two regions of 4 and 3 pixels, joined by a corner or not, and dust."""
    values = np.zeros((6, 8), np.float32)
    values[0:2, 0:2] = 0.9
    values[4, 4:7] = 0.8
    values[2, 7] = 1.0
    found = segment(values, 0.5, min_area_px=3)
    assert found.n_regions == 2 and found.mask.sum() == 7 and not found.mask[2, 7]
    assert found.score == pytest.approx(0.9)
    assert segment(values, 0.95, min_area_px=3).status == "empty"
    assert segment(values, 0.95).n_regions == 1


def test_map_smaller_than_a_region_has_peak_zero():
    """No level can show a region then."""
    assert peak_level(np.ones((2, 2)), min_area_px=5) == 0.0


@pytest.mark.parametrize(
    ("rate", "threshold", "n_rejected"),
    [(0.0, 10, 0), (0.1, 9, 1), (0.19, 9, 1), (0.5, 5, 5), (0.3, 7, 3)],
)
def test_threshold_rejects_at_most_the_allowed_share(rate, threshold, n_rejected):
    """Ten good images with peaks 1 to 10."""
    peaks = np.arange(1.0, 11)
    found = thresholds.fit_threshold(iter(peaks), max_overkill_rate=rate)
    assert found == threshold and (peaks > found).sum() == n_rejected


def test_full_overkill_may_reject_everything():
    """The rate 1 allows it, so the threshold lies below every peak."""
    assert thresholds.fit_threshold([2.0, 3.0], max_overkill_rate=1.0) < 2.0


def test_product_that_is_whole_by_a_hair_counts_as_whole():
    """0.07 · 100 is 7.000000000000001 and 0.29 · 100 is 28.999999999999996."""
    peaks = np.arange(100.0)
    for rate, allowed in ((0.07, 7), (0.29, 29)):
        assert (peaks > thresholds.fit_threshold(peaks, max_overkill_rate=rate)).sum() == allowed


def test_no_good_image_sees_a_threshold_that_it_helped_to_set():
    """Change one image's peak: its own threshold must not move, some others must."""
    peaks = {f"i{n}": float(n) for n in range(20)}
    before = thresholds.cross_fit_thresholds(peaks, max_overkill_rate=0.0, n_folds=4, seed=1)
    for name in ("i3", "i19"):
        after = thresholds.cross_fit_thresholds(
            peaks | {name: 100.0}, max_overkill_rate=0.0, n_folds=4, seed=1
        )
        assert after.by_image[name] == before.by_image[name]
        assert after.others == 100.0
        others = [key for key in peaks if after.folds[key] != after.folds[name]]
        assert all(after.by_image[key] == 100.0 for key in others)
    assert before.others == 19.0
    assert before.by_image["i19"] < 19.0


def test_folds_depend_on_ids_and_seed_only():
    """Rows may come in any order, from any number of shards."""
    peaks = {f"i{n}": float(n % 7) for n in range(13)}
    turned = dict(reversed(peaks.items()))
    first = thresholds.cross_fit_thresholds(peaks, max_overkill_rate=0.1, seed=5)
    assert first == thresholds.cross_fit_thresholds(turned, max_overkill_rate=0.1, seed=5)
    assert (
        first.folds != thresholds.cross_fit_thresholds(peaks, max_overkill_rate=0.1, seed=6).folds
    )
    sizes = np.bincount(list(first.folds.values()))
    assert len(sizes) == 5 and sizes.max() - sizes.min() <= 1


def test_pictures_of_one_part_stay_in_one_fold():
    """Two pictures of one part are no independent witnesses."""
    peaks = {f"i{n}": float(n) for n in range(12)}
    groups = {name: f"part{int(name[1:]) // 3}" for name in peaks}
    found = thresholds.cross_fit_thresholds(peaks, max_overkill_rate=0.0, n_folds=9, groups=groups)
    for part in range(4):
        assert len({found.folds[name] for name in peaks if groups[name] == f"part{part}"}) == 1
    assert len(set(found.folds.values())) == 4


def test_peaks_are_computed_one_map_at_a_time():
    """A data set of large images does not fit into memory."""
    maps = (np.full((2, 2), value) for value in (0.25, 0.5))
    assert pd.good_peaks(maps, image_ids=["a", "b"]) == {"a": 0.25, "b": 0.5}


def test_what_cannot_work_is_refused():
    """Each message says what to do."""
    image = grey(np.zeros((4, 4)))
    with pytest.raises(ValueError, match=r"reference's shape \(4, 5, 3\).*align the image first"):
        pd.difference_map(image, grey(np.zeros((4, 5))))
    with pytest.raises(ValueError, match="smoothing_sigma_px: expected 0 or more, found -1"):
        pd.difference_map(image, image, smoothing_sigma_px=-1)
    with pytest.raises(ValueError, match=r"covered: expected shape \(4, 4\)"):
        pd.difference_map(image, image, covered=np.ones((3, 3), bool))
    with pytest.raises(ValueError, match="at least one good image"):
        thresholds.fit_threshold([], max_overkill_rate=0.1)
    with pytest.raises(ValueError, match="expected 0 to 1, found 5"):
        thresholds.fit_threshold([1.0], max_overkill_rate=5)
    with pytest.raises(ValueError, match="at least 2 independent ones.*found 1"):
        thresholds.cross_fit_thresholds({"a": 1.0}, max_overkill_rate=0.1)
