"""CLIP: image and text features in one space, and the features of mask crops.

The network is the CLIP class of `open_clip`, in float32 and with the QuickGELU that the released
weights were trained with. Everything that knows the image and not the prompt (`crop_features`,
`encode_crops`) is apart from what knows the prompt (`encode_text`, `select_masks`), so that a
prompt edit costs the text tower only.

Sources: Radford et al. (2021), the CLIP paper; Text2Seg `predict_CLIP` for the mask crops and their
selection; CLIP_Surgery for the 85 templates.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from realitycheck.core.images import check_image
from realitycheck.core.imports import lean_imports
from realitycheck.core.prefetch import run_ahead
from realitycheck.models.checkpoints.pickled import CheckpointError, shown
from realitycheck.models.checkpoints.read import check_keys, check_shapes, check_size, load_state
from realitycheck.models.checkpoints.state_dicts import kept_names
from realitycheck.models.clip.sizes import SCENE_TEMPLATES, UNUSED, known_sizes
from realitycheck.models.cpu_linear import faster_linears
from realitycheck.models.precision import arithmetic

if TYPE_CHECKING:
    import torch

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
"""Channel means of CLIP's training images, for values in 0..1."""

CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Channel standard deviations of CLIP's training images, for values in 0..1."""

LOGIT_SCALE = 100.0
"""Factor before the softmax: exp(logit_scale) of every released CLIP, where training capped it."""

CPU_CROPS = 4
"""Images that go through the network together on a CPU: more fall out of its cache."""

_CROP_THREADS = 4
"""Threads that cut and preprocess crops beside a GPU, which takes hundreds of them a second."""

_FILE_FACTS = ("input_resolution", "context_length", "vocab_size")
"""Integers that OpenAI's archives carry beside the weights."""

_ensembles: weakref.WeakKeyDictionary[Any, dict[tuple[str, ...], np.ndarray]] = (
    weakref.WeakKeyDictionary()
)


@cache
def surgery_templates() -> tuple[str, ...]:
    """Return the 85 templates of CLIP_Surgery, each with one `{}` for the phrase.

    They are the 80 templates that CLIP's authors used for ImageNet, in their order, followed by
    `SCENE_TEMPLATES`.
    """
    with lean_imports(without=UNUSED):
        from open_clip import OPENAI_IMAGENET_TEMPLATES

    return (*(template("{}") for template in OPENAI_IMAGENET_TEMPLATES), *SCENE_TEMPLATES)


def sizes_of(state: Mapping[str, torch.Tensor], *, path: Path | str) -> dict[str, int]:
    """Read a CLIP's sizes off the shapes of its tensors.

    Args:
        state: Tensors under the key names of OpenAI's ViT files.
        path: Where they come from, for the error message.

    Returns:
        The keys of `EVERYDAY_SIZES`.

    Raises:
        ValueError: If a tensor that tells a size is missing, as in a file that holds no CLIP ViT.
    """
    telling = (
        "visual.conv1.weight",
        "visual.positional_embedding",
        "visual.proj",
        "positional_embedding",
        "token_embedding.weight",
        "text_projection",
    )
    missing = [key for key in telling if key not in state]
    if missing:
        raise CheckpointError(
            f"{path}: expected a CLIP ViT in OpenAI's key layout, but {missing[0]!r} is missing "
            f"({len(missing)} of {len(telling)} keys that tell its sizes; the file has "
            f"{len(state)} tensors, first: {shown(next(iter(state), 'none'))})"
            + (kept_names(missing, [*state]) or "; give a file such as ViT-B-16.pt")
        )
    if any(state[key].ndim < 2 or 0 in state[key].shape for key in telling):
        raise CheckpointError(
            f"{path}: expected a CLIP ViT in OpenAI's key layout, but its tensors have other "
            "shapes; give a file such as ViT-B-16.pt"
        )
    patch = state["visual.conv1.weight"].shape[-1]
    grid = round((state["visual.positional_embedding"].shape[0] - 1) ** 0.5)
    return {
        "embed_dim": state["text_projection"].shape[1],
        "image_size": patch * grid,
        "patch_size": patch,
        "vision_width": state["visual.conv1.weight"].shape[0],
        "vision_layers": _count_blocks(state, "visual.transformer.resblocks."),
        "context_length": state["positional_embedding"].shape[0],
        "vocab_size": state["token_embedding.weight"].shape[0],
        "text_width": state["token_embedding.weight"].shape[1],
        "text_layers": _count_blocks(state, "transformer.resblocks."),
    }


def _count_blocks(state: Mapping[str, Any], prefix: str) -> int:
    return len({key[len(prefix) :].split(".")[0] for key in state if key.startswith(prefix)})


