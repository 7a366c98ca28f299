"""Only what depends on an edit runs again."""

import dataclasses
import json
import os
import random
import re
import shutil
import time

import numpy as np
import torch
from PIL import Image

from realitycheck.core.one_run import claim
from realitycheck.report.figures.registry import wanted_figures
from realitycheck.report.tables.registry import table_files, wanted_tables

RUNS = {
    "sat": ("grounded_sam/plain", "grounded_sam/types", "pixel_difference/none"),
    "parts": ("grounded_sam/plain",),
}
#: Data sets and prompt sets that the detector is asked with.
ASKED = ("sat/plain", "sat/types", "parts/plain")
#: Every table, every figure and the page.
REPORT = {
    "tabulate": {f"tables/{file}" for name in wanted_tables(()) for file in table_files(name)},
    "plot": {
        f"figures/{name}.{ending}"
        for name in wanted_figures(("published",), RUNS)
        for ending in ("png", "svg")
    },
    "render_report": {"report.html"},
}
#: Folders of the folder data set with a table for each shard.
PER_SHARD = ("aligned/parts/shards", "encodings/parts/sam_rgb", "detections/parts/plain/shards")


def scores(dataset):
    """Outputs of the job that scores the masks of a data set."""
    return {
        f"score_masks_{dataset}": {
            f"scores/{dataset}/{run}/{name}.parquet"
            for run in (*RUNS[dataset], "whole_image/none")
            for name in ("images", "defects")
        }
    }


def gathered(dataset):
    """Outputs of the job that puts the masks of a data set together."""
    runs = (*RUNS[dataset], "whole_image/none")
    return {
        f"gather_masks_{dataset}": {f"predictions/{dataset}/{run}/masks.parquet" for run in runs}
    }


def exports(dataset):
    """Outputs of the export of a data set."""
    names = ["truth.coco.json", "images.csv"]
    for form in ("predictions", "results"):
        names += [f"{run}/{form}.coco.json" for run in RUNS[dataset]]
    return {f"export_{dataset}": {f"exports/{dataset}/{name}" for name in names}}


def one_each(*rules):
    """One job of each rule, and of those of the report."""
    return dict.fromkeys((*rules, *REPORT), 1)


def test_rules_that_depend_on_digests_wait_for_the_check(repository):
    """Digests of inputs are read while planning; without the check first they would be old ones."""
    texts = [
        path.read_text(encoding="utf-8") for path in sorted((repository / "rules").glob("*.smk"))
    ]
    looks = r"(?<!source)_digests?\b|audited_images|run_of\("
    functions = [text for each in texts for text in re.split(r"^(?=\w)", each, flags=re.MULTILINE)]
    names = [f[4 : f.index("(")] for f in functions if f.startswith("def ") and re.search(looks, f)]
    looks = "|".join([looks, *(rf"\b{name}\b" for name in names)])
    n_rules = 0
    for text in texts[:-1]:  # the last one is what all stages share
        rules = re.split(r"^ *(?=rule(?: \w+)?:)", text, flags=re.MULTILINE)[1:]
        for rule in rules:
            if "Stage 1" not in text and re.search(looks, rule):
                n_rules += 1
                assert "checked=ancient(checked_inputs)" in rule, rule.partition(":")[0]
    assert n_rules > 10


# ----------------------------------------------------------------------------------------- settings


def test_edited_prompt_runs_its_own_detection_and_what_follows(run):
    """Not alignment, not encoding, not the other prompt set, not the other data set."""
    run.settings["prompts"]["sat"]["plain"]["segmentation"] = ["void"]
    planned = run.planned_files()
    masks = "predictions/sat/grounded_sam/plain"
    assert planned == {
        "detect_boxes": {"detections/sat/plain/shards/0-of-1.parquet"},
        "gather_boxes": {f"detections/{asked}/boxes.parquet" for asked in ASKED},
        "segment_grounded_sam": {f"{masks}/shards/0-of-1.parquet"},
        **gathered("sat"),
        **scores("sat"),
        **REPORT,
        **exports("sat"),
    }
    assert run.planned_jobs() == dict.fromkeys(planned, 1)
    files = {path: (run.results / path).stat().st_ino for path in planned["score_masks_sat"]}
    run.finish("results/scores/sat/grounded_sam/plain/images.parquet")
    log = (run.folder / "logs/score_masks/sat.log").read_text(encoding="utf-8")
    assert "1 of 4 runs scored" in log
    renewed = {path for path, file in files.items() if (run.results / path).stat().st_ino != file}
    assert {path.split("/")[3] for path in renewed} <= {"plain"}


