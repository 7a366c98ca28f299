"""CLIP Surgery: two streams from an unchanged CLIP, similarity maps, and points."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from realitycheck.models.clip import model as clip
from realitycheck.models.clip import surgery as clip_surgery
from realitycheck.models.grounding_dino.model import IMAGENET_MEAN, IMAGENET_STD
from training import miniature_clip
from training.miniatures import VARIANTS


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = miniature_clip.write_miniature_clip(tmp_path_factory.mktemp("surgery"))
    return clip.load_clip(path, variant=VARIANTS["clip"])


@pytest.fixture
def image():
    return np.random.default_rng(2).integers(0, 256, (50, 80, 3), dtype=np.uint8)


# Input


def test_single_normalisation_is_clips_own_input(image):
    """Repaired, the encoder sees what CLIP was trained on, at any input size."""
    found = clip_surgery.surgery_input(image, double_norm=False, clip_input_size=512)
    torch.testing.assert_close(found, clip.preprocess_clip(image, size_px=512))


def test_double_normalisation_of_a_plain_grey_image_by_hand():
    """A constant image stays constant under every resize, so both normalisations show alone."""
    grey = np.full((60, 90, 3), 51, np.uint8)  # 51 / 255 = 0.2
    found = clip_surgery.surgery_input(grey, double_norm=True)
    once = (0.2 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    twice = (once - np.array(clip.CLIP_MEAN)) / np.array(clip.CLIP_STD)
    assert found.shape == (3, 224, 224)
    np.testing.assert_allclose(found.mean((1, 2)).numpy(), twice, atol=1e-4)
    np.testing.assert_allclose(found.std((1, 2)).numpy(), 0, atol=1e-4)


def test_antialias_smooths_fine_texture():
    """Without the filter, shrinking 800 to 224 picks single pixels."""
    checkers = np.indices((800, 800)).sum(0) % 2 * 255
    image = np.repeat(checkers[..., None], 3, axis=2).astype(np.uint8)
    smooth = clip_surgery.surgery_input(image, double_norm=True, antialias=True)
    rough = clip_surgery.surgery_input(image, double_norm=True, antialias=False)
    assert smooth.std() * 5 < rough[0].std()


# Encoder


def double_stream(model, pixels, *, n_dual):
    """A straightforward second implementation, in float64, one head and one image at a time."""
    visual = model.visual

    def array(tensor):
        return tensor.detach().double().numpy()

    def norm(x, layer):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + layer.eps)
        return scaled * array(layer.weight) + array(layer.bias)

    def attend(block, x, *, by_values):
        weight, bias = array(block.attn.in_proj_weight), array(block.attn.in_proj_bias)
        width = x.shape[1]
        q, k, v = (
            x @ weight[i * width : (i + 1) * width].T + bias[i * width : (i + 1) * width]
            for i in range(3)
        )
        heads = []
        for h in range(width // 64):
            part = slice(h * 64, h * 64 + 64)
            left, right = (v, v) if by_values else (q, k)
            logits = left[:, part] @ right[:, part].T / 8
            powers = np.exp(logits - logits.max(1, keepdims=True))
            heads.append(powers / powers.sum(1, keepdims=True) @ v[:, part])
        out = block.attn.out_proj
        return np.concatenate(heads, 1) @ array(out.weight).T + array(out.bias)

    def mlp(block, x):
        x = norm(x, block.ln_2)
        x = x @ array(block.mlp.c_fc.weight).T + array(block.mlp.c_fc.bias)
        x = x / (1 + np.exp(-1.702 * x))
        return x @ array(block.mlp.c_proj.weight).T + array(block.mlp.c_proj.bias)

    patch = visual.patch_size[0]
    grid = pixels.shape[-1] // patch
    cut = array(pixels).reshape(3, grid, patch, grid, patch).transpose(1, 3, 0, 2, 4)
    kernel = array(visual.conv1.weight).reshape(visual.conv1.weight.shape[0], -1)
    x = cut.reshape(grid * grid, -1) @ kernel.T
    position = array(visual.positional_embedding)
    if grid == 7:  # half of 14: a bilinear resize to half the side is the mean of 2 × 2
        plane = position[1:].reshape(7, 2, 7, 2, -1).mean((1, 3)).reshape(49, -1)
        position = np.concatenate([position[:1], plane])
    x = np.concatenate([array(visual.class_embedding)[None], x]) + position
    old = norm(x, visual.ln_pre)
    blocks = list(visual.transformer.resblocks)
    for block in blocks[: len(blocks) - n_dual]:
        old = old + attend(block, norm(old, block.ln_1), by_values=False)
        old = old + mlp(block, old)
    new = old
    for block in blocks[len(blocks) - n_dual :]:
        u = norm(old, block.ln_1)
        new = new + attend(block, u, by_values=True)
        old = old + attend(block, u, by_values=False)
        old = old + mlp(block, old)
    tokens = np.concatenate([old[:1], new[1:]])
    return norm(tokens, visual.ln_post) @ array(visual.proj)


@pytest.mark.parametrize(("size", "n_dual"), [(224, 6), (112, 6), (224, 12), (224, 1)])
def test_tokens_equal_a_second_implementation(model, image, size, n_dual):
    """Written from the equations, head by head; 1e-4 is float32 through twelve blocks."""
    pixels = clip_surgery.surgery_input(image, clip_input_size=size)
    found = clip_surgery.encode_tokens(model, pixels[None], n_surgery_blocks=n_dual)[0]
    expected = double_stream(model, pixels, n_dual=n_dual)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("surgery", [True, False])
def test_the_class_token_is_that_of_the_plain_tower(model, image, surgery):
    """Surgery leaves the original stream alone, and takes the class token from it."""
    pixels = clip_surgery.surgery_input(image)[None]
    found = clip_surgery.encode_tokens(model, pixels, surgery=surgery)
    with torch.no_grad():
        expected = model.encode_image(pixels).numpy()
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-5)


def test_surgery_changes_the_patches_only_if_asked_for(model, image):
    """The literal published code asks for a model without surgery."""
    pixels = clip_surgery.surgery_input(image)[None]
    cut = clip_surgery.encode_tokens(model, pixels)
    plain = clip_surgery.encode_tokens(model, pixels, surgery=False)
    assert np.abs(cut[:, 1:] - plain[:, 1:]).max() > 0.1
    np.testing.assert_allclose(plain, double_stream(model, pixels[0], n_dual=0)[None], atol=1e-4)


def test_no_run_leaves_a_trace_in_the_model(model, image):
    """The published code overwrites the position embedding at the first other input size."""
    before = {key: value.clone() for key, value in model.state_dict().items()}
    small = clip_surgery.surgery_input(image)[None]
    first = clip_surgery.encode_tokens(model, small)
    large = clip_surgery.surgery_input(image, clip_input_size=320)[None]
    assert clip_surgery.encode_tokens(model, large).shape == (1, 401, 32)
    np.testing.assert_array_equal(clip_surgery.encode_tokens(model, small), first)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_a_batch_is_its_images(model, image):
    """Images may be encoded together; 1e-5 is the rounding of other matrix shapes."""
    pixels = torch.stack([clip_surgery.surgery_input(i) for i in (image, image[::-1], image // 3)])
    together = clip_surgery.encode_tokens(model, pixels)
    alone = [clip_surgery.encode_tokens(model, one[None])[0] for one in pixels]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_inputs_that_do_not_fit_are_refused(model):
    """A side of 230 would lose its last six pixels."""
    with pytest.raises(ValueError, match=r"patch size 16, found \(1, 3, 230, 230\)"):
        clip_surgery.encode_tokens(model, torch.zeros(1, 3, 230, 230))
    with pytest.raises(ValueError, match="expected 0 to 12, .* found 13"):
        clip_surgery.encode_tokens(model, torch.zeros(1, 3, 224, 224), n_surgery_blocks=13)


# Similarity


def test_similarity_by_hand_along_both_axes():
    """Two tokens, two channels; the text minus the redundant feature is (1, -1)."""
    tokens = np.array([[3.0, 4.0], [4.0, 0.0]], np.float32)
    text = np.array([[1.5, 0.0]], np.float32)
    redundant = np.array([0.5, 1.0], np.float32)
    by_channel = clip_surgery.similarity_map(
        tokens, text, redundant_feature=redundant, norm_axis="channels"
    )
    np.testing.assert_allclose(by_channel, [[0.6 - 0.8], [1.0]], atol=1e-7)
    by_token = clip_surgery.similarity_map(
        tokens, text, redundant_feature=redundant, norm_axis="tokens"
    )
    np.testing.assert_allclose(by_token, [[0.6 - 1.0], [0.8 - 0.0]], atol=1e-7)


def test_similarity_of_an_empty_token_is_zero_and_wrong_arguments_are_refused():
    """0 / 0 would spread over the whole map."""
    text, none = np.ones((2, 3), np.float32), np.zeros(3, np.float32)
    found = clip_surgery.similarity_map(
        np.zeros((5, 3), np.float32), text, redundant_feature=none, norm_axis="channels"
    )
    np.testing.assert_array_equal(found, np.zeros((5, 2)))
    with pytest.raises(ValueError, match="found 'rows'"):
        clip_surgery.similarity_map(
            np.ones((5, 3), np.float32), text, redundant_feature=none, norm_axis="rows"
        )
    with pytest.raises(ValueError, match=r"found \(5, 4\) and \(2, 3\)"):
        clip_surgery.similarity_map(
            np.ones((5, 4), np.float32), text, redundant_feature=none, norm_axis="tokens"
        )


# Points


def test_points_by_hand():
    """Cells (means of 2 × 2) are 1, .9 / 0, .5: two highest positive, two lowest negative."""
    cells = np.array([[1.0, 0.9], [0.0, 0.5]])
    plane = np.kron(cells, np.ones((2, 2))) + np.tile([[0.1, -0.1], [-0.1, 0.1]], (2, 2))
    points, labels = clip_surgery.points_from_map(plane.ravel(), height_px=100, width_px=40)
    assert labels.tolist() == [1, 1, 0, 0]
    assert points.tolist() == [[30, 25], [10, 25], [10, 75], [30, 75]]


def test_one_peak_gives_one_point_of_each_kind():
    """The number of negative points follows that of the positive ones."""
    plane = np.zeros((14, 14))
    plane[4:6, 8:10] = 1
    plane[13, 0] = -0.2
    points, labels = clip_surgery.points_from_map(plane.ravel(), height_px=224, width_px=448)
    assert labels.tolist() == [1, 0]
    assert points.tolist() == [[288, 80], [32, 208]]


def test_at_most_half_of_the_cells_are_positive():
    """Of 49 cells 24 may be positive, and as many negative: no cell is both."""
    plane = np.ones((14, 14))
    plane[0, 0] = 0
    points, labels = clip_surgery.points_from_map(plane.ravel(), height_px=70, width_px=70)
    assert labels.tolist() == [1] * 24 + [0] * 24
    assert len({tuple(point) for point in points.tolist()}) == 48


@pytest.mark.parametrize("value", [0.0, 0.3, np.nan])
def test_a_map_without_contrast_points_nowhere(value):
    """The published code fails here: no number lies above 0 / 0."""
    points, labels = clip_surgery.points_from_map(np.full(196, value), height_px=50, width_px=50)
    assert points.shape == (0, 2) and labels.shape == (0,)


def test_a_single_undefined_value_points_nowhere():
    """Its cell would make the scale of all others undefined."""
    plane = np.arange(196.0)
    plane[7] = np.nan
    assert len(clip_surgery.points_from_map(plane, height_px=50, width_px=50)[0]) == 0


@pytest.mark.parametrize("shape", [(197,), (1,), (14, 14)])
def test_only_a_square_map_of_one_prompt_gives_points(shape):
    """197 is a map whose class token was left in."""
    with pytest.raises(ValueError, match="leave the class token out"):
        clip_surgery.points_from_map(np.ones(shape), height_px=50, width_px=50)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    grid=st.integers(2, 33),
    height_px=st.integers(1, 3000),
    width_px=st.integers(1, 3000),
)
def test_points_lie_in_the_image_in_pairs(seed, grid, height_px, width_px):
    """Any map gives as many positive as negative points, all inside the image."""
    plane = np.random.default_rng(seed).standard_normal(grid * grid)
    points, labels = clip_surgery.points_from_map(plane, height_px=height_px, width_px=width_px)
    n = len(labels) // 2
    assert labels.tolist() == [1] * n + [0] * n
    assert n <= (grid // 2) ** 2 // 2
    assert (points >= 0).all()
    assert (points[:, 0] < width_px).all() and (points[:, 1] < height_px).all()