def build_clip(sizes: Mapping[str, int]) -> torch.nn.Module:
    """Build open_clip's CLIP with QuickGELU and heads of 64 channels, not yet with weights.

    Args:
        sizes: All keys of `EVERYDAY_SIZES`. The widths are multiples of 64, the head width of
            every CLIP ViT in OpenAI's layout, which does not store the number of heads.

    Raises:
        ValueError: If a width is no multiple of 64.
    """
    with lean_imports(without=UNUSED):
        from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    for key in ("vision_width", "text_width"):
        if sizes[key] % 64:
            raise ValueError(f"CLIP sizes: {key} must be a multiple of 64, found {sizes[key]}")
    return CLIP(
        sizes["embed_dim"],
        vision_cfg=CLIPVisionCfg(
            image_size=sizes["image_size"],
            patch_size=sizes["patch_size"],
            width=sizes["vision_width"],
            layers=sizes["vision_layers"],
        ),
        text_cfg=CLIPTextCfg(
            context_length=sizes["context_length"],
            vocab_size=sizes["vocab_size"],
            width=sizes["text_width"],
            heads=sizes["text_width"] // 64,
            layers=sizes["text_layers"],
        ),
        quick_gelu=True,
    )


def load_clip(
    path: Path | str, *, variant: str | Mapping[str, int] | None = None, device: str = "cpu"
) -> torch.nn.Module:
    """Load a CLIP ViT in OpenAI's key layout: TorchScript archive, state dict or safetensors.

    The half precision of the released files is copied into a float32 model, as CLIP_Surgery does;
    values stored in float32 are kept as they are. ViT-B-16 is also the file of "CS-ViT-B/16".

    Args:
        path: The file.
        variant: What the file must be (see `known_sizes`); None takes it as it is.
        device: Where the model shall live, such as `cpu` or `cuda:0`.

    Returns:
        The model in eval mode, float32, without gradients.

    Raises:
        ValueError: If keys are missing or left over, or the sizes are not those of `variant`.
    """
    import torch

    state = {key: value for key, value in load_state(path).items() if key not in _FILE_FACTS}
    sizes = sizes_of(state, path=path)
    if variant is not None:
        wrong = {
            key: (value, sizes[key])
            for key, value in known_sizes(variant).items()
            if sizes[key] != value
        }
        if wrong:
            key, (expected, found) = next(iter(wrong.items()))
            raise CheckpointError(
                f"{path}: expected {key} {expected} of CLIP variant {variant!r}, found {found} "
                f"({len(wrong)} sizes differ); give the matching file, or another variant"
            )
    check_size(
        state,
        sizes["vision_layers"] * 12 * sizes["vision_width"] ** 2
        + sizes["text_layers"] * 12 * sizes["text_width"] ** 2
        + sizes["vocab_size"] * sizes["text_width"],
        path=path,
    )
    model = build_clip(sizes)
    check_shapes(state, model.state_dict(), path=path)
    missing, unexpected = model.load_state_dict(
        {key: value.to(torch.float32) for key, value in state.items()}, strict=False
    )
    check_keys(missing, unexpected, path=path)
    return model.eval().requires_grad_(False).to(device)


def preprocess_clip(image: np.ndarray, *, size_px: int = 224) -> torch.Tensor:
    """Turn an image into CLIP's input: squashed to a square, never cropped.

    x = (resize(image) / 255 - mean) / std, with Pillow's bicubic filter on 8-bit values. The
    aspect ratio is lost and no centre is cut out, as in CLIP_Surgery's preprocessing.

    Args:
        image: uint8 RGB, shape (H, W, 3), not empty.
        size_px: Side of the result, in pixels.

    Returns:
        float32, shape (3, size_px, size_px).

    Raises:
        ValueError: If `image` is not uint8 RGB or has no pixel.
    """
    import torch

    check_image(image)
    resized = Image.fromarray(image).resize((size_px, size_px), Image.Resampling.BICUBIC)
    scaled = torch.from_numpy(np.array(resized)).permute(2, 0, 1).to(torch.float32).div(255)
    return (scaled - _channels(CLIP_MEAN)) / _channels(CLIP_STD)


def _channels(values: Sequence[float]) -> torch.Tensor:
    import torch

    return torch.tensor(values, dtype=torch.float32)[:, None, None]


