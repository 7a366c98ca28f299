"""SAA+'s saliency against recorded results of the published code, single and multi instance.

The recordings were made on small real images with miniature models.
"""

import functools
import json

import numpy as np
import pytest
import torch
from PIL import Image

from realitycheck.models import saliency
from realitycheck.models.sam import inference as sam
from realitycheck.models.sam.load import load_sam

CASES = ("truck", "catdog", "candle", "dogsgrey")
COLOUR_ORDER = {"faithful": "bgr", "fixed": "rgb"}


@pytest.fixture
def checkpoints(maker, known, tmp_path_factory):
    """Miniature backbone and SAM checkpoints in the official formats, written once a session."""
    folder = tmp_path_factory.getbasetemp() / "parity_saliency"
    if folder.is_dir():
        return folder
    backbone, sam_state = maker.make_backbone(known["seed"]), maker.make_sam(known["seed"])
    assert maker.content_hash(backbone) == known["files"]["wide_resnet50_2_mini.pth"]
    assert maker.content_hash(sam_state) == known["files"]["sam_vit_mini.pth"]
    folder.mkdir()
    torch.save(backbone, folder / "wide_resnet50_2_mini.pth")
    torch.save(sam_state, folder / "sam_vit_mini.pth")
    return folder


@functools.cache
def load_saliency(path):
    variant = {"layers": (1, 1, 1, 1), "channels": (4, 8, 16, 32)}
    return saliency.load_saliency(path, variant=variant)


@functools.cache
def cached_sam(path):
    return load_sam(path)


def read_image(path):
    return np.array(Image.open(path).convert("RGB"))


def object_masks(model, image, boxes, *, colour_order):
    """The masks that SAM draws for recorded boxes, relative (cx, cy, w, h)."""
    height, width = image.shape[:2]
    centre, size = boxes[:, :2], boxes[:, 2:]
    corners = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    corners = corners * (width, height, width, height)
    embedding = sam.encode_image(model, image, colour_order=colour_order)
    return sam.decode_boxes(model, embedding, corners, image_size_hw=(height, width))[0]


@pytest.mark.parametrize("variant", COLOUR_ORDER)
@pytest.mark.parametrize("case", CASES)
def test_saliency_repeats_the_published_code(parity, checkpoints, case, variant):
    """The map at image size is that recorded, for one object and for several."""
    arrays = dict(np.load(parity / case / f"saa_plus_{variant}.npz"))
    text = json.loads((parity / case / f"saa_plus_{variant}.json").read_text())
    order = COLOUR_ORDER[variant]
    image = read_image(parity / case / "image.png")
    masks = None
    if text["object_number"] > 1:
        masks = object_masks(
            cached_sam(checkpoints / "sam_vit_mini.pth"),
            image,
            arrays["pass0_boxes"],
            colour_order=order,
        )
        assert [mask.sum() for mask in masks] == arrays["object_mask_area"].tolist()
    found = saliency.saliency_map(
        load_saliency(checkpoints / "wide_resnet50_2_mini.pth"),
        image,
        bgr=order == "bgr",
        object_masks=masks,
    )
    np.testing.assert_allclose(found[::4, ::4], arrays["saliency"], atol=1e-5)
    stats = (found.min(), found.max(), found.mean(dtype=np.float64))
    np.testing.assert_allclose(stats, arrays["saliency_stats"], atol=1e-5)


def test_no_object_gives_the_single_instance_map(parity, checkpoints):
    """The published code raises where the detector finds no object; the map is then as if n = 1."""
    entries = json.loads((parity / "_edge" / "saa.json").read_text())
    assert {entry["object_number"] for entry in entries} == {1, 4}
    for entry in entries:
        assert entry["variant"] == "fixed" and entry["kept_per_pass"][0] == 0
        found = saliency.saliency_map(
            load_saliency(checkpoints / "wide_resnet50_2_mini.pth"),
            read_image(parity / entry["image"] / "image.png"),
            bgr=False,
            object_masks=[] if entry["object_number"] > 1 else None,
        )
        recorded = np.load(parity / "_edge" / entry["file"])["saliency"]
        np.testing.assert_allclose(found[::4, ::4], recorded, atol=1e-5)
