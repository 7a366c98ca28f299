"""An edit of whatever a result was made from shows in what its job depends on."""

import ast
import dataclasses
import importlib
import shutil

import pytest

from realitycheck.core import provenance
from realitycheck.core.provenance import source_digest, sources
from realitycheck.datasets.registry import FORMATS
from realitycheck.encoders.registry import ENCODERS
from realitycheck.methods.registry import METHODS, block_of, code_of_part
from realitycheck.models.registry import NETWORKS
from realitycheck.planning.plan import Plan
from realitycheck.settings.load import load_settings

KINDS = ("grounded_sam", "sam_clip", "clip_surgery_sam", "saa_plus")
#: Data files of the package that say something to people only.
FOR_PEOPLE = ("README.md", "_curve.csv", "_curve_2.csv")
#: Every other data file of the package, and a script or module that reads it.
DATA_FILES = {
    "lvlm/prices.yaml": "ask_lvlm",
    "report/page/page.css": "render_report",
    "report/page/page.html": "render_report",
    "report/page/page.js": "render_report",
    "report/tables/published.yaml": "realitycheck.report.tables.segmentation",
    "report/tables/self_test.yaml": "realitycheck.report.tables.self_test",
}
#: Words that are asked or compared, and sizes of networks: what stands there, what takes its
#: place, and scripts or parts of methods that use it.
CONSTANTS = {
    "methods/clip_zero_shot/algorithm.py": (
        *("photo of a {}.", "image of a {}."),
        [("clip_zero_shot", "classifier")],
    ),
    "methods/saa_plus/prompts.py": (
        *("irregular", "odd"),
        [("saa_plus", "prompts"), ("saa_plus", "segmenter")],
    ),
    "methods/tuned_clip/algorithm.py": (
        *('= "a photo', '= "an image'),
        [("tuned_clip", "classifier")],
    ),
    "models/clip/sizes.py": (
        "SCENE_TEMPLATES = (",
        "SCENE_TEMPLATES = ('{}',",
        ["realitycheck.encoders.clip"],
    ),
    "lvlm/verdict.py": ('"reasoning"', '"reasons"', ["ask_lvlm"]),
    "models/sam/inference.py": (
        *("MASK_THRESHOLD = 0.0", "MASK_THRESHOLD = 0.1"),
        [("grounded_sam", "segmenter")],
    ),
    "models/saliency.py": (
        "VARIANTS: dict",
        "OTHERS = 1\nVARIANTS: dict",
        ["realitycheck.models.residual"],
    ),
}


def code_of(user):
    """Digest of a script's code, of a module that a family's script runs, or of a method's part."""
    if not isinstance(user, str):
        return source_digest(*code_of_part(*user))
    return source_digest(user if "." in user else f"scripts/{user}.py")


def plan_of(*methods, prompts=None):
    """Plan of a run on drawn chips."""
    prompts = prompts or {"plain": {"segmentation": ["void"], "saa_plus": "auto"}}
    return Plan(
        load_settings(
            {
                "datasets": {"chips": {"format": "synthetic_sat"}},
                "prompts": {"chips": prompts},
                "methods": {name: {} for name in methods},
                "models": {
                    name: {"variant": "everyday"}
                    for name in ("sam", "grounding_dino", "clip", "saliency")
                },
            }
        )
    )


def presets():
    """Each switch of each variant of each method."""
    for kind in KINDS:
        module = importlib.import_module(f"realitycheck.methods.{kind}.algorithm")
        for variant, preset in module.VARIANTS.items():
            for field in dataclasses.fields(preset):
                yield kind, variant, field.name


