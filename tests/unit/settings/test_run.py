"""Settings: every fault is found before the first job and named as its author wrote it."""

import copy
import json
import subprocess
import sys
from datetime import date

import pytest
import yaml

from realitycheck.core.constants import NO_PROMPT
from realitycheck.core.settings import SettingsError
from realitycheck.settings.load import json_schema, load_settings
from realitycheck.settings.run import AuditSettings


def sat(**changes):
    return {"format": "synthetic_sat", **changes}


def settings(**blocks):
    return {"datasets": {"chips": sat()}, **blocks}


PLAIN = {"chips": {"plain": {"segmentation": ["void"]}}}


def faults_of(raw, **options):
    with pytest.raises(SettingsError) as caught:
        load_settings(raw, **options)
    return caught.value.faults


def test_least_settings_take_every_default():
    """A data set is all that a person must name."""
    found = load_settings(settings())
    assert found.results_dir == "results"
    assert found.datasets["chips"].n_nok == 32
    assert found.runs() == []
    assert found.used_networks() == []


ONE_FAULT = {
    "unknown key": (
        {"datasets": {"chips": sat(n_okk=3)}},
        "datasets.chips.n_okk: unknown key; did you mean 'n_ok'?",
    ),
    "unknown key at the top": (
        settings(dataset={}),
        "dataset: unknown key; did you mean 'datasets'?",
    ),
    "unknown key of no likeness": (
        settings(report={"zzz": 1}),
        "report.zzz: unknown key; known keys: n_overlays, panels, seed",
    ),
    "missing block": ({}, "datasets: the key is missing; add it"),
    "missing root": (
        {"datasets": {"mine": {"format": "folder"}}},
        "datasets.mine.root: the key is missing; add it",
    ),
    "no data set": (
        {"datasets": {}},
        "datasets: Dictionary should have at least 1 item after validation, not 0 (found {}); "
        "give at least one entry",
    ),
    "missing format": (
        {"datasets": {"mine": {"root": "data"}}},
        "datasets.mine: the key 'format' is missing; add it to say what kind this block is",
    ),
    "unknown format": (
        {"datasets": {"mine": {"format": "foldr"}}},
        "datasets.mine: 'format' is 'foldr'; use one of 'folder', ",
    ),
    "unfit name": (
        {"datasets": {"My-Chips": sat()}},
        "datasets.My-Chips: found 'My-Chips'; use lower-case letters, digits and underscores only",
    ),
    "wrong type": (
        {"datasets": {"chips": sat(shards="many")}},
        "datasets.chips.shards: Input should be a valid integer, unable to parse string as an "
        "integer (found 'many')",
    ),
    "out of range": (
        {"datasets": {"chips": sat(shards=0)}},
        "datasets.chips.shards: Input should be greater than or equal to 1 (found 0)",
    ),
    "not in the list": (
        settings(compute={"device": "gpu"}),
        "compute.device: Input should be 'auto', 'cpu', 'cuda' or 'mps' (found 'gpu')",
    ),
    "not finite": (
        settings(requirements={"max_seconds_per_part": float("inf")}),
        "requirements.max_seconds_per_part: Input should be a finite number (found inf)",
    ),
    "entry of a list": (
        settings(prompts={"chips": {"plain": {"segmentation": ["void", ""]}}}),
        "prompts.chips.plain.segmentation[1]: String should have at least 1 character (found '')",
    ),
    "phrase without a word": (
        settings(prompts={"chips": {"plain": {"segmentation": [" . "]}}}),
        "prompts.chips.plain.segmentation: a phrase must contain a word, got ' . '",
    ),
    "phrase given twice": (
        settings(prompts={"chips": {"plain": {"segmentation": ["void", "void"]}}}),
        "prompts.chips.plain.segmentation: the phrase 'void' stands here twice; keep one",
    ),
    "window without ends": (
        {"datasets": {"chips": sat(intensity={"mapping": "window"})}},
        "datasets.chips.intensity: mapping 'window' needs low < high, got low=None, high=None",
    ),
    "window beyond quantiles": (
        {"datasets": {"chips": sat(intensity={"mapping": "window", "low": 0, "high": 99})}},
        "datasets.chips.intensity: mapping 'window' takes quantiles within 0 and 1, got 0.0 and",
    ),
    "identity with ends": (
        {"datasets": {"chips": sat(intensity={"low": 0.1})}},
        "datasets.chips.intensity: low and high mean nothing with mapping 'identity'; remove them",
    ),
    "phase of a homography": (
        {"datasets": {"chips": sat(alignment={"method": "phase", "motion": "affine"})}},
        "datasets.chips.alignment: phase correlation cannot estimate motion 'affine'; use ",
    ),
    "alignment to nothing": (
        {"datasets": {"chips": sat(alignment={"method": "ecc"}, reference="none")}},
        "datasets.chips: alignment method 'ecc' needs a reference, but reference is 'none'; ",
    ),
    "study's draw of one's own folder": (
        {"datasets": {"mine": {"format": "folder", "root": ".", "split": {"kind": "paper"}}}},
        "datasets.mine: split kind 'paper' is defined for the study's data sets only; use all",
    ),
    "unknown SAM dimension": (
        settings(models={"sam": {"variant": {"encoder_widht": 8}}}),
        "models.sam.variant: unknown dimension 'encoder_widht'; known: decoder_depth, ",
    ),
    "unknown detector dimension": (
        settings(models={"grounding_dino": {"variant": {"layers": 8}}}),
        "models.grounding_dino.variant: GroundingDINO variant: unknown dimension 'layers'",
    ),
    "threshold below what is stored": (
        settings(
            methods={"grounded_sam": {"box_threshold": 0.01}},
            prompts=PLAIN,
        ),
        "methods.grounded_sam.box_threshold: Input should be greater than or equal to 0.05 "
        "(found 0.01)",
    ),
    "method of no kind": (
        settings(methods={"mine": {}}),
        "methods.mine: the key 'kind' is missing; add it to say what kind this block is",
    ),
    "method of unknown kind": (
        settings(methods={"mine": {"kind": "magic"}}),
        "methods.mine: 'kind' is 'magic'; use one of 'grounded_sam', ",
    ),
    "floor's name": (
        settings(methods={"whole_image": {"kind": "pixel_difference"}}),
        "methods.whole_image: this name belongs to a floor; choose another",
    ),
    "prompts of no data set": (
        settings(prompts={"cookies": {"plain": {"segmentation": ["defect"]}}}),
        "prompts.cookies: there is no such data set; data sets: chips",
    ),
    "prompt called none": (
        settings(prompts={"chips": {"none": {"segmentation": ["defect"]}}}),
        "prompts.chips.none: this name stands for 'no prompt'; choose another",
    ),
    "method without a prompt": (
        settings(methods={"grounded_sam": {}}),
        "prompts.chips: method 'grounded_sam' needs a text prompt here; add for example prompts: "
        "{chips: {plain: {segmentation: [defect]}}}, or list the methods to run under "
        "datasets.chips.methods",
    ),
    "unknown method of a data set": (
        {"datasets": {"chips": sat(methods=["sam"])}, "methods": {"pixel_difference": {}}},
        "datasets.chips.methods: there is no method block 'sam'; blocks: pixel_difference",
    ),
    "method named twice": (
        {
            "datasets": {"chips": sat(methods=["pixel_difference", "pixel_difference"])},
            "methods": {"pixel_difference": {}},
        },
        "datasets.chips.methods: 'pixel_difference' stands here twice; keep one",
    ),
    "method without its reference": (
        {
            "datasets": {"chips": sat(methods=["pixel_difference"], reference="none")},
            "methods": {"pixel_difference": {}},
        },
        "datasets.chips.methods: 'pixel_difference' needs a reference image, but "
        "datasets.chips.reference is none; set reference: auto",
    ),
    "nothing to remember": (
        {"datasets": {"chips": sat(n_train=0)}, "methods": {"few_shot": {}}},
        "methods.few_shot: few_shot learns from good training images, and data set 'chips' keeps "
        "none back; set datasets.chips.n_train, or list the methods to run under "
        "datasets.chips.methods",
    ),
    "folder that is not there": (
        {"datasets": {"mine": {"format": "folder", "root": "nowhere"}}},
        "datasets.mine.root: there is no folder nowhere; give the folder that holds OK/ and NOK/",
    ),
    "reference that is not there": (
        {"datasets": {"chips": sat(reference="golden.png")}},
        "datasets.chips.reference: there is no file golden.png; give an image, auto or none",
    ),
    "category's reference that is not there": (
        {"datasets": {"chips": sat(reference={"package": "golden.png"})}},
        "datasets.chips.reference.package: there is no file golden.png; give an image or auto",
    ),
    "category without a reference": (
        {"datasets": {"chips": sat(reference={"package": "none"})}},
        "datasets.chips.reference.package: there is no file none; give an image or auto",
    ),
    "not a mapping": (["datasets"], "(top level): expected keys such as 'datasets', found ["),
}


