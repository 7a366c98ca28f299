"""What a finished run leaves behind keeps the contract of paths, columns and row counts."""

import json
import re

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from realitycheck.core.provenance import package_version

N_IMAGES = {"sat": 10, "parts": 7}
#: Every (data set, method, prompt) that gives masks.
MASK_RUNS = [
    ("sat", "grounded_sam", "plain"),
    ("sat", "grounded_sam", "types"),
    ("sat", "pixel_difference", "none"),
    ("sat", "whole_image", "none"),
    ("parts", "grounded_sam", "plain"),
    ("parts", "whole_image", "none"),
]
VERDICT_RUNS = [
    (dataset, floor, "none")
    for dataset in ("sat", "parts")
    for floor in ("accept_everything", "reject_everything")
]

MATRIX = "m00 m01 m02 m10 m11 m12 m20 m21 m22"
COLUMNS = {
    "manifests/{d}.parquet": "dataset image_id category label defect_type split group image_path "
    "mask_path width_px height_px bit_depth n_channels sha256",
    "aligned/{d}/transforms.parquet": f"dataset image_id status {MATRIX} residual_before "
    "residual_after overlap",
    "detections/{d}/plain/boxes.parquet": "dataset image_id prompt text x_min y_min x_max y_max "
    "score token_scores tokens",
    "predictions/{d}/grounded_sam/plain/masks.parquet": "dataset image_id method prompt "
    "mask_height_px mask_width_px mask_rle score n_regions status latency_s",
    "verdicts/{d}/accept_everything/none/labels.parquet": "dataset image_id method prompt "
    "label_predicted score reasoning status fold model_requested model_returned finish_reason "
    "tokens_in tokens_out tokens_thinking cost_usd latency_s",
    "scores/{d}/grounded_sam/plain/images.parquet": "dataset image_id method prompt label "
    "label_predicted iou intersection_px union_px truth_px predicted_px lost_px defect_type status",
    "scores/{d}/grounded_sam/plain/defects.parquet": "dataset image_id defect_id category "
    "defect_type area_px area_mm2 covered_share is_hit",
}
TABLE_COLUMNS = {
    "segmentation": "dataset method prompt n_images n_defective mean_iou mean_iou_low "
    "mean_iou_high pooled_iou ok_with_mask_rate published_iou",
    "classification": "dataset method prompt n_ok n_nok n_answered tp fp fn tn precision recall "
    "f2 f2_low f2_high f2_floor slip_rate slip_rate_high overkill_rate overkill_rate_high "
    "published_f2",
    "readiness": "dataset method prompt decision reason n_ok n_nok n_answered slip_rate "
    "slip_rate_low slip_rate_high overkill_rate overkill_rate_low overkill_rate_high f2 f2_floor "
    "seconds_per_part cost_per_part_usd max_slip_rate max_overkill_rate max_seconds_per_part "
    "max_cost_per_part_usd recheck_share more_nok_needed more_ok_needed",
    "best_of": "dataset quantity method prompt score shrinkage expected n_compared n_tries",
    "line": "dataset method prompt defect_rate_low defect_rate_high is_example defective "
    "defective_low defective_high escapes escapes_low escapes_high rejects",
    "labels": "dataset method prompt decision n_wrong_labels decision_then",
    "detection_probability": "dataset method prompt unit status reason n_defects n_hits n_misses "
    "intercept slope a50 a90 a90_95",
    "breakdown": "dataset method prompt by value n_images n_nok mean_iou mean_iou_low "
    "mean_iou_high slip_rate slip_rate_high overkill_rate overkill_rate_high ok_with_mask_rate "
    "ok_mask_area_share",
    "comparison": "dataset quantity method prompt other_method other_prompt n difference "
    "difference_low difference_high p_value p_value_holm",
    "pixel_scores": "dataset method prompt n_images auroc aupro f1_max uses_test_truth",
    "audit": "dataset method prompt check finding n_affected example consequence",
}


