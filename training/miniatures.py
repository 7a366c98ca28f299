"""Miniature networks with random weights, in the official layouts, for tests and benchmarks.

They are written in seconds, load through the same code as the official checkpoints (as a variant
given by its dimensions) and find nothing meaningful: no weight was ever trained. They are arranged
so that a run exercises every path all the same. The detector's scores spread around its usual
threshold, and SAM draws a blob around the points or the corners of the box that it is given, with
an edge that follows the image.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from realitycheck.models.grounding_dino.model import (
    GroundingDinoDimensions,
    GroundingDinoModel,
    build_network,
    detect,
)
from realitycheck.models.sam.load import build_parts
from realitycheck.models.sam.model import SamDimensions
from training.miniature_clip import (
    CLIP_FILE,
    CLIP_SIZES,
    SALIENCY_FILE,
    SALIENCY_SIZES,
    write_miniature_clip,
    write_miniature_saliency,
)

if TYPE_CHECKING:
    from torch import Tensor

SAM_SIZE = SamDimensions(
    64,
    2,
    4,
    (1,),
    image_size_px=256,
    window_size=7,
    prompt_width=64,
    decoder_mlp_width=128,
    iou_head_width=64,
)
DETECTOR_SIZE = GroundingDinoDimensions(
    swin_width=24,
    swin_depths=(1, 1, 1, 1),
    swin_heads=(1, 1, 2, 2),
    enc_layers=1,
    dec_layers=1,
    dim_feedforward=256,
    num_queries=40,
    short_side_px=192,
    long_side_limit_px=320,
)


def _plain(size: Any) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(size).items()}


#: `variant` of each network in the settings.
VARIANTS: dict[str, dict[str, Any]] = {
    "sam": _plain(SAM_SIZE),
    "grounding_dino": _plain(DETECTOR_SIZE),
    "clip": CLIP_SIZES,
    "saliency": SALIENCY_SIZES,
    "resnet": SALIENCY_SIZES,
}

SAM_FILE = "sam_miniature.pth"
DETECTOR_FILE = "grounding_dino_miniature.pth"
TEXT_ENCODER_FOLDER = "bert"

#: Words that the miniature tokeniser keeps whole; others fall apart into letters.
_WORDS = """a and animal bad black blob blue broken bubble bump burn carpet cat chip color crack cut
damage dark defect delamination dent dirt dog dust edge electronic fiber flaw flawed fold glue good
gray green grid hole image in irregular leather light line liquid loose metal missing object of oil
on package part pattern poke product puppy red rough scratch spot stain surface texture the thread
tile tire uneven void white with wood yellow"""
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789ßæœøłđðþ"
_MARKS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def model_settings(folder: str | Path, *networks: str, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Write the files of some networks, and give the block `models` of settings that name them.

    Files that are there already are used as they are.

    Args:
        folder: Where to; created if needed.
        networks: `sam`, `grounding_dino`, `clip`, `saliency`, `resnet`.
        seed: Seed of all weights.
    """
    folder = Path(folder)
    if "grounding_dino" in networks and not (folder / DETECTOR_FILE).is_file():
        write_miniatures(folder, seed=seed)
    writers = {
        "sam": (SAM_FILE, write_miniature_sam),
        "clip": (CLIP_FILE, write_miniature_clip),
        "saliency": (SALIENCY_FILE, write_miniature_saliency),
        "resnet": (SALIENCY_FILE, write_miniature_saliency),
    }
    blocks = {}
    for network in networks:
        block: dict[str, Any] = {"variant": VARIANTS[network]}
        if network == "grounding_dino":
            block["text_encoder"] = str(folder / TEXT_ENCODER_FOLDER)
            block["weights"] = str(folder / DETECTOR_FILE)
        else:
            name, write = writers[network]
            if not (folder / name).is_file():
                write(folder, seed=seed)
            block["weights"] = str(folder / name)
        blocks[network] = block
    return blocks


