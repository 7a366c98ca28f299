"""The benchmark of the adapted method, at miniature size: its whole chain of jobs."""

import os
import re
import subprocess
import sys


def test_it_prints_the_adapted_method_beside_the_pixel_difference(repository, tmp_path):
    """Full-size, it tells whether adaptation beats every zero-shot method."""
    done = subprocess.run(
        [
            *(sys.executable, str(repository / "benchmarks" / "adaptation.py")),
            *(str(tmp_path / "work"), "--n-ok", "2", "--n-nok", "6", "--n-train", "3"),
            *("--image-size-px", "96", "--cores", "1", "--methods", "pixel_difference"),
        ],
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"^ *Few good parts +6 +\d\.\d+", done.stdout, flags=re.MULTILINE)
    assert re.search(r"^  pixel_difference: n 6, difference [+-]\d", done.stdout, re.MULTILINE)
