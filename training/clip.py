"""Train the `everyday` CLIP: crops and captions in one space.

    python -m training.clip --scenes FOLDER --out FOLDER

Three kinds of pairs, each contrasted with all captions of the batch: crops with their surroundings,
crops with black outside a mask, as SAM + CLIP cuts them, and the regions of whole scenes, as CLIP
Surgery sees them (the mean of the tokens of its second stream over a thing's patches). The place
where there is no thing has the empty phrase, a mask of a mere part is called "part". A caption that
is true of a thing, though it was made for another, is no counter-example.

Sources: Radford et al. (2021), the CLIP paper; Li et al. (2023), "CLIP Surgery"; Zhong et al.
(2022), "RegionCLIP", for contrasting regions.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch.nn import functional

from realitycheck.datasets.synthetic.everyday import Instance
from realitycheck.models.clip.model import (
    CLIP_MEAN,
    CLIP_STD,
    build_clip,
    surgery_templates,
)
from realitycheck.models.clip.sizes import EVERYDAY_SIZES
from realitycheck.models.clip.surgery import N_SURGERY_BLOCKS
from training import loop, scenes, words
from training.crops import around, cut
from training.sam import box_of

#: Regions of a scene that are contrasted; the last is where no thing is.
REGIONS = 4
#: What has a caption of its own instead of a description.
NOTHING, PART = "", "part"
_TEMPLATES = ["{}", *surgery_templates()]


def caption_for(rng: np.random.Generator, thing: Instance | str) -> str:
    """Make a caption of a thing; `NOTHING` and `PART` are their own."""
    return thing if isinstance(thing, str) else words.phrase_for(rng, thing)


def is_true(caption: str, thing: Instance | str) -> bool:
    """Whether a caption describes what an image shows."""
    if isinstance(thing, str) or caption in (NOTHING, PART):
        return caption == thing
    return words.is_true_of(caption, thing)


def normalise(images: torch.Tensor) -> torch.Tensor:
    """Bring pictures, 0 to 255, to the scale of CLIP."""
    mean = torch.tensor(CLIP_MEAN, device=images.device)[:, None, None]
    std = torch.tensor(CLIP_STD, device=images.device)[:, None, None]
    return (images / 255 - mean) / std


def surgery_tokens(model: torch.nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Compute `clip_surgery.encode_tokens` with gradients, at the stored grid."""
    visual = model.visual
    patches = visual.conv1(pixels).flatten(2).transpose(1, 2)
    first = visual.class_embedding.expand(len(patches), 1, -1)
    original = visual.ln_pre(torch.cat([first, patches], dim=1) + visual.positional_embedding)
    blocks = list(visual.transformer.resblocks)
    for block in blocks[: len(blocks) - N_SURGERY_BLOCKS]:
        original = block(original)
    new = original
    for block in blocks[len(blocks) - N_SURGERY_BLOCKS :]:
        attention, tokens = block.attn, block.ln_1(original)
        n, length, width = tokens.shape
        mixed = functional.linear(tokens, attention.in_proj_weight, attention.in_proj_bias)
        mixed = mixed.reshape(n, length, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = mixed

        def project(attended: torch.Tensor, attention=attention, shape=(n, length, width)):  # noqa: ANN001, ANN202
            return attention.out_proj(attended.transpose(1, 2).reshape(shape))

        attend = functional.scaled_dot_product_attention
        new = new + project(attend(value, value, value))
        original = original + project(attend(query, key, value))
        original = original + block.mlp(block.ln_2(original))
    tokens = torch.cat([original[:, :1], new[:, 1:]], dim=1)
    return visual.ln_post(tokens) @ visual.proj


def text_features(model: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Run the text tower on as many places as the longest text takes."""
    ends = tokens.argmax(dim=1)
    length = int(ends.max()) + 1
    places = model.token_embedding(tokens[:, :length]) + model.positional_embedding[:length]
    places = model.transformer(places, attn_mask=model.attn_mask[:length, :length])
    chosen = model.ln_final(places)[torch.arange(len(tokens), device=tokens.device), ends]
    return functional.normalize(chosen @ model.text_projection, dim=-1)


def contrast(
    images: torch.Tensor,
    texts: torch.Tensor,
    own: torch.Tensor,
    true: torch.Tensor,
    scale: torch.Tensor,
) -> torch.Tensor:
    """Compute the contrastive loss in both directions.

    Args:
        images: Features of length 1, (N, D).
        texts: Features of length 1 of the K captions, (K, D).
        own: The caption that each image came with, (N,).
        true: Whether a caption is true of an image, bool, (N, K).
        scale: Factor before the softmax.
    """
    logits = scale * images @ texts.T
    rows = torch.arange(len(images), device=images.device)
    other_true = true.clone()
    other_true[rows, own] = False
    masked = logits.masked_fill(other_true, float("-inf"))
    by_image = functional.cross_entropy(masked, own)
    likely = masked.T.log_softmax(dim=1)  # each caption chooses among the images
    by_text = -likely[own, rows].mean()
    return (by_image + by_text) / 2


@dataclass
class Pairs:
    """One step: crops, regions and captions.

    Attributes:
        scenes: Scene of each crop, (B,).
        boxes: Frame of each crop in pixels, float32, (B, 4).
        wanted: Value of what a crop shows, in the maps of things or of parts, (B,).
        is_part: Whether it is a part, bool, (B,).
        is_cut: Whether the crop is black outside the mask, bool, (B,).
        flip: Whether crops are mirrored.
        n_whole: This many of the scenes are seen whole.
        region_rows: Scene of each region, among the whole ones, (R,).
        region_values: Value of each region in the map of things, (R,).
        share_of_patches: Of a region's patches that is used.
        own: Caption of each crop, then of each region, (B + R,).
        true: Whether a caption is true of them, bool, (B + R, K).
        texts: Tokens of the captions, (K, L).
    """

    scenes: np.ndarray
    boxes: np.ndarray
    wanted: np.ndarray
    is_part: np.ndarray
    is_cut: np.ndarray
    flip: bool
    n_whole: int
    region_rows: np.ndarray
    region_values: np.ndarray
    share_of_patches: float
    own: np.ndarray
    true: np.ndarray
    texts: np.ndarray


def sentence(rng: np.random.Generator, phrase: str) -> str:
    """Put a phrase into one of the templates, or leave it alone."""
    return phrase if rng.random() < 0.4 else str(rng.choice(_TEMPLATES)).replace("{}", phrase)


def draw_step(
    rng: np.random.Generator,
    instances: list[list[Instance]],
    usable: np.ndarray,
    tokenizer: SimpleTokenizer,
    *,
    batch: int,
    side: int,
    context_length: int,
) -> Pairs:
    """Choose crops, regions and captions."""
    chosen = usable[rng.integers(len(usable), size=batch)]
    n_whole = max(1, batch // 4)
    things: list[Instance | str] = []
    boxes, wanted, is_cut, is_part = [], [], [], []
    for index in chosen:
        thing = instances[index][rng.integers(len(instances[index]))]
        roll = rng.random()
        is_cut.append(roll < 0.55)
        is_part.append(roll < 0.07 and len(thing.parts) > 1)
        if is_part[-1]:
            wanted.append(int(rng.choice(thing.parts)))
            things.append(PART)
            boxes.append(thing.box)
        elif 0.07 <= roll < 0.12:
            wanted.append(0)
            things.append(NOTHING)
            boxes.append((0, 0, side, side))
        else:
            most = 0.04 if is_cut[-1] else float(rng.choice([0.3, 1.5]))
            wanted.append(thing.identity)
            things.append(thing)
            boxes.append(around(rng, thing.box, most=most))
    rows, values = [], []
    for row in range(n_whole):
        seen = instances[chosen[row]]
        for thing in [seen[i] for i in rng.permutation(len(seen))[: REGIONS - 1]]:
            rows.append(row)
            values.append(thing.identity)
            things.append(thing)
        rows.append(row)  # the last region is where no thing is
        values.append(0)
        things.append(NOTHING)
    phrases = [caption_for(rng, thing) for thing in things]
    unique = list(dict.fromkeys(phrases))
    place = {phrase: i for i, phrase in enumerate(unique)}
    kinds: dict[tuple[str, str, str] | str, list[int]] = {}
    for i, thing in enumerate(things):
        kind = thing if isinstance(thing, str) else (thing.noun, thing.colour, thing.finish)
        kinds.setdefault(kind, []).append(i)
    true = np.zeros((len(things), len(unique)), bool)
    for alike in kinds.values():
        true[alike] = [is_true(phrase, things[alike[0]]) for phrase in unique]
    texts = [sentence(rng, phrase) for phrase in unique]
    return Pairs(
        scenes=chosen,
        boxes=np.array(boxes, np.float32),
        wanted=np.array(wanted),
        is_part=np.array(is_part),
        is_cut=np.array(is_cut),
        flip=bool(rng.random() < 0.5),
        n_whole=n_whole,
        region_rows=np.array(rows),
        region_values=np.array(values),
        share_of_patches=float(rng.choice([0.15, 0.5, 1.0])),
        own=np.array([place[phrase] for phrase in phrases]),
        true=true,
        texts=tokenizer(texts, context_length=context_length).numpy(),
    )


def main() -> None:
    """Train from the command line."""
    given = loop.parse(__doc__, steps=12_000, batch=128, lr=1e-3)
    device = torch.device(given.device)
    data = scenes.load(given.scenes, device=torch.device("cpu"), n_scenes=given.n_scenes)
    usable = np.array([i for i in range(len(data)) if data.instances[i]])
    torch.manual_seed(given.seed)
    model = build_clip(EVERYDAY_SIZES).train()
    with torch.no_grad():
        model.logit_scale.fill_(math.log(1 / 0.07))
    tokenizer = SimpleTokenizer()
    size_px = model.visual.image_size[0]
    grid = model.visual.grid_size[0]
    instances = data.instances
    side = data.images.shape[-1]
    prepare = functools.partial(
        draw_step,
        instances=instances,
        usable=usable,
        tokenizer=tokenizer,
        batch=given.batch,
        side=side,
        context_length=model.context_length,
    )
    ahead = loop.Ahead(prepare, seed=given.seed, workers=given.workers)
    model = model.to(device)
    pictures, identities, parts = (x.to(device) for x in (data.images, data.identities, data.parts))

    def step_fn(asked: Pairs, generator: torch.Generator) -> dict[str, torch.Tensor]:
        index, wanted, is_part, is_cut, rows, values, own, true, tokens_of_texts = (
            torch.from_numpy(x).to(device)
            for x in (
                asked.scenes,
                asked.wanted,
                asked.is_part,
                asked.is_cut,
                asked.region_rows,
                asked.region_values,
                asked.own,
                asked.true,
                asked.texts,
            )
        )
        n_scenes = asked.n_whole
        images = scenes.vary(pictures[index].float(), generator=generator)
        labels = identities[index].float()[:, None]
        of_part = is_part[:, None, None, None]
        maps = torch.where(of_part, parts[index].float()[:, None], labels)
        masks = maps == wanted[:, None, None, None]
        frame = torch.from_numpy(asked.boxes).to(device)
        tight = box_of(masks[:, 0])  # a part's own box, where it can be seen
        usable_box = of_part[:, 0, 0] & masks.flatten(1).any(dim=1, keepdim=True)
        frame = torch.where(usable_box, tight, frame)
        crops = cut(images, frame, size_px=size_px)
        inside = cut(masks.float(), frame, size_px=size_px) > 0.5
        black = is_cut[:, None, None, None]
        crops = torch.where(black & ~inside, torch.zeros_like(crops), crops)
        if asked.flip:
            crops = crops.flip(-1)
        by_crop = functional.normalize(model.encode_image(normalise(crops)), dim=-1)

        # Whole scenes, and the regions in them; the last region is where no thing is.
        whole = functional.interpolate(images[:n_scenes], (size_px, size_px), mode="bilinear")
        tokens = surgery_tokens(model, normalise(whole))[:, 1:]
        tokens = functional.normalize(tokens, dim=-1)
        masks = (labels[rows] == values[:, None, None, None]).float()
        cover = functional.interpolate(masks, (grid, grid), mode="area").flatten(1)
        cover = cover * (cover > 0.5 * cover.amax(dim=1, keepdim=True))
        # Some of a region's patches at a time: each of them must tell what it shows.
        share = torch.rand(cover.shape, generator=generator, device=device)
        cover = cover * (share < asked.share_of_patches) + 1e-6 * cover
        by_region = torch.einsum("np,npd->nd", cover, tokens[rows])
        by_region = functional.normalize(by_region, dim=-1)

        texts = text_features(model, tokens_of_texts)
        scale = model.logit_scale.exp().clamp(max=100)
        n = len(index)
        return {
            "crops": contrast(by_crop, texts, own[:n], true[:n], scale),
            "regions": contrast(by_region, texts, own[n:], true[n:], scale),
        }

    loop.run(given, {"clip": model}, step_fn, ahead, weight_decay=0.05)


if __name__ == "__main__":
    main()