#: Large packages that jobs may import, by how their script begins and by encoder or method.
SAM = {"torch", "torchvision", "segment_anything"}
MAY_IMPORT = {
    "detect_boxes": {
        *("torch", "torchvision", "groundingdino", "transformers", "timm", "jinja2"),
        "sympy",  # by torch's check of a mask for attention
    },
    "encode sam_embeddings": SAM,
    "segment grounded_sam": SAM,
    "plot": {"matplotlib", "scipy.optimize"},
    "render_report": {"jinja2", "scipy.optimize"},
    "tabulate": {"scipy.optimize"},
}


def test_jobs_import_what_they_use(finished_run):
    """Most of a small job is the start of Python, so nothing large comes without a use."""
    surplus, seen = finished_run.surplus_imports(MAY_IMPORT)
    assert surplus == []
    assert seen > set(MAY_IMPORT), "all were at work, and others"


def test_finished_run_is_up_to_date(run):
    """A run reaches its targets, and then nothing is left to do."""
    assert "Nothing to be done" in run.finish()


@pytest.mark.parametrize("dataset", N_IMAGES)
@pytest.mark.parametrize("path", COLUMNS)
def test_tables_between_stages_have_the_columns_of_the_contract(finished_run, path, dataset):
    """Users and later methods read these columns; keys come first."""
    found = pq.read_schema(finished_run.results / path.format(d=dataset)).names
    wanted = COLUMNS[path].split()
    assert [name for name in found if name in wanted] == wanted
    assert found[:2] == ["dataset", "image_id"]


@pytest.mark.parametrize("name", TABLE_COLUMNS)
def test_result_tables_start_with_the_columns_of_the_contract(finished_run, name):
    """The four forms of a table are one table; what else it says stands further right."""
    folder = finished_run.results / "tables"
    wanted = TABLE_COLUMNS[name].split()
    parquet = pd.read_parquet(folder / f"{name}.parquet")
    csv = pd.read_csv(folder / f"{name}.csv", keep_default_na=False)
    assert list(parquet.columns)[: len(wanted)] == wanted
    assert list(csv.columns) == list(parquet.columns)
    keys = ["dataset", "method", "prompt"]
    assert csv[keys].to_numpy().tolist() == parquet[keys].to_numpy().tolist()
    assert len(parquet)
    for ending in ("md", "tex"):
        text = (folder / f"{name}.{ending}").read_text(encoding="utf-8")
        assert "Tiny scans" in text, "the title stands for the data set"
        assert "weights of sam from the file" in text, "scores of own weights are labelled so"


def test_result_tables_have_a_row_for_every_run_and_floor(finished_run):
    """No method, prompt or floor is left out, and none comes twice."""
    keys = ["dataset", "method", "prompt"]
    segmentation = finished_run.read("tables/segmentation.parquet")
    assert sorted(map(tuple, segmentation[keys].to_numpy())) == sorted(MASK_RUNS)
    classification = finished_run.read("tables/classification.parquet")
    rows = list(map(tuple, classification[keys].to_numpy()))
    assert len(rows) == len(set(rows))
    learned = [run for run in MASK_RUNS if run[1] != "whole_image"]
    assert set(learned) | set(VERDICT_RUNS) <= set(rows)
    coins = {row[0] for row in rows if row[1].startswith("coin")}
    assert coins == set(N_IMAGES)