def encode_crops(
    model: torch.nn.Module,
    images: Iterable[np.ndarray | Callable[[], np.ndarray]],
    *,
    batch_size: int = 64,
    precision: str = "float32",
) -> np.ndarray:
    """Encode images or crops of any size to CLIP features of length 1.

    Args:
        model: From `load_clip`.
        images: uint8 RGB arrays (H, W, 3), or functions that make them; may be a generator, and is
            read batch by batch. Beside a GPU they are made and preprocessed by threads.
        batch_size: Images per forward pass, at most; has no influence beyond rounding.
        precision: See `precision.arithmetic`.

    Returns:
        float32, shape (N, D); every row has length 1. (0, D) for no images.
    """
    import torch

    device = model.visual.conv1.weight.device
    is_cpu = device.type == "cpu"
    if is_cpu:
        batch_size = min(batch_size, CPU_CROPS)
    prepare = partial(_prepared, size_px=model.visual.image_size[0])
    pixels = run_ahead(
        (partial(prepare, image) for image in images),
        # On a CPU the network itself takes all there is.
        n_threads=0 if is_cpu else _CROP_THREADS,
        depth=2 * batch_size,
    )
    features = [np.zeros((0, model.visual.output_dim), np.float32)]
    with (
        closing(pixels),
        torch.inference_mode(),
        arithmetic(device, precision),
        faster_linears(model.visual),
    ):
        for batch in _batches(pixels, batch_size):
            encoded = model.encode_image(torch.stack(batch).to(device))
            # Scaled in float32, so that the length is 1 at any precision.
            features.append(torch.nn.functional.normalize(encoded.float(), dim=-1).cpu().numpy())
    return np.concatenate(features)


def _prepared(image: np.ndarray | Callable[[], np.ndarray], *, size_px: int) -> torch.Tensor:
    return preprocess_clip(image() if callable(image) else image, size_px=size_px)


def _batches(items: Iterable[Any], batch_size: int) -> Iterator[list[Any]]:
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, found {batch_size}")
    iterator = iter(items)
    while batch := list(islice(iterator, batch_size)):
        yield batch


@cache
def _tokenizer() -> Any:
    with lean_imports(without=UNUSED):
        from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()


def encode_text(
    model: torch.nn.Module, texts: Sequence[str], *, batch_size: int = 32
) -> np.ndarray:
    """Encode texts, as they stand, to CLIP features of length 1.

    Args:
        model: From `load_clip`.
        texts: Texts; may be empty strings.
        batch_size: Texts per forward pass.

    Returns:
        float32, shape (N, D); every row has length 1. (0, D) for no texts.

    Raises:
        ValueError: If a text has more tokens than the model's context holds. CLIP's own tokeniser
            refuses it too; open_clip's would cut its end off silently.
    """
    import torch

    tokens = tokenize(model, texts)
    features = np.zeros((len(tokens), model.text_projection.shape[1]), np.float32)
    # Texts of like length together, since a batch takes as many places as its longest text.
    order = tokens.argmax(dim=1).argsort(stable=True)
    with torch.inference_mode(), faster_linears(model.transformer):
        for chosen in order.split(batch_size) if len(tokens) else ():
            batch = tokens[chosen]
            encoded = text_features(model, batch, embed_words(model, batch))
            features[chosen.cpu().numpy()] = encoded.float().cpu().numpy()
    return features


def tokenize(model: torch.nn.Module, texts: Sequence[str]) -> torch.Tensor:
    """Turn texts into CLIP's tokens.

    Args:
        model: From `load_clip`.
        texts: Texts; may be empty strings.

    Returns:
        int64, shape (N, context length), on the model's device; the start mark in front, the end
        mark, which is the largest id, behind the text, zeros behind that.

    Raises:
        ValueError: If a text has more tokens than the model's context holds. CLIP's own tokeniser
            refuses it too; open_clip's would cut its end off silently.
    """
    if isinstance(texts, str):
        raise ValueError(f"texts: expected a list of texts, found the single text {texts!r}")
    tokenizer = _tokenizer()
    room = model.context_length - 2  # the marks of start and end take two places
    for text in texts:
        n_tokens = len(tokenizer.encode(text))
        if n_tokens > room:
            raise ValueError(
                f"text prompt: expected at most {room} tokens, found {n_tokens} in {text!r}; "
                f"shorten it"
            )
    tokens = tokenizer(list(texts), context_length=model.context_length)
    return tokens.to(model.text_projection.device)


