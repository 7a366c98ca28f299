"""Saliency: distances within one image, for one object and for several."""

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from realitycheck.models import saliency
from realitycheck.models.checkpoints.read import load_state
from training import miniature_clip
from training.miniatures import VARIANTS


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return miniature_clip.write_miniature_saliency(tmp_path_factory.mktemp("saliency"))


@pytest.fixture(scope="module")
def model(weights):
    return saliency.load_saliency(weights, variant=VARIANTS["saliency"])


@pytest.fixture
def image():
    rng = np.random.default_rng(4)
    coarse = rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return cv2.resize(coarse, (90, 60), interpolation=cv2.INTER_CUBIC)


class Stub(torch.nn.Module):
    """Gives a feature map chosen by the test, and remembers the inputs' sides."""

    def __init__(self, stage1, stage2=None, stage3=None):
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        grid = stage1.shape[-1]
        self.stages = [
            torch.as_tensor(stage, dtype=torch.float32)[None]
            for stage in (
                stage1,
                np.zeros((1, grid // 2, grid // 2)) if stage2 is None else stage2,
                np.zeros((1, grid // 4, grid // 4)) if stage3 is None else stage3,
            )
        ]
        self.sides = []

    def forward(self, pixels):
        self.sides.append(pixels.shape[-1])
        return self.stages


# Loading


def test_the_official_network_has_the_published_features():
    """256, 512 and 1024 channels at strides 4, 8 and 16."""
    with torch.device("meta"):
        backbone = saliency.build_saliency("wide_resnet50_2", features_only=True)
    assert backbone.feature_info.channels() == [256, 512, 1024]
    assert backbone.feature_info.reduction() == [4, 8, 16]


def test_a_mapping_of_sizes_loads_like_a_name(weights, model, image):
    """A user's own network comes through the same door."""
    own = saliency.load_saliency(
        weights, variant={"layers": [1, 1, 1, 1], "channels": [4, 8, 16, 32]}
    )
    np.testing.assert_array_equal(
        saliency.single_instance_saliency(own, image, bgr=False),
        saliency.single_instance_saliency(model, image, bgr=False),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("layer2.0.conv1.weight"), "1 missing .*layer2.0.conv1.weight"),
        (lambda s: s.update(head=torch.zeros(1)), "1 unexpected .*head"),
        (lambda s: s.update({"bn1.bias": torch.zeros(3)}), "another shape .*bn1.bias"),
    ],
)
def test_foreign_files_are_refused(weights, tmp_path, change, message):
    """Only the fourth stage and the classifier may be left over."""
    state = dict(load_state(weights))
    change(state)
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(ValueError, match=message):
        saliency.load_saliency(tmp_path / "odd.safetensors", variant=VARIANTS["saliency"])


@pytest.mark.parametrize("variant", ["resnet18", {"layers": (1, 1, 1, 1)}, {"layers": (1,)}])
def test_unknown_variants_are_refused(variant):
    """The message names what there is."""
    with pytest.raises(ValueError, match="expected one of wide_resnet50_2, everyday"):
        saliency.saliency_sizes(variant)


# Features


def test_features_join_three_stages_by_repetition(image):
    """Each coarse value serves the 2 × 2 or 4 × 4 places below it; all have length 1 together."""
    rng = np.random.default_rng(0)
    maps = [rng.standard_normal((c, s, s)) for c, s in ((3, 8), (5, 4), (7, 2))]
    found = saliency.saliency_features(
        Stub(*maps), image, input_size_px=64, bgr=False, precision="float32"
    )
    repeated = [maps[0], *(np.kron(m, np.ones((1, k, k))) for m, k in ((maps[1], 2), (maps[2], 4)))]
    expected = np.concatenate(repeated).reshape(15, 64).T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_input_is_the_squashed_image_normalised(image):
    """ImageNet's constants on the 0..255 scale, after OpenCV's bilinear resize."""
    seen = []

    class Spy(Stub):
        def forward(self, pixels):
            seen.append(pixels)
            return super().forward(pixels)

    spy = Spy(np.ones((1, 4, 4)))
    for bgr in (False, True):
        saliency.saliency_features(spy, image, input_size_px=32, bgr=bgr, precision="float32")
    resized = cv2.resize(image, (32, 32)).astype(np.float64)
    for pixels, channels in zip(seen, (resized, resized[..., ::-1]), strict=True):
        expected = (channels / 255 - saliency.IMAGENET_MEAN) / saliency.IMAGENET_STD
        np.testing.assert_allclose(pixels[0].permute(1, 2, 0).numpy(), expected, atol=1e-5)


def test_swapped_channels_are_the_swapped_image(model, image):
    """The published slip is a switch and nothing else."""
    swapped = np.ascontiguousarray(image[..., ::-1])
    np.testing.assert_array_equal(
        saliency.single_instance_saliency(model, image, bgr=True),
        saliency.single_instance_saliency(model, swapped, bgr=False),
    )
    assert not np.array_equal(
        saliency.single_instance_saliency(model, image, bgr=True),
        saliency.single_instance_saliency(model, image, bgr=False),
    )


# One object


def test_the_odd_place_is_salient_by_hand(image):
    """15 equal places and one opposite: it is at distance 1 from all, each other from it alone."""
    stage = np.zeros((1, 4, 4))
    stage[0] = 1
    stage[0, 1, 2] = -1
    found = saliency.single_instance_saliency(Stub(stage), image, bgr=False, n_largest=4)
    expected = np.full((4, 4), 0.25)
    expected[1, 2] = 1
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_single_instance_equals_full_sorting(model, image):
    """The published code sorts the whole matrix; selecting and chunking must not matter."""
    features = saliency.saliency_features(
        model, image, input_size_px=256, bgr=False, precision="float32"
    )
    features = features.double().numpy()
    assert features.shape == (4096, 112)
    distances = np.sort((1 - features @ features.T) / 2, axis=1)
    expected = distances[:, -400:].mean(axis=1).reshape(64, 64)
    found = saliency.single_instance_saliency(model, image, bgr=False)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    chunked = saliency.single_instance_saliency(model, image, bgr=False, chunk_rows=999)
    np.testing.assert_allclose(chunked, found, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_map(model, weights, image):
    """Devices round differently; 1e-3 is far below what ranks masks."""
    on_gpu = saliency.load_saliency(weights, variant=VARIANTS["saliency"], device="cuda")
    masks = np.zeros((2, *image.shape[:2]), bool)
    masks[0, 5:20, 5:20], masks[1, 30:50, 40:80] = True, True
    for objects in (None, masks):
        np.testing.assert_allclose(
            saliency.saliency_map(on_gpu, image, bgr=True, object_masks=objects),
            saliency.saliency_map(model, image, bgr=True, object_masks=objects),
            atol=1e-3,
        )


# Several objects


def objects_of(grid, *places):
    """Masks at image size = grid size, one per list of flat places."""
    masks = np.zeros((len(places), grid * grid), bool)
    for mask, chosen in zip(masks, places, strict=True):
        mask[list(chosen)] = True
    return masks.reshape(-1, grid, grid)


def naive_multi_instance(features, masks):
    """The published rule, place by place."""
    result = np.zeros(len(features))
    for i, own in enumerate(masks):
        others = np.logical_or.reduce([m for j, m in enumerate(masks) if j != i])
        zeroed = np.where(own[:, None], 0, features)
        for p in np.flatnonzero(own):
            nearest = max(features[p] @ zeroed[q] for q in np.flatnonzero(others))
            result[p] = max(result[p], (1 - nearest) / 2)
    return result


@pytest.fixture
def small_grid(monkeypatch):
    """A 16 × 16 grid in place of 256 × 256, so that loops in Python can follow."""
    monkeypatch.setattr(saliency, "MULTI_INPUT_PX", 64)
    rng = np.random.default_rng(7)
    stage = rng.standard_normal((6, 16, 16))
    features = stage.reshape(6, 256).T
    return Stub(stage), features / np.linalg.norm(features, axis=1, keepdims=True)


@pytest.mark.parametrize(
    "places",
    [
        [range(10), range(40, 60)],
        [range(10), range(40, 60), range(100, 256)],
        [range(0, 20), range(10, 30)],  # overlap
        [range(0, 20), range(5, 10)],  # one inside the other
        [range(30), range(30)],  # the same twice
        [range(30), [], range(50, 60)],  # one without a place
    ],
)
def test_multi_instance_equals_the_rule_place_by_place(small_grid, places):
    """Shared places count as zero vectors, as published; chunks must not matter."""
    stub, features = small_grid
    masks = objects_of(16, *places)
    image = np.zeros((16, 16, 3), np.uint8)
    filled = [mask.ravel() for mask in masks if mask.any()]
    expected = naive_multi_instance(features, filled).reshape(16, 16)
    for chunk_values in (1, 100, 10**6):
        found = saliency.multi_instance_saliency(
            stub, image, object_masks=masks, bgr=False, chunk_values=chunk_values
        )
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_equal_objects_are_not_salient_and_the_background_is_zero(monkeypatch):
    """Three objects, the third unlike the others: it alone stands out."""
    monkeypatch.setattr(saliency, "MULTI_INPUT_PX", 16)
    stage = np.zeros((2, 4, 4))
    stage[0] = 1
    stage[:, 3, :] = [[0], [1]]
    masks = objects_of(4, [0, 1], [4], [12, 13])
    found = saliency.multi_instance_saliency(
        Stub(stage), np.zeros((4, 4, 3), np.uint8), object_masks=masks, bgr=False
    )
    expected = np.zeros((4, 4))
    expected[3, :2] = 0.5
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_input_sizes_do_not_stick(image):
    """The published network stays at 256 after an image with a single object."""
    stub = Stub(np.random.default_rng(1).standard_normal((2, 256, 256)))
    masks = np.zeros((2, 60, 90), bool)
    masks[0, 5:8, 5:8], masks[1, 20:23, 5:8] = True, True
    small = Stub(np.random.default_rng(1).standard_normal((2, 64, 64)))
    saliency.saliency_map(small, image, bgr=False)
    assert small.sides == [256]
    found = saliency.saliency_map(stub, image, bgr=False, object_masks=masks)
    assert stub.sides == [1024] and found.shape == (60, 90)


@pytest.mark.parametrize("n_objects", [0, 1])
def test_fewer_than_two_objects_give_the_single_instance_map(model, image, n_objects):
    """The published code raises; there is nothing to compare an only object with."""
    masks = np.zeros((2, *image.shape[:2]), bool)
    masks[:n_objects, 10:30, 10:30] = True
    found = saliency.multi_instance_saliency(model, image, object_masks=masks, bgr=True)
    np.testing.assert_array_equal(found, saliency.single_instance_saliency(model, image, bgr=True))
    at_size = saliency.saliency_map(model, image, bgr=True, object_masks=masks)
    np.testing.assert_array_equal(
        at_size, saliency.resize_saliency(found, height_px=60, width_px=90)
    )


def test_an_object_that_vanishes_on_the_grid_is_skipped(model):
    """One pixel of 1000 lies between the samples of a 256 grid."""
    masks = np.zeros((2, 1000, 1000), bool)
    masks[0, 100:300, 100:300], masks[1, 1, 1] = True, True
    image = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    found = saliency.multi_instance_saliency(model, image, object_masks=masks, bgr=False)
    assert found.shape == (64, 64)


def test_masks_of_another_image_are_refused(model, image):
    """They would be stretched to fit."""
    with pytest.raises(ValueError, match=r"expected shape \(60, 90\) .* found \(90, 60\)"):
        saliency.multi_instance_saliency(
            model, image, object_masks=np.ones((2, 90, 60), bool), bgr=False
        )


def test_resizing_is_bilinear_between_place_centres():
    """Two places over four pixels: the outer pixels keep their value, the inner ones mix."""
    grid = np.array([[0.0, 1.0], [0.0, 1.0]], np.float32)
    found = saliency.resize_saliency(grid, height_px=1, width_px=4)
    np.testing.assert_allclose(found, [[0, 0.25, 0.75, 1]])
