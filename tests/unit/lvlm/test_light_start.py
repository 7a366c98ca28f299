"""What is imported before anything is asked."""

import ast
import subprocess
import sys

import pytest

HEAVY = ("torch", "sklearn", "scipy", "matplotlib", "openai", "google.genai")
PLANNING = """
from realitycheck.planning import checking, lvlm_cost
from realitycheck.settings.load import load_settings
settings = load_settings({
    "datasets": {"chips": {"format": "synthetic_sat"}},
    "prompts": {"chips": {"basic": {"lvlm": "Is it defective?"}}},
    "methods": {
        "one": {"kind": "lvlm"},
        "two": {"kind": "lvlm", "backend": "vertex", "project": "p", "location": "l"},
        "three": {"kind": "lvlm", "backend": "openai_compatible", "base_url": "http://h:1/v1"},
    },
})
checking.further_faults(settings, __import__("pathlib").Path("."))
list(lvlm_cost.estimates(settings))
"""


def imported_by(code, repository):
    """Which heavy packages a fresh process imports."""
    told = f"{code}\nimport sys\nprint(*[n for n in {HEAVY} if n in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", told], cwd=repository, capture_output=True, text=True, check=True
    )
    return found.stdout.split()


@pytest.mark.parametrize("what", ["planning", "job"])
def test_nothing_heavy_is_imported(what, repository):
    """Planning and a job's start are waited for; a client's library loads when it sends."""
    code = PLANNING
    if what == "job":
        tree = ast.parse((repository / "scripts/ask_lvlm.py").read_text(encoding="utf-8"))
        code = "\n".join(
            ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)
        )
    assert imported_by(code, repository) == []