@pytest.mark.parametrize(("kind", "variant", "switch"), list(presets()))
def test_edited_preset_is_another_setting(kind, variant, switch, monkeypatch):
    """Its name alone would stay the same, and so would every result made under it."""
    module = importlib.import_module(f"realitycheck.methods.{kind}.algorithm")
    other = next(v for v in module.VARIANTS if v != variant)
    plan = plan_of(kind)
    block = plan.settings.methods[kind].model_copy(update={"variant": variant})
    untouched = block.model_copy(update={"variant": other})
    parts = [name for name in ("crops", "patches", "maps") if hasattr(block, f"{name}_settings")]

    def told(block):
        return [block.plain(), *(getattr(block, f"{part}_settings")() for part in parts)]

    before, before_untouched = told(block), told(untouched)
    value = getattr(module.VARIANTS[variant], switch)
    edited = {bool: not value, str: "tokens" if value == "channels" else "channels", int: 448}
    preset = dataclasses.replace(module.VARIANTS[variant], **{switch: edited[type(value)]})
    monkeypatch.setitem(module.VARIANTS, variant, preset)
    assert all(now != then for now, then in zip(told(block), before, strict=True))
    assert told(untouched) == before_untouched
    assert before[0]["switches"][switch] == value


def test_variant_is_what_its_switches_say():
    """Two blocks that mean the same share their encodings, whatever words they say it in."""
    plan = plan_of("sam_clip")
    block = plan.settings.methods["sam_clip"]
    spelt = block.model_copy(
        update={"switches": {"swap_canvas": False, "inclusive_bbox": False}, "title": "Mine"}
    )
    repaired = block.model_copy(update={"variant": "repaired"})
    assert spelt.plain() == repaired.plain() != block.plain()


def test_no_job_imports_a_module_under_a_computed_name(repository):
    """The digest of a job's code follows written names, so such a module would be missing in it."""
    followed = {
        module
        for script in (repository / "scripts").glob("*.py")
        for module in sources(f"scripts/{script.name}")
    }
    for name in ENCODERS:
        followed |= set(sources(ENCODERS.module_of(name)))
    for name in NETWORKS:
        followed |= set(sources(NETWORKS.module_of(name)))
    assert len(followed) > 100
    for module in followed:
        if module.endswith(".registry"):
            continue  # rules name the modules that it opens among the sources of their code
        path = provenance._source_file(module)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if module == "realitycheck.core.registry":  # rules name what it opens beside the script
                continue
            if module == "realitycheck.core.imports":  # imports packages of others by their names
                assert not str(getattr(node, "value", "")).startswith("realitycheck")
            elif isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert "import_module" not in name and "__import__" not in name, path


MASKS, VERDICTS = ("segmenter", "views"), ("classifier",)
PARTS = [
    (kind, part)
    for kind in METHODS
    if not (block := block_of(kind)).asks_service
    for part in (
        *(MASKS if block.gives_either or block.gives_masks else ()),
        *(VERDICTS if block.gives_either or not block.gives_masks else ()),
    )
]


@pytest.mark.parametrize(("kind", "part"), PARTS)
def test_job_of_a_method_depends_on_no_other_method(kind, part):
    """An edited method makes its own masks anew, not those of all."""
    found = sources(*code_of_part(kind, part), "scripts/segment.py", "scripts/classify.py")
    # The same, with the first words of its texts learned.
    base = {"clip_zero_shot"} if kind == "tuned_clip" else set()
    others = set(METHODS) - {kind} - base
    assert {name.split(".")[2] for name in found if ".methods." in name} & others == set()
    assert f"realitycheck.methods.{kind}.{part}" in found


@pytest.fixture(scope="module")
def copied(tmp_path_factory, repository):
    """A copy of package and scripts whose files can be edited."""
    folder = tmp_path_factory.mktemp("copied")
    for name in ("realitycheck", "scripts"):
        skip = shutil.ignore_patterns("__pycache__", "*.safetensors")
        shutil.copytree(repository / name, folder / name, ignore=skip)
    return folder