def test_every_run_has_its_evidence(finished_run):
    """A decision with its reason and its time, defects counted, an audit that found the prompt."""
    keys = ["dataset", "method", "prompt"]
    learned = {run for run in MASK_RUNS if run[1] != "whole_image"}
    for name in ("readiness", "detection_probability"):
        table = finished_run.read(f"tables/{name}.parquet")
        assert set(map(tuple, table[keys].to_numpy())) == learned
        assert table["reason"].str.len().min() > 20
    for name, n_rows in {"line": 3, "labels": 1}.items():
        counts = finished_run.read(f"tables/{name}.parquet")[keys].value_counts()
        assert set(counts.index) == learned and set(counts) == {n_rows}, name
    readiness = finished_run.read("tables/readiness.parquet")
    assert (readiness["seconds_per_part"] > 0).all()
    assert (readiness["n_ok"] + readiness["n_nok"] == readiness["dataset"].map(N_IMAGES)).all()
    counted = finished_run.read("tables/detection_probability.parquet").set_index(keys)
    for dataset, method, prompt in learned:
        defects = finished_run.read(f"scores/{dataset}/{method}/{prompt}/defects.parquet")
        assert counted.loc[(dataset, method, prompt), "n_defects"] == len(defects) > 0
    by_category = finished_run.read("tables/breakdown.parquet").query("by == 'category'")
    assert set(map(tuple, by_category[keys].to_numpy())) == set(MASK_RUNS)
    audit = finished_run.read("tables/audit.parquet").query("n_affected > 0")
    assert set(zip(audit["method"], audit["prompt"], audit["check"], strict=True)) == {
        ("grounded_sam", "types", "prompt_names_defects")
    }


def test_every_table_has_as_many_rows_as_the_manifest(finished_run):
    """Nothing is dropped: an image without a box, a mask or a label is still a row."""
    for dataset, n_images in N_IMAGES.items():
        manifest = finished_run.read(f"manifests/{dataset}.parquet")
        assert len(manifest) == n_images
        patterns = [
            f"aligned/{dataset}/transforms.parquet",
            f"aligned/{dataset}/shards/[0-9]*.parquet",
            f"truth/{dataset}/truth.parquet",
            f"encodings/{dataset}/sam_rgb/[0-9]*.parquet",
            *(f"predictions/{d}/{m}/{p}/masks.parquet" for d, m, p in MASK_RUNS if d == dataset),
            *(f"verdicts/{d}/{m}/{p}/labels.parquet" for d, m, p in VERDICT_RUNS if d == dataset),
            *(
                f"scores/{d}/{m}/{p}/images.parquet"
                for d, m, p in (*MASK_RUNS, *VERDICT_RUNS)
                if d == dataset
            ),
        ]
        for pattern in patterns:
            table = finished_run.read(pattern)
            assert sorted(table["image_id"]) == sorted(manifest["image_id"]), pattern
        boxes = finished_run.read(f"detections/{dataset}/plain/boxes.parquet")
        assert set(boxes["image_id"]) <= set(manifest["image_id"])
    for name, count in {"segmentation": "n_images", "classification": "n_answered"}.items():
        table = finished_run.read(f"tables/{name}.parquet")
        assert (table[count] == table["dataset"].map(N_IMAGES)).all()


def test_every_image_has_an_aligned_picture_and_every_mask_its_own(finished_run):
    """A mask picture holds 0 or 255 and is as large as the aligned image that it belongs to."""
    results = finished_run.results
    n_predicted = 0
    for dataset, method, prompt in MASK_RUNS:
        folder = results / "predictions" / dataset / method / prompt
        table = pd.read_parquet(folder / "masks.parquet")
        for row in table.itertuples():
            mask = np.asarray(Image.open(folder / "masks" / f"{row.image_id}.png"))
            image = Image.open(results / "aligned" / dataset / f"{row.image_id}.png")
            assert image.mode == "RGB"
            assert mask.shape == (row.mask_height_px, row.mask_width_px)
            assert mask.shape == image.size[::-1]
            assert mask.dtype == np.uint8
            assert set(np.unique(mask)) <= {0, 255}
            n_predicted += int(mask.any())
        assert len(list((folder / "masks").rglob("*.png"))) == N_IMAGES[dataset]
    assert n_predicted > 0, "the check has something to look at"


