"""The published packages come without what is not used, and nothing is broken for later."""

import subprocess
import sys

import pytest

IMPORTS = {
    "clip": "from realitycheck.models.clip.model import surgery_templates; surgery_templates()",
    "sam": "from realitycheck.models.sam import load, model; "
    "load.build_parts(model.SAM_VARIANTS['everyday'])",
    "saliency": "from realitycheck.models.saliency import build_saliency; "
    "build_saliency('everyday', features_only=True)",
    "grounding_dino": "from realitycheck.core.imports import lean_imports\n"
    "with lean_imports():\n    from groundingdino.models import build_model",
}


def run(code: str) -> str:
    """Run code in an interpreter where nothing is imported yet, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("network", IMPORTS)
def test_packages_come_without_what_is_not_used(network):
    code = IMPORTS[network]
    imported = run(f"import sys\n{code}\nprint(*sys.modules, sep='\\n')").split()
    assert {"torch", "torchvision"} <= set(imported)
    assert not {"torch._dynamo", "sklearn", "scipy"} & set(imported)
    assert ("transformers" in imported) == (network == "grounding_dino")
    assert ("timm" in imported) == (network in ("grounding_dino", "saliency"))


def test_what_was_left_out_can_be_imported_afterwards():
    shown = run(
        IMPORTS["grounding_dino"]
        + "\nimport torch._dynamo, sklearn, groundingdino.util.visualizer as visualizer\n"
        "print(torch._dynamo.explain(lambda x: x + 1)(torch.ones(2)).graph_count,"
        " visualizer.COCOVisualizer.__name__)"
    )
    assert shown.split() == ["1", "COCOVisualizer"]


def test_what_is_there_stays():
    shown = run(
        "import sklearn\n" + IMPORTS["grounding_dino"] + "\nimport sys\n"
        "print(sys.modules['sklearn'] is sklearn)"
    )
    assert shown.split() == ["True"]