def embed_words(model: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Look up the vectors of tokens, as far as the longest text goes, (N, L, W)."""
    return model.token_embedding(tokens[:, : int(tokens.argmax(dim=1).max()) + 1])


def text_features(
    model: torch.nn.Module, tokens: torch.Tensor, words: torch.Tensor
) -> torch.Tensor:
    """Run the text tower on as many places as the longest text takes.

    A token attends to those before it only, and the feature is taken at the end mark (the largest
    id), so the empty places behind it, most of CLIP's 77, have no part in it.

    Args:
        model: From `load_clip`.
        tokens: From `tokenize`, (N, context length); they say where texts end.
        words: From `embed_words`, (N, L, W), or with other vectors in some places.

    Returns:
        (N, D), rows of length 1.
    """
    from torch.nn.functional import normalize

    ends, length = tokens.argmax(dim=1), words.shape[1]
    places = words + model.positional_embedding[:length]
    places = model.transformer(places, attn_mask=model.attn_mask[:length, :length])
    chosen = model.ln_final(places)[range(len(tokens)), ends]
    return normalize(chosen @ model.text_projection, dim=-1)


def encode_ensemble(model: torch.nn.Module, sentences: Sequence[str]) -> np.ndarray:
    """Encode many sentences as one feature.

    t = mean over sentences of encode_text(sentence), scaled to length 1

    A process computes each ensemble once per model.

    Source: the CLIP paper, section 3.1.4, prompt ensembling.

    Args:
        model: From `load_clip`.
        sentences: At least one.

    Returns:
        float32, shape (D,), of length 1; read-only, because it is shared.

    Raises:
        ValueError: If there is no sentence, or one is too long.
    """
    key = tuple(sentences)
    if not key:
        raise ValueError("sentences: expected at least one sentence of an ensemble, found none")
    known = _ensembles.setdefault(model, {})
    if key not in known:
        mean = encode_text(model, key).mean(axis=0)
        known[key] = mean / np.linalg.norm(mean)
        known[key].setflags(write=False)
    return known[key]


def text_ensemble(
    model: torch.nn.Module, phrase: str, *, templates: Sequence[str] | None = None
) -> np.ndarray:
    """Encode a phrase as the mean over sentences that contain it.

    Source: CLIP_Surgery, text encoding with its 85 templates.

    Args:
        model: From `load_clip`.
        phrase: What takes the place of `{}`; may be empty ("a photo of a ."), as CLIP Surgery needs
            it for every prompt.
        templates: Sentences with `{}`; None takes `surgery_templates()`.

    Returns:
        As `encode_ensemble`, which keeps it for the next call.

    Raises:
        ValueError: If there is no template, or one has no place for the phrase.
    """
    chosen = surgery_templates() if templates is None else tuple(templates)
    without = [template for template in chosen if "{}" not in template]
    if without:
        raise ValueError(
            f"templates: expected '{{}}' for the phrase in each, but {len(without)} of "
            f"{len(chosen)} lack it (first: {without[0]!r})"
        )
    return encode_ensemble(model, [template.replace("{}", phrase) for template in chosen])


def mask_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return SAM's box of a mask: x, y, width and height, each extent one pixel short.

    SAM subtracts the first from the last pixel index that the mask covers, so a mask that is one
    pixel wide has width 0. An empty mask gives zeros.

    Args:
        mask: bool, shape (H, W).
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return 0, 0, 0, 0
    return (
        int(columns[0]),
        int(rows[0]),
        int(columns[-1] - columns[0]),
        int(rows[-1] - rows[0]),
    )


def crop_mask(
    image: np.ndarray,
    mask: np.ndarray,
    *,
    box: Sequence[float] | None = None,
    swap_canvas: bool,
    inclusive_bbox: bool,
) -> np.ndarray:
    """Cut the box of a mask out of the image, with black outside the mask.

    Source: Text2Seg `predict_CLIP`, with its two slips as switches.

    Args:
        image: uint8 RGB, shape (H, W, 3).
        mask: bool, shape (H, W).
        box: x, y, width, height as SAM's mask generator gives them; None takes `mask_box(mask)`.
        swap_canvas: Published slip: the black canvas has height and width swapped, so that only the
            top left square of side min(H, W) keeps its pixels.
        inclusive_bbox: Published slip: the box's width and height, one short, are taken for the
            true extent, so that the last row and column are missing. A mask that is one pixel wide
            or high then leaves nothing.

    Returns:
        uint8 RGB, shape (h, w, 3). Where nothing is left, one black pixel, which CLIP's
        preprocessing turns into the all-black input that Pillow makes of an empty crop.

    Raises:
        ValueError: If mask and image differ in size.
    """
    check_image(image)
    height, width = image.shape[:2]
    if mask.shape != (height, width) or mask.dtype != bool:
        raise ValueError(
            f"mask: expected bool of shape {(height, width)} like the image, found {mask.dtype} "
            f"of shape {mask.shape}; decode the mask of the same image"
        )
    x, y, box_width, box_height = (int(v) for v in (mask_box(mask) if box is None else box))
    extra = 0 if inclusive_bbox else 1
    window = np.s_[y : y + box_height + extra, x : x + box_width + extra]
    crop = np.where(mask[window][..., None], image[window], np.uint8(0))
    if not crop.size:
        return np.zeros((1, 1, 3), np.uint8)
    if swap_canvas:
        side = min(height, width)
        crop[max(0, side - y) :] = 0
        crop[:, max(0, side - x) :] = 0
    return crop


def decode_mask(mask: np.ndarray | Mapping[str, Any]) -> np.ndarray:
    """Return a mask as bool (H, W), whether it is one already or COCO run lengths.

    Args:
        mask: bool (H, W), or `{"size": [H, W], "counts": compressed string or bytes}`.
    """
    if not isinstance(mask, Mapping):
        return np.asarray(mask)
    from pycocotools import mask as coco

    counts = mask["counts"]
    encoded = counts.encode("ascii") if isinstance(counts, str) else counts
    return coco.decode({"size": list(mask["size"]), "counts": encoded}).astype(bool)


def crop_features(
    model: torch.nn.Module,
    image: np.ndarray,
    *,
    masks: Sequence[np.ndarray | Mapping[str, Any]] | np.ndarray,
    boxes: Sequence[Sequence[float]] | np.ndarray | None = None,
    swap_canvas: bool,
    inclusive_bbox: bool,
    batch_size: int = 64,
    precision: str = "float32",
) -> np.ndarray:
    """Encode the crop of every mask; no prompt is needed.

    Masks are decoded and cut one after the other, so memory holds one batch.

    Source: Text2Seg `predict_CLIP`.

    Args:
        model: From `load_clip`.
        image: uint8 RGB, shape (H, W, 3).
        masks: M masks, bool (H, W) or COCO run lengths.
        boxes: Their boxes as SAM's mask generator gives them, shape (M, 4): x, y, width, height;
            None computes them.
        swap_canvas: See `crop_mask`.
        inclusive_bbox: See `crop_mask`.
        batch_size: Crops per forward pass.
        precision: See `precision.arithmetic`.

    Returns:
        float32, shape (M, D), rows of length 1.

    Raises:
        ValueError: If there are not as many boxes as masks, or a mask does not fit the image.
    """
    if boxes is not None and len(boxes) != len(masks):
        raise ValueError(f"boxes: expected one a mask, found {len(boxes)} for {len(masks)} masks")
    return encode_crops(
        model,
        (
            partial(
                _cropped,
                image,
                mask,
                box=None if boxes is None else boxes[index],
                swap_canvas=swap_canvas,
                inclusive_bbox=inclusive_bbox,
            )
            for index, mask in enumerate(masks)
        ),
        batch_size=batch_size,
        precision=precision,
    )


def _cropped(image: np.ndarray, mask: np.ndarray | Mapping[str, Any], **options: Any) -> np.ndarray:
    return crop_mask(image, decode_mask(mask), **options)


def softmax(logits: np.ndarray, *, axis: int = -1) -> np.ndarray:
    """Return exp(logits) scaled to sum 1 along an axis, in float64 and without overflow."""
    logits = np.asarray(logits, np.float64)
    powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def select_masks(
    features: np.ndarray,
    text_feature: np.ndarray,
    *,
    logit_scale: float = LOGIT_SCALE,
    threshold: float = 0.05,
) -> tuple[np.ndarray, np.ndarray]:
    """Select the masks whose crops fit a text best, compared with each other.

    s[i] = softmax over masks i of logit_scale · features[i]·text; selected where s > threshold

    The scores of an image sum to 1 over its *masks*: a single mask is always selected, and among 20
    or more equal ones none is. This is the published rule, kept in both variants.

    Source: Text2Seg `predict_CLIP`.

    Args:
        features: Crop features of one image, shape (M, D), rows of length 1.
        text_feature: Shape (D,), of length 1.
        logit_scale: Factor before the softmax, without unit.
        threshold: Scores must lie above it, 0 to 1.

    Returns:
        Indices of the selected masks, ascending; all scores, float64, shape (M,).

    Raises:
        ValueError: If the shapes do not fit.
    """
    if features.ndim != 2 or text_feature.shape != features.shape[1:]:
        raise ValueError(
            f"features: expected shape (M, D) with a text feature of shape (D,), found "
            f"{features.shape} and {text_feature.shape}; encode both with the same CLIP"
        )
    if not len(features):
        return np.zeros(0, np.int64), np.zeros(0)
    scores = softmax(logit_scale * (features.astype(np.float64) @ text_feature.astype(np.float64)))
    return np.flatnonzero(scores > threshold), scores
