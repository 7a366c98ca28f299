"""Throw seeded, damaged input at the package: nothing but a named status or fault may come out.

    python benchmarks/fuzz.py replies --n 500 --seed 0 --folder /tmp/fuzz

Each kind of input is a module `_fuzz_KIND.py` beside this one, with `run(n, seed, folder)`, which
prints what failed and gives the number of failures. The exit status is 1 if there are any.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

KINDS = sorted(path.stem.removeprefix("_fuzz_") for path in Path(__file__).parent.glob("_fuzz_*"))


def main() -> int:
    """Run one kind; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="kind", required=True)
    for kind in KINDS:
        command = commands.add_parser(kind)
        command.add_argument("--n", type=int, default=500, help="damaged inputs; default: 500")
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--folder", type=Path, help="for files; default: a temporary one")
    asked = parser.parse_args()
    module = importlib.import_module(f"_fuzz_{asked.kind}")
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        n_failures = module.run(asked.n, asked.seed, folder)
    print(f"{asked.kind}: {asked.n} inputs, seed {asked.seed}: {n_failures} failures")
    return 1 if n_failures else 0


if __name__ == "__main__":
    sys.exit(main())
