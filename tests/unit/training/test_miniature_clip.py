"""Miniature weights: reproducible, in the official layouts, and never one-sided."""

import numpy as np
import pytest
import torch

from realitycheck.models import saliency
from realitycheck.models.checkpoints.read import load_state
from realitycheck.models.clip import model as clip
from training import miniature_clip
from training.miniatures import VARIANTS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("miniatures")
    miniature_clip.write_miniature_clip(folder)
    miniature_clip.write_miniature_saliency(folder)
    return folder


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (miniature_clip.write_miniature_clip, miniature_clip.CLIP_FILE),
        (miniature_clip.write_miniature_saliency, miniature_clip.SALIENCY_FILE),
    ],
)
def test_the_seed_decides_every_byte(folder, tmp_path, write, name):
    """Two runs of the demo must agree, and another seed must be another model."""
    again = write(tmp_path / "again", seed=0)
    other = write(tmp_path / "other", seed=1)
    assert again.name == name
    assert again.read_bytes() == (folder / name).read_bytes()
    assert other.read_bytes() != again.read_bytes()
    assert [path.name for path in again.parent.iterdir()] == [name]


def test_the_clip_has_the_names_of_the_official_file(folder):
    """302 tensors make up ViT-B-16; with 2 instead of 12 text layers, 120 fewer."""
    with torch.device("meta"):
        official = set(clip.build_clip(clip.known_sizes("ViT-B-16")).state_dict())
    assert len(official) == 302
    cut = {f"transformer.resblocks.{i}." for i in range(2, 12)}
    expected = {key for key in official if not key.startswith(tuple(cut))}
    assert set(load_state(folder / miniature_clip.CLIP_FILE)) == expected


def test_the_backbone_has_the_names_of_the_official_file(folder):
    """The official names include the fourth stage and the classifier, which saliency drops."""
    with torch.device("meta"):
        official = saliency.build_saliency("wide_resnet50_2", features_only=False).state_dict()
    state = load_state(folder / miniature_clip.SALIENCY_FILE)
    assert {key for key in official if ".0." in key or key.count(".") < 3} == set(state)


def test_crops_share_the_softmax(folder):
    """If one crop took everything, or all the same, selection would never be exercised."""
    rng = np.random.default_rng(5)
    model = clip.load_clip(folder / miniature_clip.CLIP_FILE, variant=VARIANTS["clip"])
    greys = np.linspace(60, 200, 12).astype(int)
    images = [rng.integers(grey - 20, grey + 20, (30, 40, 3), dtype=np.uint8) for grey in greys]
    features = clip.encode_crops(model, images)
    _, scores = clip.select_masks(features, clip.encode_text(model, ["defect"])[0])
    assert 0.1 < scores.max() < 0.95 and (scores > 0.01).sum() > 4
