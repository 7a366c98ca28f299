"""GroundingDINO: boxes for a text, stored so that thresholds can be chosen afterwards.

The image backbone runs once per image whatever the number of captions. Raw boxes are kept with
their token scores down to a low floor; choosing among them (`select_boxes`) and naming them
(`phrase`) are plain array functions that need no network and no tokeniser.

Source: Liu et al. (2023), "Grounding DINO", and the package `groundingdino`, whose model class is
used as it is.
"""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from realitycheck.core.images import check_image
from realitycheck.core.imports import lean_imports
from realitycheck.models.checkpoints.read import check_keys, check_shapes, load_state
from realitycheck.models.cpu_linear import faster_linears
from realitycheck.models.grounding_dino.attention import reordered
from realitycheck.models.grounding_dino.captions import MAX_TOKENS, normalise_caption
from realitycheck.models.precision import arithmetic, check_precision

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: Mean and standard deviation of ImageNet, RGB, on the scale 0 to 1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
#: Captions that go through encoder and decoder together on CUDA, at most.
_CUDA_CAPTIONS = 8
#: The released file still carries this unused buffer of an older BERT.
_STALE_KEYS = ("bert.embeddings.position_ids",)
_build_lock = threading.Lock()


@dataclass(frozen=True)
class GroundingDinoDimensions:
    """Sizes of a GroundingDINO model with a Swin backbone; the defaults are those of Swin-T.

    Attributes:
        swin_width: Channels of the backbone's first stage.
        swin_depths: Blocks of its four stages.
        swin_heads: Attention heads of its four stages.
        swin_window: Side of its attention windows.
        enc_layers: Encoder layers, with image-text fusion.
        dec_layers: Decoder layers.
        dim_feedforward: Hidden width of the transformer's MLPs.
        num_queries: Boxes that the decoder proposes.
        short_side_px: Target of the image's short side.
        long_side_limit_px: Upper limit of its long side.
    """

    swin_width: int = 96
    swin_depths: tuple[int, ...] = (2, 2, 6, 2)
    swin_heads: tuple[int, ...] = (3, 6, 12, 24)
    swin_window: int = 7
    enc_layers: int = 6
    dec_layers: int = 6
    dim_feedforward: int = 2048
    num_queries: int = 900
    short_side_px: int = 800
    long_side_limit_px: int = 1333


#: Known models by name; "everyday" the small one that is trained on drawn scenes.
GROUNDING_DINO_VARIANTS: dict[str, GroundingDinoDimensions] = {
    "swint_ogc": GroundingDinoDimensions(),
    "everyday": GroundingDinoDimensions(
        swin_width=24,
        swin_depths=(1, 1, 2, 1),
        swin_heads=(1, 2, 4, 8),
        enc_layers=1,
        dec_layers=2,
        dim_feedforward=256,
        num_queries=40,
        short_side_px=256,
        long_side_limit_px=384,
    ),
}


def _no_indices() -> np.ndarray:
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class Detection:
    """What the detector said to one caption, down to a floor.

    Attributes:
        caption: The caption as the model read it.
        tokens: Its n word pieces, `[CLS]` … `[SEP]`.
        boxes: cx, cy, w, h relative to the image, float32, (K, 4), in the order of the queries.
        token_scores: Score of each box for each token, float32, (K, n), in [0, 1].
        scores: Largest token score of each box, float32, (K,).
        floor: Only boxes with a score above this are here.
        token_ids: Ids of the tokens, int64, (n,); not needed once the tokens are known.
        queries: Index of the query behind each box, int64, (K,); for comparisons only.
    """

    caption: str
    tokens: tuple[str, ...]
    boxes: np.ndarray
    token_scores: np.ndarray
    scores: np.ndarray
    floor: float = 0.0
    token_ids: np.ndarray = field(default_factory=_no_indices, repr=False)
    queries: np.ndarray = field(default_factory=_no_indices, repr=False)


@dataclass(frozen=True)
class SelectedBoxes:
    """Boxes of one detection that pass a threshold; fields as in `Detection`."""

    boxes: np.ndarray
    scores: np.ndarray
    token_scores: np.ndarray
    indices: np.ndarray = field(repr=False)


