"""What the workflow asks while it plans."""

import json
import os

import pytest

from realitycheck.core.provenance import stat_signature
from realitycheck.datasets.inventory import inventory
from realitycheck.models.settings import ModelsSettings
from realitycheck.planning.facts import UNKNOWN, settings_digest
from realitycheck.planning.plan import Plan
from realitycheck.report.tables.base import method_name
from realitycheck.settings.load import load_settings


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """Plan of a fetched, a generated and an own data set; weights lie in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "OK").mkdir(parents=True)
    (tmp_path / "sam.pth").write_bytes(b"first")
    return Plan(
        load_settings(
            {
                "datasets": {
                    "pets": {"format": "oxford_iiit_pet", "root": "pets", "shards": 2},
                    "chips": {"format": "synthetic_sat", "title": "Chips"},
                    "mine": {"format": "folder", "root": "mine", "methods": []},
                },
                "prompts": {
                    "pets": {"plain": {"segmentation": ["cat"]}},
                    "chips": {"plain": {"segmentation": ["void", "crack"]}},
                },
                "methods": {
                    "grounded_sam": {},
                    "difference": {"kind": "pixel_difference", "title": "Difference"},
                },
                "models": {
                    "sam": {"variant": "everyday", "weights": "sam.pth"},
                    "grounding_dino": {"variant": "everyday"},
                },
            },
            folder=tmp_path,
        )
    )


def record(name, **content):
    path = os.path.join("results", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        json.dump(content, file)
    # Files that are written within one tick of the clock must still be told apart.
    record.time += 10**9
    os.utime(path, ns=(record.time, record.time))


record.time = 10**18


def test_fetching_a_data_set_does_not_look_like_an_edit(plan, tmp_path):
    """It was planned before the folder was there. Were the trigger new in the next run, all images
    would be checked again for nothing."""
    first = plan.inventory("pets")
    assert first == "absent"
    folder = tmp_path / "pets"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"a")
    record("manifests/pets/digests.json", trigger=first, signature=inventory(folder))
    assert plan.inventory("pets") == first


def test_edited_folder_is_noticed_and_the_next_record_holds(plan, tmp_path):
    """After the edit the images are checked once, not again in each later run."""
    folder = tmp_path / "mine"
    first = plan.inventory("mine")
    record("manifests/mine/digests.json", trigger=first, signature=inventory(folder))
    assert plan.inventory("mine") == first
    (folder / "OK" / "new.png").write_bytes(b"new")
    second = plan.inventory("mine")
    assert second not in (first, "absent")
    record("manifests/mine/digests.json", trigger=second, signature=inventory(folder))
    assert plan.inventory("mine") == second


def test_folder_that_changed_while_it_was_checked_is_checked_again(plan, tmp_path):
    """The record holds what was there before the images were read, so a later edit shows."""
    folder = tmp_path / "mine"
    first = plan.inventory("mine")
    record("manifests/mine/digests.json", trigger=first, signature=inventory(folder))
    (folder / "OK" / "late.png").write_bytes(b"late")
    assert plan.inventory("mine") != first


def test_generated_data_set_has_no_folder_to_watch(plan):
    """Its settings say all; what it wrote is checked like any output."""
    assert plan.inventory("chips") == "generated"


def test_replaced_weights_are_noticed(plan, tmp_path):
    """Fine-tuned weights under the old name are other weights."""
    first = plan.weights_signature("sam")
    record("weights/sam.json", trigger=first, signature=stat_signature("sam.pth"))
    assert plan.weights_signature("sam") == first
    (tmp_path / "sam.pth").write_bytes(b"second")
    assert plan.weights_signature("sam") != first


def test_created_weights_do_not_look_like_an_edit(plan, tmp_path):
    """They were planned before they were there."""
    first = plan.weights_signature("grounding_dino")
    paths = [file["path"] for file in plan.network_files("grounding_dino")]
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"made")
    assert plan.weights_signature("grounding_dino") != first
    record("weights/grounding_dino.json", trigger=first, signature=stat_signature(*paths))
    assert plan.weights_signature("grounding_dino") == first


def test_digests_are_unknown_before_the_inputs_are_checked(plan):
    """No finished job has them, so all is planned again."""
    assert plan.images_digest("pets", "images", "0-of-2") == UNKNOWN
    assert plan.weights_digest("sam", "grounding_dino") == {
        "sam": UNKNOWN,
        "grounding_dino": UNKNOWN,
    }
    assert plan.n_images("pets") == 0
    record("weights/sam.json", digest="ab")
    assert plan.weights_digest("sam") == {"sam": "ab"}


def test_record_that_was_written_anew_is_read_anew(plan):
    """One planning process sees records before and after the checkpoint."""
    record("manifests/pets/digests.json", counts={"test": 200, "train": 3})
    assert (plan.n_images("pets"), plan.n_images("pets", "train")) == (200, 3)
    record("manifests/pets/digests.json", counts={"test": 210, "train": 3})
    assert plan.n_images("pets") == 210


def test_time_asked_for_follows_images_and_shards_and_doubles(plan):
    """A job that was killed for its time comes back with twice of it: 10 min + 6000 images at 2 s
    in 2 shards are 110 min; training images are counted for themselves."""
    resources = plan.resources
    record("manifests/pets/digests.json", counts={"test": 6000, "train": 1200})
    asked = [
        resources.runtime_min("pets", "0-of-2", seconds_per_image=2, attempt=n) for n in (1, 2, 3)
    ]
    assert asked == [110, 220, 440]
    assert resources.runtime_min("pets", "train-1-of-2", seconds_per_image=2) == 10 + 20
    assert resources.runtime_min("pets", seconds_per_image=2) == 10 + 200, "a job of all images"
    assert resources.runtime_min("chips", seconds_per_image=3) == 10 + 5, (
        "before the images are counted"
    )


def with_sam(variant, tmp_path, **compute):
    """Plan of a run with a SAM of some size."""
    settings = {
        "datasets": {"chips": {"format": "synthetic_sat"}},
        "models": {"sam": {"variant": variant, "weights": "sam.pth"}},
        "compute": compute,
    }
    return Plan(load_settings(settings, folder=tmp_path))


def test_large_networks_get_more_memory_threads_and_time_than_small_ones(plan, tmp_path):
    """ViT-H alone holds 2.4 GB of weights; own dimensions are taken for the largest, but for those
    whose file is small."""
    asked = []
    with open("sam.pth", "wb") as file:
        file.truncate(50_000_000)
    for variant in ({"encoder_width": 8}, "vit_h", "vit_b", "everyday"):
        found = with_sam(variant, tmp_path)
        memory = found.resources.memory_mb("sam", "chips", "0-of-1", kb_per_image=2)
        time = found.resources.network_min("sam", "chips", "0-of-1", seconds_per_image=20)
        asked.append((memory, found.resources.threads("sam"), time))
    assert asked[0] == asked[1] > asked[2] > asked[3]
    assert asked[1][2] == 10 + 100 * 20 // 60
    assert all(memory >= 1000 for memory, _, _ in asked)
    assert with_sam("vit_h", tmp_path, threads=3).resources.threads("sam") == 3, "as told"
    with open("sam.pth", "wb") as file:
        file.truncate(1000)
    assert with_sam({"encoder_width": 8}, tmp_path).resources.threads("sam") == 1


def test_network_on_a_processor_gets_more_time(tmp_path):
    """A job that was planned for a GPU would be killed there every time."""
    told = {"seconds_per_image": 2}
    on_gpu = with_sam("vit_h", tmp_path, device="cuda").resources.network_min(
        "sam", "chips", None, **told
    )
    on_cpu = with_sam("vit_h", tmp_path, device="cpu").resources.network_min(
        "sam", "chips", None, **told
    )
    assert on_cpu - 10 > 5 * (on_gpu - 10), "beside the start-up"


def test_memory_asked_for_follows_the_shard_and_doubles(plan):
    """Rows of a large shard are kept until they are written; after being killed it is twice."""
    resources = plan.resources
    record("manifests/pets/digests.json", counts={"test": 200_000})
    base = resources.memory_mb("sam", "pets", "0-of-2", kb_per_image=0)
    asked = [
        resources.memory_mb("sam", "pets", "0-of-2", kb_per_image=20, attempt=n) for n in (1, 2)
    ]
    assert asked == [base + 2000, 2 * (base + 2000)]


def test_memory_of_a_table_follows_its_rows(plan):
    """Table 2 of 100,000 images and ten runs has a million rows at once."""
    resources = plan.resources
    record("manifests/pets/digests.json", counts={"test": 100_000})
    runs = [("pets", f"method{n}", "plain") for n in range(10)]
    base = resources.table_mb([])
    assert resources.table_mb(runs, kb_per_row=2) == base + 2000
    assert resources.table_mb(runs, kb_per_row=2, attempt=3) == 4 * (base + 2000)


def test_every_data_set_has_its_floors_and_its_own_methods(plan):
    """A score says little without what a blind method would reach. Pets have no reference; the own
    folder runs no method."""
    methods = [
        ("pets", "grounded_sam", "plain"),
        ("chips", "grounded_sam", "plain"),
        ("chips", "difference", "none"),
    ]
    assert plan.mask_runs() == methods + [
        (dataset, "whole_image", "none") for dataset in ("pets", "chips", "mine")
    ]
    by_area = [(dataset, f"{method}_area", prompt) for dataset, method, prompt in methods]
    assert plan.area_runs() == by_area
    assert plan.label_runs() == methods + by_area + [
        (dataset, floor, "none")
        for dataset in ("pets", "chips", "mine")
        for floor in ("reject_everything", "accept_everything")
    ]
    assert plan.runs_of("chips") == methods[1:]
    assert plan.paths("{dataset}/{method}/{prompt}.parquet", methods[2:]) == [
        "chips/difference/none.parquet"
    ]


def test_tables_say_that_weights_are_the_users_own(plan, tmp_path):
    """A score of fine-tuned weights is not one of the published network."""
    (tmp_path / "tuned.pth").write_bytes(b"tuned")
    place = "resources/weights/sam_vit_b_01ec64.pth"
    for named, note in (("tuned.pth", "weights of sam from the file tuned.pth"), (place, None)):
        models = ModelsSettings(
            sam={"variant": "vit_b", "weights": named}, grounding_dino={"variant": "everyday"}
        )
        other = Plan(plan.settings.model_copy(update={"models": models}))
        assert other.method_notes()["grounded_sam"].get("note") == note


def test_notes_name_methods_and_data_sets_for_people(plan):
    """What a table says beside a number."""
    notes = plan.method_notes()
    known = {"label": "Pixel difference", "gives_masks": True}
    assert notes["difference"] == {"kind": "pixel_difference", "name": "Difference", **known}
    assert notes["grounded_sam"]["note"] == "weights of sam from the file sam.pth"
    assert notes["difference_area"] == notes["difference"] | {"verdict_by": "area"}
    assert notes["whole_image"] == {"kind": "whole_image"}
    assert plan.dataset_notes() == {
        "pets": {"name": "pets"},
        "chips": {"name": "Chips"},
        "mine": {"name": "mine"},
    }
    assert plan.detector_prompts("chips", "plain") == {
        "texts": ["void", "crack"],
        "composed": [],
    }


def test_blocks_that_share_a_name_are_told_apart():
    """Two cards or rows that look alike would be two answers to one question."""
    difference = {"kind": "pixel_difference"}
    blocks = {"fine": {**difference, "min_area_px": 5}, "coarse": {**difference, "min_area_px": 99}}
    raw = {"datasets": {"chips": {"format": "synthetic_sat"}}}
    notes = Plan(load_settings(raw | {"methods": blocks})).method_notes()
    assert method_name("fine", notes) == "Pixel difference: fine"
    assert method_name("coarse_area", notes) == "Pixel difference: coarse (area)"
    blocks["coarse"]["title"] = "Coarse"
    notes = Plan(load_settings(raw | {"methods": blocks})).method_notes()
    assert method_name("fine", notes) == "Pixel difference"
    assert method_name("coarse", notes) == "Coarse"


def test_settings_digest_follows_any_setting(plan):
    """Two reports with one digest were made with the same settings."""
    raw = {"datasets": {"chips": {"format": "synthetic_sat"}}}
    assert settings_digest(load_settings(raw)) == settings_digest(load_settings(raw))
    assert settings_digest(load_settings(raw)) != settings_digest(
        load_settings(raw | {"evaluation": {"seed": 1}})
    )


def test_methods_find_what_other_rules_left():
    """Blocks that share encodings and maps find them under the block that owns them."""
    shared = {"kind": "saa_plus", "binarise": "good"}
    settings = load_settings(
        {
            "datasets": {"chips": {"format": "synthetic_sat", "shards": 2}},
            "prompts": {"chips": {"plain": {"segmentation": ["void"], "saa_plus": "auto"}}},
            "methods": {
                "grounded_sam": {},
                "sam_clip": {},
                "clip_surgery_sam": {},
                "saa_plus": {},
                "saa_plus_good": shared,
                "pixel_difference": {},
                "few_shot": {"input_size_px": 64},
                "adapted_sam": {},
            },
        }
    )
    plan = Plan(settings)

    def files(method, prompt="plain", **options):
        paths = plan.paths_of("chips", method, prompt, shard=None, **options)
        return plan.block(method).inputs(paths)

    boxes = [f"results/detections/chips/plain/shards/{i}-of-2.parquet" for i in range(2)]
    embeddings = [f"results/encodings/chips/sam_rgb/{i}-of-2.parquet" for i in range(2)]
    assert files("grounded_sam") == {"boxes": boxes, "embeddings": embeddings}
    assert files("sam_clip")["crops"][1] == "results/encodings/chips/crops/sam_clip/1-of-2.parquet"
    assert set(files("sam_clip")) == {"masks", "crops"}
    assert files("clip_surgery_sam")["patches"] == [
        f"results/encodings/chips/patches/clip_surgery_sam/{i}-of-2.parquet" for i in range(2)
    ]
    good = files("saa_plus_good")
    predictions = "results/predictions/chips"
    assert good["maps"][0] == f"{predictions}/saa_plus/plain/maps/0-of-2.parquet"
    assert good["thresholds"] == f"{predictions}/saa_plus_good/plain/thresholds.parquet"
    assert good["saliency"][0] == "results/encodings/chips/saliency_bgr/0-of-2.parquet"
    assert good["boxes"] == boxes
    assert files("pixel_difference", "none") == {
        "manifest": "results/manifests/chips.parquet",
        "references": "results/manifests/chips/references.parquet",
        "thresholds": f"{predictions}/pixel_difference/none/thresholds.parquet",
    }
    few = files("few_shot", "none")
    assert few["bank"] == f"{predictions}/few_shot/none/bank.safetensors"
    assert few["features"][1] == "results/encodings/chips/resnet_features_64/1-of-2.parquet"
    learned = files("adapted_sam", "none")
    assert learned["decoders"] == f"{predictions}/adapted_sam/none/decoders.safetensors"
    assert learned["embeddings"] == embeddings
    later = files("few_shot", "none", is_later=True)
    assert set(later) == {"score_grids", "thresholds"}
    assert later["score_grids"][0] == f"{predictions}/few_shot/none/score_grids/0-of-2.parquet"


def test_job_of_a_shard_reads_its_own_files_and_is_told_what_plays_a_part():
    """An edit of anything else runs it no more."""
    raw = {
        "datasets": {"chips": {"format": "synthetic_sat", "shards": 2, "defect_names": ["void"]}},
        "prompts": {"chips": {"plain": {"segmentation": ["void"]}}},
        "methods": {"grounded_sam": {}, "clip_zero_shot": {}, "pixel_difference": {}},
    }
    plan = Plan(load_settings(raw))
    paths = plan.paths_of("chips", "grounded_sam", "plain", shard="1-of-2")
    found = plan.block("grounded_sam").inputs(paths)
    assert found["boxes"] == ["results/detections/chips/plain/shards/1-of-2.parquet"]
    runs = {
        name: plan.run_of("chips", name, prompt, plan.block(name).job)
        for name, prompt in (
            *(("grounded_sam", "plain"), ("clip_zero_shot", "none")),
            *(("pixel_difference", "none"), ("whole_image", "none")),
        )
    }
    assert runs["grounded_sam"]["told"] == ["void"] and runs["grounded_sam"]["floor"] == 0.05
    assert set(runs["grounded_sam"]["networks"]) == {"sam"}
    assert runs["clip_zero_shot"]["words"]["defect_names"] == ["void"]
    extra = {name: set(run) & {"floor", "intensity", "words"} for name, run in runs.items()}
    assert extra == {
        "grounded_sam": {"floor"},
        "clip_zero_shot": {"words"},
        "pixel_difference": {"intensity"},
        "whole_image": set(),
    }


@pytest.mark.parametrize(
    ("weight", "told"), [("auto", {"chips": 1.0, "loose": 0.0}), (2, {"chips": 2.0, "loose": 2.0})]
)
def test_place_of_a_patch_counts_where_parts_are_aligned(weight, told):
    """Jobs are told the number that `auto` means, so that their artifacts record it."""
    methods = {"chips": "phase", "loose": "none"}
    raw = {
        "datasets": {
            name: {"format": "synthetic_sat", "alignment": {"method": method}}
            for name, method in methods.items()
        },
        "methods": {"few_shot": {"position_weight": weight}},
    }
    plan = Plan(load_settings(raw))
    block = plan.block("few_shot")
    for job in (block.job, block.fits):
        runs = {name: plan.run_of(name, "few_shot", "none", job) for name in told}
        assert {name: run["settings"]["position_weight"] for name, run in runs.items()} == told


def test_each_method_is_asked_what_it_understands():
    """Phrases, SAA+'s own prompts, or nothing."""
    settings = load_settings(
        {
            "datasets": {"chips": {"format": "synthetic_sat"}},
            "prompts": {"chips": {"plain": {"segmentation": ["void"], "saa_plus": "auto"}}},
            "methods": {"grounded_sam": {}, "saa_plus": {}, "pixel_difference": {}},
        }
    )
    plan = Plan(settings)
    assert plan.asked("chips", "grounded_sam", "plain") == ["void"]
    assert plan.asked("chips", "saa_plus", "plain") == "auto"
    assert plan.asked("chips", "pixel_difference", "none") == []


