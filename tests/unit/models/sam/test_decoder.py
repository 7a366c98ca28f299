"""The reordered decoder against the package's own, on random weights that silence nothing."""

import pytest
import torch

from realitycheck.models.sam import inference as sam
from realitycheck.models.sam.decoder import ImageDecoder
from realitycheck.models.sam.load import build_parts
from realitycheck.models.sam.model import SamDimensions, SamModel

SIZE = SamDimensions(
    32, 1, 2, (0,), image_size_px=128, window_size=4, prompt_width=64, decoder_mlp_width=48
)


def random_model(*, depth=2):
    """A decoder whose every weight and bias matters."""
    torch.manual_seed(depth)
    fields = {**SIZE.__dict__, "decoder_depth": depth}
    parts = build_parts(SamDimensions(**fields), parts=("prompt_encoder", "mask_decoder"))
    for module in parts.values():
        module.requires_grad_(False)
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return SamModel(parts, SamDimensions(**fields), device=torch.device("cpu"))


def package_answer(model, embedding, *, multimask, **prompts):
    """What the package's modules say when they are used as they are meant to."""
    sparse, dense = model.prompt_encoder(
        points=prompts.get("points"), boxes=prompts.get("boxes"), masks=None
    )
    return model.mask_decoder(
        image_embeddings=embedding,
        image_pe=model.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=multimask,
    )


PROMPTS = {
    "points": {"points": (128 * torch.rand(5, 3, 2), torch.tensor([[1, 0, 1]] * 5))},
    "boxes": {"boxes": 128 * torch.rand(5, 4)},
}


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("prompts", PROMPTS.values(), ids=PROMPTS)
def test_logits_and_qualities_equal_the_packages(prompts, multimask, depth):
    """Another order of the same sums: float32 agrees to its last digits (logits are around 100)."""
    model = random_model(depth=depth)
    embedding = torch.randn(1, 64, 8, 8)
    expected = package_answer(model, embedding, multimask=multimask, **prompts)
    points, labels = prompts.get("points", (None, None))
    decoder = ImageDecoder(model, embedding)
    decoded = decoder.decode(points=points, labels=labels, boxes=prompts.get("boxes"))
    wanted = sam.THREE_MASKS if multimask else sam.SINGLE_MASK
    logits = decoder.draw(decoded, wanted)
    assert logits.shape == expected[0].shape
    spread = float(expected[0].std())
    assert spread > 0.1
    torch.testing.assert_close(logits, expected[0], atol=2e-5 * spread, rtol=1e-4)
    torch.testing.assert_close(decoded.qualities[:, wanted], expected[1], atol=1e-4, rtol=1e-4)


def test_prompts_do_not_see_each_other():
    """A batch bounds memory; it changes no prompt's mask."""
    model = random_model()
    embedding = torch.randn(1, 64, 8, 8, generator=torch.Generator().manual_seed(0))
    points, labels = PROMPTS["points"]["points"]
    decoder = ImageDecoder(model, embedding)
    together = decoder.decode(points=points, labels=labels)
    for index in range(len(points)):
        alone = decoder.decode(points=points[index : index + 1], labels=labels[index : index + 1])
        # A batch of another size sums in another order.
        torch.testing.assert_close(
            alone.qualities[0], together.qualities[index], atol=1e-4, rtol=1e-4
        )
        torch.testing.assert_close(alone.pixels[0], together.pixels[index], atol=1e-5, rtol=1e-4)


def test_reduced_precision_stays_close_and_comes_back_in_float32():
    """Products keep 8 bits; what thresholds compare (qualities, logits) is float32 again."""
    model = random_model()
    embedding = torch.randn(1, 64, 8, 8, generator=torch.Generator().manual_seed(0))
    low = SamModel(
        {name: getattr(model, name) for name in ("prompt_encoder", "mask_decoder")},
        model.dimensions,
        device=model.device,
        precision="bfloat16",
    )
    found = []
    for each in (model, low):
        decoder = ImageDecoder(each, embedding)
        decoded = decoder.decode(boxes=PROMPTS["boxes"]["boxes"])
        found.append((decoder.draw(decoded, sam.THREE_MASKS), decoded.qualities))
    for exact, near in zip(*found, strict=True):
        assert near.dtype == torch.float32
        assert 0 < float((near - exact).abs().mean()) < 0.05 * float(exact.std())
    assert ((found[0][0] > 0) != (found[1][0] > 0)).float().mean() < 0.03


def test_parts_must_be_there():
    """A model loaded for encoding only cannot decode."""
    model = SamModel({}, SIZE, device=torch.device("cpu"))
    with pytest.raises(ValueError, match="needs the part 'prompt_encoder'"):
        ImageDecoder(model, torch.zeros(1, 64, 8, 8))


@pytest.mark.parametrize(("device", "expected"), [("cpu", 4), ("cuda", 64)])
def test_few_prompts_go_together_on_a_cpu(device, expected):
    """Four keep the work in its cache; a GPU takes all that is asked for."""
    model = SamModel({}, SIZE, device=torch.device(device))
    assert sam.prompts_per_pass(model, 64) == expected
    assert sam.prompts_per_pass(model, 2) == 2
    assert sam.prompts_per_pass(model, 0) == 1
