"""SAA+ from its recorded boxes on, against recorded results of the published code.

The recordings were made on small real images with miniature models. Tolerances are the recordings'
own: what an independent implementation reached, times about ten.
"""

import functools
import json

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco

from realitycheck.methods.saa_plus import algorithm as saa_plus
from realitycheck.methods.saa_plus.prompts import SaaPlusPrompts, captions
from realitycheck.models import saliency
from realitycheck.models.grounding_dino.model import Detection, boxes_to_pixels, detect
from realitycheck.models.sam import inference as sam
from realitycheck.models.sam.load import load_sam

CASES = ("truck", "catdog", "candle", "dogsgrey")
VARIANTS = {"faithful": saa_plus.PUBLISHED, "fixed": saa_plus.REPAIRED}


@pytest.fixture
def checkpoints(maker, known, tmp_path_factory):
    """Miniature SAM and saliency checkpoints in the official formats, written once a session."""
    folder = tmp_path_factory.getbasetemp() / "parity_saa_plus"
    if folder.is_dir():
        return folder
    states = {
        "sam_vit_mini.pth": maker.make_sam(known["seed"]),
        "wide_resnet50_2_mini.pth": maker.make_backbone(known["seed"]),
    }
    folder.mkdir()
    for name, state in states.items():
        assert maker.content_hash(state) == known["files"][name]
        torch.save(state, folder / name)
    return folder


@functools.cache
def cached_sam(path):
    return load_sam(path)


@functools.cache
def load_saliency(path):
    variant = {"layers": (1, 1, 1, 1), "channels": (4, 8, 16, 32)}
    return saliency.load_saliency(path, variant=variant)


def read_case(parity, case, variant):
    """Image, arrays and texts of one recording."""
    folder = parity / case
    text = json.loads((folder / f"saa_plus_{variant}.json").read_text())
    arrays = dict(np.load(folder / f"saa_plus_{variant}.npz"))
    return np.array(Image.open(folder / "image.png").convert("RGB")), arrays, text


def decode(rle):
    return coco.decode(rle).astype(bool)


def iou(one, other):
    union = (one | other).sum()
    return 1.0 if not union else (one & other).sum() / union


def recorded_pass(arrays, text, index):
    """A pass as a stored detection: one token per word of a label, so labels come out the same."""
    phrases = [each.rsplit("(", 1)[0] for each in text["passes"][index]["phrases"]]
    tokens = tuple(dict.fromkeys(phrases))
    token_scores = np.zeros((len(phrases), max(1, len(tokens))), np.float32)
    scores = arrays[f"pass{index}_scores"]
    for row, each in enumerate(phrases):
        token_scores[row, tokens.index(each)] = scores[row]
    return Detection(
        caption=text["passes"][index]["caption"],
        tokens=tokens or ("x",),
        boxes=arrays[f"pass{index}_boxes"],
        token_scores=token_scores,
        scores=scores,
    )


