"""Attention in blocks against the package's own: the same numbers."""

import functools

import pytest
import torch
from segment_anything.modeling.image_encoder import Attention

from realitycheck.models import sam, sam_encoder


def attention(*, size=(6, 5), use_rel_pos=True):
    """The package's attention with position tables that matter."""
    torch.manual_seed(0)
    module = Attention(32, num_heads=4, use_rel_pos=use_rel_pos, input_size=size)
    for parameter in module.parameters():
        parameter.data.normal_(0, 0.3)
    return module.eval().requires_grad_(False)


@pytest.mark.parametrize("use_rel_pos", [True, False])
@pytest.mark.parametrize("block_values", [1, 400, 2000, 1 << 20])
def test_blocks_equal_the_whole(monkeypatch, use_rel_pos, block_values):
    """Single rows, some rows, some planes, everything at once: one result."""
    monkeypatch.setattr(sam_encoder, "_BLOCK_VALUES", block_values)
    module = attention(use_rel_pos=use_rel_pos)
    patches = torch.randn(3, 6, 5, 32)
    torch.testing.assert_close(
        sam_encoder.attend(module, patches), module(patches), atol=1e-6, rtol=1e-5
    )


def test_position_tables_of_another_size_are_stretched():
    """As in the package, for images of another size than the model's."""
    module, patches = attention(size=(8, 8)), torch.randn(1, 6, 5, 32)
    torch.testing.assert_close(
        sam_encoder.attend(module, patches), module(patches), atol=1e-6, rtol=1e-5
    )


def test_reduced_precision_follows_the_package():
    """Under autocast the same operations run in the same precision."""
    module, patches = attention(), torch.randn(2, 6, 5, 32)
    with torch.autocast("cpu", torch.bfloat16):
        expected, found = module(patches), sam_encoder.attend(module, patches)
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0.05)


def test_encoder_gets_its_own_attention_back():
    """The package's forward stays what it is, also after a failure."""
    (encoder,) = sam.build_parts(sam.SAM_VARIANTS["miniature"], parts=("image_encoder",)).values()
    found = [module for module in encoder.modules() if isinstance(module, Attention)]
    with pytest.raises(RuntimeError, match="stop"), sam_encoder.in_blocks(encoder):
        assert all(isinstance(each.forward, functools.partial) for each in found)
        raise RuntimeError("stop")
    assert found
    assert all("forward" not in vars(each) for each in found)


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
