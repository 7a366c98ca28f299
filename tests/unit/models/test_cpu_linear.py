"""Faster products on a CPU are torch's own, but for rounding."""

import pytest
import torch
from torch.nn import functional

from realitycheck.models.cpu_linear import faster_linears, linear, perceptron


@pytest.mark.parametrize("shape", [(3, 5, 16), (7, 16), (0, 16)])
def test_product_is_that_of_torch(shape):
    """Of float32 values; 1e-5 is what another order of 16 sums may do."""
    torch.manual_seed(0)
    x, weight, bias = torch.randn(shape), torch.randn(8, 16), torch.randn(8)
    with torch.inference_mode():
        for given in (bias, None):
            expected = functional.linear(x, weight, given)
            assert torch.allclose(linear(x, weight, given), expected, atol=1e-5)
        turned = torch.randn(16, 8).T
        assert torch.equal(linear(x, turned), functional.linear(x, turned))


def test_perceptron_in_parts_is_that_in_one_piece(monkeypatch):
    """Rows know nothing of each other, so any number of them may go together."""
    torch.manual_seed(0)
    first, second = torch.nn.Linear(16, 64), torch.nn.Linear(64, 16)
    x = torch.randn(2, 13, 16)
    monkeypatch.setattr("realitycheck.models.cpu_linear._HIDDEN_VALUES", 64 * 5)
    with torch.inference_mode():
        found = perceptron(x, first, second, activation=functional.gelu)
        expected = second(functional.gelu(first(x)))
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, atol=1e-5)


def test_perceptron_in_parts_does_what_autocast_does(monkeypatch):
    """Each product of the lower precision's values, and the activation between them too."""
    torch.manual_seed(0)
    first, second = torch.nn.Linear(16, 64), torch.nn.Linear(64, 16, bias=False)
    x = torch.randn(2, 13, 16)
    monkeypatch.setattr("realitycheck.models.cpu_linear._HIDDEN_VALUES", 64 * 5)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found = perceptron(x, first, second, activation=functional.gelu)
        expected = second(functional.gelu(first(x)))
    assert found.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected, atol=0.01, rtol=0.01)


def test_network_has_faster_layers_only_inside_the_block():
    """The packages' own forward stays what it is compared with, and what weights are asked of."""
    torch.manual_seed(0)
    attention = torch.nn.MultiheadAttention(32, 4, batch_first=True).eval()
    network = torch.nn.ModuleList([attention, torch.nn.Linear(32, 8)])
    x = torch.randn(2, 6, 32)
    with torch.inference_mode():
        expected = attention(x, x, x, need_weights=False)[0]
        with faster_linears(network):
            assert all("forward" in vars(module) for module in network)
            found = attention(x, x, x, need_weights=False)[0]
            assert torch.allclose(found, expected, atol=1e-5)
            assert attention(x, x, x)[1] is not None
    assert not any("forward" in vars(module) for module in network)


def causal(kind):
    """What hides later tokens: values that are added, or marks."""
    hidden = torch.ones(6, 6, dtype=torch.bool).triu(1)
    return hidden if kind == "marks" else torch.zeros(6, 6).masked_fill(hidden, float("-inf"))


@pytest.mark.parametrize(("kind", "is_ours"), [("added", True), ("marks", False)])
def test_attention_with_a_mask_is_that_of_torch(monkeypatch, kind, is_ours):
    """As CLIP's texts have it; other kinds of masks are left to torch."""
    torch.manual_seed(0)
    attention = torch.nn.MultiheadAttention(32, 4, batch_first=True).eval()
    x, mask = torch.randn(2, 6, 32), causal(kind)
    calls = []
    forward = torch.nn.MultiheadAttention.forward

    def spy(*arguments, **options):
        calls.append(1)
        return forward(*arguments, **options)

    with torch.inference_mode():
        expected = attention(x, x, x, need_weights=False, attn_mask=mask)[0]
        monkeypatch.setattr(torch.nn.MultiheadAttention, "forward", spy)
        with faster_linears(attention):
            found = attention(x, x, x, need_weights=False, attn_mask=mask)[0]
    assert torch.allclose(found, expected, atol=1e-5)
    assert calls == ([] if is_ours else [1])


def test_attention_in_half_precision_is_not_left_to_torch(monkeypatch):
    """Torch copies the weights for every token there; the numbers stay close."""
    attention = torch.nn.MultiheadAttention(32, 4, batch_first=True).eval()
    x = torch.randn(3, 7, 32)
    with torch.inference_mode():
        expected = attention(x, x, x, need_weights=False)[0]
        monkeypatch.setattr(torch.nn.MultiheadAttention, "forward", None)
        with torch.autocast("cpu", torch.bfloat16), faster_linears(attention):
            found = attention(x, x, x, need_weights=False)[0]
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.02, rtol=0.05)
