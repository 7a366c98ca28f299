"""Panels show what the methods used: the same boxes, masks, points, maps and thresholds."""

from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from realitycheck.core.images import write_png
from realitycheck.core.masks import encode_mask
from realitycheck.core.registry import RegistryError
from realitycheck.core.schemas import BOXES, MASKS, PANELS, SCORES, THRESHOLDS, TRANSFORMS
from realitycheck.core.store import EncodingStore
from realitycheck.core.tables import read_table, write_table
from realitycheck.core.variants import switched
from realitycheck.encoders.automatic_masks import packed
from realitycheck.encoders.base import Encodings
from realitycheck.encoders.detections import stored_detections
from realitycheck.methods.base import Run
from realitycheck.methods.clip_surgery_sam.segmenter import ClipSurgerySam
from realitycheck.methods.clip_surgery_sam.views import views as clip_surgery_sam_views
from realitycheck.methods.grounded_sam import algorithm as grounded_sam
from realitycheck.methods.grounded_sam.segmenter import GroundedSam
from realitycheck.methods.grounded_sam.views import views as grounded_sam_views
from realitycheck.methods.pixel_difference.segmenter import PixelDifference
from realitycheck.methods.pixel_difference.views import views as pixel_difference_views
from realitycheck.methods.saa_plus import algorithm as saa_plus
from realitycheck.methods.saa_plus.prompts import captions, prompts_of_category
from realitycheck.methods.saa_plus.segmenter import SaaPlus
from realitycheck.methods.saa_plus.views import views as views_of_saa_plus
from realitycheck.methods.sam_clip.segmenter import SamClip
from realitycheck.methods.sam_clip.views import views as sam_clip_views
from realitycheck.models.clip.surgery import points_from_map, similarity_map
from realitycheck.stages.evaluate import score_masks
from realitycheck.stages.panels import (
    draw_panels,
    files_of_shards,
    panel_head,
    panel_images,
    truth_of,
)
from realitycheck.stages.segment import segment_shard

SIZE = (60, 80)
IMAGE = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
ROW = SimpleNamespace(
    dataset="chips", image_id="p/NOK/void/1", category="p", height_px=60, width_px=80
)
THRESHOLDS_OF_BOXES = {"box_threshold": 0.35, "text_threshold": 0.25}
FLOOR = 0.05


def switches_of(kind, variant):
    """Settings of a method's switches, as a variant has them."""
    return {"switches": asdict(switched(kind, variant, {}))}


def box_rows(text, words, *, n, seed, image_id=ROW.image_id):
    """Boxes of one caption with random places and token scores."""
    rng = np.random.default_rng(seed)
    tokens = ["[CLS]", *words, ".", "[SEP]"]
    rows = []
    for query in range(n):
        token_scores = rng.uniform(0.01, 0.5, len(tokens)).astype(np.float32)
        relative = rng.uniform(0.2, 0.6, 4).astype(np.float32)
        cx, cy, w, h = relative.tolist()
        rows.append(
            {
                "dataset": "chips",
                "image_id": image_id,
                "prompt": "plain",
                "box_id": query,
                "text": text,
                "x_min": 80 * (cx - w / 2),
                "y_min": 60 * (cy - h / 2),
                "x_max": 80 * (cx + w / 2),
                "y_max": 60 * (cy + h / 2),
                "score": float(token_scores.max()),
                "token_scores": token_scores.tolist(),
                "tokens": tokens,
                "relative_box": relative.tolist(),
            }
        )
    return rows


class Texts:
    """Text features that were stored before; asking for others would be a network run."""

    def __init__(self, **features):
        self.features = features

    def bare(self, text):
        return self.features[text]

    ensemble = bare


def unit(*values):
    vector = np.asarray(values, np.float32)
    return vector / np.linalg.norm(vector)


def stored(folder, arrays):
    """A store with one entry, and the key of the image's."""
    store = EncodingStore(folder)
    key = store.key("x")
    store.put(key, arrays)
    return Encodings(store, {ROW.image_id: key})


def view_named(views, title):
    (found,) = [view for view in views if view.title.startswith(title)]
    return found


# -------------------------------------------------------------------------------------------- views


def boxes_seen(boxes, prompts, variant):
    """Views of GroundingDINO + SAM; its decoder and embeddings play no part."""
    settings = {**switches_of("grounded_sam", variant), **THRESHOLDS_OF_BOXES}
    segmenter = GroundedSam(boxes, None, None, prompts, settings, FLOOR)
    return grounded_sam_views(segmenter, ROW, IMAGE, None)