def test_page_shows_every_method_and_no_floor(plan):
    """Verdicts by area stand beside those by any mask, and share its pictures."""
    rows = [(r["dataset"], r["method"], r["prompt"], r["masks_of"]) for r in plan.page_runs()]
    assert set(rows) == {
        ("pets", "grounded_sam", "plain", "grounded_sam"),
        ("pets", "grounded_sam_area", "plain", "grounded_sam"),
        ("chips", "grounded_sam", "plain", "grounded_sam"),
        ("chips", "grounded_sam_area", "plain", "grounded_sam"),
        ("chips", "difference", "none", "difference"),
        ("chips", "difference_area", "none", "difference"),
    }
    assert len(rows) == len(set(rows))
    assert not any(row["has_panels"] for row in plan.page_runs()), "nobody asked for panels"


def test_figures_are_those_that_can_be_drawn(plan):
    """No overlays without a method with masks, no comparison with a study that used other data."""
    assert list(plan.report_figures()) == [
        *("slip_overkill", "iou_distribution"),
        *("detection_probability_pets", "detection_probability_chips"),
        *("overlays_pets", "overlays_chips"),
    ]


def test_page_says_what_was_asked_and_of_which_networks(plan):
    """In words, not as settings."""
    facts = plan.page_facts()
    assert facts["title"] == "pets, Chips, mine"
    assert facts["asked"] == [
        ["pets", "plain", "text-prompted segmenters", "cat"],
        ["chips", "plain", "text-prompted segmenters", "void; crack"],
    ]
    assert facts["networks"] == {"grounding_dino": "everyday", "sam": "everyday"}
    assert facts["licences"]["mine"].startswith("your own images, under your own terms")
    json.dumps(facts)