@dataclass
class GroundingDinoModel:
    """A loaded detector.

    Attributes:
        network: The package's model, in evaluation mode.
        dimensions: Its sizes.
        device: Where it lies.
        precision: See `precision.arithmetic`.
        n_backbone_passes: Images that went through the image backbone so far.
        known_texts: What the text encoder said of each caption, (1, T, width), by its tokens.
    """

    network: torch.nn.Module
    dimensions: GroundingDinoDimensions
    device: torch.device
    precision: str = "float32"
    n_backbone_passes: int = 0
    known_texts: dict[bytes, Tensor] = field(default_factory=dict)


def grounding_dino_dimensions(
    variant: str | Mapping[str, object] | GroundingDinoDimensions,
) -> GroundingDinoDimensions:
    """Turn a variant of the settings into dimensions.

    Args:
        variant: A known name (`GROUNDING_DINO_VARIANTS`) or a mapping with fields of
            `GroundingDinoDimensions`; what it leaves out is as in Swin-T.

    Returns:
        The dimensions.

    Raises:
        ValueError: If the name or a field is unknown.
    """
    if isinstance(variant, GroundingDinoDimensions):
        return variant
    if isinstance(variant, str):
        if variant not in GROUNDING_DINO_VARIANTS:
            raise ValueError(
                f"GroundingDINO variant: expected one of {', '.join(GROUNDING_DINO_VARIANTS)} or "
                f"a mapping of dimensions, found {variant!r}"
            )
        return GROUNDING_DINO_VARIANTS[variant]
    known = {item.name for item in fields(GroundingDinoDimensions)}
    surplus = sorted(set(variant) - known)
    if surplus:
        raise ValueError(
            f"GroundingDINO variant: unknown dimension {surplus[0]!r} ({len(surplus)} unknown); "
            f"known are {', '.join(sorted(known))}"
        )
    values = {
        name: tuple(value) if isinstance(value, list | tuple) else value
        for name, value in variant.items()
    }
    return GroundingDinoDimensions(**values)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the package's prints and warnings (none concerns inference) out of the logs."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _local_parts(dimensions: GroundingDinoDimensions, text_encoder: Path) -> Iterator[None]:
    """While active, the package takes tokeniser and BERT from a folder and Swin by our sizes.

    The package knows five named Swin sizes only, and it would ask a hub for BERT's weights, which
    the checkpoint brings along anyway.
    """
    from groundingdino.models.GroundingDINO.backbone import backbone as backbone_module
    from groundingdino.models.GroundingDINO.backbone.swin_transformer import SwinTransformer
    from groundingdino.util import get_tokenlizer as text_module
    from transformers import BertConfig, BertModel, BertTokenizerFast

    def build_swin(_name: str, pretrain_img_size: int, **options: object) -> torch.nn.Module:
        return SwinTransformer(
            pretrain_img_size=pretrain_img_size,
            embed_dim=dimensions.swin_width,
            depths=list(dimensions.swin_depths),
            num_heads=list(dimensions.swin_heads),
            window_size=dimensions.swin_window,
            **options,
        )

    def load_tokeniser(_name: str) -> object:
        return BertTokenizerFast.from_pretrained(str(text_encoder), local_files_only=True)

    def build_bert(_name: str) -> torch.nn.Module:
        return BertModel(BertConfig.from_pretrained(str(text_encoder), local_files_only=True))

    replaced = (
        (backbone_module, "build_swin_transformer", build_swin),
        (text_module, "get_tokenlizer", load_tokeniser),
        (text_module, "get_pretrained_language_model", build_bert),
    )
    before = [getattr(module, name) for module, name, _ in replaced]
    try:
        for module, name, stand_in in replaced:
            setattr(module, name, stand_in)
        yield
    finally:
        for (module, name, _), original in zip(replaced, before, strict=True):
            setattr(module, name, original)


