"""The benchmark of the supervised baseline, at miniature size."""

import re

import pytest


@pytest.mark.long
def test_it_prints_the_baseline_beside_the_floors(benchmark_output, tmp_path):
    """Full-size, it is the figure that the README of a release quotes."""
    said = benchmark_output(
        "supervised_baseline",
        tmp_path / "work",
        *("--n-ok", "12", "--n-nok", "4", "--image-size-px", "96"),
        *("--method", '{"input_size_px": 96, "n_folds": 2}'),
    )
    for method in ("resnet_mlp", "pixel_difference", "reject_everything"):
        assert re.search(rf"^ *{method} +4 +12 +\d\.\d+", said, flags=re.MULTILINE), method