def write_miniatures(folder: str | Path, *, seed: int = 0) -> dict[str, Path]:
    """Write a miniature SAM, a miniature GroundingDINO and its text encoder folder.

    The same seed gives the same weights.

    Args:
        folder: Where to; created if needed.
        seed: Seed of all weights.

    Returns:
        Paths by name: "sam", "grounding_dino", "text_encoder".
    """
    import torch

    folder = Path(folder)
    sam = write_miniature_sam(folder, seed=seed)
    text_encoder = write_text_encoder(folder / TEXT_ENCODER_FOLDER)
    state = detector_state(text_encoder, seed=seed)
    torch.save(
        {"model": {f"module.{name}": value for name, value in state.items()}},
        folder / DETECTOR_FILE,
    )
    return {
        "sam": sam,
        "grounding_dino": folder / DETECTOR_FILE,
        "text_encoder": text_encoder,
    }


def write_miniature_sam(folder: str | Path, *, seed: int = 0) -> Path:
    """Write a miniature SAM alone, as `write_miniatures` does.

    Args:
        folder: Where to; created if needed.
        seed: Seed of its weights.

    Returns:
        The checkpoint.
    """
    import torch

    path = Path(folder) / SAM_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(sam_state(seed=seed), path)
    return path


def vocabulary() -> tuple[str, ...]:
    """List the miniature tokeniser's word pieces: specials, marks, letters, some whole words.

    Every lower-case Latin text can be written with them, letter by letter where need be.
    """
    pieces = [
        *_SPECIAL,
        *_MARKS,
        *_LETTERS,
        *(f"##{letter}" for letter in _LETTERS),
        *_WORDS.split(),
    ]
    return tuple(dict.fromkeys(pieces))


def write_text_encoder(folder: str | Path) -> Path:
    """Write the folder that takes the place of bert-base-uncased: configuration and vocabulary.

    Args:
        folder: Where to; created if needed.

    Returns:
        The folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pieces = vocabulary()
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "vocab_size": len(pieces),
        "hidden_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
    }
    tokenizer = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    for name, content in (("config.json", config), ("tokenizer_config.json", tokenizer)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return folder


def _noise(name: str, shape: tuple[int, ...], *, seed: int, scale: float = 1.0) -> Tensor:
    """Draw a tensor from a stream of its own, so that its values do not depend on the order."""
    import torch

    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return torch.from_numpy((scale * rng.standard_normal(shape)).astype(np.float32))


def _random_state(state: Mapping[str, Tensor], *, seed: int) -> dict[str, Tensor]:
    """Fill a state dict: matrices by the root of their inputs, norms near 1, biases near 0."""
    import torch

    filled = {}
    for name, tensor in state.items():
        shape = tuple(tensor.shape)
        if not torch.is_floating_point(tensor):
            filled[name] = tensor.clone()
        elif len(shape) > 1:
            scale = 1.0 / math.sqrt(math.prod(shape[1:]))
            filled[name] = _noise(name, shape, seed=seed, scale=scale)
        elif name.endswith("weight"):
            filled[name] = 1.0 + _noise(name, shape, seed=seed, scale=0.05)
        else:
            filled[name] = _noise(name, shape, seed=seed, scale=0.02)
    return filled


# --------------------------------------------------------------------------------------------- SAM

# Channels of the miniature's 64 with a fixed role. A position (x, y) is coded by the sine and the
# cosine of 32 frequencies: 4 of them look at x alone, 4 at y alone, two are 0 and so leave room.
_N_HEADS = 8
_SINES = tuple(range(_N_HEADS))
_COSINES = tuple(range(32, 32 + _N_HEADS))
_INSIDE = 20  # positive where a pixel belongs to the object
_SINK = 21  # marks the tokens that stand for "no object here"
_FREQUENCIES = (0.35, 0.5, 0.7, 0.9)


def sam_state(*, seed: int = 0) -> dict[str, Tensor]:
    """Make the tensors of a miniature SAM, by official name.

    How a prompt becomes a blob: every attention head from the image to the tokens compares one
    frequency of the pixel's position with that of the prompt's points. Near a point the attention
    goes to it, and brings a positive value into the channel "inside"; elsewhere it goes to the mask
    tokens, which bring a negative one. Four heads look at x and four at y, so both must be near.
    The decoder then draws the sign of that channel, modulated by the image's own features.

    Args:
        seed: Seed of all weights.

    Returns:
        Tensors by name.
    """
    state: dict[str, Tensor] = {}
    for part, module in build_parts(SAM_SIZE).items():
        named = {f"{part}.{name}": tensor for name, tensor in module.state_dict().items()}
        state.update(_random_state(named, seed=seed))
    _arrange_encoder(state)
    _arrange_prompts(state, seed=seed)
    for layer in range(SAM_SIZE.decoder_depth):
        _arrange_attention(state, f"mask_decoder.transformer.layers.{layer}.")
    _silence(state, "mask_decoder.transformer.final_attn_token_to_image.out_proj.")
    _arrange_heads(state, seed=seed)
    return state


def _silence(state: dict[str, Tensor], prefix: str, *, factor: float = 0.05) -> None:
    """Shrink a linear layer's output, and keep it off the channels with a role."""
    for name in (f"{prefix}weight", f"{prefix}bias"):
        state[name] *= factor
        state[name][[*_SINES, *_COSINES, _INSIDE, _SINK]] = 0.0