def test_edited_threshold_does_not_run_the_detector(run):
    """Boxes are stored down to a low floor with their scores; a threshold only picks from them."""
    run.settings["methods"]["grounded_sam"]["box_threshold"] = 0.3
    assert run.planned_jobs() == {
        "segment_grounded_sam": 4,
        **one_each("gather_masks_sat", "gather_masks_parts"),
        **one_each("score_masks_sat", "score_masks_parts", "export_sat", "export_parts"),
    }


def test_edited_title_redraws_tables_and_figures_only(run):
    """A name for people is no input of any computation."""
    run.settings["datasets"]["sat"]["title"] = "Chips"
    assert run.planned_files() == REPORT


def test_added_prompt_set_leaves_the_others_alone(run):
    """A new row of the tables costs its own detection and segmentation."""
    run.settings["prompts"]["parts"]["scratches"] = {"segmentation": ["scratches"]}
    assert run.planned_jobs() == {
        "detect_boxes": 2,
        "gather_boxes": 1,
        "segment_grounded_sam": 2,
        **one_each("gather_masks_parts", "score_masks_parts", "export_parts"),
    }


def test_another_alignment_method_runs_what_sees_the_aligned_images(run):
    """Of this data set, and only of it; the inputs are not checked again.

    Without any alignment they would be: then other things may be missing.
    """
    run.settings["datasets"]["parts"]["alignment"] = {"method": "ecc", "motion": "translation"}
    assert run.planned_jobs() == {
        "align_images": 2,
        "gather_transforms": 1,
        "align_masks": 1,
        "encode_images": 2,
        "detect_boxes": 2,
        "gather_boxes": 1,
        "segment_grounded_sam": 2,
        "segment_whole_image": 2,
        **one_each("gather_masks_parts", "score_masks_parts", "export_parts"),
    }
    # Images that are as they were before keep what was computed from them.
    before = run.encodings()
    aligned = run.read("aligned/parts/transforms.parquet").set_index("image_id")["pixels_sha256"]
    run.finish(
        "results/aligned/parts/transforms.parquet", "results/encodings/parts/sam_rgb/0-of-2.parquet"
    )
    moved = run.read("aligned/parts/transforms.parquet").set_index("image_id")["pixels_sha256"]
    in_shard = [name for name in moved.index if run.shard_of(name) == "0-of-2"]
    n_other = int((aligned[in_shard] != moved[in_shard]).sum())
    assert len(run.encodings()) == len(before) + n_other


def test_another_number_of_shards_computes_no_encoding_again(run):
    """Shards say how many GPUs one wants to use; the stored encodings are the images' own."""
    before = run.encodings()
    assert len(before) == 17
    run.settings["datasets"]["parts"]["shards"] = 1
    index = "encodings/parts/sam_rgb/0-of-1.parquet"
    boxes = "detections/parts/plain/shards/0-of-1.parquet"
    renewed = run.renewed(f"results/{index}", f"results/{boxes}")
    assert {index, boxes} <= renewed
    assert run.encodings() == before
    assert [path for path in renewed if "/finished/" in path] == [], "no image anew"


def test_run_moved_elsewhere_lists_nothing(run):
    """Nothing in it names the folder it lies in."""
    moved = run.folder.parent / "elsewhere" / "deeper"
    moved.parent.mkdir()
    run.folder.rename(moved)
    run.folder = moved
    assert "Nothing to be done" in run.finish("--dry-run")


def test_copy_without_dates_has_its_inputs_checked_and_makes_nothing_again(run, tmp_path):
    """What was made is known by its content; what came from elsewhere is looked at once more.

    Dates in an order of no meaning, as copying gives them, make every input look newer than some
    output. What a killed job left unfinished goes on the way.
    """
    before = run.encodings()
    run.folder = shutil.copytree(run.folder, tmp_path / "copy", symlinks=True)
    now = time.time()
    for path in run.folder.rglob("*"):
        date = now - 3600 * random.Random(path.name).random()
        os.utime(path, (date, date))
    left = run.results / "scores" / ".writing-of-a-killed-job"
    left.write_text("half")
    os.utime(left, (0, 0))
    checks = {"prepare_dataset": 1, "audit_dataset": 1, "check_inputs": 1, "fetch_weights": 2}
    assert run.rules_run() == checks
    assert not left.exists()
    assert "Nothing to be done" in run.finish("--dry-run")
    assert run.encodings().keys() == before.keys()
    content = run.results / "tables" / "readiness.parquet"
    content.write_bytes(content.read_bytes() + b" ")
    assert "plot" in run.planned_jobs(), "another content is another file"


