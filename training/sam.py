"""Train the `everyday` SAM: masks from boxes and points, with predicted IoU.

    python -m training.sam --scenes FOLDER --out FOLDER

Losses as published: focal loss and Dice loss of the masks in a ratio of 20 to 1, squared error of
the predicted IoU; with one point, only the best of three masks is taught.

Source: Kirillov et al. (2023), "Segment Anything", sections 3 and A.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from realitycheck.models.sam.inference import PIXEL_MEAN, PIXEL_STD
from realitycheck.models.sam.load import build_parts
from realitycheck.models.sam.model import SAM_VARIANTS
from training import loop, scenes

PROMPTS = 6
_LEAST_AREA_PX = 30


def normalise(images: torch.Tensor) -> torch.Tensor:
    """Bring pictures, 0 to 255, to the scale of SAM."""
    mean = torch.tensor(PIXEL_MEAN, device=images.device)[:, None, None]
    std = torch.tensor(PIXEL_STD, device=images.device)[:, None, None]
    return (images - mean) / std


def decode(
    parts: dict[str, torch.nn.Module],
    embeddings: torch.Tensor,
    *,
    points: tuple[torch.Tensor, torch.Tensor] | None = None,
    boxes: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Decode several prompts for each of several images, by the package's modules.

    The package's own decoder takes one image at a time.

    Args:
        parts: From `build_parts`.
        embeddings: (B, C, h, w).
        points: Coordinates (B · P, K, 2) and labels (B · P, K).
        boxes: (B · P, 4).

    Returns:
        Logits of all four masks, (B · P, 4, 4h, 4w), and predicted IoU, (B · P, 4).
    """
    prompt_encoder, decoder = parts["prompt_encoder"], parts["mask_decoder"]
    sparse, dense = prompt_encoder(points=points, boxes=boxes, masks=None)
    n = len(sparse)
    tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([tokens.expand(n, -1, -1), sparse], dim=1)
    source = embeddings.repeat_interleave(n // len(embeddings), dim=0) + dense
    position = prompt_encoder.get_dense_pe().expand(n, -1, -1, -1)
    height, width = source.shape[-2:]
    found, source = decoder.transformer(source, position, tokens)
    pixels = source.transpose(1, 2).reshape(n, -1, height, width)
    pixels = decoder.output_upscaling(pixels)
    mixing = torch.stack(
        [mlp(found[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], dim=1
    )
    logits = torch.einsum("nmc,nchw->nmhw", mixing, pixels)
    return logits, decoder.iou_prediction_head(found[:, 0])


def mask_losses(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute 20 · focal + Dice and the true IoU of each mask.

    Args:
        logits: (N, M, h, w).
        target: 0 or 1, (N, h, w).

    Returns:
        Losses and IoUs, (N, M) each; the IoU without gradient.
    """
    target = target[:, None].expand_as(logits)
    chance = logits.sigmoid()
    cross = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    right = chance * target + (1 - chance) * (1 - target)
    weight = 0.25 * target + 0.75 * (1 - target)
    focal = (weight * (1 - right) ** 2 * cross).mean(dim=(2, 3))
    dice = 1 - (2 * (chance * target).sum(dim=(2, 3)) + 1) / ((chance + target).sum(dim=(2, 3)) + 1)
    with torch.no_grad():
        drawn = logits > 0
        both = (drawn & (target > 0.5)).sum(dim=(2, 3))
        either = (drawn | (target > 0.5)).sum(dim=(2, 3))
        iou = both / either.clamp(min=1)
    return 20 * focal + dice, iou


def box_of(masks: torch.Tensor) -> torch.Tensor:
    """Boxes of masks: x_min, y_min, x_max, y_max, float, (N, 4); masks are bool, (N, H, W)."""
    height, width = masks.shape[-2:]
    rows, columns = masks.any(dim=2).float(), masks.any(dim=1).float()
    return torch.stack(
        [
            columns.argmax(dim=1),
            rows.argmax(dim=1),
            width - columns.flip(1).argmax(dim=1),
            height - rows.flip(1).argmax(dim=1),
        ],
        dim=1,
    ).float()


def pick_pixels(inside: torch.Tensor, n: int, *, generator: torch.Generator) -> torch.Tensor:
    """Pick n pixels of each mask by chance: x, y, float, (N, n, 2); masks are bool, (N, H, W)."""
    width = inside.shape[-1]
    weights = inside.flatten(1).float() + 1e-9
    chosen = torch.multinomial(weights, n, replacement=True, generator=generator)
    return torch.stack([chosen % width, chosen // width], dim=-1).float() + 0.5


def targets(
    batch: list[list],
    identities: torch.Tensor,
    parts: torch.Tensor,
    *,
    rng: np.random.Generator,
    with_background: bool,
) -> torch.Tensor:
    """Choose what is asked for: mostly whole things, some parts, seldom the background.

    Returns:
        bool, (B · PROMPTS, H, W).
    """
    values = np.zeros((len(batch), PROMPTS), np.int64)
    is_part = np.zeros((len(batch), PROMPTS), bool)
    for row, instances in enumerate(batch):
        for column in range(PROMPTS):
            roll = rng.random()
            if not instances or (with_background and roll < 0.12):
                continue
            instance = instances[rng.integers(len(instances))]
            is_part[row, column] = roll > 0.8 and len(instance.parts) > 1
            values[row, column] = (
                rng.choice(instance.parts) if is_part[row, column] else instance.identity
            )
    device = identities.device
    wanted = torch.from_numpy(values).to(device)[..., None, None]
    of_part = torch.from_numpy(is_part).to(device)[..., None, None]
    maps = torch.where(of_part, parts[:, None].long(), identities[:, None].long())
    return (maps == wanted).flatten(0, 1)


def main() -> None:
    """Train from the command line."""
    given = loop.parse(__doc__, steps=12_000, batch=16, lr=1e-3)
    device = torch.device(given.device)
    data = scenes.load(given.scenes, device=device, n_scenes=given.n_scenes)
    size = SAM_VARIANTS["everyday"]
    torch.manual_seed(given.seed)
    parts = {name: module.train().to(device) for name, module in build_parts(size).items()}
    encoder = parts["image_encoder"]
    torch.nn.init.trunc_normal_(encoder.pos_embed, std=0.02)
    side = 4 * size.grid

    def step_fn(rng: np.random.Generator, generator: torch.Generator) -> dict[str, torch.Tensor]:
        chosen = rng.integers(len(data), size=given.batch)
        index = torch.from_numpy(chosen).to(device)
        flip = bool(rng.random() < 0.5)
        maps = [data.images[index], data.identities[index], data.parts[index]]
        images, identities, part_map = [m.flip(-1) if flip else m for m in maps]
        images = scenes.vary(images.float(), generator=generator)
        embeddings = encoder(normalise(images))
        instances = [data.instances[i] for i in chosen]
        losses = {}
        for kind in ("box", "point"):
            wanted = targets(
                instances, identities, part_map, rng=rng, with_background=kind == "point"
            )
            area = wanted.sum(dim=(1, 2))
            valid = (area >= _LEAST_AREA_PX).float()
            small = functional.interpolate(wanted[:, None].float(), (side, side), mode="area")
            small = (small[:, 0] >= 0.5).float()
            if kind == "box":
                boxes = box_of(wanted)
                extent = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
                noise = torch.randn(boxes.shape, generator=generator, device=device)
                loose = float(rng.choice([0.0, 0.03, 0.08]))
                boxes = boxes + (loose * extent * noise).clamp(-20, 20)
                logits, ious = decode(parts, embeddings, boxes=boxes)
                n_points = 0
            else:
                n_points = int(rng.choice([1, 1, 1, 2, 3, 5, 8, 12]))
                points = pick_pixels(wanted, n_points, generator=generator)
                labels = torch.ones(points.shape[:2], dtype=torch.int, device=device)
                if n_points > 1 or rng.random() < 0.3:
                    others = pick_pixels(~wanted, n_points, generator=generator)
                    points = torch.cat([points, others], dim=1)
                    labels = torch.cat([labels, torch.zeros_like(labels)], dim=1)
                    jitter = float(rng.choice([0.0, 0.0, 4.0, 9.0]))
                    shift = torch.randn(points.shape, generator=generator, device=device)
                    points = (points + jitter * shift).clamp(0, size.image_size_px - 1)
                logits, ious = decode(parts, embeddings, points=(points, labels))
            loss, true = mask_losses(logits, small)
            single = loss[:, 0]
            if n_points == 1:
                loss_of_masks = single + loss[:, 1:].min(dim=1).values
                error = ((ious - true) ** 2).mean(dim=1)
            else:
                loss_of_masks = single
                error = (ious[:, 0] - true[:, 0]) ** 2
            weight = valid / valid.sum().clamp(min=1)
            losses[f"{kind}_mask"] = (loss_of_masks * weight).sum()
            losses[f"{kind}_iou"] = (error * weight).sum()
        return losses

    ahead = loop.Ahead(lambda rng: rng, seed=given.seed, workers=0)
    loop.run(given, parts, step_fn, ahead, weight_decay=0.02)


if __name__ == "__main__":
    main()
