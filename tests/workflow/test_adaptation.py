"""The benchmark of the adapted methods, at miniature size: their whole chain of jobs."""

import os
import re
import subprocess
import sys

import pandas as pd


def test_it_prints_the_adapted_methods_beside_the_pixel_difference(repository, tmp_path):
    """Full-size, it tells whether adaptation beats every zero-shot method."""
    done = subprocess.run(
        [
            *(sys.executable, str(repository / "benchmarks" / "adaptation.py")),
            *(str(tmp_path / "work"), "--n-ok", "2", "--n-nok", "6", "--n-train", "3"),
            *("--image-size-px", "96", "--cores", "1", "--methods", "pixel_difference"),
            *("--n-folds", "2", "--n-steps", "10"),
        ],
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"^ *Few good parts +6 +\d\.\d+", done.stdout, flags=re.MULTILINE)
    assert re.search(r"^ *SAM, adapted +6 +\d\.\d+", done.stdout, flags=re.MULTILINE)
    found = re.findall(r"^  pixel_difference: n 6, difference [+-]\d", done.stdout, re.MULTILINE)
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
