"""Segment Anything (SAM): the image encoder once per image, then cheap prompts on its embedding.

The encoder costs nearly everything (2,981 GMAC for ViT-H) and knows nothing of prompts; the prompt
encoder and the mask decoder cost 1.8 GMAC a prompt. So the three parts load apart: a job that only
decodes stored embeddings never reads the encoder's weights.

Source: Kirillov et al. (2023), "Segment Anything", and the package `segment_anything`, whose
modules are used as they are.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from realitycheck.models.imports import lean_imports
from realitycheck.models.pickled import CheckpointError, shown
from realitycheck.models.precision import arithmetic, check_precision
from realitycheck.models.sam_decoder import CPU_BATCH, ImageDecoder
from realitycheck.models.sam_encoder import compiled_forward, faster_encoder
from realitycheck.models.state_dicts import kept_names
from realitycheck.models.weights import check_keys, check_shapes, check_size, load_state

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: Mean and standard deviation of the training images, RGB, on the scale 0 to 255.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
PARTS = ("image_encoder", "prompt_encoder", "mask_decoder")
#: A pixel belongs to a mask if its logit is above this.
MASK_THRESHOLD = 0.0
#: Of the decoder's four masks: the single one, or the three of an ambiguous prompt.
SINGLE_MASK, THREE_MASKS = slice(0, 1), slice(1, None)


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


#: Known models by name; "miniature" is the seeded small one of `realitycheck.models.miniatures`,
#: "everyday" the small one that is trained on drawn scenes.
SAM_VARIANTS: dict[str, SamDimensions] = {
    "vit_h": SamDimensions(1280, 32, 16, (7, 15, 23, 31)),
    "vit_l": SamDimensions(1024, 24, 16, (5, 11, 17, 23)),
    "vit_b": SamDimensions(768, 12, 12, (2, 5, 8, 11)),
    "miniature": SamDimensions(
        64,
        2,
        4,
        (1,),
        image_size_px=256,
        window_size=7,
        prompt_width=64,
        decoder_mlp_width=128,
        iou_head_width=64,
    ),
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


def _expected_sizes(variant: str | Mapping[str, object] | SamDimensions) -> dict[str, object]:
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
    expected_sizes = _expected_sizes(variant)
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


def resized_shape(image_size_hw: tuple[int, int], *, image_size_px: int = 1024) -> tuple[int, int]:
    """Compute the size of an image whose long side is brought to the model's size.

    Args:
        image_size_hw: Height and width in pixels.
        image_size_px: The model's size in pixels.

    Returns:
        New height and width: each side times the factor, rounded half up.
    """
    height, width = image_size_hw
    factor = image_size_px / max(height, width)
    return int(height * factor + 0.5), int(width * factor + 0.5)


def resize_image(image: np.ndarray, *, image_size_px: int = 1024) -> np.ndarray:
    """Resize an image so that its long side has the model's size (Pillow, bilinear).

    Args:
        image: uint8, (H, W, 3).
        image_size_px: Length of the long side afterwards.

    Returns:
        uint8, (new height, new width, 3).
    """
    from PIL import Image

    height, width = resized_shape(image.shape[:2], image_size_px=image_size_px)
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.array(picture.resize((width, height), Image.Resampling.BILINEAR))


def preprocess(
    image: np.ndarray, *, image_size_px: int = 1024, device: torch.device | str = "cpu"
) -> tuple[torch.Tensor, tuple[int, int]]:
    """Bring an image into the form that the encoder takes.

    The long side goes to `image_size_px`, the channels are normalised, and zeros fill the square to
    the right and below, after the normalisation.

    Args:
        image: uint8 RGB, (H, W, 3).
        image_size_px: Side of the encoder's square input.
        device: Where the result goes.

    Returns:
        Float32 tensor (3, image_size_px, image_size_px), and the height and width that the image
        takes up in it.

    Raises:
        ValueError: If the image is not uint8 with three channels.
    """
    import torch

    check_image(image)
    resized = resize_image(image, image_size_px=image_size_px)
    height, width = resized.shape[:2]
    # Brought to the device as bytes, a quarter of what the values take.
    pixels = torch.from_numpy(resized).to(device).permute(2, 0, 1).float()
    mean = torch.tensor(PIXEL_MEAN, device=device).view(3, 1, 1)
    std = torch.tensor(PIXEL_STD, device=device).view(3, 1, 1)
    square = torch.zeros(3, image_size_px, image_size_px, device=device)
    square[:, :height, :width] = (pixels - mean) / std
    return square, (height, width)


def check_image(image: np.ndarray) -> None:
    """Refuse what is not a uint8 image with three channels.

    Raises:
        ValueError: If type or shape is another.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3:
        found = getattr(image, "dtype", type(image).__name__), getattr(image, "shape", None)
        raise ValueError(f"image: expected uint8 of shape (H, W, 3), found {found[0]}, {found[1]}")
    if image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image: expected uint8 of shape (H, W, 3), found shape {image.shape}")