@pytest.fixture
def audited():
    """Every kind of method on a data set that has a reference, and on one that has none."""
    prompts = {
        "plain": {"segmentation": ["defect"], "saa_plus": {"default": "sat"}},
        "types": {"segmentation": ["void", "crack"]},
        "shown": {"lvlm": "Are there {defects}?"},
        "alone": {"lvlm": "Is it flawed?", "reference": False},
    }
    return Plan(
        load_settings(
            {
                "datasets": {
                    "chips": {"format": "synthetic_sat", "defect_names": ["a void"]},
                    "bare": {"format": "synthetic_sat", "reference": "none"},
                },
                "prompts": {"chips": prompts, "bare": prompts},
                "methods": {
                    "grounded_sam": {},
                    "saa_plus": {},
                    "saa_plus_fixed": {"kind": "saa_plus", "binarise": "fixed:0.5"},
                    "saa_plus_good": {"kind": "saa_plus", "binarise": "good"},
                    "ask": {"kind": "lvlm"},
                    "clip_zero_shot": {},
                    "resnet_mlp": {},
                    "pixel_difference": {},
                },
                "models": {
                    name: {"variant": "everyday"}
                    for name in ("sam", "grounding_dino", "clip", "resnet", "saliency")
                },
            }
        )
    )


def runs_with(plan, fact):
    """Runs on the data set with a reference of which a fact holds, as method/prompt."""
    return {
        f"{run['method']}/{run['prompt']}"
        for run in plan.audited_runs()
        if run["dataset"] == "chips" and run[fact]
    }


