"""Segment Anything (SAM): the image encoder once per image, then cheap prompts on its embedding.

The encoder costs nearly everything (2,981 GMAC for ViT-H) and knows nothing of prompts; the prompt
encoder and the mask decoder cost 1.8 GMAC per prompt. So the three parts load apart: a job that
only decodes stored embeddings never reads the encoder's weights.

Source: Kirillov et al. (2023), "Segment Anything", and the package `segment_anything`, whose
modules are used as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from realitycheck.models.precision import arithmetic
from realitycheck.models.sam.decoder import CPU_BATCH, ImageDecoder
from realitycheck.models.sam.encoder import faster_encoder

if TYPE_CHECKING:
    import torch
    from torch import Tensor
from realitycheck.core.images import check_image
from realitycheck.models.sam.model import SamModel

#: Mean and standard deviation of the training images, RGB, on the scale 0 to 255.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
#: A pixel belongs to a mask if its logit is above this.
MASK_THRESHOLD = 0.0
#: Of the decoder's four masks: the single one, or the three of an ambiguous prompt.
SINGLE_MASK, THREE_MASKS = slice(0, 1), slice(1, None)


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
            SAA+ does (deviation D1).
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