@pytest.mark.parametrize("case", ONE_FAULT)
def test_fault_is_named_with_key_path_and_remedy(case, tmp_path):
    """A person must find the line and know what to write there."""
    raw, expected = ONE_FAULT[case]
    found = faults_of(raw, folder=tmp_path)
    assert len(found) == 1, found
    assert found[0].startswith(expected), found[0]


def test_network_of_own_dimensions_needs_its_files(tmp_path):
    """No official file fits dimensions of one's own, so the settings must name one."""
    raw = settings(
        prompts={"chips": {"plain": {"segmentation": ["defect"]}}},
        methods={"grounded_sam": {}},
        models={
            "sam": {"variant": {"encoder_width": 8}},
            "grounding_dino": {"variant": "everyday", "weights": "own.pth"},
        },
    )
    assert faults_of(raw, folder=tmp_path) == [
        "models.grounding_dino.weights: there is no file own.pth; put it there",
        "models.sam.weights: this variant has no file of its own; give a path",
    ]


def test_file_where_a_folder_is_meant_is_a_fault(tmp_path):
    """And the other way round: found before the job that would open it."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "vocab.txt").write_text("[CLS]")
    raw = settings(
        prompts={"chips": {"plain": {"segmentation": ["defect"]}}},
        methods={"grounded_sam": {}},
        models={
            "sam": {"variant": "vit_b", "weights": "folder"},
            "grounding_dino": {"text_encoder": "vocab.txt"},
        },
    )
    assert faults_of(raw, folder=tmp_path) == [
        "models.grounding_dino.text_encoder: vocab.txt is not a folder; give a folder",
        "models.sam.weights: folder is not a file; give a file",
    ]


def test_all_faults_are_listed_together(tmp_path):
    """Repairing one fault a run would cost a run a fault."""
    raw = {
        "datasets": {"chips": sat(n_okk=3, shards=0), "mine": {"format": "folder"}},
        "methods": {"grounded_sam": {"box_treshold": 0.3}},
        "compute": {"device": "tpu"},
    }
    with pytest.raises(SettingsError, match="the settings have 5 faults:\n  - ") as caught:
        load_settings(raw)
    paths = [fault.split(":")[0] for fault in caught.value.faults]
    assert sorted(paths) == [
        "compute.device",
        "datasets.chips.n_okk",
        "datasets.chips.shards",
        "datasets.mine.root",
        "methods.grounded_sam.box_treshold",
    ]
    between = settings(
        prompts={"cookies": {}}, methods={"whole_image": {"kind": "pixel_difference"}}
    )
    between["datasets"]["mine"] = {"format": "folder", "root": "nowhere"}
    assert len(faults_of(between, folder=tmp_path)) == 3


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({"datasets": {"chips": sat(reference={"a": 1})}}, "datasets.chips.reference"),
        ({"datasets": {"chips": sat(reference=5)}}, "datasets.chips.reference"),
        ({"datasets": {"chips": sat(bit_depth=12)}}, "datasets.chips.bit_depth"),
        (
            {"datasets": {"chips": sat(alignment={"quarter_turns": {"a": 1}})}},
            "datasets.chips.alignment.quarter_turns",
        ),
        (settings(compute={"batch_size": {"a": 1}}), "compute.batch_size"),
        (settings(compute={"batch_size": 0}), "compute.batch_size"),
        (settings(models={"sam": {"variant": "vit_x"}}), "models.sam.variant"),
        ({"datasets": {"folder": sat(seed=-1)}}, "datasets.folder.seed"),
        (
            settings(methods={"mine": {"kind": "grounded_sam", "variant": 1}}, prompts=PLAIN),
            "methods.mine.variant",
        ),
        (
            settings(methods={"grounded_sam": {"variant": 1}}, prompts=PLAIN),
            "methods.grounded_sam.variant",
        ),
    ],
)
def test_key_paths_hold_the_users_keys_only(raw, path):
    """Where a value may have several types the checker's own names for them mean nothing to a
    person."""
    for fault in faults_of(raw):
        assert fault.split(": ")[0] in (path, f"{path}.a"), fault


@pytest.mark.parametrize("name", ["mvtec_ad", "folder", "chips"])
def test_misspelt_key_is_looked_up_in_its_own_block(name):
    """A data set that is called as another format still has its own keys."""
    found = faults_of({"datasets": {name: sat(max_rotation=3)}})
    assert found == [f"datasets.{name}.max_rotation: unknown key; did you mean 'max_rotation_deg'?"]


def test_method_named_as_its_kind_needs_no_kind():
    """The usual block stays short."""
    found = load_settings(settings(methods={"pixel_difference": None}))
    assert found.methods["pixel_difference"].kind == "pixel_difference"
    assert found.runs() == [("chips", "pixel_difference", NO_PROMPT)]


def test_method_block_of_another_name_stands_beside_the_first():
    """Two thresholds are compared by two blocks of one kind."""
    found = load_settings(
        settings(
            methods={
                "grounded_sam": {},
                "bold": {"kind": "grounded_sam", "box_threshold": 0.5},
            },
            prompts={"chips": {"plain": {"segmentation": ["defect"]}}},
        )
    )
    assert found.method_names("grounded_sam") == ["grounded_sam", "bold"]
    assert found.runs() == [("chips", "grounded_sam", "plain"), ("chips", "bold", "plain")]
    assert found.used_networks() == ["grounding_dino", "sam"]
    assert found.method_settings("bold")["box_threshold"] == 0.5


def test_kind_of_a_block_named_as_another_kind_is_respected():
    """What a person writes counts more than what a name suggests."""
    found = load_settings(settings(methods={"grounded_sam": {"kind": "pixel_difference"}}))
    assert found.methods["grounded_sam"].kind == "pixel_difference"


def test_methods_that_need_a_reference_leave_data_sets_without_one():
    """Pets have no reference; the other data sets keep the method."""
    found = load_settings(
        {
            "datasets": {"pets": {"format": "oxford_iiit_pet"}, "chips": sat()},
            "methods": {"pixel_difference": {}},
        }
    )
    assert found.runs() == [("chips", "pixel_difference", NO_PROMPT)]


def test_prompt_sets_without_phrases_run_no_segmenter():
    """A prompt set may be for other methods only."""
    found = load_settings(
        settings(
            methods={"grounded_sam": {}},
            prompts={"chips": {"plain": {"segmentation": ["defect"]}, "empty": {}}},
        )
    )
    assert found.prompts_of("chips", "grounded_sam") == ["plain"]


def test_title_is_no_setting_of_any_computation():
    """A name for people must not run anything again."""
    first = load_settings(settings(methods={"pixel_difference": {}}))
    raw = {
        "datasets": {"chips": sat(title="Chips", ignore_border="foreground", shards=3)},
        "methods": {"pixel_difference": {"title": "Difference"}},
    }
    second = load_settings(raw)
    assert first.method_settings("pixel_difference") == second.method_settings("pixel_difference")
    for part in ("generator_settings", "preparation_settings", "alignment_settings"):
        assert getattr(first, part)("chips") == getattr(second, part)("chips")


def test_generated_data_set_is_read_as_a_folder_below_the_results():
    """What is drawn passes the checks of any user's folder."""
    found = load_settings(settings(results_dir="out")).preparation_settings("chips")
    assert (found["format"], found["root"]) == ("folder", "out/raw/chips")
    assert set(load_settings(settings()).generator_settings("chips")) == {
        "n_ok",
        "n_nok",
        "n_train",
        "image_size_px",
        "seed",
        "bit_depth",
        "max_rotation_deg",
        "max_shift_fraction",
        "max_scale_fraction",
        "max_brightness_fraction",
        "quarter_turns",
    }