def test_statuses_agree_with_the_masks(finished_run):
    """An image without a box has an empty mask and counts as good."""
    scores = finished_run.read("scores/*/*/*/images.parquet")
    masks = finished_run.read("predictions/*/*/*/masks.parquet")
    assert set(masks["status"]) <= {"ok", "no_box", "empty", "not_comparable"}
    keys = ["dataset", "image_id", "method", "prompt"]
    both = scores.merge(masks, on=keys, suffixes=("", "_mask"))
    assert len(both) == len(masks)
    assert ((both["predicted_px"] > 0) == (both["n_regions"] > 0)).all()
    assert ((both["predicted_px"] > 0) == (both["label_predicted"] == "NOK")).all()
    assert (both.loc[both["status"] == "no_box", "predicted_px"] == 0).all()
    defective = both[both["label"] == "NOK"]
    quotient = defective["intersection_px"] / defective["union_px"]
    np.testing.assert_allclose(defective["iou"], quotient, rtol=1e-12)


def test_every_parquet_file_says_what_it_was_computed_from(finished_run):
    """A number can be traced to version, settings, and, where networks ran, weights and device."""
    results = finished_run.results
    records = {
        name: json.loads((results / "weights" / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("sam", "grounding_dino")
    }
    networks = {
        "encodings": {"sam"},
        "detections": {"grounding_dino"},
        "predictions/{}/grounded_sam": {"sam", "grounding_dino"},
    }
    paths = sorted(results.rglob("*.parquet"))
    assert len(paths) > 50
    n_traced = 0
    for path in paths:
        raw = pq.read_schema(path).metadata
        own = raw.get(b"realitycheck")
        facts = json.loads(own) if own else {k.decode(): v.decode() for k, v in raw.items()}
        assert facts["version"] == package_version(), path
        assert facts["settings_digest"], path
        place = path.relative_to(results).as_posix()
        dataset = place.split("/")[1]
        for prefix, wanted in networks.items():
            if place.startswith(prefix.format(dataset) + "/"):
                assert facts["weights"] == {name: records[name]["digest"] for name in wanted}, path
                assert facts["device"] == "cpu", path
                assert facts["precision"] == "float32", path
                n_traced += 1
    assert n_traced > 15


def test_report_and_exports_hold_every_image(finished_run):
    """The page shows every method but the floors; other tools get truth, masks and a CSV file."""
    text = (finished_run.results / "report.html").read_text(encoding="utf-8")
    assert "Tiny scans" in text and "weights of sam from the file" in text
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    shown = json.loads(found[1])
    assert len(shown["images"]) == sum(N_IMAGES.values())
    learned = [run for run in MASK_RUNS if run[1] != "whole_image"]
    assert len(shown["runs"]) == len(learned)
    for dataset, n_images in N_IMAGES.items():
        folder = finished_run.results / "exports" / dataset
        table = pd.read_csv(folder / "images.csv")
        assert len(table) == n_images * sum(run[0] == dataset for run in learned)
        truth = json.loads((folder / "truth.coco.json").read_text(encoding="utf-8"))
        assert len(truth["images"]) == n_images and truth["annotations"]
        for _, method, prompt in (run for run in learned if run[0] == dataset):
            text = (folder / method / prompt / "predictions.coco.json").read_text(encoding="utf-8")
            assert len(json.loads(text)["images"]) == n_images


def test_snakemake_bundles_every_result_with_its_caption(run):
    """Tables, figures, exports and the page, in Snakemake's own report."""
    run.finish("--report", "bundle.html")
    text = (run.folder / "bundle.html").read_text(encoding="utf-8")
    for words in (
        *("readiness.csv", "segmentation.csv", "classification.csv", "audit.csv"),
        *("slip_overkill.png", "overlays_sat.svg", "report.html", "truth.coco.json"),
        "Defective parts that pass against good parts",
    ):
        assert words in text, words


def test_overlays_are_drawn_for_each_data_set(finished_run):
    """A picture for documents and one for the screen, both with something on them."""
    for dataset in N_IMAGES:
        path = finished_run.results / "figures" / f"overlays_{dataset}.png"
        assert np.asarray(Image.open(path).convert("RGB")).std() > 5
        assert "<svg" in path.with_suffix(".svg").read_text(encoding="utf-8")[:2000]