@pytest.mark.parametrize("variant", ["published", "repaired"])
def test_solid_boxes_are_those_that_grounded_sam_cuts_out(variant):
    """A panel that showed other boxes would explain another mask."""
    boxes = pd.DataFrame(
        box_rows("defect .", ["defect"], n=20, seed=1) + box_rows("void .", ["void"], n=9, seed=2)
    )
    prompts = ["defect .", "void ."]
    views = boxes_seen(boxes, prompts, variant)
    expected = grounded_sam.prompted_boxes(
        stored_detections(boxes, prompts, floor=FLOOR),
        image_size_hw=SIZE,
        **THRESHOLDS_OF_BOXES,
        strip_special=variant == "repaired",
    )
    drawn = [each for each in view_named(views, "Boxes").boxes if each.is_kept]
    assert 0 < len(expected.boxes) < len(boxes)
    order = np.argsort(expected.scores)
    np.testing.assert_allclose([each.box for each in drawn], expected.boxes[order], rtol=1e-6)
    labels = [expected.labels[i].strip() or "no word" for i in order]
    assert [each.text.rpartition(" (")[0] for each in drawn] == labels
    listed = view_named(views, "Score")
    assert listed.threshold == 0.35
    assert [each.number for each in listed.candidates] == list(range(1, 13))


def test_image_without_boxes_has_a_panel_all_the_same():
    """`no_box` is the commonest answer of the study; a person wants to see why."""
    nothing = pd.DataFrame(columns=BOXES.columns)
    views = boxes_seen(nothing, ["defect ."], "published")
    assert view_named(views, "Boxes").boxes == ()
    assert view_named(views, "Score").note == "No box has a score above 0.05."


def test_sam_clip_lists_each_mask_with_its_share(tmp_path):
    """Two masks, features along the prompt and across it: exp(100) : 1 of the softmax."""
    masks = np.zeros((2, *SIZE), bool)
    masks[0, :20], masks[1, 40:] = True, True
    records = [
        {
            "rle": {"counts": encode_mask(mask)},
            "bbox": [0, 0, 80, 20],
            "area": 1600,
            "predicted_iou": 0.9,
            "stability_score": 0.9,
            "point": [1, 1],
        }
        for mask in masks
    ]
    segmenter = SamClip(
        stored(tmp_path / "masks", packed(records)),
        stored(tmp_path / "crops", {"features": np.stack([unit(0, 1), unit(1, 0)])}),
        Texts(defect=unit(1, 0)),
        prompts=["defect"],
        settings={"logit_scale": 100.0, "threshold": 0.05},
    )
    painted, listed = sam_clip_views(segmenter, ROW, IMAGE, None)
    assert [each.is_kept for each in listed.candidates] == [True, False]
    assert [each.score for each in listed.candidates] == pytest.approx([1.0, 0.0], abs=1e-6)
    assert "cut out 2 masks" in painted.note and "CLIP selected 1" in painted.note
    (_, y_first, first), (_, y_second, second) = painted.labels
    assert (first, second) == ("1", "2")
    assert y_first > 40 and y_second < 20, "the lower mask fits best"


def test_sam_clip_without_masks_says_so(tmp_path):
    segmenter = SamClip(
        stored(tmp_path / "masks", packed([])),
        stored(tmp_path / "crops", {"features": np.zeros((0, 2), np.float32)}),
        Texts(defect=unit(1, 0)),
        prompts=["defect"],
        settings={"logit_scale": 100.0, "threshold": 0.05},
    )
    painted, listed = sam_clip_views(segmenter, ROW, IMAGE, None)
    assert "cut out 0 masks" in painted.note
    assert "There is no mask to choose from." in listed.note