def test_settings_cannot_be_changed_after_the_check():
    """What was checked is what runs."""
    found = load_settings(settings())
    with pytest.raises(ValueError, match="frozen"):
        found.compute.threads = 9


def test_checking_leaves_the_raw_settings_alone():
    """Snakemake shows and digests the mapping that it was given."""
    raw = settings(methods={"pixel_difference": None})
    before = copy.deepcopy(raw)
    load_settings(raw)
    assert raw == before


def test_shipped_settings_have_no_fault(repository):
    """The demo and the study must run as they are; examples want images (see test_main)."""
    shipped = ("config.yaml", "configs/paper.yaml", "configs/anomalib.yaml")
    for file in [repository / name for name in shipped]:
        load_settings(yaml.safe_load(file.read_text(encoding="utf-8")), folder=repository)


def test_stored_schema_is_the_settings_own(repository):
    """Editors must complete the keys of this version; `make schema` writes the file."""
    stored = (repository / "configs" / "settings.schema.json").read_text(encoding="utf-8")
    assert json.loads(stored) == json_schema()


def test_schema_accepts_the_demo_and_refuses_a_misspelt_key(repository):
    """An editor must not underline what runs, and must what does not."""
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(json_schema())
    raw = yaml.safe_load((repository / "config.yaml").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(json_schema())
    assert validator.is_valid({"datasets": {"chips": sat()}})
    assert not validator.is_valid({**raw, "dataset": {}})


@pytest.mark.parametrize(
    ("methods", "is_fit"),
    [
        ({"grounded_sam": {"box_threshold": 0.3}, "pixel_difference": None}, True),
        ({"mine": {"kind": "grounded_sam"}}, True),
        ({"grounded_sam": {"kind": "pixel_difference", "min_area_px": 3}}, True),
        ({"grounded_sam": {"min_area_px": 3}}, False),
        ({"mine": {}}, False),
        ({"My-Method": {"kind": "grounded_sam"}}, False),
    ],
)
def test_schema_lets_a_block_named_as_its_kind_leave_it_out(methods, is_fit):
    """The schema and the check before a run must say the same of a block."""
    jsonschema = pytest.importorskip("jsonschema")
    raw = settings(methods=methods, prompts={"chips": {"plain": {"segmentation": ["defect"]}}})
    assert jsonschema.Draft202012Validator(json_schema()).is_valid(raw) == is_fit
    if is_fit:
        load_settings(raw)
    else:
        assert faults_of(raw)


def test_demo_passes_the_schema_as_it_is(repository):
    """The first file that a person opens in an editor shows no false alarm."""
    jsonschema = pytest.importorskip("jsonschema")
    raw = yaml.safe_load((repository / "config.yaml").read_text(encoding="utf-8"))
    found = [
        f"{error.json_path}: {error.message}"
        for error in jsonschema.Draft202012Validator(json_schema()).iter_errors(raw)
    ]
    assert found == []


def test_planning_imports_nothing_heavy(repository):
    """Every job of a cluster run plans anew and must not pay for torch."""
    code = (
        "import sys, realitycheck.planning.plan; "
        "print([m for m in ('torch', 'pandas', 'pyarrow', 'cv2') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_threshold_on_the_truth_stops_where_the_audit_is_told_to():
    """Known from the settings alone, so it is a fault before anything is read."""
    raw = {
        "datasets": {"chips": {"format": "synthetic_sat"}},
        "prompts": {"chips": {"plain": {"saa_plus": "auto"}}},
        "methods": {"saa_plus": {}, "honest": {"kind": "saa_plus", "binarise": "good"}},
    }
    load_settings(raw)
    (fault,) = faults_of(raw | {"audit": {"threshold_on_scored": "stop"}})
    assert fault.startswith("methods.saa_plus.binarise: 'f1max' looks at the images")
    assert "set binarise: good or union" in fault


def test_demo_states_what_each_finding_leads_to(repository):
    """A user reads there what stops and what is flagged; nothing is left to a default."""
    demo = yaml.safe_load((repository / "config.yaml").read_text(encoding="utf-8"))
    assert set(demo["audit"]) == set(AuditSettings.model_fields)
    assert {AuditSettings.model_fields[name].default for name in demo["audit"]} == {"stop", "flag"}


def test_reduced_precision_is_that_of_sam_and_clip_and_the_detector_has_its_own():
    """What encodings, boxes and masks depend on; the residual networks stay as they are."""
    found = load_settings(settings(compute={"precision": "bfloat16"}))
    assert found.network_settings("sam")["precision"] == "bfloat16"
    assert found.detector_settings()["precision"] == "float32"
    detector = load_settings(settings(compute={"detector_precision": "bfloat16"}))
    assert detector.detector_settings()["precision"] == "bfloat16"
    assert detector.network_settings("sam")["precision"] == "float32"
    precisions = {
        name: found.network_settings(name)["precision"]
        for name in ("sam", "clip", "grounding_dino", "saliency", "resnet")
    }
    assert precisions == {
        "sam": "bfloat16",
        "clip": "bfloat16",
        "grounding_dino": "float32",
        "saliency": "float32",
        "resnet": "float32",
    }


def test_a_word_stands_for_a_list_of_one():
    """What most people write, and what can be meant by it."""
    raw = {
        "datasets": {
            "chips": sat(defect_names="a void", methods="mine"),
            "cloth": {"format": "synthetic_textures", "categories": "wood", "methods": []},
        },
        "prompts": {"chips": {"plain": {"segmentation": "defect"}}},
        "methods": {"mine": {"kind": "grounded_sam"}, "resnet_mlp": {"hidden_units": 64}},
    }
    found = load_settings(raw)
    assert found.prompts["chips"]["plain"].segmentation == ("defect",)
    assert found.datasets["chips"].defect_names == ("a void",)
    assert found.datasets["chips"].methods == ("mine",)
    assert found.datasets["cloth"].categories == ("wood",)
    assert found.methods["resnet_mlp"].hidden_units == (64,)
    raw["prompts"]["chips"]["plain"]["segmentation"] = "scratch, dent"
    (fault,) = faults_of(raw)
    assert fault.startswith("prompts.chips.plain.segmentation: ") and "such as [a, b]" in fault


def test_paths_hold_home_and_variables(tmp_path, monkeypatch):
    """Every path of the settings, wherever it stands."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a.png").touch()
    path = "~/here/a.png"
    raw = {
        "results_dir": "$HOME/results",
        "datasets": {
            "one": {"format": "folder", "root": "~/here", "reference": path},
            "two": sat(reference={"product": path}),
        },
        "prompts": {"one": {"ask": {"lvlm": "?", "examples": [{"image": path, "label": "OK"}]}}},
        "methods": {
            "ask": {"kind": "lvlm", "ledger": path, "key_file": path, "credentials_file": path}
        },
        "models": {network: {"weights": path} for network in ("sam", "clip", "saliency", "resnet")}
        | {"grounding_dino": {"weights": path, "text_encoder": path}},
    }
    raw["datasets"]["two"]["methods"] = []
    found = load_settings(raw)
    text = json.dumps(found.model_dump(mode="json"))
    assert "~" not in text and "$" not in text
    assert text.count(f"{tmp_path}/here/a.png") == 12
    assert found.results_dir == f"{tmp_path}/results"


def test_faults_of_all_blocks_are_told_at_once():
    """A fault in one block hides none in another, and invents none."""
    raw = {
        "datasets": {"chips": sat(shards=0), "mine": {"format": "folder", "root": "nowhere"}},
        "prompts": {"other": {}, "mine": {"p": {"segmentation": [""]}}},
        "methods": {"whole_image": {"kind": "pixel_difference"}, "grounded_sam": {"zzz": 1}},
    }
    assert [fault.split(": ")[0] for fault in faults_of(raw)] == [
        "datasets.chips.shards",
        "prompts.mine.p.segmentation[0]",
        "methods.grounded_sam.zzz",
        "methods.whole_image",
        "prompts.other",
        "datasets.mine.root",
    ]


def test_true_stands_for_no_number():
    """YAML reads `yes` as true, and true would count as 1."""
    (fault,) = faults_of(settings(requirements={"max_slip_rate": True}))
    assert fault.startswith("requirements.max_slip_rate: ") and "a number such as 0.35" in fault


def test_days_as_keys_are_read_as_texts():
    (fault,) = faults_of(settings(prompts={date(2026, 1, 31): {}}))
    assert fault.startswith("prompts.2026-01-31: ")


def test_schema_accepts_one_entry_where_a_list_is_meant():
    """An editor must not underline what is understood."""
    definitions = json_schema()["$defs"]
    for block, name, kind in (
        ("PromptSettings", "segmentation", "string"),
        ("FolderDataset", "methods", "string"),
        ("ResnetMlpMethod", "hidden_units", "integer"),
    ):
        kinds = [each.get("type") for each in definitions[block]["properties"][name]["anyOf"]]
        assert "array" in kinds and kind in kinds, name
    assert "anyOf" not in definitions["SaaPlusPrompt"]["properties"]["class_prompts"]


def test_line_of_a_product_takes_what_it_leaves_open_from_the_top():
    """A plant's costs are common, its products' defect rates are not."""
    raw = settings(line={"defect_rate": [0.001, 0.01], "cost_usd": {"escape": 100, "check": 1}})
    (name, block), *_ = raw["datasets"].items()
    assert load_settings(raw).line_of(name)["defect_rate"] == [0.001, 0.01]
    own = {"defect_rate": 0.2, "cost_usd": {"check": 0}}
    raw["datasets"] = {name: block | {"line": own}}
    found = load_settings(raw).line_of(name)
    assert found["defect_rate"] == [0.2] and found["parts_per_day"] is None
    costs = {"escape": 100, "false_reject": None, "check": 0, "inspection": None}
    assert found["cost_usd"] == costs


@pytest.mark.parametrize("wrong", [[0.2, 0.1], [], [0, 0.1, 0.2]])
def test_defect_rate_is_one_share_or_two_ends(wrong):
    """The lower one first."""
    (fault,) = faults_of(settings(line={"defect_rate": wrong}))
    assert fault.startswith("line.defect_rate: expected one share, or the lowest and the highest")
