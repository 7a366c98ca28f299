"""Whole-image features of the residual network."""

import numpy as np
import pytest
import torch

from realitycheck.models.miniature_clip import write_miniature_saliency
from realitycheck.models.resnet_features import IMAGENET_MEAN, IMAGENET_STD, image_features
from realitycheck.models.saliency import load_saliency


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
    return load_saliency(path, variant="miniature")


def draw(seed, size=(96, 128)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def test_pooling_by_hand():
    """A black image with one white spot: the mean hardly notices it, the maximum does."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[0, 0] = 255
    (feature,) = image_features(Stages(), [image], input_size_px=64)
    mean, std = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    black, white = -mean / std, (1 - mean) / std
    expected = []
    for n_pixels in (64 * 64, 32 * 32, 16 * 16):
        expected += [black + (white - black) / n_pixels, white]
    np.testing.assert_allclose(feature, np.concatenate(expected), rtol=1e-5)


@pytest.mark.parametrize("size", [(96, 128), (64, 64), (40, 20), (300, 310)])
def test_images_of_any_size_become_the_square_that_was_asked_for(size):
    """Parts of one product may be cut out at different sizes."""
    stages = Stages()
    features = image_features(stages, [draw(0, size)], input_size_px=64)
    assert features.shape == (1, 18) and features.dtype == np.float32
    assert stages.seen[0].shape == (1, 3, 64, 64)


def test_features_are_twice_the_channels_of_three_stages(model):
    """Mean and maximum of 16, 32 and 64 channels in the miniature."""
    features = image_features(model, [draw(0), draw(1)], input_size_px=64)
    assert features.shape == (2, 2 * (16 + 32 + 64))
    assert np.isfinite(features).all()


def test_an_image_does_not_depend_on_its_neighbours(model):
    """A stored feature must be the same in whichever shard the image lies."""
    images = [draw(seed) for seed in range(3)]
    together = image_features(model, images, input_size_px=64)
    alone = np.concatenate([image_features(model, [i], input_size_px=64) for i in images])
    np.testing.assert_array_equal(together, alone)
    assert not np.allclose(together[0], together[1])
