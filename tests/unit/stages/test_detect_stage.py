"""Stored boxes say what the detector said, so a threshold edit runs no detector."""

import numpy as np
import pandas as pd
import pytest
import torch

from realitycheck.core.files import image_file
from realitycheck.core.images import write_png
from realitycheck.core.schemas import BOXES
from realitycheck.core.store import EncodingStore, FinishedRows
from realitycheck.core.tables import read_table, write_table
from realitycheck.encoders.base import Encodings
from realitycheck.encoders.detections import stored_detections
from realitycheck.methods.grounded_sam import algorithm as grounded_sam
from realitycheck.methods.grounded_sam.segmenter import GroundedSam
from realitycheck.models.grounding_dino.model import (
    GroundingDinoDimensions,
    GroundingDinoModel,
    boxes_to_pixels,
    build_network,
    detect,
)
from realitycheck.stages.detect import detect_shard
from training.miniatures import write_text_encoder

SMALL = GroundingDinoDimensions(
    swin_width=8,
    swin_depths=(1, 1, 1, 1),
    swin_heads=(1, 1, 1, 1),
    enc_layers=1,
    dec_layers=1,
    dim_feedforward=32,
    num_queries=12,
    short_side_px=64,
    long_side_limit_px=96,
)
CAPTIONS = ["defect", "scratch. dark spot."]
ASKED = {"texts": CAPTIONS, "composed": []}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A detector with random weights and 12 queries."""
    torch.manual_seed(0)
    text_encoder = write_text_encoder(tmp_path_factory.mktemp("model") / "bert")
    network = build_network(SMALL, text_encoder=text_encoder)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    # Untrained, all scores would round to 1; this spreads them between 0 and 1.
    network.get_parameter("transformer.decoder.norm.weight").fill_(0.02)
    return GroundingDinoModel(network, SMALL, torch.device("cpu"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two aligned images of different size."""
    folder = tmp_path_factory.mktemp("aligned")
    rng = np.random.default_rng(0)
    for name, size in (("a/1", (60, 90)), ("a/2", (64, 64))):
        write_png(rng.integers(0, 256, (*size, 3)).astype(np.uint8), image_file(folder, name))
    return folder


TRANSFORMS = pd.DataFrame(
    {
        "dataset": "chips",
        "image_id": ["a/1", "a/2"],
        "height_px": [60, 64],
        "width_px": [90, 64],
    }
)


def picture(folder, image_id):
    from realitycheck.core.images import read_image

    return read_image(image_file(folder, image_id))


@pytest.fixture(scope="module")
def floor(model, folder):
    """A floor that about half of the boxes of either caption and image pass."""
    found = [d for i in TRANSFORMS["image_id"] for d in detect(model, picture(folder, i), CAPTIONS)]
    return float(np.median(np.concatenate([d.scores for d in found])))


def store_boxes(model, folder, path, *, floor, transforms=TRANSFORMS):
    rows = list(
        detect_shard(
            transforms, model, asked=ASKED, prompt="types", floor=floor, images_folder=folder
        )
    )
    assert len(rows) == len(transforms)
    write_table([r for image in rows for r in image], path, schema=BOXES, facts={})
    return read_table(path, schema=BOXES)


def test_stored_boxes_are_the_detectors_own(model, folder, floor, tmp_path):
    """Through Parquet and back, value by value."""
    boxes = store_boxes(model, folder, tmp_path / "boxes.parquet", floor=floor)
    n_compared = 0
    for image_id, rows in boxes.groupby("image_id"):
        direct = detect(model, picture(folder, image_id), CAPTIONS, floor=floor)
        stored = stored_detections(rows, CAPTIONS, floor=floor)
        for one, other in zip(direct, stored, strict=True):
            assert other.floor == one.floor
            for name in ("boxes", "token_scores", "scores", "queries"):
                found, expected = getattr(other, name), getattr(one, name)
                assert found.dtype == expected.dtype, name
                if len(one.scores):
                    np.testing.assert_array_equal(found, expected)
            if len(one.scores):
                assert other.tokens == one.tokens
            n_compared += len(one.scores)
    assert n_compared == len(boxes) > 5


