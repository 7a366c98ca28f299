"""The faster encoder against the package's own: the same numbers."""

import functools

import numpy as np
import pytest
import torch
from segment_anything.modeling.image_encoder import Attention

from realitycheck.models.sam import encoder as sam_encoder
from realitycheck.models.sam import inference as sam
from realitycheck.models.sam.load import build_parts
from realitycheck.models.sam.model import SamModel
from training.miniatures import SAM_SIZE


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


@pytest.fixture
def model():
    """A small SAM whose weights matter."""
    torch.manual_seed(1)
    size = SAM_SIZE
    parts = build_parts(size, parts=("image_encoder",))
    for parameter in parts["image_encoder"].parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return SamModel(parts, size, device=torch.device("cpu"))


@pytest.fixture
def images():
    """Three images, and the package's embeddings of them."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (40, 60, 3), dtype=np.uint8) for _ in range(3)]


def by_package(model, images):
    """Embeddings as the package makes them."""
    side = model.dimensions.image_size_px
    pixels = torch.stack([sam.preprocess(image, image_size_px=side)[0] for image in images])
    with torch.inference_mode():
        return model.image_encoder(pixels).numpy()


def test_encoder_gets_its_own_forward_back(model):
    """The package's encoder stays what it is, also after a failure."""
    encoder = model.image_encoder
    with pytest.raises(RuntimeError, match="stop"), sam_encoder.faster_encoder(encoder):
        assert isinstance(encoder.forward, functools.partial)
        raise RuntimeError("stop")
    assert all("forward" not in vars(each) for each in encoder.modules())


def test_embeddings_equal_the_packages(model, images):
    """Windows and the whole image, in one encoder."""
    found = sam.encode_images(model, images, batch_size=2)
    np.testing.assert_allclose(found, by_package(model, images), atol=1e-5, rtol=1e-4)


def test_full_batches_go_through_the_compiled_encoder(monkeypatch, model, images):
    """It is traced whole, once; a batch that is not full would be compiled for itself alone."""
    traced = []

    def backend(graph, _inputs):
        traced.append(graph)
        return graph.forward

    compile_by = functools.partial(torch.compile, backend=backend)
    monkeypatch.setattr(torch, "compile", compile_by)
    model.is_compiled = True
    found = sam.encode_images(model, images, batch_size=2)
    np.testing.assert_allclose(found, by_package(model, images), atol=1e-5, rtol=1e-4)
    again = sam.encode_images(model, images[:2], batch_size=2)
    np.testing.assert_array_equal(again, found[:2])
    assert len(traced) == 1
    assert model.n_images_encoded == 8  # the package's own pass among them


def test_a_machine_that_cannot_compile_says_what_to_do(monkeypatch, model, images):
    """Without a compiler nothing is encoded, and the setting is named."""

    def backend(graph, _inputs):
        raise OSError("No working C++ compiler found")

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    model.is_compiled = True
    with pytest.raises(RuntimeError, match=r"compute.compile.*C\+\+ compiler.*compile: false"):
        sam.encode_image(model, images[0])