@pytest.mark.parametrize(("variant", "n_maps"), [("published", 1), ("repaired", 2)])
def test_clip_surgery_shows_the_maps_and_points_that_are_used(tmp_path, variant, n_maps):
    """As published only the first prompt counts, and the panel says which ones do not."""
    tokens = np.random.default_rng(3).normal(size=(1 + 8 * 8, 4)).astype(np.float32)
    texts = Texts(**{"defect": unit(1, 0, 0, 0), "void": unit(0, 1, 0, 0), "": unit(0, 0, 1, 0)})
    segmenter = ClipSurgerySam(
        stored(tmp_path / "patches", {"tokens": tokens}),
        None,
        texts,
        None,
        prompts=["defect", "void"],
        settings={**switches_of("clip_surgery_sam", variant), "threshold": 0.8, "downsample": 2},
    )
    views = clip_surgery_sam_views(segmenter, ROW, IMAGE, None)
    assert len(views) == 2 * n_maps
    column = similarity_map(
        tokens,
        texts.bare("defect")[None],
        redundant_feature=texts.bare(""),
        norm_axis="tokens" if variant == "published" else "channels",
    )[1:, 0]
    np.testing.assert_array_equal(views[0].picture, column.reshape(8, 8))
    points, labels = points_from_map(column, height_px=60, width_px=80)
    expected = [(x, y, bool(label)) for (x, y), label in zip(points, labels, strict=True)]
    assert list(views[1].points) == expected
    assert ("not 'void'" in views[0].note) == (variant == "published")


def saa_plus_views(tmp_path, boxes, *, binarise="good", limit=0.1, n_objects=1):
    wanted = {
        "p": {
            "class_name": "part",
            "object_name": None,
            "class_prompts": [["black hole", "hole"]],
            "general_prompts": False,
            "n_objects": n_objects,
            "max_masks": 3,
            "area_ratio": 0.9,
        }
    }
    asked = captions(prompts_of_category(wanted, "p"), object_comma=True)
    rows = boxes(asked)
    table = pd.DataFrame(rows, columns=BOXES.columns)
    limits = {"box_threshold": 0.1, "text_threshold": 0.1}
    product = saa_plus.propose(
        stored_detections(table, [asked.object_caption], floor=FLOOR),
        [""],
        max_area=1.0 / n_objects,
        **limits,
    )
    kept = saa_plus.propose(
        stored_detections(table, asked.defect_captions, floor=FLOOR),
        asked.filter_phrases,
        max_area=0.9 * product.largest_area,
        **limits,
    )
    mask = np.zeros(SIZE, bool)
    mask[10:20, 10:30] = True
    maps = pd.DataFrame(
        [
            {
                "image_id": ROW.image_id,
                "height_px": 60,
                "width_px": 80,
                "mask_rles": [encode_mask(mask)],
                "mask_scores": [0.5],
                "n_boxes": len(kept.boxes),
                "object_area": product.largest_area,
            }
        ]
    )
    segmenter = SaaPlus(
        maps,
        {ROW.image_id: limit},
        wanted,
        {**switches_of("saa_plus", "published"), "binarise": binarise, **limits},
        FLOOR,
        boxes=lambda: table,
        saliency=lambda: stored(tmp_path / "s", {"saliency": np.eye(64, dtype=np.float32)}),
    )
    return views_of_saa_plus(segmenter, ROW, IMAGE, None), kept, mask


def test_saa_plus_shows_why_each_box_was_dropped(tmp_path):
    """Score, size and name each drop boxes, and those left are the method's own."""

    def boxes(asked):
        (defects,) = asked.defect_captions
        return [
            *box_rows(asked.object_caption, ["part"], n=6, seed=4),
            *box_rows(defects, ["black", "hole"], n=40, seed=5),
        ]

    views, kept, mask = saa_plus_views(tmp_path, boxes)
    shown = view_named(views, "Boxes")
    drawn = [each for each in shown.boxes if each.style.name == "kept"]
    assert sorted(each.score for each in drawn) == pytest.approx(sorted(kept.scores.tolist()))
    assert [each.style.name for each in shown.boxes].count("product") == 1
    assert {each.style.name for each in shown.boxes} >= {"kept", "too large", "product"}
    found = view_named(views, "Anomaly map")
    assert found.picture[15, 20] == pytest.approx(0.25), "one mask: its score over 1 + 1"
    assert found.threshold == 0.1
    np.testing.assert_array_equal(found.contours[0][0], mask)
    assert "set on good images" in found.note
    assert [each[2] for each in view_named(views, "Masks in").labels] == ["0.50"]
    assert view_named(views, "Saliency").picture.shape == SIZE


def test_saa_plus_without_boxes_or_product_has_a_panel(tmp_path):
    views, kept, _ = saa_plus_views(tmp_path, lambda asked: [], binarise="f1max", limit=np.inf)
    assert len(kept.boxes) == 0
    assert view_named(views, "Boxes").boxes == ()
    assert "Product: 100 % of the image" in view_named(views, "Boxes").note
    assert view_named(views, "Anomaly map").contours == ()