def test_results_of_another_folder_are_left_alone(run, tmp_path):
    """Two folders with one results_dir would change each other's manifests in silence."""
    run.settings["results_dir"] = str(run.results)
    other = dataclasses.replace(run, folder=tmp_path / "other")
    other.folder.mkdir()
    claim(run.results, run.folder).close()  # this copy of a run has not been at work here
    for name in ("data", "ledger", "networks"):
        (other.folder / name).symlink_to(run.folder / name)
    said = other.fail("--dry-run")
    assert f"these are the results of runs in {run.folder}; two folders that write" in said
    (run.results / ".realitycheck_run").unlink()
    assert "prepare_dataset" in other.planned_jobs()


def test_renamed_results_are_made_again_without_a_network(run):
    """Snakemake knows its outputs by path: of renamed ones nothing says how they were made."""
    before = run.encodings()
    run.results.rename(run.folder / "archive")
    run.settings["results_dir"] = "archive"
    shard = "predictions/parts/grounded_sam/plain/shards/0-of-2.parquet"
    ran = run.rules_run(f"archive/{shard}")
    assert {"align_images", "encode_images", "detect_boxes", "segment_grounded_sam"} <= set(ran)
    archive = run.folder / "archive"
    entries = {str(path.relative_to(archive)) for path in archive.rglob("*.safetensors")}
    assert entries == set(before)


# --------------------------------------------------------------------------------------------- code


def test_edited_comments_and_docstrings_list_nothing(run_with_own_code):
    """Words about the code are not the code; nor is the date of a file."""
    run, code = run_with_own_code, run_with_own_code.code
    for path in (
        "realitycheck/methods/pixel_difference/algorithm.py",
        "realitycheck/stages/encode.py",
    ):
        text = (code / path).read_text(encoding="utf-8")
        summary = text.partition('"""')[2].partition("\n")[0]
        text = text.replace(summary, "Say it in other words. " + summary, 1)
        (code / path).write_text("# A remark.\n" + text + "\n# Another.\n", encoding="utf-8")
    for path in ("scripts/segment_grounded_sam.py", "rules/3_encode.smk", "Snakefile"):
        with (code / path).open("a", encoding="utf-8") as file:
            file.write("\n# A remark.\n")
    for path in (code / "realitycheck").rglob("*.py"):
        path.touch()
    assert "Nothing to be done" in run.finish("--dry-run")


def test_edited_constant_runs_the_jobs_that_use_it(run_with_own_code):
    """An algorithm is an input like any other; those that do not use it stay."""
    run = run_with_own_code
    path = run.code / "realitycheck" / "methods" / "pixel_difference" / "algorithm.py"
    with path.open("a", encoding="utf-8") as file:
        file.write("\n_CHANGED = 1\n")
    method = "predictions/sat/pixel_difference/none"
    assert run.planned_files() == {
        "calibrate_pixel_difference": {f"{method}/thresholds.parquet"},
        "segment_pixel_difference": {f"{method}/shards/0-of-1.parquet"},
        **gathered("sat"),
        **scores("sat"),
        "score_pixels": {"scores/sat/pixel_difference/none/pixels.parquet"},
        **REPORT,
        **exports("sat"),
    }


def test_edited_code_of_the_report_makes_tables_and_figures_only(run_with_own_code):
    """A report is written in seconds, whatever its scores cost; what only draws makes no table."""
    run = run_with_own_code
    for module, needed in (
        ("figures/slip_overkill", {"plot", "render_report"}),
        ("tables/breakdown", {"tabulate", "plot", "render_report"}),
    ):
        path = run.code / "realitycheck" / "report" / f"{module}.py"
        path.write_text(path.read_text(encoding="utf-8") + "\n_CHANGED = 1\n", encoding="utf-8")
        assert run.planned_files() == {rule: REPORT[rule] for rule in needed}


# --------------------------------------------------------------------------------------------- data


def test_touched_image_is_checked_and_nothing_else_runs(run):
    """The inventory has changed, so the folder is looked at; the content has not."""
    run.part("OK", "a").touch()
    assert run.rules_run() == {"prepare_dataset": 1, "audit_dataset": 1, "check_inputs": 1}
    assert "Nothing to be done" in run.finish("--dry-run")


