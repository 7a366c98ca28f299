"""COCO's forms of masks, against pycocotools."""

import json
import re

import numpy as np
import pytest
from pycocotools import mask as coco

from realitycheck.methods.imported.coco import read_coco, unpacked


def encoded(mask):
    found = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": found["counts"].decode()}


def written(folder, annotations, *, images=None, is_results=False):
    images = images or [{"id": 7, "file_name": "a.png", "width": 40, "height": 24}]
    path = folder / "found.json"
    content = annotations if is_results else {"images": images, "annotations": annotations}
    path.write_text(json.dumps(content))
    (folder / "images.json").write_text(json.dumps({"images": images}))
    return path


@pytest.mark.parametrize("density", [0, 0.003, 0.1, 0.5, 1])
@pytest.mark.parametrize("shape", [(24, 40), (1, 1), (3, 1000)])
def test_run_lengths_are_unpacked_as_pycocotools_does(density, shape):
    """Compressed or plain; pycocotools itself reads beyond its memory where they are wrong."""
    mask = np.random.default_rng(1).random(shape) < density
    counts = unpacked(encoded(mask)["counts"])
    bits = np.repeat(np.arange(len(counts)) % 2, counts).reshape(shape, order="F")
    assert (bits == mask).all()


def test_every_form_of_a_mask_gives_the_same(tmp_path):
    """Polygons, compressed and plain run lengths, together in one file or as results."""
    mask = np.zeros((24, 40), bool)
    mask[2:9, 3:14] = True
    packed = encoded(mask)
    plain = {"size": [24, 40], "counts": unpacked(packed["counts"])}
    polygon = [[3, 2, 14, 2, 14, 9, 3, 9]]
    for form in (packed, plain, polygon):
        annotation = {"image_id": 7, "segmentation": form, "score": 0.5}
        for is_results in (False, True):
            path = written(tmp_path, [annotation], is_results=is_results)
            images = tmp_path / "images.json" if is_results else None
            ((prediction,), faults) = read_coco(path, images, threshold=None)
            assert faults == [] and prediction.names == ("a.png",)
            assert (prediction.content.mask() == mask).all()
            assert prediction.content.scores == [0.5]


def test_masks_of_an_image_are_united_and_those_below_the_threshold_left_out(tmp_path):
    """The image keeps the best score of all: it ranks the parts at any threshold."""
    squares = [[[x, 0, x + 4, 0, x + 4, 4, x, 4]] for x in (0, 10, 20)]
    annotations = [
        {"image_id": 7, "segmentation": square, "score": score}
        for square, score in zip(squares, (0.2, 0.5, 0.9), strict=True)
    ]
    path = written(tmp_path, annotations)
    ((prediction,), _) = read_coco(path, None, threshold=0.5)
    assert np.flatnonzero(prediction.content.mask().any(axis=0)).tolist() == [
        *range(10, 14),
        *range(20, 24),
    ]
    assert max(prediction.content.scores) == 0.9
    image = {"id": 8, "file_name": "b.png", "width": 4, "height": 3}
    path = written(tmp_path, [], images=[image])
    ((prediction,), _) = read_coco(path, None, threshold=None)
    assert not prediction.content.mask().any() and prediction.content.mask().shape == (3, 4)


BAD = [
    ({"image_id": 9}, "annotation 1: image_id 9 is the id of no image"),
    ({"image_id": 7, "bbox": [0, 0, 1, 1]}, "has no segmentation; a box alone is no mask"),
    ({"segmentation": [[1, 2, 3, 4]]}, "a polygon needs three corners or more"),
    ({"segmentation": [[1, 2, 3, 4, 5, "6"]]}, "a polygon needs three corners or more"),
    ({"segmentation": [[0, 0, 90, 0, 90, 9]]}, "outside its image: x from 0 to 90, expected 0 to"),
    (
        {"segmentation": {"size": [40, 24], "counts": [960]}},
        r"run lengths of size \[40, 24\], expected \[24, 40\]",
    ),
    ({"segmentation": {"size": [24, 40], "counts": [9, 9]}}, "do not fill the 960 pixels"),
    ({"segmentation": {"size": [24, 40], "counts": [970, -10]}}, "do not fill the 960 pixels"),
    ({"segmentation": {"size": [24, 40], "counts": "häh"}}, "do not fill the 960 pixels"),
    ({"segmentation": [[0, 0, 9, 0, 9, 9]], "score": 1.5}, r"score must lie in \[0, 1\]"),
    ({"segmentation": [[0, 0, 9, 0, 9, 9]], "score": "0.5"}, r"score must lie in \[0, 1\]"),
    (5, "expected an object, found 5"),
]


@pytest.mark.parametrize(("annotation", "words"), BAD)
def test_an_annotation_that_is_none_is_told(tmp_path, annotation, words):
    """With its number, and what was expected."""
    if isinstance(annotation, dict):
        annotation = {"image_id": 7} | annotation
    _, faults = read_coco(written(tmp_path, [annotation]), None, threshold=None)
    assert len(faults) == 1 and re.search(words, str(faults[0]))


def test_images_and_files_that_are_none_are_told(tmp_path):
    """All of them at once."""
    images = [
        {"id": 7, "file_name": "a.png", "width": 40, "height": 24},
        {"id": 7, "file_name": "b.png", "width": 40, "height": 24},
        {"id": 8, "width": 40, "height": 24},
        {"id": 9, "file_name": "c.png", "width": 40.5, "height": None},
    ]
    _, faults = read_coco(written(tmp_path, [], images=images), None, threshold=None)
    told = [fault.problem for fault in faults]
    assert told == [
        "image 2 has the id 7 of another image",
        "image 3 needs an id and a file_name",
        "image 4 needs width and height in pixels, found 40.5 and None",
    ]
    path = written(tmp_path, [], is_results=True)
    _, (fault,) = read_coco(path, None, threshold=None)
    assert "set coco_images" in fault.remedy
    path.write_text("{")
    _, (fault,) = read_coco(path, None, threshold=None)
    assert "expected JSON, but" in fault.problem
    _, (fault,) = read_coco(tmp_path / "none.json", None, threshold=None)
    assert "No such file" in fault.problem
    path = written(tmp_path, [{"image_id": 7, "segmentation": [[0, 0, 9, 0, 9, 9]]}])
    _, (fault,) = read_coco(path, None, threshold=0.5)
    assert "has no score, but a threshold is set" in fault.problem
