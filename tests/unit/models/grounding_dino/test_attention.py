"""The reordered attentions against the package's own, in float64, where only an error differs."""

import functools

import pytest
import torch

from realitycheck.models.grounding_dino import attention as ours


def fusion(*, seed=0):
    """The package's image-text attention with weights and biases that all matter."""
    from groundingdino.models.GroundingDINO.fuse_modules import BiMultiHeadAttention

    torch.manual_seed(seed)
    module = BiMultiHeadAttention(v_dim=24, l_dim=20, embed_dim=32, num_heads=4, dropout=0.1)
    for parameter in module.parameters():
        parameter.data.normal_(0, 0.4)
    return module.eval().double().requires_grad_(False)


def deformable(*, batch_first=True, seed=0):
    """The package's deformable attention over three levels."""
    from groundingdino.models.GroundingDINO.ms_deform_attn import MultiScaleDeformableAttention

    torch.manual_seed(seed)
    module = MultiScaleDeformableAttention(
        embed_dim=32, num_heads=4, num_levels=3, num_points=2, batch_first=batch_first
    )
    for parameter in module.parameters():
        parameter.data.normal_(0, 0.4)
    return module.eval().double().requires_grad_(False)


@pytest.mark.parametrize("has_masks", [False, True])
def test_fusion_equals_the_packages(has_masks):
    """Projections moved from many pixels to few words change no sum."""
    module = fusion()
    image, text = torch.randn(2, 50, 24).double(), torch.randn(2, 6, 20).double()
    masks = {}
    if has_masks:
        masks["attention_mask_v"] = torch.rand(2, 50) < 0.3
        masks["attention_mask_l"] = torch.tensor([[0, 0, 0, 0, 1, 1], [0] * 6]).bool()
    expected = module(image, text, **masks)
    found = ours.fuse(module, image, text, **masks)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


def test_fusion_cuts_off_where_the_package_does():
    """Likeness beyond 50,000 below the largest counts as just that."""
    module = fusion()
    image, text = 3e3 * torch.randn(1, 9, 24).double(), 3e3 * torch.randn(1, 4, 20).double()
    expected, found = module(image, text), ours.fuse(module, image, text)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("n_values", [2, 4])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("queries_at_once", [1024, 7])
@pytest.mark.parametrize("is_cpu", [True, False])
def test_sampling_equals_the_packages(monkeypatch, n_values, batch_first, queries_at_once, is_cpu):
    """Points or boxes as references, padding, several images: the package's own numbers."""
    monkeypatch.setattr(ours, "_CPU_QUERIES", queries_at_once)
    if not is_cpu:
        monkeypatch.setattr(ours, "_sum_by_bags", ours._sum_by_grids)
    module = deformable(batch_first=batch_first)
    shapes = torch.tensor([[6, 5], [3, 3], [2, 1]])
    n_tokens = int(shapes.prod(dim=1).sum())
    query, value = torch.randn(2, 11, 32).double(), torch.randn(2, n_tokens, 32).double()
    shift = torch.randn(2, 11, 32).double()
    if not batch_first:
        query, value, shift = (each.transpose(0, 1) for each in (query, value, shift))
    options = {
        "query": query,
        "value": value,
        "query_pos": shift,
        "key_padding_mask": torch.rand(2, n_tokens) < 0.2,
        "reference_points": torch.rand(2, 11, 3, n_values).double(),
        "spatial_shapes": shapes,
    }
    expected = module(**options)
    torch.testing.assert_close(ours.sample(module, **options), expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16])
def test_both_sums_agree_at_and_beyond_the_edges(kind):
    """Corners, borders, far outside, levels of one pixel or line, in every precision."""
    shapes = [(4, 5), (1, 3), (3, 1), (1, 1)]
    generator = torch.Generator().manual_seed(3)
    special = torch.tensor([-1e4, -1.0, -0.3, 0.0, 0.1, 0.5, 0.9, 1.0, 1.0 + 1e-3, 1.4, 1e4])
    places = torch.cartesian_prod(special, special)[None, :, None, None, None, :]
    places = places.expand(2, -1, 3, len(shapes), 2, 2).double()
    value = torch.randn(2, 27, 3, 5, generator=generator).to(kind)
    weights = torch.rand(2, places.shape[1], 3, len(shapes), 2, generator=generator).to(kind)
    found = ours._sum_by_bags(value, places, weights, shapes=shapes)
    expected = ours._sum_by_grids(value.double(), places, weights.double(), shapes=shapes)
    assert found.dtype == kind and expected.abs().max() > 1
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.05}[kind]
    torch.testing.assert_close(found.double(), expected, atol=tolerance, rtol=0)


def test_references_of_another_form_are_refused():
    """Three values are neither a point nor a box."""
    with pytest.raises(ValueError, match="expected 2 or 4 values each, found 3"):
        ours.sample(
            deformable(),
            query=torch.randn(1, 2, 32).double(),
            value=torch.randn(1, 14, 32).double(),
            reference_points=torch.rand(1, 2, 3, 3).double(),
            spatial_shapes=torch.tensor([[3, 3], [2, 2], [1, 1]]),
        )


def test_networks_get_their_own_attentions_back():
    """The package's forward stays what it is, also after a failure, and in other networks."""
    one, other = torch.nn.ModuleList([fusion(), deformable()]), fusion()
    with pytest.raises(RuntimeError, match="stop"), ours.reordered(one):
        assert all(isinstance(each.forward, functools.partial) for each in one)
        assert "forward" not in vars(other)
        raise RuntimeError("stop")
    assert all("forward" not in vars(each) for each in one)


@pytest.mark.parametrize("n_batch", [1, 2])
def test_queries_attend_to_each_other_as_in_torch(n_batch):
    """Keys with positions, values without, as the decoder has them; the weights are left out."""
    torch.manual_seed(0)
    attention = torch.nn.MultiheadAttention(32, 4).double().eval()
    for parameter in attention.parameters():
        parameter.data.normal_(0, 0.3)
    places, values = torch.randn(2, 9, n_batch, 32).double()
    found, weights = ours._attend(attention, places, places, values)
    torch.testing.assert_close(found, attention(places, places, values)[0], atol=1e-12, rtol=0)
    assert weights is None


def test_queries_under_a_mask_are_left_to_torch():
    """Training hides some queries from others; a mask must not be passed over."""
    torch.manual_seed(0)
    attention = torch.nn.MultiheadAttention(32, 4).double().eval()
    values = torch.randn(5, 1, 32).double()
    mask = torch.ones(5, 5, dtype=torch.bool).triu(1)
    found, _ = ours._attend(attention, values, values, values, attn_mask=mask)
    expected, _ = attention(values, values, values, attn_mask=mask)
    torch.testing.assert_close(found, expected)
