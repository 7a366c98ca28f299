"""One mask an image, as a table and as PNG."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from realitycheck.core.masks import decode_mask, masks_of
from realitycheck.core.schemas import MASKS
from realitycheck.core.tables import check_rows, read_facts, read_table, write_table
from realitycheck.methods.base import Inputs, Run, Segmentation
from realitycheck.methods.whole_image.segmenter import WholeImage
from realitycheck.stages.segment import fit_method, segment_shard

TRANSFORMS = pd.DataFrame(
    {
        "dataset": "chips",
        "image_id": ["p/OK/1", "p/NOK/void/1"],
        "height_px": [4, 6],
        "width_px": [5, 3],
    }
)


def corner(row):
    """A method that marks the corner of the second image and finds nothing on the first."""
    mask = np.zeros((row.height_px, row.width_px), bool)
    if "NOK" not in row.image_id:
        return Segmentation(mask, None, 0, "no_box")
    mask[0, 0] = True
    return Segmentation(mask, 0.75, 1, "ok")


def test_every_image_has_a_row_whatever_was_found(tmp_path):
    """An image where nothing was found counts too: as a slip, or as a part rightly passed."""
    rows = segment_shard(TRANSFORMS, corner, method="mine", prompt="plain")
    write_table(list(rows), tmp_path / "m.parquet", schema=MASKS, facts={})
    table = read_table(tmp_path / "m.parquet", schema=MASKS)
    check_rows(table, TRANSFORMS["image_id"], where="test")
    found = table.set_index("image_id")
    assert found.loc["p/OK/1", "status"] == "no_box"
    assert np.isnan(found.loc["p/OK/1", "score"])
    assert found.loc["p/NOK/void/1", "score"] == 0.75
    assert set(found["method"]) == {"mine"}
    assert set(found["prompt"]) == {"plain"}
    assert (found["latency_s"] >= 0).all()
    masks = dict(masks_of(table))
    assert masks["p/OK/1"].shape == (4, 5)
    assert masks["p/NOK/void/1"].shape == (6, 3)
    assert [m.sum() for m in masks.values()] == [1, 0]


def test_shard_without_images_gives_no_rows(tmp_path):
    """More shards than images is a waste, not an error."""
    rows = segment_shard(TRANSFORMS.iloc[:0], corner, method="mine", prompt="plain")
    write_table(list(rows), tmp_path / "m.parquet", schema=MASKS, facts={})
    assert read_table(tmp_path / "m.parquet", schema=MASKS).empty


def test_failing_method_stops_the_shard():
    """A step that cannot do its work fails; it makes up no empty mask."""

    def fail(row):
        raise RuntimeError(f"{row.image_id}: out of memory")

    with pytest.raises(RuntimeError, match="p/OK/1: out of memory"):
        list(segment_shard(TRANSFORMS, fail, method="mine", prompt="plain"))


def test_whole_image_is_marked_in_its_own_size():
    """The floor knows the size and nothing else."""
    rows = list(segment_shard(TRANSFORMS, WholeImage().segment, method="w", prompt="none"))
    for row, height, width in zip(rows, (4, 6), (5, 3), strict=True):
        mask = decode_mask(row["mask_rle"], height_px=height, width_px=width)
        assert mask.all()
        assert (row["status"], row["n_regions"], row["score"]) == ("ok", 1, None)


def test_artifacts_record_what_auto_means(monkeypatch, tmp_path):
    """Else a reader could not tell which weight made them."""
    rows = [{"dataset": "chips", "image_id": "a", "threshold": 0.5, "fold": None}]
    part = SimpleNamespace(fit=lambda *_: rows)
    monkeypatch.setattr("realitycheck.stages.segment.open_part", lambda *_: part)
    path = tmp_path / "thresholds.parquet"
    settings = {"kind": "few_shot", "position_weight": 0.0}
    run = Run("chips", "few_shot", "none", settings)
    outputs = {"thresholds": str(path)}
    fit_method(Inputs({}), run, outputs, kind="few_shot", device="cpu", code="now")
    assert read_facts(path)["position_weight"] == 0.0