def _arrange_encoder(state: dict[str, Tensor]) -> None:
    """Keep the image's features off the channels with a role, but for a share in "inside"."""
    patch = state["image_encoder.patch_embed.proj.weight"]
    # Mean colours matter more than single pixels: the features should show areas.
    state["image_encoder.patch_embed.proj.weight"] = 0.5 * patch + 4.0 * patch.mean(
        dim=(2, 3), keepdim=True
    )
    scale, shift = (state[f"image_encoder.neck.3.{name}"] for name in ("weight", "bias"))
    scale[[*_SINES, *_COSINES, _SINK]] = 0.0
    shift[[*_SINES, *_COSINES, _SINK]] = 0.0
    scale[_INSIDE] = 1.6


def _arrange_prompts(state: dict[str, Tensor], *, seed: int) -> None:
    """Set the frequencies of the position code and the meaning of every kind of token."""
    import torch

    matrix = _noise("frequencies", (2, 32), seed=seed, scale=0.5)
    matrix[:, : 2 * len(_FREQUENCIES)] = 0.0
    for index, frequency in enumerate(_FREQUENCIES):
        matrix[0, index] = frequency
        matrix[1, index + len(_FREQUENCIES)] = frequency
    matrix[:, [_INSIDE, _SINK]] = 0.0
    state["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"] = matrix

    def token(name: str, *, inside: float, sink: float) -> None:
        rows = _noise(name, tuple(state[name].shape), seed=seed, scale=0.5)
        rows[:, [*_SINES, *_COSINES]] = 0.0
        rows[:, _INSIDE] = inside
        rows[:, _SINK] = sink
        state[name] = rows

    token("prompt_encoder.point_embeddings.0.weight", inside=-3.0, sink=0.0)
    for kind in (1, 2, 3):  # a point on the object, and the two corners of a box
        token(f"prompt_encoder.point_embeddings.{kind}.weight", inside=3.0, sink=0.0)
    token("prompt_encoder.not_a_point_embed.weight", inside=-3.0, sink=2.0)
    token("mask_decoder.iou_token.weight", inside=-3.0, sink=2.0)
    token("mask_decoder.mask_tokens.weight", inside=-3.0, sink=2.0)
    state["prompt_encoder.no_mask_embed.weight"] = torch.zeros_like(
        state["prompt_encoder.no_mask_embed.weight"]
    )