def encode_images(
    sam: SamModel,
    images: Sequence[np.ndarray],
    *,
    colour_order: str = "rgb",
    batch_size: int = 1,
) -> np.ndarray:
    """Run the image encoder.

    Args:
        sam: A model with its image encoder.
        images: N images, each uint8 RGB (H, W, 3), of any sizes.
        colour_order: "rgb", or "bgr" to show the encoder swapped channels, as the published code of
            SAA+ does (oddity D1).
        batch_size: Images per pass.

    Returns:
        Embeddings, float32, (N, C, h, w).

    Raises:
        ValueError: If the colour order is unknown, or the encoder was not loaded.
    """
    import torch

    sam.require("image_encoder")
    if colour_order not in ("rgb", "bgr"):
        raise ValueError(f"colour_order: expected 'rgb' or 'bgr', found {colour_order!r}")
    size = sam.dimensions
    embeddings = np.empty((len(images), size.prompt_width, size.grid, size.grid), np.float32)
    for start in range(0, len(images), max(1, batch_size)):
        chosen = images[start : start + max(1, batch_size)]
        inputs = torch.stack(
            [
                preprocess(
                    image if colour_order == "rgb" else image[..., ::-1],
                    image_size_px=size.image_size_px,
                    device=sam.device,
                )[0]
                for image in chosen
            ]
        )
        # A batch that is not full would be compiled anew, for itself alone.
        is_full = len(chosen) == max(1, batch_size)
        forward = sam.compiled_encoder if sam.is_compiled and is_full else None
        with (
            torch.inference_mode(),
            faster_encoder(sam.image_encoder, forward=forward),
            arithmetic(sam.device, sam.precision),
        ):
            found = sam.image_encoder(inputs)
        embeddings[start : start + len(chosen)] = found.float().cpu().numpy()
    return embeddings


def encode_image(sam: SamModel, image: np.ndarray, *, colour_order: str = "rgb") -> np.ndarray:
    """Run the image encoder on one image.

    Args:
        sam: A model with its image encoder.
        image: uint8 RGB, (H, W, 3).
        colour_order: As in `encode_images`.

    Returns:
        Embedding, float32, (C, h, w); (256, 64, 64) for the official models.
    """
    return encode_images(sam, [image], colour_order=colour_order)[0]


def embedding_tensor(sam: SamModel, embedding: np.ndarray | Tensor) -> Tensor:
    """Bring a stored embedding to the model's device as float32 (1, C, h, w).

    Raises:
        ValueError: If its shape is not the model's.
    """
    import torch

    size = sam.dimensions
    expected = (size.prompt_width, size.grid, size.grid)
    if tuple(embedding.shape) != expected:
        raise ValueError(
            f"SAM embedding: expected shape {expected}, found {tuple(embedding.shape)}; "
            "it was made by another model, so encode the images again"
        )
    return torch.as_tensor(embedding).to(sam.device, torch.float32)[None]


def scale_points(
    points: np.ndarray, *, image_size_hw: tuple[int, int], image_size_px: int
) -> np.ndarray:
    """Bring points (x, y) from the image into the encoder's square.

    Args:
        points: float, (…, 2), pixels of the image.
        image_size_hw: Height and width of the image.
        image_size_px: Side of the square.

    Returns:
        float64, (…, 2), pixels of the square.
    """
    height, width = image_size_hw
    new_height, new_width = resized_shape(image_size_hw, image_size_px=image_size_px)
    return np.asarray(points, np.float64) * (new_width / width, new_height / height)


def prompts_per_pass(sam: SamModel, batch_size: int) -> int:
    """Number of prompts that the decoder takes together: on a CPU few, whatever is asked for."""
    limit = CPU_BATCH if sam.device.type == "cpu" else batch_size
    return max(1, min(batch_size, limit))


