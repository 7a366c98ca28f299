"""CLIP's sizes by variant, and sentences; free of NumPy and torch, as texts are checked first."""

from __future__ import annotations

from collections.abc import Mapping

from realitycheck.core.imports import lean_imports

SCENE_TEMPLATES = (
    "there is a {} in the scene.",
    "there is the {} in the scene.",
    "this is a {} in the scene.",
    "this is the {} in the scene.",
    "this is one {} in the scene.",
)
"""The five sentences that CLIP_Surgery adds to CLIP's 80 ImageNet templates."""

EVERYDAY_SIZES = {
    "embed_dim": 64,
    "image_size": 224,
    "patch_size": 16,
    "vision_width": 128,
    "vision_layers": 7,
    "context_length": 77,
    "vocab_size": 49408,
    "text_width": 64,
    "text_layers": 2,
}
"""Sizes of the variant `everyday`, which is trained on drawn scenes."""

UNUSED = ("transformers", "timm", "huggingface_hub")
"""Packages with which `open_clip` builds towers, or finds weights, that no model here has."""


def known_sizes(variant: str | Mapping[str, int]) -> dict[str, int]:
    """Return the sizes that a variant stands for.

    Args:
        variant: `everyday`, a model name that open_clip knows (`ViT-B-16`), or a mapping with any
            of the keys of `EVERYDAY_SIZES`.

    Returns:
        The sizes, without unit except `image_size` and `patch_size`, which are in pixels. A mapping
        comes back as given: sizes that it leaves out are read from the weights.

    Raises:
        ValueError: If the name or a key of the mapping is unknown, or the model is no plain ViT.
    """
    if isinstance(variant, Mapping):
        unknown = sorted(set(variant) - set(EVERYDAY_SIZES))
        if unknown:
            raise ValueError(
                f"CLIP variant: unknown size {unknown[0]!r} (of {len(unknown)} unknown); "
                f"use any of {', '.join(EVERYDAY_SIZES)}"
            )
        return {key: int(value) for key, value in variant.items()}
    if variant == "everyday":
        return dict(EVERYDAY_SIZES)
    with lean_imports(without=UNUSED):
        from open_clip import get_model_config

    found = get_model_config(variant)
    if not found or not isinstance(found.get("vision_cfg", {}).get("layers"), int):
        raise ValueError(
            "CLIP variant: expected 'everyday', a ViT of open_clip such as 'ViT-B-16', or a "
            f"mapping of sizes, found {variant!r}"
        )
    vision, text = found["vision_cfg"], found["text_cfg"]
    return {
        "embed_dim": found["embed_dim"],
        "image_size": vision["image_size"],
        "patch_size": vision["patch_size"],
        "vision_width": vision["width"],
        "vision_layers": vision["layers"],
        "context_length": text["context_length"],
        "vocab_size": text["vocab_size"],
        "text_width": text["width"],
        "text_layers": text["layers"],
    }
