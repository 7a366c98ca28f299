"""GroundingDINO + SAM and the automatic masks against recorded results of the published code.

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

from realitycheck.methods.grounded_sam import algorithm as grounded_sam
from realitycheck.models.grounding_dino import model as gd
from realitycheck.models.sam import inference as sam
from realitycheck.models.sam.automatic_masks import MaskGrid, propose_masks
from realitycheck.models.sam.load import load_sam

CASES = ("truck", "catdog", "candle", "dogsgrey")


@pytest.fixture
def folder(tmp_path_factory):
    """One folder of checkpoints for the session."""
    folder = tmp_path_factory.getbasetemp() / "parity_grounded_sam"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def segmenter(maker, known, folder):
    path = folder / "sam.pth"
    if not path.exists():
        state = maker.make_sam(known["seed"])
        assert maker.content_hash(state) == known["files"]["sam_vit_mini.pth"]
        torch.save(state, path)
    return cached_sam(path)


@functools.cache
def cached_sam(path):
    return load_sam(path)


@functools.cache
def encode(path, image_path):
    return sam.encode_image(cached_sam(path), read_image(image_path))


def read_image(path):
    return np.array(Image.open(path).convert("RGB"))


def read_case(parity, case, name):
    """Image, arrays and texts of one recording."""
    folder = parity / case
    text = json.loads((folder / f"{name}.json").read_text())
    return read_image(folder / "image.png"), dict(np.load(folder / f"{name}.npz")), text


def iou(one, other):
    union = (one | other).sum()
    return 1.0 if not union else (one & other).sum() / union


def decode(rle):
    return coco.decode(rle).astype(bool)


def recorded_detections(arrays, text):
    """The kept boxes of each prompt as stored detections, without tokens."""
    return [
        gd.Detection(
            caption=prompt["caption"],
            tokens=("x",),
            boxes=arrays[f"boxes_{index}"],
            token_scores=arrays[f"logits_{index}"][:, None],
            scores=arrays[f"logits_{index}"],
        )
        for index, prompt in enumerate(text["per_prompt"])
    ]


@pytest.mark.parametrize("case", CASES)
def test_network_inputs_are_those_recorded(parity, case):
    """Resizing is exact to the last bit, for both networks."""
    image, arrays, text = read_case(parity, case, "groundingdino_sam")
    inputs = gd.preprocess(image)
    assert list(inputs.shape) == text["preprocessed_chw"]
    np.testing.assert_allclose(inputs[:, ::16, ::16], arrays["preprocessed_sample"], atol=1e-6)
    resized = sam.resize_image(image)
    assert list(resized.shape[:2]) == text["sam_resized_hw"]
    np.testing.assert_array_equal(resized[::16, ::16], arrays["sam_resized_sample"])


@pytest.mark.parametrize("case", CASES)
def test_selection_and_phrases_of_recorded_scores(parity, text_encoder, case):
    """From the scores of all queries: the same boxes, in order, with the same words."""
    _, arrays, text = read_case(parity, case, "groundingdino_sam")
    vocabulary = (text_encoder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    scores = arrays["raw_prob_0"]
    stored = gd.Detection(
        caption=gd.normalise_caption(text["prompts"][0]),
        tokens=tuple(vocabulary[index] for index in arrays["token_ids_0"]),
        boxes=arrays["raw_boxes_0"],
        token_scores=scores,
        scores=scores.max(axis=1),
    )
    assert gd.join_tokens(stored.tokens[1:-1]) == stored.caption
    chosen = gd.select_boxes(stored, box_threshold=text["box_threshold"])
    np.testing.assert_array_equal(chosen.boxes, arrays["boxes_0"])
    np.testing.assert_array_equal(chosen.scores, arrays["logits_0"])
    prompted = grounded_sam.prompted_boxes(
        [stored],
        image_size_hw=(10, 10),
        box_threshold=text["box_threshold"],
        text_threshold=text["text_threshold"],
    )
    assert list(prompted.labels) == text["per_prompt"][0]["phrases"]


@pytest.mark.parametrize("case", CASES)
def test_detector_repeats_the_published_code(parity, recorded_detector, case):
    """Scores of all queries and tokens, boxes, and what is kept, for every prompt."""
    image, arrays, text = read_case(parity, case, "groundingdino_sam")
    found = gd.detect(recorded_detector, image, text["prompts"])
    np.testing.assert_array_equal(found[0].token_ids, arrays["token_ids_0"])
    np.testing.assert_allclose(found[0].token_scores, arrays["raw_prob_0"], atol=1e-4)
    np.testing.assert_allclose(found[0].boxes, arrays["raw_boxes_0"], atol=1e-5)
    for index, detection in enumerate(found):
        chosen = gd.select_boxes(detection, box_threshold=text["box_threshold"])
        np.testing.assert_allclose(chosen.boxes, arrays[f"boxes_{index}"], atol=1e-5)
        np.testing.assert_allclose(chosen.scores, arrays[f"logits_{index}"], atol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_masks_of_recorded_boxes(parity, segmenter, folder, case):
    """Embedding, low-resolution logits, predicted IoU, each mask, and the union."""
    image, arrays, text = read_case(parity, case, "groundingdino_sam")
    embedding = encode(folder / "sam.pth", parity / case / "image.png")
    np.testing.assert_allclose(embedding[:, ::8, ::8], arrays["sam_embedding_sample"], atol=1e-4)
    size = image.shape[:2]
    detections = recorded_detections(arrays, text)
    prompted = grounded_sam.prompted_boxes(
        detections, image_size_hw=size, box_threshold=0.0, text_threshold=1.0
    )
    masks, ious, low = sam.decode_boxes(segmenter, embedding, prompted.boxes, image_size_hw=size)
    np.testing.assert_allclose(ious, arrays["sam_iou"][:, 0], atol=1e-4)
    np.testing.assert_allclose(low[:, ::8, ::8], arrays["sam_low_res"], atol=0.05)
    assert min(iou(m, decode(r)) for m, r in zip(masks, text["box_masks"], strict=True)) >= 0.999
    result = grounded_sam.segment(
        detections,
        sam.box_decoder(segmenter, embedding, image_size_hw=size),
        image_size_hw=size,
        box_threshold=text["box_threshold"],
        text_threshold=text["text_threshold"],
    )
    assert iou(result.mask, decode(text["final_mask"])) >= 0.999
    assert result.status == "ok" and result.n_regions == len(text["box_masks"])


def test_prompts_without_a_box(parity, segmenter, recorded_detector, folder):
    """Where no prompt finds a box the published code raises; one of two is no problem."""
    entries = [
        entry
        for entry in json.loads((parity / "_edge" / "t2s.json").read_text())
        if entry["pipeline"] == "groundingdino_sam"
    ]
    assert [entry["n_boxes"] for entry in entries] == [[0], [0, 4]]
    image, _, text = read_case(parity, "candle", "groundingdino_sam")
    size = image.shape[:2]
    embedding = encode(folder / "sam.pth", parity / "candle" / "image.png")
    decoder = sam.box_decoder(segmenter, embedding, image_size_hw=size)
    thresholds = {name: text[name] for name in ("box_threshold", "text_threshold")}
    for entry in entries:
        detections = gd.detect(recorded_detector, image, entry["prompts"])
        kept = [gd.select_boxes(d, box_threshold=text["box_threshold"]).boxes for d in detections]
        assert [len(boxes) for boxes in kept] == entry["n_boxes"]
        found = grounded_sam.segment(detections, decoder, image_size_hw=size, **thresholds)
        if any(entry["n_boxes"]):
            assert iou(found.mask, decode(entry["final_mask"])) >= 0.999
            assert found.mask.mean() == pytest.approx(entry["final_fraction"], abs=1e-4)
        else:
            assert found.status == "no_box" and not found.mask.any()


@pytest.mark.parametrize("case", CASES)
def test_automatic_masks_are_those_recorded(parity, segmenter, folder, case):
    """Same masks in the same order, with boxes, areas, scores and points."""
    image, arrays, text = read_case(parity, case, "sam_clip_faithful")
    found = propose_masks(
        segmenter,
        encode(folder / "sam.pth", parity / case / "image.png"),
        image_size_hw=image.shape[:2],
        grid=MaskGrid(points_per_side=text["points_per_side"]),
    )
    assert len(found) == text["n_masks"]
    overlaps = [
        iou(decode(ours["rle"]), decode(theirs))
        for ours, theirs in zip(found, text["masks"], strict=True)
    ]
    assert min(overlaps) >= 0.999
    np.testing.assert_allclose(
        [r["predicted_iou"] for r in found], arrays["predicted_iou"], atol=1e-5
    )
    # A share of pixels: one that lies on the threshold may fall to either side.
    stability = np.abs([r["stability_score"] for r in found] - arrays["stability_score"])
    assert (stability <= 1e-4 + 2 / arrays["area"]).all()
    np.testing.assert_allclose([r["point"] for r in found], arrays["point_coords"], rtol=1e-6)
    np.testing.assert_allclose([r["bbox"] for r in found], arrays["bbox"], atol=1)
    np.testing.assert_allclose([r["area"] for r in found], arrays["area"], rtol=1e-3)