def _arrange_attention(state: dict[str, Tensor], prefix: str) -> None:
    """Wire one two-way block: tokens keep to themselves, pixels look at near tokens."""
    import torch

    identity = torch.eye(state[f"{prefix}self_attn.q_proj.weight"].shape[0])
    for name in ("q_proj", "k_proj"):
        state[f"{prefix}self_attn.{name}.weight"] = 2.0 * identity
    state[f"{prefix}self_attn.v_proj.weight"] = identity.clone()
    kept = identity.clone()
    kept[[*_SINES, *_COSINES]] = 0.0  # the content of a token forgets its position
    state[f"{prefix}self_attn.out_proj.weight"] = kept
    _silence(state, f"{prefix}cross_attn_token_to_image.out_proj.")
    _silence(state, f"{prefix}mlp.lin2.")

    base = f"{prefix}cross_attn_image_to_token."
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        state[f"{base}{name}.weight"].zero_()
        state[f"{base}{name}.bias"].zero_()
    sharpness, pull, gain = math.sqrt(14.0), 1.3, 1.5
    for head in range(_N_HEADS):
        first = 4 * head  # 32 inner channels, 4 per head
        for name in ("q_proj", "k_proj"):
            state[f"{base}{name}.weight"][first, _SINES[head]] = sharpness
            state[f"{base}{name}.weight"][first + 1, _COSINES[head]] = sharpness
        state[f"{base}q_proj.bias"][first + 2] = 1.0
        state[f"{base}k_proj.weight"][first + 2, _SINK] = pull
        state[f"{base}v_proj.weight"][first + 3, _INSIDE] = 1.0
        state[f"{base}out_proj.weight"][_INSIDE, first + 3] = gain / _N_HEADS


