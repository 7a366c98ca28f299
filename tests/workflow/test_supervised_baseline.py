"""The benchmark of the supervised baseline, at miniature size."""

import os
import re
import subprocess
import sys


def test_it_prints_the_baseline_beside_the_floors(repository, tmp_path):
    """Full-size, it is the figure that the README of a release quotes."""
    done = subprocess.run(
        [
            *(sys.executable, str(repository / "benchmarks" / "supervised_baseline.py")),
            *(str(tmp_path / "work"), "--n-ok", "12", "--n-nok", "4", "--image-size-px", "96"),
            *("--cores", "1", "--method", '{"input_size_px": 96, "n_folds": 2}'),
        ],
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for method in ("resnet_mlp", "pixel_difference", "reject_everything"):
        assert re.search(rf"^ *{method} +4 +12 +\d\.\d+", done.stdout, flags=re.MULTILINE), method