def test_new_images_cost_their_own_shard_and_encodings_only(run):
    """Ten more images: the shard they fall in is aligned, the other is left alone.

    Of that shard only the new images are aligned, encoded and searched. They are defective ones, so
    that none of them becomes the reference.
    """
    shards = {}
    for number in range(60):
        shards.setdefault(run.shard_of(f"product/NOK/new_{number}"), []).append(f"new_{number}")
    shard, names = min((shard, names[:10]) for shard, names in shards.items())
    assert len(names) == 10
    for name in names:
        path, image_id = run.add_part("NOK", name)
        assert path.is_file()
        assert run.shard_of(image_id) == shard
    before = run.encodings()
    targets = [f"results/{place}/{i}-of-2.parquet" for place in PER_SHARD for i in range(2)]
    renewed = run.renewed(*targets)
    after = run.encodings()
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + 10
    assert {path for path in renewed if path.endswith("-of-2.parquet")} == {
        f"{place}/{shard}.parquet" for place in PER_SHARD
    }
    for rule in ("align_images", "detect_boxes"):
        assert sum(f"/finished/{rule}/" in path for path in renewed) == 10
    remaining = run.planned_files()
    assert "gather_boxes" in remaining, "one job for all data sets, whose other tables stay"
    del remaining["gather_boxes"]
    assert not any("/sat/" in path for paths in remaining.values() for path in paths)
    assert not {"align_images", "encode_images", "detect_boxes", "prepare_dataset"} & set(remaining)
    assert {"tabulate", "score_masks_parts", "score_labels_parts"} <= set(remaining)


def test_changed_mask_is_scored_again_and_no_network_runs(run):
    """The truth is not what a prediction is made from."""
    path = run.part("masks", "x")
    mask = np.array(Image.open(path))
    mask[:6, :6] = 255
    Image.fromarray(mask).save(path)
    before = run.read("scores/parts/whole_image/none/images.parquet")
    assert run.rules_run("tables") == {
        "prepare_dataset": 1,
        "audit_dataset": 1,
        "check_inputs": 1,
        "align_masks": 1,
        "score_masks_parts": 1,
        "tabulate": 1,
    }
    assert run.planned_jobs() == {"plot": 1, "render_report": 1, "export_parts": 1}
    after = run.read("scores/parts/whole_image/none/images.parquet")
    grown = dict(zip(after["image_id"], after["truth_px"] - before["truth_px"], strict=True))
    changed = {image_id for image_id, pixels in grown.items() if pixels}
    assert changed == {"product/NOK/x"}


def test_exchanged_network_is_run_again_at_once(run):
    """Other weights give other encodings, in this run and not the next; other networks stay."""
    (record,) = run.results.glob("weights/sam.json")
    path = run.folder / json.loads(record.read_text(encoding="utf-8"))["files"]["weights"]["path"]
    state = torch.load(path, weights_only=True)
    torch.save({name: value * 1.01 for name, value in state.items()}, path)
    before = run.encodings()
    target = "results/encodings/parts/sam_rgb/0-of-2.parquet"
    assert run.rules_run(target) == {"fetch_weights": 1, "check_inputs": 1, "encode_images": 1}
    n_new = len(run.read("encodings/parts/sam_rgb/0-of-2.parquet"))
    assert len(run.encodings()) == len(before) + n_new
    remaining = run.planned_jobs()
    assert remaining["encode_images"] == 2
    assert "detect_boxes" not in remaining
    assert "align_images" not in remaining


def test_removed_image_leaves_no_trace(run):
    """An image that is gone has no row and no picture, and its shard alone is aligned again."""
    run.part("NOK", "x").unlink()
    run.part("masks", "x").unlink()
    renewed = run.renewed("results/predictions/parts/whole_image/none/masks.parquet")
    ids = set(run.read("manifests/parts.parquet")["image_id"])
    assert len(ids) == 6
    assert set(run.read("predictions/parts/whole_image/none/masks.parquet")["image_id"]) == ids
    pictures = run.results / "predictions" / "parts" / "whole_image" / "none" / "masks"
    assert {str(p.relative_to(pictures).with_suffix("")) for p in pictures.rglob("*.png")} == ids
    shard = run.shard_of("product/NOK/x")
    shards = {path for path in renewed if path.startswith("aligned/parts/shards/")}
    assert shards == {f"aligned/parts/shards/{shard}.parquet"}
