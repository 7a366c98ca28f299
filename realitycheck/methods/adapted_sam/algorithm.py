"""SAM's mask decoder, trained further on a product's own defects.

The image encoder stays as it is, and so do its stored embeddings: a copy of the mask decoder and
one more prompt token learn to draw what is defective from the whole image, given as a box. Only the
single mask (`multimask_output=False`) is trained.

Source: the decoder of Kirillov et al. (2023), "Segment Anything". That a decoder and a learned
prompt suffice to carry SAM to another domain is the finding of Chen et al. (2023), "SAM-Adapter",
and Zhang and Liu (2023), "SAMed", who also adapt the encoder, which we leave alone.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from realitycheck.core.imports import without_compiler
from realitycheck.core.tensors import UNSEALED, check_tensors, seal_tensors
from realitycheck.models.sam.inference import embedding_tensor, resized_shape, upscale_logits
from realitycheck.models.sam.load import unfilled_parts
from realitycheck.models.sam.model import SamDimensions, SamModel

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: Share of the steps over which the learning rate rises; then it falls along a cosine.
_WARM_UP = 0.1

#: Longest gradient, by its norm; a longer one is shortened.
_LONGEST_GRADIENT = 1.0

#: Weight of the focal loss beside Dice, and, within it, of defective cells.
_FOCAL_WEIGHT, _DEFECT_WEIGHT = 20.0, 0.75

_FROZEN, _TRAINED, _TOKEN, _SIZES = "prompt_encoder", "mask_decoder", "token", "dimensions"


class AdaptedSam(NamedTuple):
    """A trained decoder.

    Attributes:
        sam: Prompt encoder as it was, mask decoder as trained.
        token: The learned prompt, (C,).
    """

    sam: SamModel
    token: Tensor


class Example(NamedTuple):
    """What a decoder learns from an image; S is the side of its logits.

    Attributes:
        image_id: By which its embedding is found.
        image_size_hw: Height and width of the image.
        target: Share of each cell that is defective, float16, (S, S).
        is_known: Cells that the loss is taken over, bool, (S, S).
    """

    image_id: str
    image_size_hw: tuple[int, int]
    target: np.ndarray
    is_known: np.ndarray


def make_example(
    image_id: str, defective: np.ndarray, undecided: np.ndarray, *, dimensions: SamDimensions
) -> Example:
    """Bring the truth of an image to the grid of the decoder's logits.

    Args:
        image_id: Of the image.
        defective: bool, (H, W).
        undecided: bool, (H, W): cells that hold such a pixel are not learned from, and neither is
            the padding of the encoder's square.
        dimensions: Of the model.
    """
    import cv2

    side = 4 * dimensions.grid
    fitted = resized_shape(defective.shape, image_size_px=dimensions.image_size_px)
    height, width = (max(1, round(each * side / dimensions.image_size_px)) for each in fitted)
    target, is_known = np.zeros((side, side), np.float16), np.zeros((side, side), bool)
    shares = [
        cv2.resize(each.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        for each in (defective, undecided)
    ]
    target[:height, :width] = shares[0]
    is_known[:height, :width] = shares[1] == 0
    return Example(image_id, defective.shape, target, is_known)


@without_compiler()
def adapt(
    sam: SamModel,
    examples: Sequence[Example],
    embedding_of: Callable[[str], np.ndarray],
    *,
    n_steps: int,
    batch_size: int,
    learning_rate: float,
    rng: np.random.Generator,
    count: Callable[[int], None] = lambda done: None,
) -> tuple[AdaptedSam, list[float]]:
    """Train a copy of the mask decoder.

    loss = 20 · mean over cells of a (1 - q)² BCE(p, t) + 1 - (2 Σ p t + 1) / (Σ p + Σ t + 1)

    with p the sigmoid of the logit, t the truth at the size of the logits, q = p t + (1 - p)(1 - t)
    and a = 0.75 t + 0.25 (1 - t): focal loss and Dice, weighed 20 to 1 like SAM's own training. Of
    a good image only the first part counts: its Dice would reward an empty mask wherever defects
    are small, and the decoder would not leave it again. Half of a batch shows defects, however rare
    they are. The optimiser is AdamW. On a CPU the same draw gives the same decoder.

    Source: Kirillov et al. (2023), appendix A; Lin et al. (2017) for the focal loss, and Milletari
    et al. (2016) for Dice. The focal weight of defects, 0.75, is ours.

    Args:
        sam: A model with its prompt encoder and mask decoder; it is not changed.
        examples: What to learn from, at least one of them with a defect.
        embedding_of: Embedding of an image by its id, float, (C, h, w).
        n_steps: Steps of the optimiser.
        batch_size: Images a step.
        learning_rate: The highest one.
        rng: Draws the images.
        count: Is told how many steps are done.

    Returns:
        The trained decoder, and the loss of each step.

    Raises:
        ValueError: If no example shows a defect.
    """
    import torch

    sam.require(_FROZEN, _TRAINED)
    defective = [example for example in examples if example.target.any()]
    if not defective:
        raise ValueError(
            f"examples: expected at least one with a defect, found none among {len(examples)}"
        )
    good = [example for example in examples if not example.target.any()] or defective
    decoder = copy.deepcopy(sam.mask_decoder).requires_grad_(True)
    token = torch.zeros(sam.dimensions.prompt_width, device=sam.device, requires_grad=True)
    adapted = AdaptedSam(_with_decoder(sam, decoder), token)
    trained = [*decoder.parameters(), token]
    optimiser = torch.optim.AdamW(trained, lr=learning_rate)
    draws = _endless(defective, rng), _endless(good, rng)
    losses = []
    for step in range(n_steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * _share_of_rate(step, n_steps)
        batch = [next(draws[place % 2]) for place in range(batch_size)]
        loss = _loss(
            _logits(
                adapted,
                torch.cat([embedding_tensor(sam, embedding_of(each.image_id)) for each in batch]),
                [each.image_size_hw for each in batch],
            ),
            *(
                torch.as_tensor(np.stack(values)).to(sam.device, torch.float32)
                for values in zip(*((each.target, each.is_known) for each in batch), strict=True)
            ),
        )
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, _LONGEST_GRADIENT)
        optimiser.step()
        losses.append(float(loss.detach()))
        count(step + 1)
    decoder.requires_grad_(False)
    return AdaptedSam(adapted.sam, token.detach()), losses


def defect_map(
    adapted: AdaptedSam, embedding: np.ndarray, *, image_size_hw: tuple[int, int]
) -> np.ndarray:
    """Tell how likely each pixel of an image is defective.

    Args:
        adapted: The trained decoder.
        embedding: Embedding of the image, float, (C, h, w).
        image_size_hw: Height and width of the image.

    Returns:
        float32, (H, W), 0 to 1: above 0.5 where SAM's logit is above 0.
    """
    import torch

    with torch.inference_mode():
        low = _logits(adapted, embedding_tensor(adapted.sam, embedding), [image_size_hw])
        full = upscale_logits(
            low[:, None],
            image_size_hw=image_size_hw,
            image_size_px=adapted.sam.dimensions.image_size_px,
        )
        return full[0, 0].sigmoid().float().cpu().numpy()


def write_adapted(decoders: Mapping[int, AdaptedSam], path: str | Path) -> None:
    """Write the decoder of every fold, and what they share, into one safetensors file."""
    from safetensors.torch import save_file

    first = next(iter(decoders.values())).sam
    tensors = {f"{_FROZEN}.{name}": value for name, value in _state(first.prompt_encoder)}
    for fold, adapted in decoders.items():
        tensors[f"{fold}.{_TOKEN}"] = adapted.token.cpu().contiguous()
        own = _state(adapted.sam.mask_decoder)
        tensors |= {f"{fold}.{_TRAINED}.{name}": value for name, value in own}
    sizes = json.dumps(dataclasses.asdict(first.dimensions), sort_keys=True)
    save_file(tensors, str(path), metadata={_SIZES: sizes, **UNSEALED})
    seal_tensors(path)


def read_adapted(path: str | Path, *, device: str | torch.device = "cpu") -> dict[int, AdaptedSam]:
    """Read what `write_adapted` wrote: the decoder of every fold.

    Raises:
        ArtifactError: If the file is damaged. It is removed then.
    """
    import torch
    from safetensors import safe_open

    check_tensors(path)
    with safe_open(str(path), framework="pt") as file:
        sizes = json.loads(file.metadata()[_SIZES])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    sizes["global_attention_blocks"] = tuple(sizes["global_attention_blocks"])
    dimensions = SamDimensions(**sizes)
    folds = sorted(int(name.split(".")[0]) for name in tensors if name.endswith(f".{_TOKEN}"))

    def part(name: str, prefix: str) -> torch.nn.Module:
        module = unfilled_parts(dimensions, parts=(name,))[name]
        own = {key: tensors[f"{prefix}{name}.{key}"] for key in module.state_dict()}
        module.load_state_dict(own, assign=True)
        return module.requires_grad_(False).eval().to(device)

    frozen = part(_FROZEN, "")
    return {
        fold: AdaptedSam(
            SamModel(
                {_FROZEN: frozen, _TRAINED: part(_TRAINED, f"{fold}.")},
                dimensions,
                device=torch.device(device),
            ),
            tensors[f"{fold}.{_TOKEN}"].to(device),
        )
        for fold in folds
    }


def _with_decoder(sam: SamModel, decoder: torch.nn.Module) -> SamModel:
    parts = {_FROZEN: sam.prompt_encoder, _TRAINED: decoder}
    return SamModel(parts, sam.dimensions, device=sam.device)


def _state(module: torch.nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, value in module.state_dict().items():
        yield name, value.detach().cpu().contiguous()


def _endless(items: Sequence[Example], rng: np.random.Generator) -> Iterator[Example]:
    """Every item once in a drawn order, then once in another, and so on."""
    while True:
        yield from (items[index] for index in rng.permutation(len(items)))


def _share_of_rate(step: int, n_steps: int) -> float:
    """Share of the highest learning rate at a step, from 0."""
    rising = max(1, round(_WARM_UP * n_steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, n_steps - rising)))


def _loss(logits: Tensor, target: Tensor, is_known: Tensor) -> Tensor:
    """Loss of a batch; all (B, S, S)."""
    from torch.nn.functional import binary_cross_entropy_with_logits

    chance = logits.sigmoid()
    right = chance * target + (1 - chance) * (1 - target)
    weight = _DEFECT_WEIGHT * target + (1 - _DEFECT_WEIGHT) * (1 - target)
    entropy = binary_cross_entropy_with_logits(logits, target, reduction="none")
    each = weight * (1 - right) ** 2 * entropy * is_known
    focal = each.sum(dim=(1, 2)) / is_known.sum(dim=(1, 2)).clamp(min=1)
    found, wanted = chance * is_known, target * is_known
    common = (found * wanted).sum(dim=(1, 2))
    dice = 1 - (2 * common + 1) / ((found + wanted).sum(dim=(1, 2)) + 1)
    return (_FOCAL_WEIGHT * focal + dice * (wanted.sum(dim=(1, 2)) > 0)).mean()


def _logits(
    adapted: AdaptedSam, embeddings: Tensor, image_sizes_hw: Sequence[tuple[int, int]]
) -> Tensor:
    """Draw the single mask of each image, its whole area the box; (B, C, h, w) to (B, S, S).

    The package's decoder takes one image with many prompts; here each image has its own.
    """
    import torch

    sam, token = adapted
    decoder, side = sam.mask_decoder, sam.dimensions.image_size_px
    corners = [resized_shape(size, image_size_px=side) for size in image_sizes_hw]
    boxes = torch.tensor(
        [[0, 0, width, height] for height, width in corners],
        dtype=torch.float32,
        device=sam.device,
    )
    given, dense = sam.prompt_encoder(points=None, boxes=boxes, masks=None)
    n_images = len(embeddings)
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = [own.expand(n_images, -1, -1), given, token.expand(n_images, 1, -1)]
    positions = sam.prompt_encoder.get_dense_pe().expand(n_images, -1, -1, -1)
    told, pixels = decoder.transformer(embeddings + dense, positions, torch.cat(tokens, dim=1))
    plane = pixels.transpose(1, 2).reshape(embeddings.shape)
    fine = decoder.output_upscaling(plane)
    vector = decoder.output_hypernetworks_mlps[0](told[:, 1])
    return torch.einsum("bc,bchw->bhw", vector, fine)
