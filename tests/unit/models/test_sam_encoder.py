"""The faster encoder against the package's own: the same numbers."""

import functools

import pytest
import torch
from segment_anything.modeling.image_encoder import Attention, Block

from realitycheck.models import sam, sam_encoder


def random_weights(module):
    """Draw all weights anew, so that position tables and biases matter."""
    for parameter in module.parameters():
        parameter.data.normal_(0, 0.3)
    return module.eval().requires_grad_(False)


def attention(*, size=(6, 5), use_rel_pos=True, heads=4):
    """The package's attention."""
    torch.manual_seed(0)
    return random_weights(Attention(32, num_heads=heads, use_rel_pos=use_rel_pos, input_size=size))


def assert_same(found, expected):
    """Equal but for rounding."""
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("use_rel_pos", [True, False])
@pytest.mark.parametrize("block_values", [1, 400, 2000, 1 << 20])
def test_blocks_equal_the_whole(monkeypatch, use_rel_pos, block_values):
    """Single rows, some rows, some planes, everything at once: one result."""
    monkeypatch.setattr(sam_encoder, "_BLOCK_VALUES", block_values)
    module = attention(use_rel_pos=use_rel_pos)
    patches = torch.randn(3, 6, 5, 32)
    assert_same(sam_encoder.attend(module, patches), module(patches))


@pytest.mark.parametrize("use_rel_pos", [True, False])
@pytest.mark.parametrize("heads", [2, 4, 8])
def test_fused_kernels_take_places_as_products(use_rel_pos, heads):
    """Vectors that are and are not a multiple of what kernels want; planes that are no squares."""
    module = attention(use_rel_pos=use_rel_pos, heads=heads)
    patches = torch.randn(3, 6, 5, 32)
    assert_same(sam_encoder.attend(module, patches, is_fused=True), module(patches))


@pytest.mark.parametrize("is_fused", [True, False])
def test_position_tables_of_another_size_are_stretched(is_fused):
    """As in the package, for images of another size than the model's."""
    module, patches = attention(size=(8, 8)), torch.randn(1, 6, 5, 32)
    assert_same(sam_encoder.attend(module, patches, is_fused=is_fused), module(patches))


@pytest.mark.parametrize("is_fused", [True, False])
def test_reduced_precision_is_as_exact_as_the_packages(is_fused):
    """Under autocast the result is in the same type and not farther from that of float32."""
    module, patches = attention(), torch.randn(2, 6, 5, 32)
    exact = module(patches)
    with torch.autocast("cpu", torch.bfloat16):
        expected = module(patches)
        found = sam_encoder.attend(module, patches, is_fused=is_fused)
    assert found.dtype == expected.dtype
    assert 0 < (found - exact).norm() <= 1.2 * (expected - exact).norm()


@pytest.mark.parametrize("is_fused", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("image_hw", [(7, 10), (8, 8), (3, 4)])
def test_windows_over_the_edge_are_filled_up_as_in_the_package(
    monkeypatch, image_hw, bias, is_fused
):
    """What lies beyond the image takes part in the attention, by the projection's bias."""
    torch.manual_seed(2)
    block = random_weights(
        Block(32, num_heads=4, qkv_bias=bias, use_rel_pos=True, window_size=4, input_size=(8, 8))
    )
    patches = torch.randn(2, *image_hw, 32)
    expected = block(patches)
    attend = functools.partial(sam_encoder.attend, is_fused=is_fused)
    monkeypatch.setattr(sam_encoder, "attend", attend)
    with sam_encoder.faster_encoder(block):
        assert_same(block(patches), expected)


def test_encoder_gets_its_own_blocks_back():
    """The package's forward stays what it is, also after a failure."""
    (encoder,) = sam.build_parts(sam.SAM_VARIANTS["miniature"], parts=("image_encoder",)).values()
    found = [module for module in encoder.modules() if isinstance(module, Block)]
    with pytest.raises(RuntimeError, match="stop"), sam_encoder.faster_encoder(encoder):
        assert all(isinstance(each.forward, functools.partial) for each in found)
        raise RuntimeError("stop")
    assert found
    assert all("forward" not in vars(each) for each in encoder.modules())


def test_embeddings_equal_the_packages():
    """Windows and the whole image, in one encoder."""
    torch.manual_seed(1)
    size = sam.SAM_VARIANTS["miniature"]
    parts = sam.build_parts(size, parts=("image_encoder",))
    for parameter in parts["image_encoder"].parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    model = sam.SamModel(parts, size, device=torch.device("cpu"))
    image = torch.randint(0, 255, (40, 60, 3), dtype=torch.uint8).numpy()
    pixels, _ = sam.preprocess(image, image_size_px=size.image_size_px)
    with torch.inference_mode():
        expected = model.image_encoder(pixels[None])[0]
    torch.testing.assert_close(
        torch.from_numpy(sam.encode_image(model, image)), expected, atol=1e-5, rtol=1e-4
    )