def _check_text_encoder(folder: Path) -> None:
    """Refuse a text encoder folder that lacks what the detector needs of it."""
    needed = [("config.json",), ("vocab.txt", "tokenizer.json")]
    for names in needed:
        if not any((folder / name).is_file() for name in names):
            raise FileNotFoundError(
                f"{folder}: expected a folder with BERT's config.json and vocab.txt (or "
                f"tokenizer.json), but {' and '.join(names)} is missing; fetch bert-base-uncased "
                "(its weights are not needed)"
            )


def build_network(
    dimensions: GroundingDinoDimensions, *, text_encoder: str | Path
) -> torch.nn.Module:
    """Build the package's detector with random weights, without touching the network.

    Args:
        dimensions: Sizes of the model.
        text_encoder: Folder with BERT's `config.json` and vocabulary.

    Returns:
        The model, in evaluation mode, on the CPU.

    Raises:
        FileNotFoundError: If the folder lacks a needed file.
    """
    from types import SimpleNamespace

    folder = Path(text_encoder)
    _check_text_encoder(folder)
    # The names are the package's; the values that are no dimensions are those of its Swin-T model.
    options = SimpleNamespace(
        modelname="groundingdino",
        backbone="swin_T_224_1k",
        position_embedding="sine",
        pe_temperatureH=20,
        pe_temperatureW=20,
        return_interm_indices=[1, 2, 3],
        backbone_freeze_keywords=None,
        enc_layers=dimensions.enc_layers,
        dec_layers=dimensions.dec_layers,
        pre_norm=False,
        dim_feedforward=dimensions.dim_feedforward,
        hidden_dim=256,  # fixed: the decoder's sine embedding is written for this width
        dropout=0.0,
        nheads=8,
        num_queries=dimensions.num_queries,
        query_dim=4,
        num_patterns=0,
        num_feature_levels=4,
        enc_n_points=4,
        dec_n_points=4,
        two_stage_type="standard",
        two_stage_bbox_embed_share=False,
        two_stage_class_embed_share=False,
        transformer_activation="relu",
        dec_pred_bbox_embed_share=True,
        dn_box_noise_scale=1.0,
        dn_label_noise_ratio=0.5,
        dn_labelbook_size=2000,
        embed_init_tgt=True,
        max_text_len=MAX_TOKENS,
        text_encoder_type=str(folder),
        use_text_enhancer=True,
        use_fusion_layer=True,
        use_checkpoint=False,  # activation checkpointing serves training only
        use_transformer_ckpt=False,
        use_text_cross_attention=True,
        text_dropout=0.0,
        fusion_dropout=0.0,
        fusion_droppath=0.1,
        sub_sentence_present=True,
        device="cpu",
    )
    with _build_lock, _quiet(), lean_imports():
        from groundingdino.models import build_model

        with _local_parts(dimensions, folder):
            network = build_model(options)
    network.eval()
    return network


def load_grounding_dino(
    path: str | Path,
    *,
    text_encoder: str | Path,
    variant: str | Mapping[str, object] | GroundingDinoDimensions = "swint_ogc",
    device: str | torch.device = "cpu",
    precision: str = "float32",
) -> GroundingDinoModel:
    """Load a detector from an official checkpoint and a local text encoder folder.

    Args:
        path: Checkpoint in the official layout; it holds BERT's weights too.
        text_encoder: Folder with BERT's `config.json` and `vocab.txt` (or `tokenizer.json`).
        variant: A known name, or a mapping of dimensions.
        device: Where the model goes.
        precision: See `precision.arithmetic`.

    Returns:
        The detector.

    Raises:
        FileNotFoundError: If the checkpoint or a needed file of the folder does not exist.
        ValueError: If the file's tensors are not those of the variant.
    """
    import torch

    check_precision(precision)
    dimensions = grounding_dino_dimensions(variant)
    _check_text_encoder(Path(text_encoder))
    state = load_state(path)
    network = build_network(dimensions, text_encoder=text_encoder)
    expected = network.state_dict()
    check_keys(
        [key for key in expected if key not in state],
        [key for key in state if key not in expected],
        path=path,
        allowed_unexpected=_STALE_KEYS,
    )
    check_shapes(state, expected, path=path)
    network.load_state_dict({key: state[key] for key in expected})
    network.requires_grad_(False)
    network.to(device)
    return GroundingDinoModel(network, dimensions, torch.device(device), precision)