def test_corners_are_those_of_the_relative_boxes(model, folder, floor, tmp_path):
    """The columns for people agree with those for the next stage."""
    boxes = store_boxes(model, folder, tmp_path / "boxes.parquet", floor=floor)
    sizes = {"a/1": (60, 90), "a/2": (64, 64)}
    for row in boxes.itertuples():
        x, y, w, h = np.array(row.relative_box, float)
        height, width = sizes[row.image_id]
        expected = [(x - w / 2) * width, (y - h / 2) * height]
        expected += [(x + w / 2) * width, (y + h / 2) * height]
        # The stage computes in float32: an error of 1e-7 of 90 pixels, a few times over.
        np.testing.assert_allclose(
            [row.x_min, row.y_min, row.x_max, row.y_max], expected, atol=1e-4
        )
    assert (boxes["score"] > floor).all()
    assert set(boxes["text"]) == set(CAPTIONS)


def test_nothing_above_the_floor_is_an_empty_table(model, folder, tmp_path):
    """Most good images have no box at all."""
    boxes = store_boxes(model, folder, tmp_path / "boxes.parquet", floor=0.999)
    assert boxes.empty
    for found in stored_detections(boxes, CAPTIONS, floor=0.999):
        assert found.boxes.shape == (0, 4)
        assert found.scores.shape == (0,)
        assert found.token_scores.shape == (0, 0)


def test_image_backbone_runs_once_for_all_captions(model, folder):
    """It is the costly part, and knows nothing of the text."""
    before = model.n_backbone_passes
    list(detect_shard(TRANSFORMS, model, asked=ASKED, prompt="p", floor=0.5, images_folder=folder))
    assert model.n_backbone_passes - before == 2


def test_texts_that_make_one_caption_are_detected_once(model, folder, floor, monkeypatch):
    """A method asks about "hole", another about "Hole." — the detector reads the same."""
    detected = []

    def counted(model, image, captions, **options):
        detected.append(list(captions))
        return detect(model, image, captions, **options)

    monkeypatch.setattr("realitycheck.stages.detect.detect", counted)
    texts = [CAPTIONS[0], f"{CAPTIONS[0].upper()}."]
    asked = ASKED | {"texts": texts}
    found = detect_shard(
        TRANSFORMS, model, asked=asked, prompt="p", floor=floor, images_folder=folder
    )
    rows = [row for image in found for row in image]
    assert detected == [[f"{CAPTIONS[0]}."]] * 2
    first, second = ([row for row in rows if row["text"] == text] for text in texts)
    assert first and [row | {"text": texts[1]} for row in first] == second


def test_caption_is_detected_once_whatever_else_is_asked(model, folder, floor, tmp_path):
    """An edit of one text costs that text only, and another prompt set finds what it shares."""
    transforms = TRANSFORMS.assign(category="a", pixels_sha256=["one", "two"])
    finished = FinishedRows(tmp_path, facts={"floor": floor})
    options = {"floor": floor, "images_folder": folder, "finished": finished}

    def run(texts, prompt):
        before, seconds = model.n_backbone_passes, []
        asked = ASKED | {"texts": texts}
        found = detect_shard(
            transforms, model, asked=asked, prompt=prompt, seconds=seconds, **options
        )
        rows = [row for image in found for row in image]
        assert {row["prompt"] for row in rows} == {prompt}
        return rows, seconds, model.n_backbone_passes - before

    rows, seconds, n_passes = run(CAPTIONS, "types")
    assert n_passes == 2 and min(seconds) > 0
    again, same_seconds, n_passes = run(CAPTIONS, "other")
    assert n_passes == 0 and same_seconds == seconds
    assert [row | {"prompt": "types"} for row in again] == [
        {k: v.tolist() if hasattr(v, "tolist") else v for k, v in row.items()} for row in rows
    ]
    edited, _, n_passes = run([CAPTIONS[0], "dent"], "types")
    assert n_passes == 2
    kept = [row for row in edited if row["text"] == CAPTIONS[0]]
    assert kept == [row | {"prompt": "types"} for row in again if row["text"] == CAPTIONS[0]]