def test_audit_knows_who_is_shown_the_reference(audited):
    """Those that judge by it, and verdicts by the area of their masks; not who asks without it."""
    wanted = {"pixel_difference/none", "pixel_difference_area/none", "ask/shown"}
    assert runs_with(audited, "uses_reference") == wanted
    assert audited.audited("chips")["uses_reference"]
    assert not audited.audited("bare")["uses_reference"]


def test_audit_knows_whose_threshold_saw_what(audited):
    """Training images, or the very images that are scored; areas inherit it from their masks."""
    assert runs_with(audited, "uses_training_images") == {
        *("pixel_difference/none", "pixel_difference_area/none"),
        *("saa_plus_good/plain", "saa_plus_good_area/plain"),
    }
    assert runs_with(audited, "uses_test_truth") == {
        *("saa_plus/plain", "saa_plus_area/plain"),
        *("saa_plus_fixed/plain", "saa_plus_fixed_area/plain"),
    }


def test_audit_reads_the_words_each_method_is_told(audited):
    """Phrases, the question with the names that fill it, the names that CLIP compares with."""
    told = {f"{r['method']}/{r['prompt']}": r["told"] for r in audited.audited_runs()}
    assert told["grounded_sam/types"] == "void. crack"
    assert told["resnet_mlp/none"] == ""
    chips = {
        f"{r['method']}/{r['prompt']}": r["told"]
        for r in audited.audited_runs()
        if r["dataset"] == "chips"
    }
    assert chips["clip_zero_shot/none"] == "a void"
    assert chips["ask/shown"].endswith("Are there {defects}?a void")
    assert "void" not in chips["ask/alone"]