def resized_shape(
    image_size_hw: tuple[int, int], *, short_side_px: int = 800, long_side_limit_px: int = 1333
) -> tuple[int, int]:
    """Compute the size that the detector sees.

    The short side goes to `short_side_px`, or to less where the long side would pass its limit; the
    long side follows, cut off to a whole pixel.

    Args:
        image_size_hw: Height and width in pixels.
        short_side_px: Target of the short side.
        long_side_limit_px: Limit of the long side.

    Returns:
        New height and width.
    """
    height, width = image_size_hw
    small, large = min(height, width), max(height, width)
    side = short_side_px
    # The order of the operations is that of the published code: it decides the last pixel.
    if float(large) / float(small) * side > long_side_limit_px:
        side = int(round(long_side_limit_px * float(small) / float(large)))
    if small == side:
        return height, width
    other = int(side * large / small)
    return (other, side) if width < height else (side, other)


def preprocess(
    image: np.ndarray, *, short_side_px: int = 800, long_side_limit_px: int = 1333
) -> Tensor:
    """Resize (Pillow, bilinear) and normalise an image for the detector; there is no padding.

    Args:
        image: uint8 RGB, (H, W, 3).
        short_side_px: Target of the short side.
        long_side_limit_px: Limit of the long side.

    Returns:
        Float32 tensor, (3, new height, new width).
    """
    import torch
    from PIL import Image

    check_image(image)
    height, width = resized_shape(
        image.shape[:2], short_side_px=short_side_px, long_side_limit_px=long_side_limit_px
    )
    picture = Image.fromarray(np.ascontiguousarray(image))
    resized = np.array(picture.resize((width, height), Image.Resampling.BILINEAR))
    pixels = torch.from_numpy(resized).permute(2, 0, 1).float().div(255)
    mean = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD).view(3, 1, 1)
    return ((pixels - mean) / std).contiguous()


def detect(
    model: GroundingDinoModel,
    image: np.ndarray,
    captions: Sequence[str],
    *,
    floor: float = 0.0,
    captions_per_pass: int | None = None,
) -> list[Detection]:
    """Detect boxes for each caption; the image backbone runs once for all of them.

    Captions with as many tokens as each other go through encoder and decoder together. Others do
    not: a shorter one would have to be filled up, which changes its numbers by rounding.

    Args:
        model: The detector.
        image: uint8 RGB, (H, W, 3).
        captions: Prompts, one detection each; a full stop within one separates sub-sentences.
        floor: Keep boxes with a score above this; 0 keeps all.
        captions_per_pass: Captions that go together, at most; default: on CUDA eight; else one,
            since one keeps a processor busy.

    Returns:
        One `Detection` per caption, in their order.

    Raises:
        ValueError: If `captions` is a bare string, or the image is no uint8 RGB image.
    """
    import torch

    if isinstance(captions, str):
        raise ValueError(
            f"captions: expected a list of texts, found the single text {captions!r}; its letters "
            "would become prompts, so put it in a list"
        )
    if not captions:
        return []
    size = model.dimensions
    inputs = preprocess(
        image, short_side_px=size.short_side_px, long_side_limit_px=size.long_side_limit_px
    ).to(model.device)[None]
    with (
        torch.inference_mode(),
        _quiet(),
        arithmetic(model.device, model.precision),
        reordered(model.network),
        faster_linears(model.network),
        _backbone_once(model, inputs),
        _texts_once(model),
    ):
        texts = [normalise_caption(text) for text in captions]
        found: dict[int, Detection] = {}
        for chosen in _of_equal_length(model, texts, at_most=captions_per_pass):
            detections = _detect_together(model, inputs, [texts[i] for i in chosen], floor=floor)
            found |= dict(zip(chosen, detections, strict=True))
    return [found[index] for index in range(len(texts))]


def _of_equal_length(
    model: GroundingDinoModel, texts: Sequence[str], *, at_most: int | None
) -> Iterator[list[int]]:
    """Give the indices of texts that may go together, each index once."""
    limit = at_most or (_CUDA_CAPTIONS if model.device.type == "cuda" else 1)
    by_length: dict[int, list[int]] = {}
    for index, text in enumerate(texts):
        by_length.setdefault(len(model.network.tokenizer(text)["input_ids"]), []).append(index)
    for indices in by_length.values():
        for start in range(0, len(indices), limit):
            yield indices[start : start + limit]


