"""What the benchmarks share: seeded networks of real size, drawn images, a small clock.

No weight was ever trained. The networks have the sizes and the file layouts of the official ones,
so they cost what those cost. Their last layers are scaled so that every step has something to do,
as with real weights: some boxes pass the thresholds, some automatic masks pass the filters.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from realitycheck.core.files import image_file
from realitycheck.core.images import write_png
from realitycheck.core.provenance import digest_of
from realitycheck.datasets.synthetic.sat import SatSettings, draw_part, image_rng
from realitycheck.models import saliency
from realitycheck.models.clip import model as clip
from realitycheck.models.grounding_dino import model as grounding_dino
from realitycheck.models.sam import inference as sam
from realitycheck.models.sam.decoder import ImageDecoder
from realitycheck.models.sam.load import build_parts, load_sam
from realitycheck.models.sam.model import SAM_VARIANTS, SamModel
from training import miniature_clip, miniatures

SIZES = ("vit_b", "vit_h", "miniature")
DATASET = "drawn"
CATEGORY = "sat"
#: Of the detector's 900 boxes for a caption, about how many pass 0.35 and how many pass 0.10.
N_BOXES = {0.35: 3, 0.10: 12}
#: Share of SAM's masks whose predicted quality passes 0.88.
SHARE_OF_MASKS = 0.1
#: From here on, two masks or boxes count as the same one.
SAME_IOU = 0.95
#: BERT-base; its vocabulary is the miniature one, filled up with words that no prompt uses.
BERT = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}


@dataclass(frozen=True)
class Networks:
    """Files of the four networks, and the variant that each is loaded as.

    Attributes:
        paths: By network; `text_encoder` is a folder.
        variants: By network; a mapping of dimensions is that of a miniature.
        device: Where networks are loaded to.
        precision: Of SAM and CLIP's images, see `precision.arithmetic`.
        detector_precision: Of the detector.
    """

    paths: Mapping[str, Path]
    variants: Mapping[str, Any]
    device: str = "cpu"
    precision: str = "float32"
    detector_precision: str = "float32"

    def is_miniature(self, network: str) -> bool:
        """Whether the weights are arranged so that masks and scores vary."""
        return not isinstance(self.variants[network], str)

    def sam(self, *parts: str) -> SamModel:
        """Load parts of SAM."""
        return load_sam(
            self.paths["sam"],
            variant=self.variants["sam"],
            parts=parts,
            device=self.device,
            precision=self.precision,
        )

    def grounding_dino(self) -> grounding_dino.GroundingDinoModel:
        """Load the detector."""
        return grounding_dino.load_grounding_dino(
            self.paths["grounding_dino"],
            text_encoder=self.paths["text_encoder"],
            variant=self.variants["grounding_dino"],
            device=self.device,
            precision=self.detector_precision,
        )

    def clip(self) -> Any:
        """Load CLIP."""
        return clip.load_clip(self.paths["clip"], variant=self.variants["clip"], device=self.device)

    def saliency(self) -> Any:
        """Load the residual network."""
        return saliency.load_saliency(
            self.paths["saliency"], variant=self.variants["saliency"], device=self.device
        )


def write_networks(
    folder: str | Path, *, size: str, others: str, seed: int = 0, device: str = "cpu"
) -> Networks:
    """Write the four networks with random weights, once; a folder that has them is used as it is.

    Args:
        folder: Where to.
        size: Of SAM, one of `SIZES`.
        others: `full` (GroundingDINO swint_ogc with BERT-base, CLIP ViT-B-16, wide_resnet50_2) or
            `miniature`.
        seed: Of all weights.
        device: Where the last layers are fitted, and where networks are loaded to.
    """
    folder = Path(folder) / f"{size}_{others}_{seed}"
    full = others == "full"
    variants = {
        "sam": miniatures.VARIANTS["sam"] if size == "miniature" else size,
        "grounding_dino": "swint_ogc" if full else miniatures.VARIANTS["grounding_dino"],
        "clip": "ViT-B-16" if full else miniatures.VARIANTS["clip"],
        "saliency": "wide_resnet50_2" if full else miniatures.VARIANTS["saliency"],
    }
    listing = folder / "networks.json"
    if listing.is_file():
        names = json.loads(listing.read_text(encoding="utf-8"))
        return Networks({key: folder / name for key, name in names.items()}, variants, device)
    folder.mkdir(parents=True, exist_ok=True)
    paths = dict(miniatures.write_miniatures(folder, seed=seed))
    paths["clip"] = miniature_clip.write_miniature_clip(folder, seed=seed)
    paths["saliency"] = miniature_clip.write_miniature_saliency(folder, seed=seed)
    if size != "miniature":
        paths["sam"] = _save(_sam_state(size, seed=seed, device=device), folder / f"sam_{size}.pth")
    if full:
        paths["text_encoder"] = _write_bert(folder / "bert_base")
        state = _detector_state(paths["text_encoder"], seed=seed, device=device)
        state = {"model": {f"module.{name}": value for name, value in state.items()}}
        paths["grounding_dino"] = _save(state, folder / "grounding_dino_swint.pth")
        paths["clip"] = _save(_clip_state(seed=seed), folder / "clip_vit_b_16.pth")
        paths["saliency"] = _save(_saliency_state(seed=seed), folder / "wide_resnet50_2.pth")
    names = {key: path.relative_to(folder).as_posix() for key, path in paths.items()}
    listing.write_text(json.dumps(names), encoding="utf-8")
    return Networks(paths, variants, device)


def _save(state: Mapping[str, Any], path: Path) -> Path:
    import torch

    torch.save(state, path)
    return path


def _sam_state(size: str, *, seed: int, device: str) -> dict[str, Any]:
    """SAM as the package initialises it, with lively masks and qualities.

    A mask's logits are a product of a vector per mask and one per pixel. The part of the former
    that lies along the mean of the latter is taken away, so that masks are neither full nor empty,
    and the rest is scaled so that few pixels lie near the threshold. Mean and spread are those of a
    drawn image.
    """
    import torch

    torch.manual_seed(seed)
    dimensions = SAM_VARIANTS[size]
    parts = build_parts(dimensions)
    # Encoders are initialised without positions; with them all windows would look alike.
    encoder = parts["image_encoder"]
    with torch.no_grad():
        torch.nn.init.trunc_normal_(encoder.pos_embed, std=0.02)
        for name, parameter in encoder.named_parameters():
            if "rel_pos" in name:
                torch.nn.init.trunc_normal_(parameter, std=0.02)
    for part in parts.values():
        part.to(device)
    decoder = parts["mask_decoder"]
    model = SamModel(parts, dimensions, device=torch.device(device))
    side = dimensions.image_size_px
    image = drawn_image("calibration", image_size_px=side, seed=seed)
    embedding = sam.embedding_tensor(model, sam.encode_image(model, image))
    points = (torch.rand(16, 1, 2) * side).to(device)
    labels = torch.ones(16, 1, dtype=torch.int32, device=device)
    pixels = []
    hook = decoder.output_upscaling.register_forward_hook(lambda _m, _i, out: pixels.append(out))

    def decode() -> tuple[Any, Any]:
        bound = ImageDecoder(model, embedding)
        decoded = bound.decode(points=points, labels=labels)
        return bound.draw(decoded, sam.THREE_MASKS), decoded.qualities[:, sam.THREE_MASKS]

    decode()
    hook.remove()
    mean = pixels[0].mean(dim=(0, 2, 3))
    mean = mean / mean.norm()
    with torch.no_grad():
        for head in decoder.output_hypernetworks_mlps:
            last = head.layers[-1]
            last.weight -= mean[:, None] * (mean @ last.weight)[None]
            last.bias -= mean * (mean @ last.bias)
        logits, qualities = decode()
        for head in decoder.output_hypernetworks_mlps:
            head.layers[-1].weight *= 60.0 / logits.std()
            head.layers[-1].bias *= 60.0 / logits.std()
        last = decoder.iou_prediction_head.layers[-1]
        # Each mask token has a quality of its own; all are brought to the same mean and spread.
        spread = qualities.std(dim=0).mean().clamp_min(1e-6)
        last.weight *= 0.02 / spread
        last.bias *= 0.0
        last.bias[1:] += 0.88 - decode()[1].mean(dim=0)
        limit = torch.quantile(decode()[1].flatten(), 1 - SHARE_OF_MASKS)
        last.bias[1:] += 0.88 - limit
    return {f"{part}.{k}": v.cpu() for part, m in parts.items() for k, v in m.state_dict().items()}


def _write_bert(folder: Path) -> Path:
    """Write a text encoder folder of BERT-base's sizes."""
    miniatures.write_text_encoder(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | BERT), encoding="utf-8")
    words = (folder / "vocab.txt").read_text(encoding="utf-8").split()
    words += [f"[unused{index}]" for index in range(BERT["vocab_size"] - len(words))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    return folder


def _detector_state(text_encoder: Path, *, seed: int, device: str) -> dict[str, Any]:
    """GroundingDINO as the package initialises it, with scores around the thresholds.

    A logit is the product of a query's and a token's feature. The last norm is set so that what all
    queries share drops out, and so that the wanted numbers of boxes pass.
    """
    import torch

    torch.manual_seed(seed)
    dimensions = grounding_dino.GROUNDING_DINO_VARIANTS["swint_ogc"]
    network = grounding_dino.build_network(dimensions, text_encoder=text_encoder)
    network.requires_grad_(False)
    for name, parameter in network.named_parameters():
        if name.endswith(("gamma_v", "gamma_l")):
            parameter.fill_(0.02)  # the initial 1e-4 would leave the fusion without a trace
    # What a box finds must not hang on the rank of its proposal, as it does with the initial slots.
    network.transformer.tgt_embed.weight.mul_(0.02)
    norm = network.transformer.decoder.norm
    network.to(device)
    model = grounding_dino.GroundingDinoModel(network, dimensions, torch.device(device))
    queries, words = [], []

    def keep(_module: Any, inputs: Any, output: Any) -> None:
        queries.append(output[0][-1][0])
        words.append(inputs[6]["encoded_text"][0])

    hook = network.transformer.register_forward_hook(keep)
    image = drawn_image("calibration", image_size_px=800, seed=seed)
    grounding_dino.detect(model, image, ["defect"])
    # The words of other prompts hardly depend on the image, so a small one will do.
    model.dimensions = replace(dimensions, short_side_px=256, long_side_limit_px=512)
    grounding_dino.detect(model, image, ["void. crack. delamination.", "electronic package,"])
    hook.remove()
    centred = queries[0] - queries[0].mean(dim=0)
    tokens = torch.cat(words)
    # A direction whose product with every token is 1.
    common = torch.linalg.lstsq(tokens, torch.ones(len(tokens), 1, device=device)).solution[:, 0]
    best = torch.sort((centred @ words[0].T).amax(dim=1), descending=True).values
    (high, n_high), (low, n_low) = N_BOXES.items()
    upper, lower = (np.log(p / (1 - p)) for p in (high, low))
    scale = (upper - lower) / float(best[n_high] - best[n_low])
    shift = scale * float(best[n_high]) - upper
    mean = queries[0].mean(dim=0)
    norm.weight *= scale
    norm.bias.copy_(norm.bias * scale - scale * mean - shift * common)
    return {name: value.cpu() for name, value in network.state_dict().items()}


def _clip_state(*, seed: int) -> dict[str, Any]:
    """CLIP as open_clip initialises it."""
    import torch

    torch.manual_seed(seed)
    return dict(clip.build_clip(clip.known_sizes("ViT-B-16")).state_dict())


def _saliency_state(*, seed: int) -> dict[str, Any]:
    """The residual network as timm initialises it."""
    import torch

    torch.manual_seed(seed)
    return dict(saliency.build_saliency("wide_resnet50_2", features_only=False).state_dict())


def drawn_image(name: str, *, image_size_px: int, seed: int) -> np.ndarray:
    """Draw an acoustic scan with a void, uint8 RGB, (H, W, 3)."""
    part = draw_part(
        image_rng(name, seed=seed),
        defect_type="void",
        settings=SatSettings(image_size_px=image_size_px),
    )
    return np.repeat(part.image[..., None], 3, axis=2)


def write_images(
    folder: str | Path, *, n_images: int, image_size_px: int, seed: int = 0, n_drawn: int = 1000
) -> pd.DataFrame:
    """Draw images, write them as PNG and list them as the align stage does.

    Args:
        folder: Where to.
        n_images: How many there are.
        image_size_px: Their side.
        seed: Of the drawings.
        n_drawn: How many are drawn; then they come again, another one by one corner pixel only, so
            that many cost what few cost.

    Returns:
        Rows with the columns that the later stages read.
    """
    rows = []
    for index in range(n_images):
        image_id = f"{CATEGORY}/void/{index}"
        name = f"{CATEGORY}/void/{index % n_drawn}"
        image = drawn_image(name, image_size_px=image_size_px, seed=seed)
        if index >= n_drawn:
            image[0, 0] = divmod(index // n_drawn, 256) + (0,)
        path = image_file(Path(folder), image_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(image, path)
        rows.append(
            {
                "dataset": DATASET,
                "image_id": image_id,
                "category": CATEGORY,
                "height_px": image.shape[0],
                "width_px": image.shape[1],
                "pixels_sha256": digest_of({"image": image.tobytes().hex()}),
            }
        )
    return pd.DataFrame(rows)


class Clock:
    """Seconds on the wall and of the processor, over all threads of this process.

    Attributes:
        counts: Set on the class: count products instead. Counting takes time of its own, so the
            seconds are then worth nothing.
        gmac: Multiply-accumulates of matrix products and convolutions, in 10^9, by torch's own
            counter; None if they were not counted.
    """

    counts = False

    def __enter__(self) -> Clock:
        """Start."""
        self.gmac: float | None = None
        if self.counts:
            self._counter = product_counter()
            self._counter.__enter__()
        self._started = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *fault: object) -> None:
        """Stop."""
        self.wall_s = time.perf_counter() - self._started[0]
        self.processor_s = time.process_time() - self._started[1]
        if self.counts:
            self._counter.__exit__(*fault)
            self.gmac = self._counter.get_total_flops() / 2e9


def product_counter() -> Any:
    """Torch's counter of floating point operations, taught two operations of CPUs that it lacks."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

    def attention(
        query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **_named: Any
    ) -> int:
        return sdpa_flop_count(query, key, value)

    def linear(inputs: Sequence[int], weight: Sequence[int], *_: Any, **_named: Any) -> int:
        return 2 * prod(inputs) * weight[0]

    known = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention}
    if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        known[torch.ops.mkldnn._linear_pointwise] = linear
    return FlopCounterMode(display=False, custom_mapping=known)


def product_speed(
    device: str, precision: str, *, side: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Measure products of square matrices, in 10^9 multiply-accumulates a second; median of six.

    Args:
        device: `cpu` or `cuda`.
        precision: Type of the numbers, a name of torch.
        side: Rows of a matrix.
        clock: Gives seconds; `time.process_time` for those of the processor, over all threads.
    """
    import torch

    one = torch.randn(side, side, device=device).to(getattr(torch, precision))
    rates = []
    for _ in range(6):
        started = clock()
        for _ in range(4):
            product = one @ one
        float(product[0, 0])  # waits for the device
        rates.append(4 * side**3 / (clock() - started) / 1e9)
    return median(rates)


def print_ratios(
    seconds: Mapping[str, Sequence[float]],
    numbers: Mapping[str, int],
    ious: Mapping[str, Sequence[float]],
    *,
    what: str,
    aims: Mapping[str, float],
) -> None:
    """Print the median time of each way, its ratio to the package's, and what was found again.

    Args:
        seconds: Of each run, by way; `package` among them.
        numbers: How many masks or boxes each way found.
        ious: IoU of each of the package's with its match, by way of ours.
        what: `masks` or `boxes`.
        aims: Largest ratio by way of ours.
    """
    base = median(seconds["package"])
    for way, found in seconds.items():
        time_s = median(found)
        print(f"{way:8s} {time_s:8.3f} s   ratio {time_s / base:.3f}   {numbers[way]} {what}")
    for way, aim in aims.items():
        same = [iou for iou in ious[way] if iou >= SAME_IOU]
        print(
            f"{way:8s} finds {len(same)} of the package's {len(ious[way])} {what}: IoU mean "
            f"{np.mean(same or [0]):.5f} least {min(same, default=0):.5f}   "
            f"(aim of the ratio {aim:.2f})"
        )


def peak_memory_mb() -> float:
    """Largest memory that this process ever held."""
    status = Path("/proc/self/status")
    if status.is_file():
        # What getrusage says begins, on Linux, with what the parent held when it started this one.
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