def test_segments_from_stored_boxes_are_those_of_a_direct_run(
    model, folder, floor, tmp_path, monkeypatch
):
    """The whole path by way of the disk must decide as the method does in one go."""
    boxes = store_boxes(model, folder, tmp_path / "boxes.parquet", floor=floor)
    store = EncodingStore(tmp_path / "store", facts={})
    keys = {}
    for number, image_id in enumerate(TRANSFORMS["image_id"]):
        keys[image_id] = store.key(image_id)
        store.put(keys[image_id], {"embedding": np.array([float(number)])})

    def box_decoder(sam, embedding, *, image_size_hw):
        assert sam == "sam"

        def decode(corners):
            masks = np.zeros((len(corners), *image_size_hw), bool)
            for mask, (x_min, y_min, x_max, y_max) in zip(masks, corners, strict=True):
                mask[max(0, round(float(y_min))) : max(0, round(float(y_max)))][
                    :, max(0, round(float(x_min))) : max(0, round(float(x_max)))
                ] = True
            masks[..., 0, 0] = bool(embedding[0])
            return masks

        return decode

    monkeypatch.setattr("realitycheck.methods.grounded_sam.segmenter.box_decoder", box_decoder)
    threshold = float(boxes["score"].median())
    segmenter = GroundedSam(
        boxes,
        lambda: "sam",
        Encodings(store, keys),
        captions=CAPTIONS,
        settings={
            "switches": {"strip_special": False},
            "box_threshold": threshold,
            "text_threshold": 0.25,
        },
        floor=floor,
    )
    n_regions = 0
    for number, row in enumerate(TRANSFORMS.itertuples()):
        image = picture(folder, row.image_id)
        direct = grounded_sam.segment(
            detect(model, image, CAPTIONS),
            box_decoder("sam", np.array([number]), image_size_hw=image.shape[:2]),
            image_size_hw=image.shape[:2],
            box_threshold=threshold,
            text_threshold=0.25,
        )
        found = segmenter.segment(row)
        np.testing.assert_array_equal(found.mask, direct.mask)
        assert found[1:] == direct[1:]
        n_regions += found.n_regions
    assert n_regions == (boxes["score"] > threshold).sum() > 0


def test_image_without_any_stored_box_is_no_box(folder, tmp_path, monkeypatch):
    """It has no rows in the table, and a row in the result all the same."""
    store = EncodingStore(tmp_path / "store", facts={})
    store.put(store.key("a/1"), {"embedding": np.zeros(1)})
    monkeypatch.setattr(
        "realitycheck.methods.grounded_sam.segmenter.box_decoder",
        lambda sam, embedding, image_size_hw: lambda boxes: np.zeros((0, *image_size_hw), bool),
    )
    segmenter = GroundedSam(
        pd.DataFrame(columns=BOXES.columns),
        lambda: "sam",
        Encodings(store, {"a/1": store.key("a/1")}),
        captions=CAPTIONS,
        settings={
            "switches": {"strip_special": True},
            "box_threshold": 0.35,
            "text_threshold": 0.25,
        },
        floor=0.05,
    )
    found = segmenter.segment(next(TRANSFORMS.itertuples()))
    assert found.status == "no_box"
    assert found.mask.shape == (60, 90)
    assert not found.mask.any()


def test_corner_conversion_is_the_models(model):
    """The helper that this stage relies on: a box of the whole image."""
    corners = boxes_to_pixels(np.array([[0.5, 0.5, 1.0, 1.0]], np.float32), image_size_hw=(60, 90))
    np.testing.assert_allclose(corners, [[0, 0, 90, 60]])