@contextlib.contextmanager
def _backbone_once(model: GroundingDinoModel, inputs: Tensor) -> Iterator[None]:
    """Run the image backbone now, and hand its result to every pass inside the block.

    The projections of its features are kept as well, from the first pass on.
    """
    from groundingdino.util.misc import NestedTensor, nested_tensor_from_tensor_list

    backbone = model.network.backbone
    features, positions = backbone(nested_tensor_from_tensor_list(list(inputs)))
    model.n_backbone_passes += 1

    def repeated(samples: NestedTensor) -> tuple[list[NestedTensor], list[Tensor]]:
        def rows(tensor: Tensor) -> Tensor:
            return tensor.expand(len(samples.tensors), *tensor.shape[1:])

        # The model appends to the second list, so each pass gets lists of its own.
        return (
            [NestedTensor(rows(each.tensors), rows(each.mask)) for each in features],
            [rows(position) for position in positions],
        )

    # The instance is changed, not the class, because the model also uses the backbone's position
    # encoder.
    backbone.forward = repeated
    projections = list(model.network.input_proj)
    for projection in projections:
        projection.forward = _once(projection.forward)
    try:
        yield
    finally:
        del backbone.forward
        for projection in projections:
            del projection.forward


def _once(project: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Project the first of equal rows at the first call, and give it for every row of any call."""
    known: list[Tensor] = []

    def projected(rows: Tensor) -> Tensor:
        if not known:
            known.append(project(rows[:1]))
        return known[0].expand(len(rows), *known[0].shape[1:])

    return projected


@contextlib.contextmanager
def _texts_once(model: GroundingDinoModel) -> Iterator[None]:
    """Ask the text encoder about each caption once, for all images."""
    encoder = model.network.bert
    ask = encoder.forward

    def of_one(tokens: dict[str, Tensor]) -> Tensor:
        values = (tokens[name].cpu().numpy().tobytes() for name in sorted(tokens))
        key = b"".join([model.precision.encode(), *values])
        if key not in model.known_texts:
            model.known_texts[key] = ask(**tokens)["last_hidden_state"]
        return model.known_texts[key]

    def forward(**tokens: Tensor) -> dict[str, Tensor]:
        import torch

        rows = range(len(tokens["input_ids"]))
        told = [of_one({name: each[i : i + 1] for name, each in tokens.items()}) for i in rows]
        return {"last_hidden_state": torch.cat(told)}

    encoder.forward = forward
    try:
        yield
    finally:
        del encoder.forward


def _detect_together(
    model: GroundingDinoModel, inputs: Tensor, captions: Sequence[str], *, floor: float
) -> list[Detection]:
    """Run encoder, decoder and heads for captions of as many tokens as each other."""
    network = model.network
    output = network(inputs.expand(len(captions), -1, -1, -1), captions=list(captions))
    every_score = output["pred_logits"].sigmoid().float().cpu().numpy()
    every_box = output["pred_boxes"].float().cpu().numpy()
    found = []
    for caption, scores, boxes in zip(captions, every_score, every_box, strict=True):
        token_ids = np.asarray(network.tokenizer(caption)["input_ids"][:MAX_TOKENS], np.int64)
        scores = scores[:, : len(token_ids)]
        best = scores.max(axis=1)
        kept = np.flatnonzero(best > np.float32(floor))
        found.append(
            Detection(
                caption=caption,
                tokens=tuple(network.tokenizer.convert_ids_to_tokens(token_ids.tolist())),
                token_ids=token_ids,
                boxes=boxes[kept],
                token_scores=scores[kept],
                scores=best[kept],
                queries=kept,
                floor=floor,
            )
        )
    return found


def select_boxes(detection: Detection, *, box_threshold: float) -> SelectedBoxes:
    """Keep the boxes whose score is above a threshold (strictly), in the order of the queries.

    There is no suppression of overlapping boxes. The score of a box is its largest token score,
    `[CLS]`, `[SEP]` and full stops included, which is how the detector is published (deviation A4).

    Args:
        detection: Stored result of `detect`.
        box_threshold: Score, in [0, 1]; at least the floor of the detection.

    Returns:
        The chosen boxes.

    Raises:
        ValueError: If boxes between the threshold and the floor were never stored.
    """
    if box_threshold < detection.floor:
        raise ValueError(
            f"box_threshold: boxes are stored above {detection.floor}, but {box_threshold} is "
            "asked for; lower the detection floor in the settings and detect again"
        )
    kept = np.flatnonzero(detection.scores > np.float32(box_threshold))
    return SelectedBoxes(
        boxes=detection.boxes[kept],
        scores=detection.scores[kept],
        token_scores=detection.token_scores[kept],
        indices=kept,
    )


def boxes_to_pixels(boxes: np.ndarray, *, image_size_hw: tuple[int, int]) -> np.ndarray:
    """Turn relative centre boxes into pixel corners, without clipping.

    Args:
        boxes: cx, cy, w, h relative to the image, float, (N, 4).
        image_size_hw: Height and width of the image.

    Returns:
        x_min, y_min, x_max, y_max in pixels, float32, (N, 4).
    """
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    height, width = image_size_hw
    centre, half = boxes[:, :2], boxes[:, 2:] / np.float32(2)
    corners = np.concatenate([centre - half, centre + half], axis=1)
    return corners * np.array([width, height, width, height], np.float32)


#: What the tokeniser's decoder tidies up after it has joined word pieces with blanks.
_TIDY = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" do not", " don't"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)


def join_tokens(tokens: Sequence[str]) -> str:
    """Join word pieces to a text exactly as BERT's tokeniser decodes them.

    >>> join_tokens(["[CLS]", "broken", "cap", "##s", "."])
    '[CLS] broken caps.'
    """
    pieces = []
    for position, token in enumerate(tokens):
        piece = token
        if position > 0:
            piece = token[2:] if token.startswith("##") else f" {token}"
        pieces.append(_tidy(piece))
    return _tidy("".join(pieces), skip=" do not")


def _tidy(text: str, *, skip: str | None = None) -> str:
    for found, replacement in _TIDY:
        if found != skip:
            text = text.replace(found, replacement)
    return text


PHRASE_VARIANTS = ("groundingdino_py", "text2seg")


def phrase(
    tokens: Sequence[str],
    token_scores: np.ndarray,
    text_threshold: float,
    *,
    variant: str = "groundingdino_py",
    strip_special: bool = False,
) -> str:
    """Name a box by the tokens that score above a threshold.

    Args:
        tokens: The caption's n word pieces.
        token_scores: The box's scores, float32, (n,).
        text_threshold: Score, in [0, 1]; strict.
        variant: "groundingdino_py": every token counts, `[CLS]` and `[SEP]` too, as in the package
            and in SAA+. "text2seg": the first token and those from the 256th on are left out, and
            full stops are removed from the text, as in Text2Seg predict_dino; `[SEP]` can appear.
        strip_special: Leave `[CLS]` and `[SEP]` out (deviation A2 corrected).

    Returns:
        The text, empty where no token passes.

    Raises:
        ValueError: If the variant is unknown, or tokens and scores differ in number.
    """
    if variant not in PHRASE_VARIANTS:
        raise ValueError(
            f"phrase variant: expected one of {', '.join(PHRASE_VARIANTS)}, found {variant!r}"
        )
    token_scores = np.asarray(token_scores, np.float32)
    if token_scores.shape != (len(tokens),):
        raise ValueError(
            f"token_scores: expected {len(tokens)} scores, one per token, found shape "
            f"{token_scores.shape}"
        )
    passed = token_scores > np.float32(text_threshold)
    if variant == "text2seg":
        passed[:1] = False
        passed[255:] = False
    chosen = [
        token
        for token, keep in zip(tokens, passed, strict=True)
        if keep and not (strip_special and token in ("[CLS]", "[SEP]"))
    ]
    text = join_tokens(chosen)
    return text.replace(".", "") if variant == "text2seg" else text
