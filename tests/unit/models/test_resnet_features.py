"""Whole-image features of the residual network."""

import numpy as np
import pytest
import torch

from realitycheck.models.resnet_features import N_CHANNELS, _channels, feature_maps
from realitycheck.models.saliency import load_saliency
from training.miniature_clip import write_miniature_saliency
from training.miniatures import VARIANTS


class Stages(torch.nn.Module):
    """Stands in for the network: its stages are the input at strides 1, 2 and 4."""

    def __init__(self):
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self.seen = []

    def forward(self, pixels):
        self.seen.append(pixels)
        return [pixels, pixels[..., ::2, ::2], pixels[..., ::4, ::4]]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = write_miniature_saliency(tmp_path_factory.mktemp("resnet"))
    return load_saliency(path, variant=VARIANTS["saliency"])


def draw(seed, size=(96, 128)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def test_cells_by_hand():
    """Black on the left, white on the right: mean 0 and spread 1 make that -1 and 1."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 32:] = 255
    ((fine, middle, coarse),) = feature_maps(Stages(), [image], input_size_px=64)
    assert fine.shape == middle.shape == coarse.shape == (3, 8, 8)  # cells of 8 px
    assert fine.dtype == np.float16
    for cells in (fine, middle, coarse):
        np.testing.assert_array_equal(cells[:, :, :4], -1)
        np.testing.assert_array_equal(cells[:, :, 4:], 1)


def test_gain_and_brightness_leave_no_trace():
    """A brighter lamp is no defect. One grey value is 1/50 of the spread here; features follow."""
    image = np.random.default_rng(0).integers(40, 120, (64, 64, 3), dtype=np.uint8)
    brighter = (1.5 * image.astype(float) + 30).round().astype(np.uint8)
    for a, b in zip(*feature_maps(Stages(), [image, brighter], input_size_px=64), strict=True):
        np.testing.assert_allclose(a, b, atol=0.03)


def test_an_image_of_one_grey_value_is_finite():
    """A lens cap, or an empty scan, has no spread to divide by."""
    blank = np.full((64, 64, 3), 200, np.uint8)
    assert all((each == 0).all() for each in feature_maps(Stages(), [blank], input_size_px=64)[0])


@pytest.mark.parametrize("size", [(96, 128), (64, 64), (40, 20), (300, 310)])
def test_images_of_any_size_become_the_square_that_was_asked_for(size):
    """Parts of one product may be cut out at different sizes."""
    stages = Stages()
    feature_maps(stages, [draw(0, size)], input_size_px=64)
    assert stages.seen[0].shape == (1, 3, 64, 64)


def test_maps_have_the_channels_of_three_stages(model):
    """16, 32 and 64 channels in the miniature, at cells of 8, 8 and 16 px."""
    maps = feature_maps(model, [draw(0), draw(1)], input_size_px=128)
    assert [each.shape for each in maps[0]] == [(16, 16, 16), (32, 16, 16), (64, 8, 8)]
    assert all(np.isfinite(each).all() for own in maps for each in own)


def test_of_many_channels_the_same_few_are_kept():
    """A wide network has 1,024 in a stage: too much to store of every image."""
    kept = _channels(1024)
    assert len(kept) == N_CHANNELS and (np.diff(kept) > 0).all() and kept[-1] < 1024
    np.testing.assert_array_equal(kept, _channels(1024))
    np.testing.assert_array_equal(_channels(16), np.arange(16))


def test_an_image_does_not_depend_on_its_neighbours(model):
    """A stored feature must be the same in whichever shard the image lies."""
    images = [draw(seed) for seed in range(3)]
    together = feature_maps(model, images, input_size_px=64)
    for image, expected in zip(images, together, strict=True):
        for a, b in zip(feature_maps(model, [image], input_size_px=64)[0], expected, strict=True):
            np.testing.assert_array_equal(a, b)
    assert not np.allclose(together[0][0], together[1][0])


def test_features_that_do_not_fit_are_refused():
    """Weights of another network give numbers without sense, and nobody would notice."""

    class Loud(Stages):
        def forward(self, pixels):
            return [1e6 * each for each in super().forward(pixels)]

    with pytest.raises(ValueError, match="must be below 65,504.*models.resnet.weights"):
        feature_maps(Loud(), [draw(0)], input_size_px=64)
