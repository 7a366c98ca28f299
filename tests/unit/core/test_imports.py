"""The published packages come without what is not used, and nothing is broken for later."""

import subprocess
import sys

import pytest

DETECTOR = """
from realitycheck.core.imports import lean_imports
with lean_imports():
    from groundingdino.models import build_model
"""


def run(code: str) -> str:
    """Run code in an interpreter where nothing is imported yet, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_was_left_out_can_be_imported_afterwards_and_what_is_there_stays():
    shown = run(
        "import sys, scipy\n"
        + DETECTOR
        + "\nimport timm; timm.create_model('resnet18')"
        + "\nimport torch._dynamo, sklearn, groundingdino.util.visualizer as visualizer\n"
        "import torchvision.datasets, transformers\n"
        "print(torch._dynamo.explain(lambda x: x + 1)(torch.ones(2)).graph_count,"
        " visualizer.COCOVisualizer.__name__, sys.modules['scipy'] is scipy,"
        " torchvision.datasets.ImageFolder.__name__, transformers.GPT2Config.__name__)"
    )
    assert shown.split() == ["1", "COCOVisualizer", "True", "ImageFolder", "GPT2Config"]


#: Packages that a job may import besides torch and its tables, by what it loads.
HEAVY = {
    "sam": {"segment_anything", "torchvision"},
    "grounding_dino": {"groundingdino", "requests", "timm", "torchvision", "transformers"},
    "clip": {"open_clip", "torchvision"},
    "saliency": {"requests", "timm", "torchvision"},
    "resnet": {"requests", "timm", "torchvision"},
    "": set(),
}
#: All that some job of this project imports and others need not, and what none needs.
LOOKED_FOR = {
    *("groundingdino", "matplotlib", "open_clip", "requests", "scipy", "segment_anything"),
    *("sklearn", "skimage", "sympy", "timm", "torchvision", "transformers", "statsmodels"),
    *("timm.models.vision_transformer", "torchvision.models.resnet"),
    *("torch._dynamo", "torch._inductor", "torch.distributed.tensor", "torch.onnx"),
    "transformers.processing_utils",
}


@pytest.mark.long
@pytest.mark.parametrize("network", HEAVY)
def test_job_of_a_network_imports_what_that_network_needs(network):
    """A job of a small network is the start of Python for the most part; without one, no torch."""
    load = (
        "from realitycheck.models.checkpoints.known import SHIPPED_FOLDER\n"
        f"own = network({network!r})\n"
        "files = {key: SHIPPED_FOLDER / name for key, name in own.shipped.items()}\n"
        "settings = {'variant': 'everyday', 'precision': 'float32'}\n"
        "own.load(files, settings, device='cpu')\n"
    )
    if network == "clip":
        load += "from realitycheck.models.clip.model import surgery_templates as t; t()\n"
    imported = run(
        "import sys\nimport realitycheck.stages.encode\n"
        "from realitycheck.encoders.registry import ENCODERS\n"
        "from realitycheck.models.registry import network\n"
        "[ENCODERS.open(name) for name in ENCODERS]\n"
        + (load if network else "import realitycheck.stages.weights\n")
        + "print(*sys.modules, sep='\\n')"
    ).split()
    imported = {*imported, *(name.partition(".")[0] for name in imported)}
    assert imported & LOOKED_FOR <= HEAVY[network]
    assert ("torch" in imported) == bool(network)
    assert ("transformers" in imported) == (network == "grounding_dino")


def test_planning_imports_neither_tables_nor_images():
    """Every start of Snakemake plans, those on a cluster's nodes included."""
    imported = run(
        "import sys\nimport realitycheck.planning.checking, realitycheck.planning.encodings\n"
        "print(*sys.modules, sep='\\n')"
    ).split()
    assert not {"pandas", "pyarrow", "tifffile", "imagecodecs", "torch", "cv2"} & set(imported)
    assert "realitycheck.core.images" not in imported
