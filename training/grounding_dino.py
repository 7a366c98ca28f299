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
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch.nn import functional
from torchvision.ops import box_convert, generalized_box_iou

from realitycheck.models import miniatures
from realitycheck.models.grounding_dino import (
    GROUNDING_DINO_VARIANTS,
    IMAGENET_MEAN,
    IMAGENET_STD,
    build_network,
    normalise_caption,
)
from training import loop, scenes, words

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
    original = getattr(groundingdino, name)
    if not isinstance(original, functools.partial):  # it goes token by token: slow on a GPU
        setattr(groundingdino, name, functools.partial(_on_cpu, original))
    for module in network.modules():
        if type(module) is MultiScaleDeformableAttention:
            # The package's forward on a GPU needs its compiled extension.
            module.forward = functools.partial(_sample, module)
    _make_unlikely(network)
    return network.train()


def _on_cpu(function: Callable[..., tuple], tokenized: Mapping, *rest: object) -> tuple:
    """Call the package's masks of sub-sentences on the CPU."""
    device = tokenized["input_ids"].device
    masks, places, lists = function({k: v.cpu() for k, v in tokenized.items()}, *rest)
    return masks.to(device), places.to(device), lists


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


def match(
    logits: torch.Tensor,
    boxes: torch.Tensor,
    targets: list[tuple[torch.Tensor, torch.Tensor]],
    *,
    times: int = 1,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Match proposals with targets at the lowest cost, each target `times` times.

    Args:
        logits: (B, Q, T); minus infinity where there is no token.
        boxes: (B, Q, 4), centre and size.
        targets: For each image boxes (K, 4) and tokens (K, T).
        times: Matches of each target.

    Returns:
        For each image the indices of proposals and of targets.
    """
    with torch.no_grad():
        counts = [len(t[0]) for t in targets]
        most = max(max(counts), 1)
        n, _, width = logits.shape
        wanted = logits.new_zeros(n, most, 4)
        tokens = logits.new_zeros(n, most, width)
        for row, (box, token) in enumerate(targets):
            wanted[row, : len(box)] = box
            tokens[row, : len(box), : token.shape[1]] = token
        chance = logits.sigmoid()
        positive = _ALPHA * (1 - chance) ** _GAMMA * -(chance + 1e-8).log()
        negative = (1 - _ALPHA) * chance**_GAMMA * -(1 - chance + 1e-8).log()
        share = tokens / tokens.sum(-1, keepdim=True).clamp(min=1)
        cost = _COSTS["class"] * torch.einsum("bqt,bkt->bqk", positive - negative, share)
        cost = cost + _COSTS["l1"] * torch.cdist(boxes, wanted, p=1)
        cost = cost - _COSTS["giou"] * _giou_pairs(boxes, wanted)
        cost = cost.cpu().numpy()
    pairs = []
    for row, count in enumerate(counts):
        rows, columns = linear_sum_assignment(np.tile(cost[row, :, :count], (1, times)))
        pairs.append((rows, columns % max(count, 1)))
    return pairs


def _giou_pairs(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """GIoU of all pairs of a batch: (B, Q, 4) and (B, K, 4) to (B, Q, K)."""
    a, b = (box_convert(x, "cxcywh", "xyxy") for x in (first, second))
    a, b = a[:, :, None], b[:, None]
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
    targets: list[tuple[torch.Tensor, torch.Tensor]],
    *,
    times: int,
) -> dict[str, torch.Tensor]:
    """Compute the losses of one layer; see the module."""
    pairs = match(logits, boxes, targets, times=times)
    rows = np.concatenate([np.full(len(p), row) for row, (p, _) in enumerate(pairs)])
    proposals = np.concatenate([p for p, _ in pairs]).astype(int)
    wanted = torch.cat([t[0][k] for t, (_, k) in zip(targets, pairs, strict=True)])
    truth = torch.zeros_like(logits)
    for row, ((p, k), (_, tokens)) in enumerate(zip(pairs, targets, strict=True)):
        truth[row, p, : tokens.shape[1]] = tokens[k]
    counts = torch.isfinite(logits)
    values, truth = logits[counts], truth[counts]
    chance = values.sigmoid()
    cross = functional.binary_cross_entropy_with_logits(values, truth, reduction="none")
    right = chance * truth + (1 - chance) * (1 - truth)
    alpha = _ALPHA * truth + (1 - _ALPHA) * (1 - truth)
    n = max(len(rows), 1)
    losses = {"class": (alpha * (1 - right) ** _GAMMA * cross).sum() / n}
    found = boxes[
        torch.from_numpy(rows).to(boxes.device), torch.from_numpy(proposals).to(boxes.device)
    ]
    losses["l1"] = (found - wanted).abs().sum() / n
    corners = [box_convert(x, "cxcywh", "xyxy") for x in (found, wanted)]
    losses["giou"] = (
        (1 - torch.diagonal(generalized_box_iou(*corners))).sum() / n
        if len(wanted)
        else found.sum() * 0
    )
    return {name: _WEIGHTS[name] * value for name, value in losses.items()}


def normalise(images: torch.Tensor) -> torch.Tensor:
    """Bring pictures, 0 to 255, to the scale of GroundingDINO."""
    mean = torch.tensor(IMAGENET_MEAN, device=images.device)[:, None, None]
    std = torch.tensor(IMAGENET_STD, device=images.device)[:, None, None]
    return (images / 255 - mean) / std


def main() -> None:
    """Train from the command line."""
    given = loop.parse(__doc__, steps=12_000, batch=32, lr=4e-4)
    device = torch.device(given.device)
    data = scenes.load(given.scenes, device=device, n_scenes=given.n_scenes)
    side = data.images.shape[-1]
    folder = write_text_encoder(Path(given.out) / "bert")
    torch.manual_seed(given.seed)
    network = build(folder).to(device)
    outputs = Outputs(network)

    def step_fn(
        _step: int, rng: np.random.Generator, generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        chosen = rng.integers(len(data), size=given.batch)
        flip = bool(rng.random() < 0.5)
        images = data.images[torch.from_numpy(chosen).to(device)]
        images = scenes.vary(
            (images.flip(-1) if flip else images).float(), generator=generator, swap_colours=0.0
        )
        captions, targets = [], []
        for index in chosen:
            instances = data.instances[index]
            caption, offsets, things = ask(rng, instances, network.tokenizer)
            captions.append(caption)
            boxes = np.array([instances[place].box for place, _ in things], np.float32).reshape(
                -1, 4
            )
            if flip:
                boxes[:, [0, 2]] = side - boxes[:, [2, 0]]
            tokens = np.array([marked for _, marked in things], np.float32).reshape(
                len(things), len(offsets)
            )
            boxes = box_convert(torch.from_numpy(boxes / side), "xyxy", "cxcywh")
            targets.append((boxes.to(device), torch.from_numpy(tokens).to(device)))
        network(normalise(images), captions=captions)
        losses: dict[str, torch.Tensor] = {}
        for layer, (logits, boxes) in enumerate(outputs.layers()):
            times = ENCODER_MATCHES if layer == 0 else 1
            name = "encoder" if layer == 0 else f"layer{layer}"
            for key, value in losses_of(logits, boxes, targets, times=times).items():
                losses[f"{name}_{key}"] = value
        return losses

    named = dict(network.named_parameters())
    slow = [p for name, p in named.items() if "sampling_offsets" in name or "reference" in name]
    ids = {id(p) for p in slow}
    rest = [p for p in named.values() if p.requires_grad and id(p) not in ids]
    groups = [{"params": rest, "scale": 1.0}, {"params": slow, "scale": 0.1}]
    loop.run(given, {"network": network}, step_fn, groups=groups, clip_norm=0.5, weight_decay=1e-4)


if __name__ == "__main__":
    main()
