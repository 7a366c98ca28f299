"""Memory banks of categories, their thresholds, and the masks from them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from realitycheck.core.schemas import SCORE_GRIDS, THRESHOLDS
from realitycheck.core.store import EncodingStore
from realitycheck.core.tables import write_table
from realitycheck.encoders.base import Encodings
from realitycheck.methods.base import Inputs, Run
from realitycheck.methods.few_shot import segmenter as few_shot
from realitycheck.methods.few_shot.segmenter import (
    FewShot,
    bank_grids,
    read_banks,
    remember,
    stored_patches,
    threshold_rows,
    write_banks,
)

SETTINGS = {
    **{"n_good": 3, "position_weight": 0.0, "max_patches": 10_000, "seed": 0},
    **{"smoothing_sigma_px": 0.0, "min_area_px": 1, "max_overkill_rate": 0.0},
}


def train_tables(n, *, groups=None, category="a"):
    ids = [f"{category}/{number}" for number in range(n)]
    groups = groups or [None] * n
    train = pd.DataFrame({"image_id": ids, "category": category, "label": "OK", "group": groups})
    train["height_px"], train["width_px"] = 1, 1
    transforms = pd.DataFrame({"image_id": ids, "height_px": 16, "width_px": 16})
    return train, transforms


def features_of(row):
    number = int(row.image_id.rsplit("/", 1)[1])
    return np.random.default_rng(number).normal(size=(3, 8, 8)).astype(np.float32)


def test_threshold_is_the_largest_peak_of_images_left_out():
    """An image that its own bank held would have no distance at all."""
    train, transforms = train_tables(5)
    ((category, bank, peaks),) = remember(
        train, transforms, features_of, settings=SETTINGS, dataset="chips"
    )
    assert (category, len(peaks), len(bank.features)) == ("a", 5, 3 * 64)
    assert min(peaks) > 0.1
    manifest = pd.DataFrame({"dataset": "chips", "image_id": ["x", "y"], "category": "a"})
    rows = list(threshold_rows(manifest, {"a": peaks}, max_overkill_rate=0.0))
    assert [row["threshold"] for row in rows] == [max(peaks)] * 2


def test_views_of_one_part_are_left_out_together():
    """Else a part would be compared with itself."""
    train, transforms = train_tables(4, groups=["p", "p", "q", "q"])

    def twins(row):
        return features_of(SimpleNamespace(image_id=f"a/{int(row.image_id[-1]) // 2}"))

    ((_, _, peaks),) = remember(
        train, transforms, twins, settings=SETTINGS | {"n_good": 4}, dataset="chips"
    )
    assert min(peaks) > 0.1


def test_too_few_good_training_images_are_told_with_a_remedy():
    """Nothing can be left out of a single part."""
    train, transforms = train_tables(2, groups=["p", "p"])
    with pytest.raises(ValueError, match="chips, category a: .* at least 2 .* found 1; keep some"):
        list(remember(train, transforms, features_of, settings=SETTINGS, dataset="chips"))
    manifest = pd.DataFrame({"dataset": "chips", "image_id": ["x"], "category": "b"})
    with pytest.raises(ValueError, match="category b: .* found some of a"):
        list(threshold_rows(manifest, {"a": [0.5]}, max_overkill_rate=0.0))


def test_stored_bank_marks_what_looks_strange(tmp_path):
    """From the files that the jobs leave to a mask."""
    train, transforms = train_tables(3)
    found = remember(train, transforms, features_of, settings=SETTINGS, dataset="chips")
    ((category, bank, peaks),) = found
    write_banks({category: bank}, tmp_path / "bank.safetensors")
    store = EncodingStore(tmp_path / "features", facts={"encoder": "x"})
    strange = features_of(SimpleNamespace(image_id="a/0"))
    strange[:, 2:5, 4:7] += 30
    store.put("k", {"stage_1": strange[:2], "stage_2": strange[2:]}, seconds=0.1)
    grid_of = bank_grids(
        {"x": "a"},
        read_banks(tmp_path / "bank.safetensors"),
        stored_patches(Encodings(store, {"x": "k"})),
        settings=SETTINGS,
    )
    row = SimpleNamespace(dataset="chips", image_id="x", height_px=16, width_px=16)
    segmenter = FewShot(grid_of, {"x": max(peaks)}, SETTINGS)
    segmented = segmenter.segment(row)
    assert segmented.status == "ok" and segmented.mask.shape == (16, 16)
    assert segmented.mask[7, 11]
    assert not segmented.mask[14, 1]
    assert segmented.score > max(peaks)
    # What is stored of it gives the same map, without bank and features.
    grid = segmenter.score_grid(row)
    facts = {"dataset": "chips", "image_id": "x", "method": "few", "prompt": "none"}
    rows = [{**facts, "n_rows": len(grid), "values": grid.ravel()}]
    write_table(rows, tmp_path / "grids.parquet", schema=SCORE_GRIDS, facts={})
    limits = [{"dataset": "chips", "image_id": "x", "threshold": max(peaks), "fold": None}]
    write_table(limits, tmp_path / "thresholds.parquet", schema=THRESHOLDS, facts={})
    files = {
        "score_grids": tmp_path / "grids.parquet",
        "thresholds": tmp_path / "thresholds.parquet",
    }
    later = few_shot.open(Inputs(files), Run("chips", "few", "none", SETTINGS), "cpu")
    np.testing.assert_array_equal(later.score_map(row), segmenter.score_map(row))
    np.testing.assert_array_equal(later.segment(row).mask, segmented.mask)


def test_scores_of_patches_are_computed_once_for_mask_and_store():
    """The search for neighbours is what takes the time."""
    asked = []

    def grid_of(row):
        asked.append(row.image_id)
        return np.zeros((8, 8), np.float32)

    segmenter = FewShot(grid_of, {"x": 0.5, "y": 0.5}, SETTINGS)
    for name in "xy":
        row = SimpleNamespace(image_id=name, height_px=16, width_px=16)
        segmenter.segment(row)
        segmenter.score_grid(row)
    assert asked == ["x", "y"]
