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

import math

import numpy as np
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch.nn import functional

from realitycheck.datasets.everyday import Instance
from realitycheck.models.clip import (
    CLIP_MEAN,
    CLIP_STD,
    EVERYDAY_SIZES,
    build_clip,
    surgery_templates,
)
from realitycheck.models.clip_surgery import N_SURGERY_BLOCKS
from training import loop, scenes, words
from training.crops import around, cut
from training.sam import box_of

#: Regions of a scene that are contrasted; the last is where no thing is.
REGIONS = 4
#: What has a caption of its own instead of a description.
NOTHING, PART = "", "part"


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


def main() -> None:
    """Train from the command line."""
    given = loop.parse(__doc__, steps=12_000, batch=128, lr=1e-3)
    device = torch.device(given.device)
    data = scenes.load(given.scenes, device=device, n_scenes=given.n_scenes)
    usable = np.array([i for i in range(len(data)) if data.instances[i]])
    torch.manual_seed(given.seed)
    model = build_clip(EVERYDAY_SIZES).to(device).train()
    with torch.no_grad():
        model.logit_scale.fill_(math.log(1 / 0.07))
    tokenizer = SimpleTokenizer()
    templates = ["{}", *surgery_templates()]
    size_px = model.visual.image_size[0]
    grid = model.visual.grid_size[0]
    coded: dict[str, torch.Tensor] = {}

    def encode(texts: list[str]) -> torch.Tensor:
        for text in texts:
            if text not in coded:
                coded[text] = tokenizer([text], context_length=model.context_length)[0]
        return text_features(model, torch.stack([coded[text] for text in texts]).to(device))

    def sentence(rng: np.random.Generator, phrase: str) -> str:
        template = templates[0] if rng.random() < 0.4 else str(rng.choice(templates))
        return template.replace("{}", phrase)

    def step_fn(
        _step: int, rng: np.random.Generator, generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        chosen = usable[rng.integers(len(usable), size=given.batch)]
        n_scenes = max(1, given.batch // 4)
        things: list[Instance | str] = []
        boxes, wanted, is_cut, is_part = [], [], [], []
        for index in chosen:
            instances = data.instances[index]
            thing = instances[rng.integers(len(instances))]
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
                boxes.append((0, 0, data.images.shape[-1], data.images.shape[-2]))
            else:
                most = 0.04 if is_cut[-1] else float(rng.choice([0.3, 1.5]))
                wanted.append(thing.identity)
                things.append(thing)
                boxes.append(around(rng, thing.box, most=most))
        index = torch.from_numpy(chosen).to(device)
        images = scenes.vary(data.images[index].float(), generator=generator)
        labels = data.identities[index].float()[:, None]
        of_part = torch.tensor(is_part, device=device)[:, None, None, None]
        maps = torch.where(of_part, data.parts[index].float()[:, None], labels)
        masks = maps == torch.tensor(wanted, device=device)[:, None, None, None]
        frame = torch.tensor(boxes, device=device, dtype=torch.float32)
        tight = box_of(masks[:, 0])  # a part's own box, where it can be seen
        usable_box = of_part[:, 0, 0] & masks.flatten(1).any(dim=1, keepdim=True)
        frame = torch.where(usable_box, tight, frame)
        crops = cut(images, frame, size_px=size_px)
        inside = cut(masks.float(), frame, size_px=size_px) > 0.5
        black = torch.tensor(is_cut, device=device)[:, None, None, None]
        crops = torch.where(black & ~inside, torch.zeros_like(crops), crops)
        if rng.random() < 0.5:
            crops = crops.flip(-1)
        by_crop = functional.normalize(model.encode_image(normalise(crops)), dim=-1)

        # Whole scenes, and the regions in them; the last region is where no thing is.
        whole = functional.interpolate(images[:n_scenes], (size_px, size_px), mode="bilinear")
        tokens = surgery_tokens(model, normalise(whole))[:, 1:]
        tokens = functional.normalize(tokens, dim=-1)
        rows, values = [], []
        for row in range(n_scenes):
            instances = data.instances[chosen[row]]
            for thing in [instances[i] for i in rng.permutation(len(instances))[: REGIONS - 1]]:
                rows.append(row)
                values.append(thing.identity)
                things.append(thing)
            rows.append(row)
            values.append(0)
            things.append(NOTHING)
        row_index = torch.tensor(rows, device=device)
        masks = (
            labels[row_index] == torch.tensor(values, device=device)[:, None, None, None]
        ).float()
        cover = functional.interpolate(masks, (grid, grid), mode="area").flatten(1)
        cover = cover * (cover > 0.5 * cover.amax(dim=1, keepdim=True))
        # Some of a region's patches at a time: each of them must tell what it shows.
        share = torch.rand(cover.shape, generator=generator, device=device)
        cover = cover * (share < float(rng.choice([0.15, 0.5, 1.0]))) + 1e-6 * cover
        by_region = torch.einsum("np,npd->nd", cover, tokens[row_index])
        by_region = functional.normalize(by_region, dim=-1)

        phrases = [caption_for(rng, thing) for thing in things]
        unique = list(dict.fromkeys(phrases))
        place = {phrase: i for i, phrase in enumerate(unique)}
        own = torch.tensor([place[phrase] for phrase in phrases], device=device)
        true = torch.tensor(
            [[is_true(phrase, thing) for phrase in unique] for thing in things], device=device
        )
        texts = encode([sentence(rng, phrase) for phrase in unique])
        scale = model.logit_scale.exp().clamp(max=100)
        n = len(chosen)
        return {
            "crops": contrast(by_crop, texts, own[:n], true[:n], scale),
            "regions": contrast(by_region, texts, own[n:], true[n:], scale),
        }

    loop.run(given, {"clip": model}, step_fn, weight_decay=0.05)


if __name__ == "__main__":
    main()
