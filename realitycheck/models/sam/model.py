"""Model."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from realitycheck.models.checkpoints.pickled import CheckpointError, shown
from realitycheck.models.checkpoints.state_dicts import kept_names
from realitycheck.models.sam.encoder import compiled_forward

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PARTS = ("image_encoder", "prompt_encoder", "mask_decoder")


@dataclass(frozen=True)
class SamDimensions:
    """Sizes of a SAM model; the defaults are those that all official models share.

    Attributes:
        encoder_width: Channels of the image encoder's transformer.
        encoder_depth: Number of its blocks.
        encoder_heads: Attention heads of a block.
        global_attention_blocks: Indices of the blocks with attention over the whole image; the
            others attend within windows.
        image_size_px: Side of the square the image is fitted into.
        patch_size_px: Side of a patch.
        window_size: Side of an attention window, in patches.
        prompt_width: Channels of the embedding and of all prompt tokens.
        decoder_depth: Number of the decoder's two-way blocks.
        decoder_mlp_width: Hidden width of their MLP.
        decoder_heads: Their attention heads; not visible in a checkpoint.
        iou_head_depth: Layers of the head that predicts a mask's IoU.
        iou_head_width: Hidden width of that head.
        mask_input_channels: Channels of the encoder of mask prompts.
    """

    encoder_width: int
    encoder_depth: int
    encoder_heads: int
    global_attention_blocks: tuple[int, ...]
    image_size_px: int = 1024
    patch_size_px: int = 16
    window_size: int = 14
    prompt_width: int = 256
    decoder_depth: int = 2
    decoder_mlp_width: int = 2048
    decoder_heads: int = 8
    iou_head_depth: int = 3
    iou_head_width: int = 256
    mask_input_channels: int = 16

    @property
    def grid(self) -> int:
        """Side of the embedding, in patches."""
        return self.image_size_px // self.patch_size_px


#: Known models by name; "everyday" the small one that is trained on drawn scenes.
SAM_VARIANTS: dict[str, SamDimensions] = {
    "vit_h": SamDimensions(1280, 32, 16, (7, 15, 23, 31)),
    "vit_l": SamDimensions(1024, 24, 16, (5, 11, 17, 23)),
    "vit_b": SamDimensions(768, 12, 12, (2, 5, 8, 11)),
    "everyday": SamDimensions(
        96,
        4,
        4,
        (1, 3),
        image_size_px=256,
        patch_size_px=8,
        window_size=8,
        prompt_width=64,
        decoder_mlp_width=128,
        decoder_heads=4,
        iou_head_width=64,
    ),
}


def weight_sizes(variant: str | Mapping[str, object] | SamDimensions) -> dict[str, object]:
    """Turn a variant of the settings into the sizes that a checkpoint must have.

    Raises:
        ValueError: If a name or a field is unknown.
    """
    if isinstance(variant, SamDimensions):
        return asdict(variant)
    if isinstance(variant, str):
        if variant == "auto":
            return {}
        if variant not in SAM_VARIANTS:
            raise ValueError(
                f"SAM variant: expected auto, one of {', '.join(SAM_VARIANTS)} or a mapping of "
                f"dimensions, found {variant!r}"
            )
        return asdict(SAM_VARIANTS[variant])
    known = {field.name for field in fields(SamDimensions)}
    surplus = sorted(set(variant) - known)
    if surplus:
        raise ValueError(
            f"SAM variant: unknown dimension {surplus[0]!r} ({len(surplus)} unknown); "
            f"known are {', '.join(sorted(known))}"
        )
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in variant.items()
    }


def read_dimensions(
    state: Mapping[str, Tensor], *, path: str | Path, decoder_heads: int = 8
) -> SamDimensions:
    """Read a model's dimensions off the shapes of its tensors.

    The head width stands in the relative position tables, and the blocks with global attention have
    the longer tables. The decoder's number of heads leaves no trace and is taken as given.

    Args:
        state: Tensors by official name.
        path: The file, for messages.
        decoder_heads: Attention heads of the mask decoder.

    Returns:
        The dimensions.

    Raises:
        ValueError: If the tensors are not those of a SAM model.
    """
    try:
        grid = state["image_encoder.pos_embed"].shape[1]
        patch = state["image_encoder.patch_embed.proj.weight"].shape
        depth = _count(state, r"image_encoder\.blocks\.(\d+)\.")
        lengths = [len(state[f"image_encoder.blocks.{i}.attn.rel_pos_h"]) for i in range(depth)]
        head_width = state["image_encoder.blocks.0.attn.rel_pos_h"].shape[1]
        encoder_heads = patch[0] // head_width
        prompt_width = state["mask_decoder.mask_tokens.weight"].shape[1]
        mlp_width = state["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0]
        iou_width = state["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0]
        mask_channels = state["prompt_encoder.mask_downscaling.3.weight"].shape[0]
    except KeyError as error:
        raise CheckpointError(
            f"{path}: expected the checkpoint of a SAM model, but the tensor {error} is missing "
            f"(it has {len(state)}, first: {', '.join(shown(name)[1:-1] for name in [*state][:3])})"
            + (
                kept_names([error.args[0]], [*state])
                or "; check that the path names the SAM weights"
            )
        ) from error
    except (IndexError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{path}: expected the checkpoint of a SAM model, but its tensors have other shapes "
            "than SAM's; check that the path names the SAM weights"
        ) from error
    windowed = [length for length in lengths if length != 2 * grid - 1]
    return SamDimensions(
        encoder_width=patch[0],
        encoder_depth=depth,
        encoder_heads=encoder_heads,
        global_attention_blocks=tuple(i for i, n in enumerate(lengths) if n == 2 * grid - 1),
        image_size_px=grid * patch[-1],
        patch_size_px=patch[-1],
        window_size=(windowed[0] + 1) // 2 if windowed else 0,
        prompt_width=prompt_width,
        decoder_depth=_count(state, r"mask_decoder\.transformer\.layers\.(\d+)\."),
        decoder_mlp_width=mlp_width,
        decoder_heads=decoder_heads,
        iou_head_depth=_count(state, r"mask_decoder\.iou_prediction_head\.layers\.(\d+)\."),
        iou_head_width=iou_width,
        mask_input_channels=mask_channels,
    )


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """Count the numbered members (0, 1, …) that a pattern finds in the names."""
    return len({match[1] for key in state if (match := re.match(pattern, key))})


class SamModel:
    """The loaded parts of a SAM model, and a count of what the encoder did.

    Attributes:
        dimensions: Its sizes.
        image_encoder: Module, or None where it was not asked for; likewise the next two.
        prompt_encoder: Module or None.
        mask_decoder: Module or None.
        device: Where the parts lie.
        precision: Of image encoder and mask decoder, see `precision.arithmetic`.
        is_compiled: Whether full batches go through a compiled image encoder.
        n_images_encoded: Images that went through the image encoder so far.
    """

    def __init__(
        self,
        parts: Mapping[str, torch.nn.Module],
        dimensions: SamDimensions,
        *,
        device: torch.device,
        precision: str = "float32",
        is_compiled: bool = False,
    ) -> None:
        """Keep the parts and count every image that the encoder sees."""
        self.dimensions = dimensions
        self.image_encoder = parts.get("image_encoder")
        self.prompt_encoder = parts.get("prompt_encoder")
        self.mask_decoder = parts.get("mask_decoder")
        self.device = device
        self.precision = precision
        self.is_compiled = is_compiled
        self.n_images_encoded = 0
        if self.image_encoder is not None:
            self.image_encoder.register_forward_hook(self._count_images)

    def _count_images(self, _module: torch.nn.Module, inputs: tuple, _output: object) -> None:
        self.n_images_encoded += len(inputs[0])

    @functools.cached_property
    def compiled_encoder(self) -> Callable[[Tensor], Tensor]:
        """The image encoder, compiled at its first call; see `compiled_forward`."""
        self.require("image_encoder")
        return compiled_forward(self.image_encoder)

    def require(self, *names: str) -> None:
        """Raise if a part was not loaded."""
        absent = [name for name in names if getattr(self, name) is None]
        if absent:
            raise ValueError(
                f"SAM: this step needs the part {absent[0]!r}, which was not loaded; "
                f"name it in load_sam(parts=…)"
            )
