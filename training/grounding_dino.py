"""Train the `everyday` GroundingDINO: boxes from phrases.

    python -m training.grounding_dino --scenes FOLDER --out FOLDER

Boxes are matched one to one with what the phrases are true of, at the lowest cost. Losses as
published: focal loss of the likeness of boxes and tokens, L1 and GIoU of the boxes, after every
layer of the decoder. The encoder's proposals are matched with four of each target, which gives a
small network more to learn from.

Source: Liu et al. (2023), "Grounding DINO"; Zhu et al. (2021), "Deformable DETR"; Jia et al.
(2023), "DETRs with Hybrid Matching", for several matches of a target.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch.nn import functional
from torchvision.ops import box_convert

from realitycheck.datasets.synthetic.everyday import Instance
from realitycheck.models.grounding_dino.model import (
    GROUNDING_DINO_VARIANTS,
    IMAGENET_MEAN,
    IMAGENET_STD,
    build_network,
    normalise_caption,
)
from training import loop, miniatures, scenes, words

#: Matches of each target among the encoder's proposals.
ENCODER_MATCHES = 4
_ALPHA, _GAMMA = 0.25, 2.0
_COSTS = {"class": 2.0, "l1": 5.0, "giou": 2.0}
_WEIGHTS = {"class": 2.0, "l1": 5.0, "giou": 2.0}


def write_text_encoder(folder: str | Path) -> Path:
    """Write configuration and vocabulary of the text encoder, as for the untrained miniature.

    Its words are those of the phrases and those that the untrained one knows; other words fall
    apart into letters.
    """
    folder = miniatures.write_text_encoder(folder)
    pieces = dict.fromkeys([*miniatures.vocabulary(), *words.vocabulary()])
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["vocab_size"] = len(pieces)
    config["max_position_embeddings"] = 256
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return folder


def build(folder: str | Path) -> torch.nn.Module:
    """Build the network with random weights, ready for training on any device."""
    network = build_network(GROUNDING_DINO_VARIANTS["everyday"], text_encoder=folder)
    from groundingdino.models.GroundingDINO import groundingdino
    from groundingdino.models.GroundingDINO.ms_deform_attn import MultiScaleDeformableAttention

    name = "generate_masks_with_special_tokens_and_transfer_map"
    setattr(groundingdino, name, sub_sentence_masks)
    for module in network.modules():
        if type(module) is MultiScaleDeformableAttention:
            # The package's forward on a GPU needs its compiled extension.
            module.forward = functools.partial(_sample, module)
    _make_unlikely(network)
    return network.train()


def sub_sentence_masks(
    tokenized: Mapping, special_tokens: list[int], _tokenizer: object
) -> tuple[torch.Tensor, torch.Tensor, None]:
    """Compute the package's masks and positions of sub-sentences without going token by token.

    Args:
        tokenized: `input_ids`, (B, T).
        special_tokens: Tokens that end a sub-sentence.

    Returns:
        Which tokens see each other, bool, (B, T, T); positions within sub-sentences, (B, T); None
        for the lists of the sub-sentences, which nothing reads.
    """
    ids = tokenized["input_ids"]
    n, length = ids.shape
    ends = torch.isin(ids, torch.tensor(special_tokens, device=ids.device))
    places = torch.arange(length, device=ids.device).expand(n, -1)
    following = torch.where(ends, places, length).flip(1).cummin(dim=1).values.flip(1)
    before = torch.where(ends, places, 0).cummax(dim=1).values
    before = torch.cat([torch.zeros_like(before[:, :1]), before[:, :-1]], dim=1)
    inside = (following > 0) & (following < length - 1)
    same = following[:, :, None] == following[:, None, :]
    eye = torch.eye(length, dtype=torch.bool, device=ids.device)
    masks = (same & inside[:, :, None] & inside[:, None, :]) | eye
    return masks, torch.where(inside, places - before - 1, 0), None


def _make_unlikely(network: torch.nn.Module) -> None:
    """Set norms so that every box starts with a score near 0.02 for every token.

    The likeness of boxes and tokens has no bias of its own, so a direction that all tokens share
    takes its place; without it the first losses are in the thousands.
    """
    transformer = network.transformer
    direction = functional.normalize(torch.randn(transformer.d_model), dim=0)
    with torch.no_grad():
        text = transformer.encoder.text_layers[-1].norm2
        text.weight.fill_(0.1)
        text.bias.copy_(2 * direction)
        for norm in (transformer.enc_output_norm, transformer.decoder.norm):
            norm.bias.copy_(-2 * direction)


def _sample(
    attention: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor | None = None,
    value: torch.Tensor | None = None,
    query_pos: torch.Tensor | None = None,
    key_padding_mask: torch.Tensor | None = None,
    reference_points: torch.Tensor | None = None,
    spatial_shapes: torch.Tensor | None = None,
    **_unused: object,
) -> torch.Tensor:
    """Deformable attention with gradients, by the weights of the package's module."""
    value = query if value is None else value
    query = query if query_pos is None else query + query_pos
    if not attention.batch_first:
        query, value = query.transpose(0, 1), value.transpose(0, 1)
    n_batch, n_queries, _ = query.shape
    n_heads, n_levels, n_points = attention.num_heads, attention.num_levels, attention.num_points
    value = attention.value_proj(value)
    if key_padding_mask is not None:
        value = value.masked_fill(key_padding_mask[..., None], 0.0)
    value = value.unflatten(-1, (n_heads, -1))
    offsets = attention.sampling_offsets(query).view(
        n_batch, n_queries, n_heads, n_levels, n_points, 2
    )
    weights = attention.attention_weights(query).view(n_batch, n_queries, n_heads, -1)
    weights = weights.softmax(-1).view(n_batch, n_queries, n_heads, n_levels, n_points)
    centres = reference_points[:, :, None, :, None, :2]
    if reference_points.shape[-1] == 2:
        steps = 1 / spatial_shapes.flip(-1)[:, None].to(offsets)
    else:
        steps = reference_points[:, :, None, :, None, 2:] * (0.5 / n_points)
    places = 2 * (centres + offsets * steps) - 1
    total, start = 0, 0
    for level, (height, width) in enumerate(spatial_shapes.tolist()):
        plane = value[:, start : start + height * width].permute(0, 2, 3, 1).flatten(0, 1)
        start += height * width
        seen = functional.grid_sample(
            plane.unflatten(-1, (height, width)),
            places[:, :, :, level].transpose(1, 2).flatten(0, 1),
            align_corners=False,
        )
        share = weights[:, :, :, level].transpose(1, 2).flatten(0, 1)[:, None]
        total = total + (seen * share).sum(-1)
    found = total.unflatten(0, (n_batch, n_heads)).flatten(1, 2).transpose(1, 2)
    found = attention.output_proj(found)
    return found if attention.batch_first else found.transpose(0, 1)


