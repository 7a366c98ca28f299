"""Automatic masks from a stored embedding against the package's own generator."""

import numpy as np
import pytest
import torch
from pycocotools import mask as coco
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import Sam

from realitycheck.models.sam import inference as sam
from realitycheck.models.sam.automatic_masks import MaskGrid, propose_masks
from realitycheck.models.sam.load import load_sam
from training.miniatures import sam_state


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("sam") / "sam.pth"
    torch.save(sam_state(seed=0), path)
    return load_sam(path)


def picture(height, width):
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[:height, :width]
    image = rng.uniform(0, 60, (height, width, 3))
    for _ in range(4):
        centre, colour = rng.uniform(0, 1, 2) * (height, width), rng.uniform(0, 195, 3)
        image[(rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < 200] += colour
    return image.astype(np.uint8)


GRIDS = {
    "default": {},
    "choosy": {"pred_iou_thresh": 0.93, "stability_score_thresh": 0.97, "box_nms_thresh": 0.5},
    "all": {"pred_iou_thresh": -100.0, "stability_score_thresh": 0.5},
}


@pytest.mark.parametrize("size", [(90, 120), (110, 80)])
@pytest.mark.parametrize("settings", GRIDS.values(), ids=GRIDS)
def test_records_equal_the_package_generators(model, size, settings):
    """Same masks, order, boxes and scores, without running the encoder again."""
    image = picture(*size)
    network = Sam(
        model.image_encoder,
        model.prompt_encoder,
        model.mask_decoder,
        list(sam.PIXEL_MEAN),
        list(sam.PIXEL_STD),
    )
    expected = SamAutomaticMaskGenerator(
        network, points_per_side=5, output_mode="coco_rle", **settings
    ).generate(image)
    embedding = sam.encode_image(model, image)
    before = model.n_images_encoded
    grid = MaskGrid(points_per_side=5, **settings)
    found = propose_masks(model, embedding, image_size_hw=size, grid=grid)
    assert model.n_images_encoded == before
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["rle"] == theirs["segmentation"]
        assert ours["bbox"] == theirs["bbox"]
        assert ours["area"] == theirs["area"]
        assert ours["point"] == theirs["point_coords"][0]
        assert ours["predicted_iou"] == pytest.approx(theirs["predicted_iou"], abs=1e-6)
        assert ours["stability_score"] == pytest.approx(theirs["stability_score"], abs=1e-6)


def test_batches_have_no_influence(model):
    """They bound memory; more points or masks at once must not change a record."""
    embedding = sam.encode_image(model, picture(90, 120))
    results = [
        propose_masks(
            model,
            embedding,
            image_size_hw=(90, 120),
            grid=MaskGrid(points_per_side=4, points_per_batch=points),
            masks_per_batch=masks,
        )
        for points, masks in ((64, 32), (3, 1), (16, 5))
    ]
    for result in results[1:]:
        assert [r["rle"] for r in result] == [r["rle"] for r in results[0]]


def test_bbox_is_one_less_than_the_true_extent(model):
    """The published convention; crops made with it lose a row and a column (oddity B3)."""
    embedding = sam.encode_image(model, picture(90, 120))
    record = propose_masks(model, embedding, image_size_hw=(90, 120))[0]
    rows, columns = np.nonzero(coco.decode(record["rle"]))
    x, y, w, h = record["bbox"]
    assert (x, y) == (columns.min(), rows.min())
    assert (x + w, y + h) == (columns.max(), rows.max())


def test_nothing_good_enough_gives_no_record(model):
    """No mask at all is an outcome, not an error (oddity B4)."""
    embedding = sam.encode_image(model, picture(40, 40))
    grid = MaskGrid(points_per_side=2, pred_iou_thresh=10.0)
    assert propose_masks(model, embedding, image_size_hw=(40, 40), grid=grid) == []
    with pytest.raises(ValueError, match="points_per_side: expected at least 1, found 0"):
        propose_masks(model, embedding, image_size_hw=(40, 40), grid=MaskGrid(points_per_side=0))