def _arrange_heads(state: dict[str, Tensor], *, seed: int) -> None:
    """Draw the sign of "inside" four times as large, and predict qualities near 0.9."""
    import torch

    base = "mask_decoder.output_upscaling."
    first = 0.3 * _noise(f"{base}0.shared", (64, 16, 1, 1), seed=seed, scale=1 / 8)
    first = first.expand(64, 16, 2, 2).clone()
    first[:, :3] = 0.0
    first[_INSIDE, 0], first[_INSIDE, 1] = 1.0, -1.0
    state[f"{base}0.weight"] = first
    second = 0.5 * _noise(f"{base}3.shared", (16, 8, 1, 1), seed=seed, scale=1 / 4)
    second = second.expand(16, 8, 2, 2).clone()
    second[:, :3] = 0.0
    second[:3, 3:] = 0.0
    second[0, 0], second[1, 1] = 2.0, 2.0
    state[f"{base}3.weight"] = second
    state[f"{base}3.bias"] = torch.tensor([0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    # The third channel is constant: its weight moves the edge, so the masks lie in one another.
    for index, offset in enumerate((-6.0, 6.0, -6.0, -18.0)):
        name = f"mask_decoder.output_hypernetworks_mlps.{index}.layers.2."
        state[f"{name}weight"] *= 0.3
        noise = _noise(f"{name}bias", (5,), seed=seed, scale=4.0)
        state[f"{name}bias"] = torch.cat([torch.tensor([40.0, -40.0, offset / 2]), noise])
    name = "mask_decoder.iou_prediction_head.layers.2."
    state[f"{name}weight"] *= 0.2
    state[f"{name}bias"] = torch.tensor([0.92, 0.92, 0.93, 0.91])


# --------------------------------------------------------------------------------------- detector


def detector_state(text_encoder: str | Path, *, seed: int = 0) -> dict[str, Tensor]:
    """Make the tensors of a miniature GroundingDINO, by official name.

    The last norms before the comparison of boxes with words are set so that, over some random
    images and prompts, half of the images have a box above the usual threshold of 0.35.

    Args:
        text_encoder: Folder from `write_text_encoder`.
        seed: Seed of all weights.

    Returns:
        Tensors by name.
    """
    import torch

    size = DETECTOR_SIZE
    network = build_network(size, text_encoder=text_encoder)
    state = _random_state(network.state_dict(), seed=seed)
    width = state["feat_map.weight"].shape[0]
    common = _noise("common direction", (width,), seed=seed)
    common /= common.norm()
    text_norm = f"transformer.encoder.text_layers.{size.enc_layers - 1}.norm2."
    state[f"{text_norm}weight"].fill_(0.3)
    state[f"{text_norm}bias"] = 3.0 * common
    for name in state:
        if name.endswith("sampling_offsets.bias"):
            state[name] = _noise(name, tuple(state[name].shape), seed=seed, scale=2.0)
        if name.endswith(("gamma_v", "gamma_l")):
            state[name].fill_(0.15)
    # Proposals begin with sides of 0.05 to 0.4 of the image; this widens and varies them.
    state["transformer.enc_out_bbox_embed.layers.2.bias"] = torch.tensor([0.0, 0.0, 1.2, 1.2])
    state["transformer.enc_out_bbox_embed.layers.2.weight"] *= torch.tensor(
        [[0.5], [0.5], [1.5], [1.5]]
    )
    level = "transformer.decoder.norm."
    network.load_state_dict(state)
    model = GroundingDinoModel(network, size, torch.device("cpu"))
    scale, shift = _calibrate(model, level, common, seed=seed)
    state[f"{level}weight"] = torch.full((width,), scale)
    state[f"{level}bias"] = -shift * common
    network.load_state_dict(state)
    # Shared tensors appear under several names; all of them must hold what the model uses.
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _calibrate(
    model: GroundingDinoModel, level: str, common: Tensor, *, seed: int
) -> tuple[float, float]:
    """Find scale and shift of the last norm that put the best scores around 0.35.

    A logit is scale · A - shift · B, where A and B come from two trial settings of the norm.
    """
    import torch

    rng = np.random.default_rng([seed, 1])
    images = [_blobs(rng) for _ in range(6)]
    captions = ["defect", "cat", "scratch. dark spot."]
    weight = model.network.get_parameter(f"{level}weight")
    bias = model.network.get_parameter(f"{level}bias")

    def logits(n_images: int, *, scale: float, shift: float) -> list[np.ndarray]:
        with torch.no_grad():
            weight.fill_(scale)
            bias.copy_(shift * common)
        found = [detect(model, image, captions) for image in images[:n_images]]
        scores = [one.token_scores.astype(np.float64) for image in found for one in image]
        scores = [np.clip(score, 1e-9, 1 - 1e-9) for score in scores]
        return [np.log(score / (1 - score)) for score in scores]

    spread = logits(len(images), scale=0.2, shift=0.0)
    offset = logits(1, scale=0.0, shift=1.0)
    best = np.array([each.max() for each in spread])
    scale = round(float(0.2 * 0.7 / best.std()), 2)
    common_part = float(np.median([each.mean() for each in offset]))
    wanted = math.log(0.35 / 0.65)
    shift = (scale / 0.2 * float(np.median(best)) - wanted) / common_part
    return scale, round(shift, 2)


def _blobs(rng: np.random.Generator, *, height: int = 96, width: int = 128) -> np.ndarray:
    """Draw an image of a few coloured discs on a graded ground, uint8, (height, width, 3)."""
    rows, columns = np.mgrid[:height, :width]
    image = rng.uniform(60, 180, 3) + rng.uniform(-0.5, 0.5) * columns[..., None]
    for _ in range(int(rng.integers(1, 5))):
        row, column = rng.uniform(0, height), rng.uniform(0, width)
        inside = (rows - row) ** 2 + (columns - column) ** 2 < rng.uniform(5, 25) ** 2
        image[inside] = rng.uniform(0, 255, 3)
    return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