def upscale_logits(logits: Tensor, *, image_size_hw: tuple[int, int], image_size_px: int) -> Tensor:
    """Bring low-resolution logits to the image: up to the square, crop the padding, to the image.

    Args:
        logits: (B, M, h, w).
        image_size_hw: Height and width of the image.
        image_size_px: Side of the encoder's square.

    Returns:
        Logits, (B, M, H, W).
    """
    from torch.nn.functional import interpolate

    height, width = resized_shape(image_size_hw, image_size_px=image_size_px)
    factor, rest = divmod(image_size_px, logits.shape[-1])
    if not rest:
        # What lies below and to the right of the image is padding, and bilinear weights reach one
        # row further: the rest of the square need not be computed.
        logits = logits[..., : -(-height // factor) + 1, : -(-width // factor) + 1]
        shape = (logits.shape[-2] * factor, logits.shape[-1] * factor)
    else:
        shape = (image_size_px, image_size_px)
    square = interpolate(logits, shape, mode="bilinear", align_corners=False)
    return interpolate(
        square[..., :height, :width],
        tuple(int(side) for side in image_size_hw),
        mode="bilinear",
        align_corners=False,
    )


def decode_boxes(
    sam: SamModel,
    embedding: np.ndarray | Tensor,
    boxes: np.ndarray,
    *,
    image_size_hw: tuple[int, int],
    batch_size: int = 16,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turn every box into one mask (`multimask_output=False`).

    Args:
        sam: A model with its prompt encoder and mask decoder.
        embedding: Embedding of the image, float, (C, h, w).
        boxes: float, (N, 4), x_min, y_min, x_max, y_max in pixels of the image; not clipped.
        image_size_hw: Height and width of the image.
        batch_size: Boxes per pass at most; it bounds the memory and does not change the result.

    Returns:
        Masks, bool, (N, H, W); predicted IoU, float32, (N,); low-resolution logits, float32, (N,
        4h, 4w).

    Raises:
        ValueError: If the boxes are not (N, 4).
    """
    import torch

    boxes = np.asarray(boxes, np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes: expected shape (N, 4), found {boxes.shape}")
    size = sam.dimensions
    features = embedding_tensor(sam, embedding)
    scaled = scale_points(
        boxes.reshape(-1, 2, 2), image_size_hw=image_size_hw, image_size_px=size.image_size_px
    ).reshape(-1, 4)
    masks = np.zeros((len(boxes), *image_size_hw), bool)
    ious = np.zeros(len(boxes), np.float32)
    low = np.zeros((len(boxes), 4 * size.grid, 4 * size.grid), np.float32)
    if not len(boxes):
        return masks, ious, low
    decoder = ImageDecoder(sam, features)
    step = prompts_per_pass(sam, batch_size)
    for start in range(0, len(boxes), step):
        part = slice(start, start + step)
        prompt = torch.as_tensor(scaled[part], dtype=torch.float32, device=sam.device)
        decoded = decoder.decode(boxes=prompt)
        logits = decoder.draw(decoded, SINGLE_MASK)
        masks[part] = _binary(logits, sam, image_size_hw)[:, 0]
        ious[part] = decoded.qualities[:, 0].cpu().numpy()
        low[part] = logits[:, 0].cpu().numpy()
    return masks, ious, low


def decode_points(
    sam: SamModel,
    embedding: np.ndarray | Tensor,
    points: np.ndarray,
    labels: np.ndarray,
    *,
    image_size_hw: tuple[int, int],
    multimask: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turn one prompt of several points into one mask, or into the three of `multimask`.

    Args:
        sam: A model with its prompt encoder and mask decoder.
        embedding: Embedding of the image, float, (C, h, w).
        points: float, (P, 2), x, y in pixels of the image; all belong to one prompt.
        labels: int, (P,), 1 object, 0 background.
        image_size_hw: Height and width of the image.
        multimask: Return three masks instead of one.

    Returns:
        Masks, bool, (M, H, W), with M 1 or 3; predicted IoU, float32, (M,); low-resolution logits,
        float32, (M, 4h, 4w).

    Raises:
        ValueError: If points and labels do not fit together, or there are none.
    """
    import torch

    points, labels = np.asarray(points, np.float64), np.asarray(labels)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) != len(labels) or not len(points):
        raise ValueError(
            f"points: expected (P, 2) with P labels and P at least 1, found {points.shape} and "
            f"{labels.shape}"
        )
    size = sam.dimensions
    scaled = scale_points(points, image_size_hw=image_size_hw, image_size_px=size.image_size_px)
    decoder = ImageDecoder(sam, embedding_tensor(sam, embedding))
    decoded = decoder.decode(
        points=torch.as_tensor(scaled[None], dtype=torch.float32, device=sam.device),
        labels=torch.as_tensor(labels[None].astype(np.int32), device=sam.device),
    )
    wanted = THREE_MASKS if multimask else SINGLE_MASK
    logits = decoder.draw(decoded, wanted)
    return (
        _binary(logits, sam, image_size_hw)[0],
        decoded.qualities[0, wanted].cpu().numpy(),
        logits[0].cpu().numpy(),
    )


def _binary(logits: Tensor, sam: SamModel, image_size_hw: tuple[int, int]) -> np.ndarray:
    """Upscale logits to the image and threshold them; bool, (B, M, H, W)."""
    import torch

    with torch.inference_mode():
        full = upscale_logits(
            logits, image_size_hw=image_size_hw, image_size_px=sam.dimensions.image_size_px
        )
        return (full > MASK_THRESHOLD).cpu().numpy()


def box_decoder(
    sam: SamModel,
    embedding: np.ndarray | Tensor,
    *,
    image_size_hw: tuple[int, int],
    batch_size: int = 16,
) -> Callable[[np.ndarray], np.ndarray]:
    """Bind a model and an image's embedding to a function from boxes to masks.

    The methods take such a function, so they know nothing of SAM.

    Returns:
        A function from boxes, (N, 4) in pixels, to masks, bool, (N, H, W).
    """

    def decode(boxes: np.ndarray) -> np.ndarray:
        return decode_boxes(
            sam, embedding, boxes, image_size_hw=image_size_hw, batch_size=batch_size
        )[0]

    return decode