def test_words_go_into_the_early_audit_only_where_they_can_stop_it(audited):
    """Else an edited prompt would have every data set looked through again."""
    assert audited.audited("chips")["told"] == {}
    rules = audited.settings.audit.model_copy(update={"prompt_names_defects": "stop"})
    strict = Plan(audited.settings.model_copy(update={"audit": rules}))
    assert strict.audited("chips")["told"]["prompt types of grounded_sam"] == "void. crack"


def test_folds_are_read_where_they_lie(audited):
    """They stand with thresholds or verdicts."""
    assert len(audited.fold_tables()) == len(audited.fold_runs())
    assert "results/verdicts/chips/resnet_mlp/none/labels.parquet" in audited.fold_tables()
    folder = "results/predictions/chips/pixel_difference/none"
    assert f"{folder}/thresholds.parquet" in audited.fold_tables()


def test_masks_that_were_learned_out_of_fold_say_so():
    """A reader must not take them for zero-shot ones; the audit reads their folds."""
    raw = {"datasets": {"chips": {"format": "synthetic_sat"}}, "methods": {"adapted_sam": {}}}
    found = Plan(load_settings(raw | {"models": {"sam": {"variant": "everyday"}}}))
    note = "trained on labelled images of the other folds"
    assert found.method_notes()["adapted_sam"]["note"] == note
    assert found.fold_runs() == [("chips", "adapted_sam", "none")]
    folder = "results/predictions/chips/adapted_sam/none"
    assert found.fold_tables() == [f"{folder}/thresholds.parquet"]


def test_agreement_is_told_where_an_image_has_several_verdicts():
    """Of a model that is asked once there is nothing to compare: no table, no figure."""
    prompts = {"chips": {"basic": {"lvlm": "Is it good?"}}}
    raw = {"datasets": {"chips": {"format": "synthetic_sat"}}, "prompts": prompts}
    ask = {"kind": "lvlm", "model": "gemini-3.8-flash"}
    once = Plan(load_settings(raw | {"methods": {"ask": ask}}))
    assert "agreement" not in [*once.report_tables(), *once.report_figures()]
    thrice = Plan(load_settings(raw | {"methods": {"ask": ask | {"n_samples": 3}}}))
    assert "agreement" in thrice.report_tables() and "agreement" in thrice.report_figures()
    assert thrice.table_facts()["runs"]["repeated"] == [("chips", "ask", "basic")]