class Outputs:
    """What the network found in each of its layers, gathered by hooks on its own forward."""

    def __init__(self, network: torch.nn.Module) -> None:
        """Hook the transformer of a network."""
        self.network = network
        network.transformer.register_forward_hook(self._keep)

    def _keep(self, _module: torch.nn.Module, inputs: tuple, output: tuple) -> None:
        self.text, self.output = inputs[-1], output

    def layers(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Logits (B, Q, T) and boxes (B, Q, 4) of the encoder's proposals, then of each layer."""
        from groundingdino.util.misc import inverse_sigmoid

        states, references, of_encoder, encoder_boxes, _ = self.output
        head = self.network.transformer.enc_out_class_embed
        found = [(head(of_encoder[-1], self.text), encoder_boxes[-1])]
        for state, reference, boxes, classes in zip(
            states, references[:-1], self.network.bbox_embed, self.network.class_embed, strict=False
        ):
            moved = (boxes(state) + inverse_sigmoid(reference)).sigmoid()
            found.append((classes(state, self.text), moved))
        return found


def ask(
    rng: np.random.Generator, instances: list, tokenizer: object
) -> tuple[str, np.ndarray, list[tuple[int, np.ndarray]]]:
    """Make a caption of some phrases, true and untrue ones.

    Args:
        rng: Source of chance.
        instances: What can be seen.
        tokenizer: The network's.

    Returns:
        The caption; which of its tokens count for something, unused; and for every thing that a
        phrase is true of its place in `instances` with its tokens, bool, (T,).
    """
    phrases: list[str] = []
    n = int(rng.choice([1, 1, 1, 2, 3, 4]))
    for _ in range(n):
        if instances and rng.random() < 0.75:
            phrase = words.phrase_for(rng, instances[rng.integers(len(instances))])
        else:
            phrase = words.absent_phrase(rng, instances)
        if phrase is not None and phrase not in phrases:
            phrases.append(phrase)
    phrases = phrases or ["cat"]
    rng.shuffle(phrases)
    spans, text = [], ""
    for phrase in phrases:
        article = str(rng.choice(["", "", "a ", "the "]))
        text += f"{' ' if text else ''}{article}"
        spans.append((len(text), len(text) + len(phrase)))
        text += f"{phrase}."
    caption = normalise_caption(text)
    coded = tokenizer(caption, return_offsets_mapping=True)
    offsets = np.asarray(coded["offset_mapping"])
    per_thing: dict[int, np.ndarray] = {}
    for phrase, (start, end) in zip(phrases, spans, strict=True):
        inside = (offsets[:, 0] >= start) & (offsets[:, 1] <= end) & (offsets[:, 1] > offsets[:, 0])
        for place, instance in enumerate(instances):
            if words.is_true_of(phrase, instance):
                marked = per_thing.get(place, np.zeros(len(offsets), bool))
                per_thing[place] = marked | inside
    return caption, offsets, list(per_thing.items())


@dataclass
class Targets:
    """What is to be found in a batch, padded to the most things of an image.

    Attributes:
        boxes: Centre and size, (B, K, 4).
        tokens: 1 for the tokens that are true of a thing, (B, K, T).
        counts: Things of each image.
    """

    boxes: torch.Tensor
    tokens: torch.Tensor
    counts: list[int]


def match(
    layers: list[tuple[torch.Tensor, torch.Tensor]], targets: Targets, *, times: list[int]
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Match proposals with targets at the lowest cost, in every layer.

    Args:
        layers: Logits (B, Q, T), minus infinity where there is no token, and boxes (B, Q, 4).
        targets: What is to be found.
        times: Matches of each target, by layer.

    Returns:
        For each layer the matches: images, proposals and targets, (M,) each.
    """
    share = targets.tokens / targets.tokens.sum(-1, keepdim=True).clamp(min=1)
    costs = []
    with torch.no_grad():
        for logits, boxes in layers:
            chance = logits.sigmoid()
            positive = _ALPHA * (1 - chance) ** _GAMMA * -(chance + 1e-8).log()
            negative = (1 - _ALPHA) * chance**_GAMMA * -(1 - chance + 1e-8).log()
            cost = _COSTS["class"] * torch.einsum("bqt,bkt->bqk", positive - negative, share)
            cost = cost + _COSTS["l1"] * torch.cdist(boxes, targets.boxes, p=1)
            costs.append(cost - _COSTS["giou"] * _giou_pairs(boxes, targets.boxes))
        costs = torch.stack(costs).cpu().numpy()
    found = []
    for cost, repeats in zip(costs, times, strict=True):
        images, proposals, things = [], [], []
        for row, count in enumerate(targets.counts):
            if count:
                rows, columns = linear_sum_assignment(np.tile(cost[row, :, :count], (1, repeats)))
                images.append(np.full(len(rows), row))
                proposals.append(rows)
                things.append(columns % count)
        empty = [np.zeros(0, int)]
        found.append(tuple(np.concatenate(part or empty) for part in (images, proposals, things)))
    return found


def _giou_pairs(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """GIoU of all pairs of a batch: (B, Q, 4) and (B, K, 4) to (B, Q, K)."""
    a, b = (box_convert(x, "cxcywh", "xyxy") for x in (first, second))
    return _giou(a[:, :, None], b[:, None])


def _giou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """GIoU of corners, (…, 4) each, to (…)."""
    size_a, size_b = ((x[..., 2:] - x[..., :2]).prod(-1) for x in (a, b))
    inner = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(0)
    outer = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    shared = inner.prod(-1)
    either = (size_a + size_b - shared).clamp(min=1e-7)
    hull = outer.prod(-1).clamp(min=1e-7)
    return shared / either - (hull - either) / hull


def losses_of(
    logits: torch.Tensor,
    boxes: torch.Tensor,
    targets: Targets,
    matches: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> dict[str, torch.Tensor]:
    """Compute the losses of one layer; see the module."""
    images, proposals, things = (torch.from_numpy(x).to(boxes.device) for x in matches)
    truth = torch.zeros_like(logits)
    truth[images, proposals] = targets.tokens[images, things]
    counts = torch.isfinite(logits)
    values = logits.masked_fill(~counts, 0.0)
    chance = values.sigmoid()
    cross = functional.binary_cross_entropy_with_logits(values, truth, reduction="none")
    right = chance * truth + (1 - chance) * (1 - truth)
    alpha = _ALPHA * truth + (1 - _ALPHA) * (1 - truth)
    n = max(len(images), 1)
    losses = {"class": (alpha * (1 - right) ** _GAMMA * cross * counts).sum() / n}
    found, wanted = boxes[images, proposals], targets.boxes[images, things]
    losses["l1"] = (found - wanted).abs().sum() / n
    corners = [box_convert(x, "cxcywh", "xyxy") for x in (found, wanted)]
    losses["giou"] = (1 - _giou(*corners)).sum() / n
    return {name: _WEIGHTS[name] * value for name, value in losses.items()}


def normalise(images: torch.Tensor) -> torch.Tensor:
    """Bring pictures, 0 to 255, to the scale of GroundingDINO."""
    mean = torch.tensor(IMAGENET_MEAN, device=images.device)[:, None, None]
    std = torch.tensor(IMAGENET_STD, device=images.device)[:, None, None]
    return (images / 255 - mean) / std


@dataclass
class Asked:
    """One step: what is asked of which scenes.

    Attributes:
        scenes: Their indices, (B,).
        flip: Whether they are mirrored.
        captions: One a scene.
        boxes: float32, see `Targets`.
        tokens: float32, see `Targets`.
        counts: See `Targets`.
    """

    scenes: np.ndarray
    flip: bool
    captions: list[str]
    boxes: np.ndarray
    tokens: np.ndarray
    counts: list[int]


def draw_step(
    rng: np.random.Generator,
    instances: list[list[Instance]],
    tokenizer: object,
    *,
    batch: int,
    side: int,
) -> Asked:
    """Choose scenes and ask something of each."""
    chosen = rng.integers(len(instances), size=batch)
    flip = bool(rng.random() < 0.5)
    asked = [ask(rng, instances[index], tokenizer) for index in chosen]
    counts = [len(things) for _, _, things in asked]
    length = max(len(offsets) for _, offsets, _ in asked)
    boxes = np.full((batch, max(1, *counts), 4), 0.5, np.float32)
    tokens = np.zeros((batch, max(1, *counts), length), np.float32)
    for row, (index, (_, offsets, things)) in enumerate(zip(chosen, asked, strict=True)):
        for column, (place, marked) in enumerate(things):
            x_min, y_min, x_max, y_max = instances[index][place].box
            x = (x_min + x_max) / 2
            x = side - x if flip else x
            box = (x, (y_min + y_max) / 2, x_max - x_min, y_max - y_min)
            boxes[row, column] = np.array(box) / side
            tokens[row, column, : len(offsets)] = marked
    captions = [caption for caption, _, _ in asked]
    return Asked(chosen, flip, captions, boxes, tokens, counts)


def main() -> None:
    """Train from the command line."""
    given = loop.parse(__doc__, steps=12_000, batch=32, lr=4e-4)
    device = torch.device(given.device)
    data = scenes.load(given.scenes, device=torch.device("cpu"), n_scenes=given.n_scenes)
    side = data.images.shape[-1]
    folder = write_text_encoder(Path(given.out) / "bert")
    torch.manual_seed(given.seed)
    network = build(folder)
    ahead = loop.Ahead(
        functools.partial(
            draw_step,
            instances=data.instances,
            tokenizer=network.tokenizer,
            batch=given.batch,
            side=side,
        ),
        seed=given.seed,
        workers=given.workers,
    )
    network = network.to(device)
    pictures = data.images.to(device)
    outputs = Outputs(network)
    from groundingdino.util.misc import NestedTensor

    no_padding = torch.zeros((given.batch, side, side), dtype=torch.bool, device=device)

    def step_fn(asked: Asked, generator: torch.Generator) -> dict[str, torch.Tensor]:
        images = pictures[torch.from_numpy(asked.scenes).to(device)]
        images = images.flip(-1) if asked.flip else images
        images = scenes.vary(images.float(), generator=generator, swap_colours=0.0)
        network(NestedTensor(normalise(images), no_padding), captions=asked.captions)
        length = asked.tokens.shape[-1]
        layers = [(logits[..., :length], boxes) for logits, boxes in outputs.layers()]
        boxes, tokens = (torch.from_numpy(x).to(device) for x in (asked.boxes, asked.tokens))
        targets = Targets(boxes, tokens, asked.counts)
        times = [ENCODER_MATCHES, *[1] * (len(layers) - 1)]
        losses: dict[str, torch.Tensor] = {}
        found = match(layers, targets, times=times)
        for layer, ((logits, boxes), matches) in enumerate(zip(layers, found, strict=True)):
            name = "encoder" if layer == 0 else f"layer{layer}"
            for key, value in losses_of(logits, boxes, targets, matches).items():
                losses[f"{name}_{key}"] = value
        return losses

    named = dict(network.named_parameters())
    slow = [p for name, p in named.items() if "sampling_offsets" in name or "reference" in name]
    ids = {id(p) for p in slow}
    rest = [p for p in named.values() if p.requires_grad and id(p) not in ids]
    groups = [{"params": rest, "scale": 1.0}, {"params": slow, "scale": 0.1}]
    loop.run(
        given, {"network": network}, step_fn, ahead, groups=groups, clip_norm=0.5, weight_decay=1e-4
    )


if __name__ == "__main__":
    main()