def prompts_of(text):
    """The recorded prompts as ours; the recorded filter "PlaceHolder" drops none."""
    pairs = [(c, "" if f == "PlaceHolder" else f) for c, f in text["text_prompts"]]
    general = [pair for pair in pairs if pair[0] == f"flaw on {text['class_name']}"]
    return SaaPlusPrompts(
        text["class_name"],
        text["object_prompt"].removesuffix(","),
        tuple(pairs[3:] if general else pairs),
        general_prompts=bool(general),
        n_objects=text["object_number"],
        max_masks=text["k_mask"],
        area_ratio=text["area_ratio"],
    )


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("case", CASES)
def test_captions_are_those_recorded(parity, case, variant):
    """With the comma left behind in the published variant (oddity D2)."""
    _, _, text = read_case(parity, case, variant)
    found = captions(prompts_of(text), object_comma=VARIANTS[variant].object_comma)
    recorded = [each["caption"] for each in text["passes"]]
    assert [found.object_caption, *found.defect_captions] == recorded
    filters = [each["filtered_phrase"] for each in text["passes"][1:]]
    assert [each or "PlaceHolder" for each in found.filter_phrases] == filters


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("case", CASES)
def test_filters_keep_the_recorded_boxes(parity, case, variant):
    """From all boxes of the object pass, those of the recorded size; its largest sets the limit."""
    _, arrays, text = read_case(parity, case, variant)
    scores = arrays["pass0_all_scores"]
    everything = Detection(
        caption=text["passes"][0]["caption"],
        tokens=("x",),
        boxes=arrays["pass0_all_boxes"],
        token_scores=scores[:, None],
        scores=scores,
    )
    found = saa_plus.propose(
        [everything],
        [""],
        max_area=1.0 / text["object_number"],
        box_threshold=text["box_threshold"],
    )
    np.testing.assert_array_equal(found.boxes, arrays["pass0_boxes"])
    np.testing.assert_array_equal(found.scores, arrays["pass0_scores"])
    limit = found.largest_area * text["area_ratio"]
    assert limit == pytest.approx(text["defect_max_area"], rel=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("case", CASES)
def test_map_and_masks_of_recorded_boxes(parity, checkpoints, case, variant):
    """Every number from the boxes on: areas, rescored values, the best, map, and the union."""
    image, arrays, text = read_case(parity, case, variant)
    size, bgr = image.shape[:2], VARIANTS[variant].bgr
    segmenter = cached_sam(checkpoints / "sam_vit_mini.pth")
    backbone = load_saliency(checkpoints / "wide_resnet50_2_mini.pth")
    embedding = sam.encode_image(segmenter, image, colour_order="bgr" if bgr else "rgb")
    calls = []

    def decode_boxes(boxes):
        masks = sam.decode_boxes(segmenter, embedding, boxes, image_size_hw=size)[0]
        calls.append((boxes, masks))
        return masks

    def saliency_of(object_masks):
        several = object_masks if text["object_number"] > 1 else None
        found = saliency.saliency_map(backbone, image, bgr=bgr, object_masks=several)
        np.testing.assert_allclose(found[::4, ::4], arrays["saliency"], atol=1e-5)
        return found

    prompts = prompts_of(text)
    asked = captions(prompts, object_comma=VARIANTS[variant].object_comma)
    n_passes = len(text["passes"])
    found = saa_plus.segment(
        recorded_pass(arrays, text, 0),
        [recorded_pass(arrays, text, index) for index in range(1, n_passes)],
        filter_phrases=asked.filter_phrases,
        decode_boxes=decode_boxes,
        saliency=saliency_of,
        image_size_hw=size,
        n_objects=prompts.n_objects,
        max_masks=prompts.max_masks,
        area_ratio=prompts.area_ratio,
        box_threshold=text["box_threshold"],
        text_threshold=text["text_threshold"],
    )
    boxes, masks = calls[-1]
    np.testing.assert_allclose(boxes, arrays["defect_boxes_xyxy"], atol=1e-3)
    np.testing.assert_allclose(
        masks.sum(axis=(1, 2)), arrays["defect_mask_area"], rtol=1e-3, atol=2
    )
    if prompts.n_objects > 1:
        areas = calls[0][1].sum(axis=(1, 2))
        np.testing.assert_allclose(areas, arrays["object_mask_area"], rtol=1e-3, atol=2)
    np.testing.assert_allclose(found.scores, arrays["rescore"], atol=1e-4)
    assert found.best.tolist() == text["topk_index"]
    for index, rle in zip(found.best, text["topk_masks"], strict=True):
        assert iou(masks[index], decode(rle)) >= 0.999
    small = saa_plus.resize_map(found.anomaly_map, size_hw=(256, 256), cubic=False)
    # Single pixels may flip at the border of a mask, so the mean is held and not each pixel.
    assert np.abs(small - arrays["anomaly_map"]).mean() < 1e-4
    assert small.max() == pytest.approx(text["anomaly_map_max"], abs=1e-4)
    assert iou(found.segmentation.mask, decode(text["final_mask"])) >= 0.999
    assert found.segmentation.status == "ok"
    assert found.segmentation.mask.mean() == pytest.approx(text["final_fraction"], abs=1e-4)


def whole_run(image, prompts, *, checkpoints, detector, variant, box_threshold, text_threshold):
    """SAA+ from an image on; with it, each pass: the limit of its area and what it keeps."""
    size, bgr = image.shape[:2], variant.bgr
    segmenter = cached_sam(checkpoints / "sam_vit_mini.pth")
    backbone = load_saliency(checkpoints / "wide_resnet50_2_mini.pth")
    embedding = sam.encode_image(segmenter, image, colour_order="bgr" if bgr else "rgb")
    asked = captions(prompts, object_comma=variant.object_comma)
    detections = detect(detector, image, [asked.object_caption, *asked.defect_captions])
    thresholds = {"box_threshold": box_threshold, "text_threshold": text_threshold}
    limit, passes = 1.0 / prompts.n_objects, []
    for detection, phrase in zip(detections, ["", *asked.filter_phrases], strict=True):
        kept = saa_plus.propose([detection], [phrase], max_area=limit, **thresholds)
        passes.append((limit, kept))
        limit = passes[0][1].largest_area * prompts.area_ratio
    found = saa_plus.segment(
        detections[0],
        detections[1:],
        filter_phrases=asked.filter_phrases,
        decode_boxes=sam.box_decoder(segmenter, embedding, image_size_hw=size),
        saliency=lambda several: saliency.saliency_map(
            backbone, image, bgr=bgr, object_masks=several if prompts.n_objects > 1 else None
        ),
        image_size_hw=size,
        n_objects=prompts.n_objects,
        max_masks=prompts.max_masks,
        area_ratio=prompts.area_ratio,
        **thresholds,
    )
    return passes, found


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("case", CASES)
def test_whole_run_from_the_image(parity, checkpoints, recorded_detector, case, variant):
    """With boxes of our own run of the detector: every pass keeps the recorded ones, and the masks
    that come of them are those recorded."""
    image, arrays, text = read_case(parity, case, variant)
    passes, found = whole_run(
        image,
        prompts_of(text),
        checkpoints=checkpoints,
        detector=recorded_detector,
        variant=VARIANTS[variant],
        box_threshold=text["box_threshold"],
        text_threshold=text["text_threshold"],
    )
    for index, ((limit, kept), asked) in enumerate(zip(passes, text["passes"], strict=True)):
        assert limit == pytest.approx(asked["max_area"], abs=1e-5)
        np.testing.assert_allclose(kept.boxes, arrays[f"pass{index}_boxes"], atol=1e-5)
        np.testing.assert_allclose(kept.scores, arrays[f"pass{index}_scores"], atol=1e-4)
    np.testing.assert_allclose(found.scores, arrays["rescore"], atol=1e-4)
    assert found.best.tolist() == text["topk_index"]
    assert iou(found.segmentation.mask, decode(text["final_mask"])) >= 0.999


@pytest.mark.parametrize("number", range(2))
def test_images_on_which_the_published_code_raises(parity, checkpoints, recorded_detector, number):
    """No object box, or no box at all: what the code would give if it did not raise."""
    entry = json.loads((parity / "_edge" / "saa.json").read_text())[number]
    prompts = SaaPlusPrompts(
        "candle",
        entry["object_prompt"],
        tuple((caption, phrase) for caption, phrase in entry["text_prompts"]),
        general_prompts=False,
        n_objects=entry["object_number"],
        max_masks=entry["k_mask"],
        area_ratio=entry["area_ratio"],
    )
    passes, found = whole_run(
        np.array(Image.open(parity / entry["image"] / "image.png").convert("RGB")),
        prompts,
        checkpoints=checkpoints,
        detector=recorded_detector,
        variant=VARIANTS[entry["variant"]],
        box_threshold=entry["box_threshold"],
        text_threshold=0.1,
    )
    assert [len(kept.boxes) for _, kept in passes] == entry["kept_per_pass"]
    recorded = np.load(parity / "_edge" / entry["file"])["anomaly_map"]
    small = saa_plus.resize_map(found.anomaly_map, size_hw=recorded.shape, cubic=False)
    assert np.abs(small - recorded).mean() < 1e-4
    assert small.max() == pytest.approx(entry["anomaly_map_max"], abs=1e-4)


def test_image_without_any_box_has_the_recorded_map(parity, checkpoints):
    """The published code raises on an image without object and defect; the map is zero."""
    entry = next(
        each
        for each in json.loads((parity / "_edge" / "saa.json").read_text())
        if not any(each["kept_per_pass"])
    )
    size = np.array(Image.open(parity / entry["image"] / "image.png")).shape[:2]
    nothing = Detection(
        caption="x.",
        tokens=("x",),
        boxes=np.zeros((0, 4), np.float32),
        token_scores=np.zeros((0, 1), np.float32),
        scores=np.zeros(0, np.float32),
    )
    found = saa_plus.segment(
        nothing,
        [nothing] * len(entry["text_prompts"]),
        filter_phrases=[phrase for _, phrase in entry["text_prompts"]],
        decode_boxes=sam.box_decoder(
            cached_sam(checkpoints / "sam_vit_mini.pth"),
            np.zeros((64, 64, 64), np.float32),
            image_size_hw=size,
        ),
        saliency=np.zeros(size, np.float32),
        image_size_hw=size,
        n_objects=entry["object_number"],
        max_masks=entry["k_mask"],
        area_ratio=entry["area_ratio"],
        box_threshold=entry["box_threshold"],
    )
    recorded = np.load(parity / "_edge" / entry["file"])["anomaly_map"]
    small = saa_plus.resize_map(found.anomaly_map, size_hw=recorded.shape, cubic=False)
    np.testing.assert_array_equal(small, recorded)
    assert found.segmentation.status == "no_box" and found.object_area == 1.0


def test_boxes_become_the_recorded_pixels(parity):
    """Relative centre boxes to corners in pixels, not clipped."""
    image, arrays, text = read_case(parity, "truck", "faithful")
    boxes = [arrays[f"pass{index}_boxes"] for index in range(1, len(text["passes"]))]
    found = boxes_to_pixels(np.concatenate(boxes), image_size_hw=image.shape[:2])
    np.testing.assert_allclose(found, arrays["defect_boxes_xyxy"], atol=1e-3)
