"""SAM's mask decoder for many prompts on one image, with what no prompt changes done once.

The package's decoder repeats the image's tokens for every prompt and projects all of them in every
attention. Here the arithmetic of its own modules is put in another order, exact but for rounding:

- In the first block the image's tokens know no prompt, so their projections are made once.
- Later, a projection of N image tokens is moved to the few prompt tokens:
  (x W)·q = x·(W q), and Σ a x W = (Σ a x) W. N is 4,096, a prompt has about seven tokens.
- Qualities are predicted first, so that masks nobody keeps are never drawn.

Source: Kirillov et al. (2023), "Segment Anything", appendix A, and `segment_anything.modeling`.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from realitycheck.models.cpu_linear import faster_linears
from realitycheck.models.precision import arithmetic

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from realitycheck.models.sam.model import SamModel

#: Prompts that go through the decoder together on a CPU: more fall out of its cache.
CPU_BATCH = 4


@dataclass(frozen=True)
class DecodedPrompts:
    """What the transformer made of B prompts; `ImageDecoder.draw` turns it into masks.

    Attributes:
        qualities: Predicted IoU of the four masks of each prompt, (B, 4); the first is the single
            mask, the others the three of an ambiguous prompt.
        mask_tokens: One vector a mask, (B, 4, C).
        pixels: The image's tokens after the transformer, (B, N, C), in the model's precision; the
            others are float32.
    """

    qualities: Tensor
    mask_tokens: Tensor
    pixels: Tensor


class ImageDecoder:
    """The prompt encoder and the mask decoder, bound to one image.

    Args:
        sam: A model with its prompt encoder and mask decoder.
        embedding: Embedding of the image, (1, C, h, w), from `sam.embedding_tensor`.

    Raises:
        ValueError: If a part was not loaded.
    """

    def __init__(self, sam: SamModel, embedding: Tensor):
        import torch

        sam.require("prompt_encoder", "mask_decoder")
        self._prompts, self._decoder = sam.prompt_encoder, sam.mask_decoder
        self._arithmetic = functools.partial(arithmetic, sam.device, sam.precision)
        self._shape = tuple(embedding.shape[-2:])
        with torch.inference_mode(), self._arithmetic():
            without_mask = self._prompts.no_mask_embed.weight
            self._image = embedding.flatten(2)[0].T + without_mask
            self._positions = self._prompts.get_dense_pe().flatten(2)[0].T.contiguous()
            first = self._decoder.transformer.layers[0]
            seen = self._image + self._positions
            look, answer = first.cross_attn_token_to_image, first.cross_attn_image_to_token
            self._keys = _heads(look, look.k_proj(seen))
            self._values = _heads(look, look.v_proj(self._image))
            self._queries = _heads(answer, answer.q_proj(seen))
            self._image = self._image.to(self._keys)
            self._positions = self._positions.to(self._keys)

    def decode(
        self,
        *,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
    ) -> DecodedPrompts:
        """Run the prompt encoder and the decoder's transformer.

        Args:
            points: (B, P, 2), x and y in the encoder's square, or None.
            labels: (B, P), 1 object, 0 background; with `points`.
            boxes: (B, 4) in the encoder's square, or None.

        Returns:
            Qualities, and what `draw` needs.
        """
        import torch

        decoder = self._decoder
        with torch.inference_mode():
            prompts, _ = self._prompts(
                points=None if points is None else (points, labels), boxes=boxes, masks=None
            )
        with torch.inference_mode(), self._arithmetic(), faster_linears(decoder):
            own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
            given = torch.cat([own.expand(len(prompts), -1, -1), prompts], dim=1)
            tokens, pixels, seen = given, self._image.expand(len(given), -1, -1), None
            transformer = decoder.transformer
            for index, block in enumerate(transformer.layers):
                if block.skip_first_layer_pe:
                    tokens = block.norm1(block.self_attn(q=tokens, k=tokens, v=tokens))
                else:
                    placed = tokens + given
                    attended = block.self_attn(q=placed, k=placed, v=tokens)
                    tokens = block.norm1(tokens + attended)
                look, answer = block.cross_attn_token_to_image, block.cross_attn_image_to_token
                placed = tokens + given
                attended = (
                    self._look_first(look, placed)
                    if index == 0
                    else _look(look, placed, seen=seen, pixels=pixels)
                )
                tokens = block.norm2(tokens + attended)
                tokens = block.norm3(tokens + block.mlp(tokens))
                placed = tokens + given
                weights = (
                    self._weigh_first(answer, placed)
                    if index == 0
                    else _weigh(answer, placed, seen=seen)
                )
                pixels = block.norm4(_answer(answer, weights, tokens, pixels=pixels))
                seen = pixels + self._positions
            look = transformer.final_attn_token_to_image
            attended = _look(look, tokens + given, seen=seen, pixels=pixels)
            tokens = transformer.norm_final_attn(tokens + attended).float()
        with torch.inference_mode(), faster_linears(decoder):
            return DecodedPrompts(
                qualities=decoder.iou_prediction_head(tokens[:, 0]),
                mask_tokens=tokens[:, 1 : 1 + decoder.num_mask_tokens],
                pixels=pixels,
            )

    def draw(self, decoded: DecodedPrompts, masks: slice) -> Tensor:
        """Draw masks of all prompts.

        Args:
            decoded: From `decode`; index its fields to draw some prompts only.
            masks: Which of the four masks.

        Returns:
            Logits at a quarter of the square's side, float32, (B, M, 4h, 4w).
        """
        import torch

        decoder = self._decoder
        chosen = range(decoder.num_mask_tokens)[masks]
        with torch.inference_mode(), faster_linears(decoder):
            vectors = torch.stack(
                [
                    decoder.output_hypernetworks_mlps[index](decoded.mask_tokens[:, index])
                    for index in chosen
                ],
                dim=1,
            )
            n_prompts, _, channels = decoded.pixels.shape
            plane = decoded.pixels.transpose(1, 2).reshape(n_prompts, channels, *self._shape)
            with self._arithmetic():
                fine = decoder.output_upscaling(plane)
                logits = vectors @ fine.flatten(2)
            return logits.float().unflatten(2, tuple(fine.shape[-2:]))

    def _look_first(self, attention: torch.nn.Module, tokens: Tensor) -> Tensor:
        """Attend from tokens (B, T, C) to the image that no prompt has changed."""
        heads = _all_prompts(_heads(attention, attention.q_proj(tokens)))
        scores = heads @ self._keys.transpose(-1, -2) / math.sqrt(heads.shape[-1])
        attended = scores.softmax(dim=-1) @ self._values
        attended = attended.unflatten(1, (len(tokens), -1))  # (heads, B, T, d)
        return attention.out_proj(attended.permute(1, 2, 0, 3).flatten(-2))

    def _weigh_first(self, attention: torch.nn.Module, tokens: Tensor) -> Tensor:
        """Weights of the tokens for each unchanged pixel, (B, heads, T, N)."""
        keys = _heads(attention, attention.k_proj(tokens)) / math.sqrt(
            attention.internal_dim // attention.num_heads
        )
        scores = _all_prompts(keys) @ self._queries.transpose(-1, -2)
        return scores.unflatten(1, (len(tokens), -1)).softmax(dim=-2).transpose(0, 1)


def _heads(attention: torch.nn.Module, projected: Tensor) -> Tensor:
    """Split (…, T, heads · d) into (…, heads, T, d)."""
    return projected.unflatten(-1, (attention.num_heads, -1)).transpose(-3, -2)


def _all_prompts(heads: Tensor) -> Tensor:
    """Put the tokens of all prompts in one row, (B, heads, T, d) to (heads, B · T, d).

    What they meet next is the same for all prompts, and would be copied for each otherwise.
    """
    return heads.transpose(0, 1).flatten(1, 2)


def _look(attention: torch.nn.Module, tokens: Tensor, *, seen: Tensor, pixels: Tensor) -> Tensor:
    """Attend from tokens to the image: keys from `seen`, values from `pixels`, both (B, N, C).

    A key's bias adds the same to all scores of a query and drops out of the softmax.
    """
    import torch

    n_heads = attention.num_heads
    heads = _heads(attention, attention.q_proj(tokens))
    into_keys = attention.k_proj.weight.unflatten(0, (n_heads, -1))
    vectors = heads @ into_keys / math.sqrt(heads.shape[-1])
    weights = (vectors.flatten(1, 2) @ seen.transpose(1, 2)).softmax(dim=-1)
    gathered = (weights @ pixels).unflatten(1, (n_heads, -1))
    into_values = attention.v_proj.weight.unflatten(0, (n_heads, -1))
    attended = torch.einsum("bhtc,hdc->bthd", gathered, into_values).flatten(2)
    return attention.out_proj(attended + attention.v_proj.bias)


def _weigh(attention: torch.nn.Module, tokens: Tensor, *, seen: Tensor) -> Tensor:
    """Weights of the tokens for each pixel of `seen`, (B, N, C); (B, heads, T, N).

    Pixels come last: a softmax over a few tokens that lie side by side is slow.
    """
    import torch

    n_heads = attention.num_heads
    keys = _heads(attention, attention.k_proj(tokens)) / math.sqrt(
        attention.internal_dim // n_heads
    )
    vectors = keys @ attention.q_proj.weight.unflatten(0, (n_heads, -1))
    offsets = torch.einsum("bhtd,hd->bht", keys, attention.q_proj.bias.unflatten(0, (n_heads, -1)))
    scores = torch.baddbmm(
        offsets.flatten(1)[..., None], vectors.flatten(1, 2), seen.transpose(1, 2)
    )
    return scores.unflatten(1, (n_heads, -1)).softmax(dim=-2)


def _answer(
    attention: torch.nn.Module, weights: Tensor, tokens: Tensor, *, pixels: Tensor
) -> Tensor:
    """Add to each pixel what the tokens tell it by their weights, (B, N, C).

    The weights of each head sum to 1, so every token may carry a head's share of the bias.
    """
    import torch

    n_heads = attention.num_heads
    values = _heads(attention, attention.v_proj(tokens))
    outwards = attention.out_proj.weight.unflatten(1, (n_heads, -1)).permute(1, 2, 0)
    told = (values @ outwards + attention.out_proj.bias / n_heads).flatten(1, 2)
    return torch.baddbmm(pixels, weights.flatten(1, 2).transpose(1, 2), told)