def test_saa_plus_says_that_the_saliency_between_products_is_not_stored(tmp_path):
    """Better no map than the map of another question."""
    views, _, _ = saa_plus_views(tmp_path, lambda asked: [], n_objects=4)
    view = view_named(views, "Saliency")
    assert view.picture is None
    assert "4 products" in view.note


# ------------------------------------------------------------------------------------- whole panels


@pytest.fixture
def run(product):
    """A finished run of the pixel difference on the drawn product, without alignment."""
    product.prepare()
    manifest = product.manifest
    results = product.results
    aligned, truth = results / "aligned" / "chips", results / "truth" / "chips"
    transforms = []
    for row in manifest.itertuples():
        image = np.asarray(Image.open(row.image_path))
        write_png(image, aligned / f"{row.image_id}.png")
        if isinstance(row.mask_path, str):
            write_png(np.asarray(Image.open(row.mask_path)) > 0, truth / f"{row.image_id}.png")
        transforms.append(
            {
                "dataset": "chips",
                "image_id": row.image_id,
                "category": row.category,
                "status": "not_requested",
                **{f"m{r}{c}": float(r == c) for r in range(3) for c in range(3)},
                "residual_before": None,
                "residual_after": None,
                "overlap": 1.0,
                "width_px": image.shape[1],
                "height_px": image.shape[0],
                "pixels_sha256": "0",
            }
        )
    half = len(transforms) // 2
    shards = [aligned / "shards" / f"{i}-of-2.parquet" for i in range(2)]
    for path, rows in zip(shards, (transforms[:half], transforms[half:]), strict=True):
        write_table(rows, path, schema=TRANSFORMS, facts={})
    folder = results / "predictions" / "chips" / "pixel_difference" / "none"
    settings = {"smoothing_sigma_px": 1.0, "min_area_px": 5}
    references = {row.category: np.asarray(Image.open(row.image_path)) for row in
                  product.references.itertuples()}  # fmt: skip
    limits = pd.DataFrame(
        {"dataset": "chips", "image_id": manifest["image_id"], "threshold": 0.2, "fold": None}
    )
    write_table(limits, folder / "thresholds.parquet", schema=THRESHOLDS, facts={})
    segmenter = PixelDifference(
        manifest.set_index("image_id"),
        dict.fromkeys(manifest["image_id"], 0.2),
        references=references,
        images_folder=aligned,
        settings=settings,
    )
    masks = segment_shard(
        pd.DataFrame(transforms), segmenter.segment, method="pixel_difference", prompt="none"
    )
    write_table(list(masks), folder / "masks.parquet", schema=MASKS, facts={})
    about = manifest[["dataset", "image_id"]].assign(has_truth=True, lost_px=0)
    scores = score_masks(
        manifest,
        about,
        read_table(folder / "masks.parquet", schema=MASKS),
        truth_folder=truth,
        ignore_border="ignore",
    )
    write_table(list(scores), folder / "scores.parquet", schema=SCORES, facts={})
    return SimpleNamespace(
        folder=folder,
        results=results,
        settings=settings,
        manifest=manifest,
        segmenter=segmenter,
        files={
            "transforms": shards,
            "truth": truth / "truth.parquet",
            "masks": folder / "masks.parquet",
            "scores": folder / "scores.parquet",
            "thresholds": folder / "thresholds.parquet",
            "manifest": product.paths["manifest_path"],
            "references": product.paths["references_path"],
        },
        words={"title": "Pixel difference on chips"},
    )


def draw(run, image_ids):
    intensity = {"mapping": "identity", "low": None, "high": None}
    rows = draw_panels(
        run.files,
        Run("chips", "pixel_difference", "none", run.settings, intensity=intensity),
        kind="pixel_difference",
        image_ids=image_ids,
        folder=run.folder / "panels",
        results_folder=run.results,
        **run.words,
    )
    write_table(list(rows), run.folder / "panels.parquet", schema=PANELS, facts={})
    return read_table(run.folder / "panels.parquet", schema=PANELS)


def test_every_image_wanted_gets_a_panel_whatever_its_shard(run):
    """The table's paths lead to them from the folder of all results, as a report's links do."""
    table = draw(run, run.manifest["image_id"])
    assert sorted(table["image_id"]) == sorted(run.manifest["image_id"])
    for path in table["path"]:
        with Image.open(run.results / path) as panel:
            assert panel.format == "PNG"
    assert set(table["method"]) == {"pixel_difference"}
    assert set(table["prompt"]) == {"none"}