@pytest.fixture
def edit(copied, monkeypatch):
    """Edit a file of the copy; afterwards it is as it was."""
    monkeypatch.setattr(provenance, "_REPOSITORY", copied)
    monkeypatch.setattr(provenance, "WORKFLOW", copied)
    kept = {}

    def change(name, old, new):
        path = copied / "realitycheck" / name
        kept[path] = text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        provenance._parsed.cache_clear()

    yield change
    for path, text in kept.items():
        path.write_text(text, encoding="utf-8")
    provenance._parsed.cache_clear()


def test_every_data_file_of_the_package_is_looked_at(repository):
    """One that is added must be thought of here, as a file or as weights with a known digest."""
    folder = repository / "realitycheck"
    found = {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and "__pycache__" not in path.parts
    }
    others = {name for name in found if not name.endswith(FOR_PEOPLE)}
    weights = {name for name in others if name.startswith("models/checkpoints/everyday/")}
    assert others - weights == set(DATA_FILES)


@pytest.mark.parametrize(("name", "script"), DATA_FILES.items())
def test_edited_data_file_runs_the_script_that_reads_it(name, script, edit):
    """Prices, published values and the page's parts are as good as code."""
    entry = script if "." in script else f"scripts/{script}.py"
    before = source_digest(entry)
    untouched = source_digest("realitycheck.encoders.sam_embeddings")
    edit(name, "\n", "\n ")
    assert source_digest(entry) != before
    assert source_digest("realitycheck.encoders.sam_embeddings") == untouched


@pytest.mark.parametrize("name", CONSTANTS)
def test_edited_words_run_the_scripts_that_use_them(name, edit):
    """Prompt ensembles, prompts of known products and sizes of networks are code."""
    old, new, users = CONSTANTS[name]
    before = [code_of(user) for user in users]
    untouched = source_digest("scripts/align_images.py")
    edit(name, old, new)
    after = [code_of(user) for user in users]
    assert all(a != b for a, b in zip(after, before, strict=True))
    assert source_digest("scripts/align_images.py") == untouched


def test_edited_format_checks_its_own_data_sets_again_and_no_others(edit):
    """A registry that imported all formats would make an edit of one an edit of all."""

    def digests():
        modules = map(FORMATS.module_of, ("folder", "mvtec_ad"))
        return [source_digest("scripts/prepare_dataset.py", module) for module in modules]

    before = digests()
    edit("datasets/folder.py", 'DEFAULT_CATEGORY = "product"', 'DEFAULT_CATEGORY = "part"')
    after = digests()
    assert after[0] != before[0]
    assert after[1] == before[1]


@pytest.mark.parametrize("network", ["sam", "grounding_dino", "clip", "saliency"])
def test_retrained_network_of_the_package_is_checked_again(network, monkeypatch):
    """Its copy of before lies in the working directory, and nothing there has changed."""
    plan = plan_of(*KINDS)
    before = plan.network_files(network)
    assert all(file["sha256"] for file in before)
    retrained = {"sha256": "0" * 64}
    monkeypatch.setattr(
        "realitycheck.models.checkpoints.known.shipped_files", lambda name: retrained
    )
    assert plan.network_files(network) != before


# ------------------------------------------------------------------------- what SAA+ has no part in

SETS = {
    "plain": {"segmentation": ["void"]},
    "products": {"saa_plus": "auto"},
    "both": {"segmentation": ["void"], "saa_plus": "auto"},
}


def test_leaving_saa_plus_out_runs_no_detector_of_other_prompt_sets():
    """It asks the detector with prompt sets of its own; the others are asked as before."""
    with_it = plan_of("grounded_sam", "saa_plus", prompts=SETS)
    asked = with_it.detector_prompts("chips", "plain")
    assert asked == {"texts": ["void"], "composed": []}
    without = plan_of("grounded_sam", prompts=SETS)
    assert without.detector_prompts("chips", "plain") == asked
    (composed,) = with_it.detector_prompts("chips", "both")["composed"]
    assert composed["settings"] == {"object_comma": True}
    assert ("chips", "products") not in without.detector_runs()
