"""Miniature models: reproducible, quick, and lively enough to exercise every path."""

import numpy as np
import pytest
import torch

from realitycheck.models.checkpoints.known import network_files, weights_digest
from realitycheck.models.grounding_dino import model as grounding_dino
from realitycheck.models.registry import network
from realitycheck.models.sam import inference as sam
from realitycheck.models.sam.load import load_sam
from realitycheck.models.sam.model import PARTS
from realitycheck.models.settings import ModelsSettings
from training.miniatures import DETECTOR_SIZE, VARIANTS, model_settings, sam_state, write_miniatures


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_miniatures(tmp_path_factory.mktemp("miniatures"), seed=0)


@pytest.fixture(scope="module")
def models(files):
    detector = grounding_dino.load_grounding_dino(
        files["grounding_dino"],
        text_encoder=files["text_encoder"],
        variant=DETECTOR_SIZE,
    )
    return detector, load_sam(files["sam"], variant=VARIANTS["sam"])


def pictures(n_images):
    """Discs on a noisy ground, and plain noise: what synthetic data sets look like."""
    rng = np.random.default_rng(7)
    for index in range(n_images):
        image = rng.normal(rng.uniform(60, 180), 20, (128, 160, 3))
        rows, columns = np.mgrid[:128, :160]
        for _ in range(index % 4):
            inside = (rows - rng.uniform(0, 128)) ** 2 + (columns - rng.uniform(0, 160)) ** 2 < 400
            image[inside] = rng.uniform(0, 255, 3)
        yield np.clip(image, 0, 255).astype(np.uint8)


def test_files_have_the_official_layout(files):
    """They must load through the very code that loads the official checkpoints."""
    state = torch.load(files["sam"], weights_only=True)
    assert {name.split(".")[0] for name in state} == set(PARTS)
    saved = torch.load(files["grounding_dino"], weights_only=True)
    assert set(saved) == {"model"} and all(name.startswith("module.") for name in saved["model"])


def test_settings_with_dimensions_name_files_that_load(tmp_path):
    """Tests and benchmarks of the workflow run on these; nothing is written twice."""
    settings = ModelsSettings(**model_settings(tmp_path, *VARIANTS))
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for name in VARIANTS:
        block = getattr(settings, name)
        files = {file.key: file.path for file in network_files(name, block)}
        network(name).load(files, {"variant": block.variant, "precision": "float32"}, device="cpu")
    model_settings(tmp_path, *VARIANTS)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == written


def test_same_seed_same_weights_other_seed_others():
    """A demo must be repeatable."""
    first, again, other = sam_state(seed=3), sam_state(seed=3), sam_state(seed=4)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_detector_is_reproducible(files, tmp_path):
    """Its last norm is calibrated by running it, and must come out the same again."""
    again = write_miniatures(tmp_path, seed=0)
    assert weights_digest(again["text_encoder"]) == weights_digest(files["text_encoder"])
    one, two = (
        torch.load(each["grounding_dino"], weights_only=True)["model"] for each in (files, again)
    )
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_some_images_have_a_box_and_some_have_none(models):
    """A demo in which the detector always or never finds a box would show half of the workflow."""
    detector, _ = models
    best = [
        float(grounding_dino.detect(detector, image, ["defect"])[0].scores.max())
        for image in pictures(12)
    ]
    assert 1 <= sum(score > 0.35 for score in best) <= 11
    assert len({round(score, 4) for score in best}) == 12


def test_masks_are_neither_empty_nor_full_and_depend_on_box_and_image(models):
    """Masks must be worth comparing."""
    _, segmenter = models
    boxes = np.array([[10.0, 10, 50, 50], [100, 70, 150, 120], [60, 20, 100, 90]])
    shares, all_masks = [], []
    for image in pictures(4):
        embedding = sam.encode_image(segmenter, image)
        masks, _, _ = sam.decode_boxes(segmenter, embedding, boxes, image_size_hw=(128, 160))
        shares += masks.mean(axis=(1, 2)).tolist()
        all_masks.append(masks)
        assert (masks[0] != masks[1]).any()
    assert 0.02 < np.median(shares) < 0.6
    assert np.mean([0.001 < share < 0.9 for share in shares]) > 0.8
    assert (all_masks[1] != all_masks[3]).any()
