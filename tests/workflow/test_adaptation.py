"""The benchmark of the adapted methods, at miniature size: their whole chain of jobs."""

import re

import pandas as pd
import pytest


@pytest.mark.long
def test_it_prints_the_adapted_methods_beside_the_pixel_difference(benchmark_output, tmp_path):
    """Full-size, it tells whether adaptation beats every zero-shot method."""
    said = benchmark_output(
        "adaptation",
        tmp_path / "work",
        *("--n-ok", "2", "--n-nok", "6", "--n-train", "3", "--image-size-px", "96"),
        *("--methods", "pixel_difference", "--n-folds", "2", "--n-steps", "10"),
    )
    for name in ("PatchCore-style few-shot", "SAM, fine-tuned decoder"):
        assert re.search(rf"^ *{name} +6 +\d\.\d+", said, flags=re.MULTILINE), name
    found = re.findall(r"^  pixel_difference: n 6, difference [+-]\d", said, re.MULTILINE)
    assert len(found) == 2
    run = tmp_path / "work"
    folder = run / "results" / "predictions" / "sat" / "adapted_sam" / "none"
    folds = pd.read_parquet(folder / "thresholds.parquet").set_index("image_id")["fold"]
    assert set(folds) == {0, 1}
    masks = pd.read_parquet(folder / "masks.parquet")
    assert set(masks["image_id"]) == set(folds.index)
    table = pd.read_parquet(run / "results" / "tables" / "segmentation.parquet")
    notes = table.set_index("method")["note"]
    assert "trained on labelled images of the other folds" in notes["adapted_sam"]
