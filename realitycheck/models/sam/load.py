"""Load."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from realitycheck.core.imports import lean_imports
from realitycheck.models.checkpoints.read import check_keys, check_shapes, check_size, load_state
from realitycheck.models.precision import check_precision

if TYPE_CHECKING:
    import torch
from realitycheck.models.sam.model import (
    PARTS,
    SamDimensions,
    SamModel,
    read_dimensions,
    weight_sizes,
)


def build_parts(
    dimensions: SamDimensions, *, parts: Iterable[str] = PARTS
) -> dict[str, torch.nn.Module]:
    """Build parts of a SAM model from the package's own modules, with random weights.

    Args:
        dimensions: Sizes of the model.
        parts: Which of `PARTS`.

    Returns:
        Modules by the name of the part, in evaluation mode.

    Raises:
        ValueError: If a part is unknown.
    """
    import torch

    with lean_imports():
        from segment_anything.modeling import (
            ImageEncoderViT,
            MaskDecoder,
            PromptEncoder,
            TwoWayTransformer,
        )

    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise ValueError(f"SAM parts: expected some of {', '.join(PARTS)}, found {unknown[0]!r}")
    size = dimensions
    built: dict[str, torch.nn.Module] = {}
    if "image_encoder" in parts:
        built["image_encoder"] = ImageEncoderViT(
            img_size=size.image_size_px,
            patch_size=size.patch_size_px,
            embed_dim=size.encoder_width,
            depth=size.encoder_depth,
            num_heads=size.encoder_heads,
            mlp_ratio=4,
            out_chans=size.prompt_width,
            qkv_bias=True,
            norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=size.window_size,
            global_attn_indexes=size.global_attention_blocks,
        )
    if "prompt_encoder" in parts:
        built["prompt_encoder"] = PromptEncoder(
            embed_dim=size.prompt_width,
            image_embedding_size=(size.grid, size.grid),
            input_image_size=(size.image_size_px, size.image_size_px),
            mask_in_chans=size.mask_input_channels,
        )
    if "mask_decoder" in parts:
        built["mask_decoder"] = MaskDecoder(
            transformer_dim=size.prompt_width,
            transformer=TwoWayTransformer(
                depth=size.decoder_depth,
                embedding_dim=size.prompt_width,
                mlp_dim=size.decoder_mlp_width,
                num_heads=size.decoder_heads,
            ),
            num_multimask_outputs=3,
            iou_head_depth=size.iou_head_depth,
            iou_head_hidden_dim=size.iou_head_width,
        )
    return {name: module.eval() for name, module in built.items()}


def unfilled_parts(
    dimensions: SamDimensions, *, parts: Iterable[str] = PARTS
) -> dict[str, torch.nn.Module]:
    """Build parts as `build_parts` does, for tensors of a file to take the places of theirs.

    The image encoder, the one large part, lies on the meta device, where nothing is initialised in
    vain. The others do not: random numbers of the meta device load a package for symbolic
    mathematics, which takes longer than the initialisation. Chance elsewhere is left untouched.

    Args:
        dimensions: Sizes of the model.
        parts: Which of `PARTS`.

    Returns:
        Modules by the name of the part, in evaluation mode.

    Raises:
        ValueError: If a part is unknown.
    """
    import torch

    small = set(parts) - {"image_encoder"}
    with torch.random.fork_rng(devices=[]):
        built = build_parts(dimensions, parts=small)
    with torch.device("meta"):
        built |= build_parts(dimensions, parts=set(parts) - small)
    return {name: built[name] for name in PARTS if name in built}


def load_sam(
    path: str | Path,
    *,
    variant: str | Mapping[str, object] | SamDimensions = "auto",
    device: str | torch.device = "cpu",
    parts: Iterable[str] = PARTS,
    precision: str = "float32",
    is_compiled: bool = False,
) -> SamModel:
    """Load the asked parts of a SAM checkpoint.

    Args:
        path: Checkpoint in the official layout (`image_encoder.`, `prompt_encoder.`,
            `mask_decoder.`).
        variant: A known name, or a mapping of dimensions (fields of `SamDimensions`): what the
            tensors must agree with. All sizes but `decoder_heads` are read off the tensors, so a
            mapping may leave fields out, and "auto" agrees with every file.
        device: Where the parts go.
        parts: Some of `PARTS`; the weights of the others are never read from the disk.
        precision: Of image encoder and mask decoder, see `precision.arithmetic`. The prompt
            encoder, and the heads that predict qualities, always run in float32.
        is_compiled: Whether full batches go through a compiled image encoder.

    Returns:
        The model, in evaluation mode, without gradients.

    Raises:
        ValueError: If the file's tensors are not those of the variant.
    """
    import torch

    check_precision(precision)
    expected_sizes = weight_sizes(variant)
    parts = frozenset(parts)
    unread = tuple(f"{part}." for part in PARTS if part not in parts)
    state = load_state(path, unread=unread)
    dimensions = read_dimensions(
        state, path=path, decoder_heads=expected_sizes.get("decoder_heads", 8)
    )
    found = asdict(dimensions)
    wrong = [
        f"{name} is {found[name]}, expected {value}"
        for name, value in expected_sizes.items()
        if found[name] != value
    ]
    if wrong:
        raise ValueError(
            f"{path}: the checkpoint does not belong to the SAM variant {variant!r}: "
            f"{'; '.join(wrong[:3])} ({len(wrong)} differences); correct the variant or the path "
            "in the settings"
        )
    width = dimensions.prompt_width
    check_size(
        state,
        dimensions.encoder_depth * 12 * dimensions.encoder_width**2
        + dimensions.decoder_depth * (2 * width * dimensions.decoder_mlp_width + 4 * width**2)
        + max(0, dimensions.iou_head_depth - 2) * dimensions.iou_head_width**2,
        path=path,
    )
    built = unfilled_parts(dimensions, parts=parts)
    expected = {
        f"{part}.{name}": tensor
        for part, module in built.items()
        for name, tensor in module.state_dict().items()
    }
    check_keys(
        [name for name in expected if name not in state],
        [name for name in state if name not in expected and not name.startswith(unread)],
        path=path,
    )
    check_shapes(state, expected, path=path)
    for part, module in built.items():
        own = {name: state[f"{part}.{name}"].float() for name in module.state_dict()}
        module.load_state_dict(own, assign=True)
        module.requires_grad_(False).eval().to(device)
    return SamModel(
        built,
        dimensions,
        device=torch.device(device),
        precision=precision,
        is_compiled=is_compiled,
    )