def test_panels_of_images_that_are_no_longer_wanted_go(run):
    """The folder holds what the table holds."""
    draw(run, run.manifest["image_id"])
    (run.folder / "panels" / "note.txt").write_text("mine")
    wanted = sorted(run.manifest["image_id"])[:1]
    draw(run, wanted)
    left = {str(p.relative_to(run.folder / "panels")) for p in run.folder.rglob("panels/**/*.*")}
    assert left == {"note.txt", f"{wanted[0]}.png"}


def test_no_image_wanted_gives_an_empty_table(run):
    """A data set of good parts has no row in the overlay figure."""
    assert draw(run, []).empty


def test_difference_is_shown_with_its_threshold_and_the_true_defect(run):
    """What is outlined in white is what became the mask, before dust is removed."""
    transforms = pd.concat(read_table(p, schema=TRANSFORMS) for p in run.files["transforms"])
    (row,) = [r for r in transforms.itertuples() if "NOK" in r.image_id and r.image_id[-1] == "0"]
    image = np.asarray(Image.open(run.files["transforms"][0].parents[1] / f"{row.image_id}.png"))
    truth = truth_of(run.files["truth"].parent, row.image_id)
    reference, difference = pixel_difference_views(run.segmenter, row, image, truth)
    assert reference.note == "Alignment of the image: not_requested."
    assert difference.threshold == 0.2
    names = [name for _, _, name in difference.contours]
    assert names == ["around the true defect", "above the threshold"]


def test_image_that_cannot_be_compared_shows_the_reference_only(run):
    """`not_comparable`: the sizes say why."""
    references = {name: each[:-8] for name, each in run.segmenter.references.items()}
    segmenter = replace(run.segmenter, references=references)
    row = next(read_table(run.files["transforms"][0], schema=TRANSFORMS).itertuples())
    (view,) = pixel_difference_views(segmenter, row, IMAGE, None)
    assert "nothing to compare" in view.note


def test_truth_counts_decided_pixels_only(tmp_path):
    """128 is what the annotator left open."""
    Image.fromarray(np.array([[0, 128, 255]], np.uint8)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(truth_of(tmp_path, "a"), [[False, False, True]])
    assert truth_of(tmp_path, "b") is None


# ------------------------------------------------------------------------- what is drawn, and words


def test_chosen_panels_are_those_of_the_overlay_figure(run):
    """Whoever wonders about a row of the figure finds its panel."""
    scores = run.files["scores"]
    shown = {"n_overlays": 1, "seed": 0}
    chosen = panel_images("chips", scores, shown=[scores], panels="chosen", **shown)
    table = read_table(scores, schema=SCORES)
    best = table[table["label"] == "NOK"].sort_values(["iou", "image_id"], ascending=[False, True])
    assert chosen == [best["image_id"].iloc[0]]
    every = panel_images("chips", scores, shown=[], panels="all", **shown)
    assert sorted(every) == sorted(run.manifest["image_id"])


def test_head_names_method_variant_prompt_and_data_set():
    methods = {
        "mine": {"label": "SAA+", "variant": "published"},
        "floor": {"label": "Pixel difference", "name": "Difference"},
    }
    about = {"methods": methods, "datasets": {"chips": {"name": "Chips"}}}
    head = panel_head("chips", "mine", "plain", **about)
    assert head["title"] == "SAA+ (published variant, prompt set plain) on Chips"
    assert panel_head("chips", "floor", "none", **about) == {"title": "Difference on Chips"}


def test_unequal_numbers_of_shards_are_refused():
    """Boxes of one shard beside the images of another would be silently wrong."""
    with pytest.raises(ValueError, match="as many shards of each kind of file"):
        files_of_shards({"boxes": ["a", "b"], "transforms": ["a"]})


def test_kind_that_is_not_known_is_refused(run):
    """With the known ones; never drawn as if it were another."""
    options = {"image_ids": [], "folder": run.folder / "panels", "results_folder": run.results}
    with pytest.raises(RegistryError, match="method: expected one of grounded_sam, .*'winclip'"):
        list(
            draw_panels(
                run.files, Run("chips", "x", "none", {}), kind="winclip", **options, **run.words
            )
        )
