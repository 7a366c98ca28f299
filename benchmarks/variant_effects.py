"""Measure what each switch of the published code's slips does to masks.

Every method runs on all pictures of a folder as published, and then with one switch turned to its
repaired value at a time, and with all. Prints a Markdown table: the mean IoU between the masks of
both, and how many masks changed. The networks are the miniature ones, or those of --networks
written by another benchmark, so the numbers tell how far a switch reaches, not which mask is right.

Usage: python benchmarks/variant_effects.py FOLDER --phrases "dark spot" defect --product object
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from _full_size import SIZES, Networks, write_networks

from realitycheck.core.images import read_image
from realitycheck.methods.clip_surgery_sam import algorithm as clip_surgery_sam
from realitycheck.methods.grounded_sam import algorithm as grounded_sam
from realitycheck.methods.saa_plus import algorithm as saa_plus
from realitycheck.methods.saa_plus.prompts import captions, default_prompts
from realitycheck.methods.sam_clip import algorithm as sam_clip
from realitycheck.models import saliency
from realitycheck.models.clip import model as clip
from realitycheck.models.clip import surgery as clip_surgery
from realitycheck.models.grounding_dino import model as grounding_dino
from realitycheck.models.sam import automatic_masks
from realitycheck.models.sam import inference as sam
from realitycheck.models.sam.model import PARTS

ENDINGS = (".png", ".jpg", ".jpeg")
FIXED_LEVEL = 0.5
#: Values that are no part of the two presets but switches all the same.
FURTHER = {"clip_surgery_sam": {"surgery": False, "antialias": False, "clip_input_size": 512}}
MODULES = {
    "grounded_sam": grounded_sam,
    "sam_clip": sam_clip,
    "clip_surgery_sam": clip_surgery_sam,
    "saa_plus": saa_plus,
}


class Picture:
    """A picture with what all variants share of it, each computed when first asked for."""

    def __init__(self, image: np.ndarray, networks: dict[str, Any], *, phrases: list[str]):
        self.image = image
        self.size = image.shape[:2]
        self.networks = networks
        self.phrases = phrases
        self._kept: dict[tuple, Any] = {}

    def _once(self, key: tuple, compute: Callable[[], Any]) -> Any:
        if key not in self._kept:
            self._kept[key] = compute()
        return self._kept[key]

    def embedding(self, colour: str) -> np.ndarray:
        """SAM's embedding in a colour order."""
        model = self.networks["sam"]
        return self._once(
            ("embedding", colour), lambda: sam.encode_image(model, self.image, colour_order=colour)
        )

    def decode_boxes(self, colour: str) -> Callable[[np.ndarray], np.ndarray]:
        """SAM's decoder for boxes."""
        model = self.networks["sam"]
        return sam.box_decoder(model, self.embedding(colour), image_size_hw=self.size)

    def detections(self, captions: list[str]) -> list[grounding_dino.Detection]:
        """What the detector says to each caption."""
        return [
            self._once(
                ("detection", caption),
                lambda caption=caption: grounding_dino.detect(
                    self.networks["grounding_dino"], self.image, [caption]
                )[0],
            )
            for caption in captions
        ]

    def masks(self) -> list[dict[str, Any]]:
        """SAM's automatic masks."""
        return self._once(
            ("masks",),
            lambda: automatic_masks.propose_masks(
                self.networks["sam"], self.embedding("rgb"), image_size_hw=self.size
            ),
        )

    def saliency(self, *, bgr: bool) -> np.ndarray:
        """Saliency for one product."""
        network = self.networks["saliency"]
        return self._once(
            ("saliency", bgr), lambda: saliency.saliency_map(network, self.image, bgr=bgr)
        )


def mask_grounded_sam(picture: Picture, switches: Any) -> np.ndarray:
    """Mask of GroundingDINO + SAM."""
    return grounded_sam.segment(
        picture.detections(picture.phrases),
        picture.decode_boxes("rgb"),
        image_size_hw=picture.size,
        strip_special=switches.strip_special,
    ).mask


def mask_sam_clip(picture: Picture, switches: Any) -> np.ndarray:
    """Mask of SAM + CLIP."""
    records = picture.masks()
    features = clip.crop_features(
        picture.networks["clip"],
        picture.image,
        masks=[record["rle"] for record in records],
        boxes=[record["bbox"] for record in records],
        swap_canvas=switches.swap_canvas,
        inclusive_bbox=switches.inclusive_bbox,
    )
    return sam_clip.segment(
        features,
        clip.encode_text(picture.networks["clip"], picture.phrases),
        masks=[record["rle"] for record in records],
        image_size_hw=picture.size,
    ).mask


def mask_clip_surgery_sam(picture: Picture, switches: Any) -> np.ndarray:
    """Mask of CLIP Surgery + SAM."""
    model = picture.networks["clip"]
    pixels = clip_surgery.surgery_input(
        picture.image,
        double_norm=switches.double_norm,
        antialias=switches.antialias,
        clip_input_size=switches.clip_input_size,
    )

    def decode(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return sam.decode_points(
            picture.networks["sam"],
            picture.embedding("rgb"),
            points,
            labels,
            image_size_hw=picture.size,
        )[0][0]

    return clip_surgery_sam.segment(
        clip_surgery.encode_tokens(model, pixels[None], surgery=switches.surgery)[0],
        np.stack([clip.text_ensemble(model, phrase) for phrase in picture.phrases]),
        redundant_feature=clip.text_ensemble(model, ""),
        decode_points=decode,
        image_size_hw=picture.size,
        norm_axis=switches.norm_axis,
        first_prompt_only=switches.first_prompt_only,
    ).mask


def saa_plus_result(picture: Picture, switches: Any, *, product: str) -> saa_plus.SaaPlusResult:
    """What SAA+ says, before a threshold."""
    told = default_prompts(product)
    asked = captions(told, object_comma=switches.object_comma)
    return saa_plus.segment(
        picture.detections([asked.object_caption])[0],
        picture.detections(list(asked.defect_captions)),
        filter_phrases=asked.filter_phrases,
        decode_boxes=picture.decode_boxes("bgr" if switches.bgr else "rgb"),
        saliency=picture.saliency(bgr=switches.bgr),
        image_size_hw=picture.size,
        max_masks=told.max_masks,
        area_ratio=told.area_ratio,
    )


def all_masks(
    method: str, switches: Any, pictures: list[Picture], *, product: str, rule: str
) -> list[np.ndarray]:
    """Masks of a method on all pictures, which are one class to SAA+."""
    if method != "saa_plus":
        return [globals()[f"mask_{method}"](picture, switches) for picture in pictures]
    results = [saa_plus_result(picture, switches, product=product) for picture in pictures]
    if rule == "union":
        return [result.segmentation.mask for result in results]
    maps = [saa_plus.evaluation_map(r.anomaly_map, cubic=switches.cubic_maps) for r in results]
    limit = saa_plus.fixed_threshold(FIXED_LEVEL, limits=saa_plus.map_range(maps))
    return [saa_plus.binarise(each, limit) for each in maps]


def variants(method: str) -> Iterator[tuple[str, Any]]:
    """Yield what differs from the published preset: each switch alone, then the whole preset."""
    module = MODULES[method]
    published, repaired = asdict(module.PUBLISHED), asdict(module.REPAIRED)
    changed = {name: value for name, value in repaired.items() if value != published[name]}
    for name, value in {**changed, **FURTHER.get(method, {})}.items():
        yield f"`{name}: {str(value).lower()}`", replace(module.PUBLISHED, **{name: value})
    yield "`variant: repaired`", module.REPAIRED


def load(networks: Networks) -> dict[str, Any]:
    """Load all four networks."""
    return {
        "sam": networks.sam(*PARTS),
        "grounding_dino": networks.grounding_dino(),
        "clip": networks.clip(),
        "saliency": networks.saliency(),
    }


def main() -> None:
    """Run all variants on all pictures and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="searched for pictures, also in its folders")
    parser.add_argument("--phrases", nargs="+", default=["dark spot", "defect"])
    parser.add_argument("--product", default="object", help="name of the product, for SAA+")
    parser.add_argument("--size", choices=SIZES, default="miniature", help="size of SAM")
    parser.add_argument("--others", choices=("full", "miniature"), default="miniature")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--networks", type=Path, help="folder that keeps the drawn weights")
    options = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    paths = sorted(p for p in options.folder.rglob("*") if p.suffix.lower() in ENDINGS)
    if not paths:
        parser.error(f"{options.folder}: expected pictures ({', '.join(ENDINGS)}), found none")
    with tempfile.TemporaryDirectory() as folder:
        networks = load(
            write_networks(
                options.networks or folder,
                size=options.size,
                others=options.others,
                seed=options.seed,
            )
        )
    pictures = [Picture(read_image(path), networks, phrases=options.phrases) for path in paths]
    print(f"{len(pictures)} pictures; phrases {options.phrases}; product {options.product!r}\n")
    print("| method | against published | mean IoU | masks that changed | published pixels |")
    print("|---|---|---|---|---|")
    for method, module in MODULES.items():
        rules = ("union", f"fixed:{FIXED_LEVEL}") if method == "saa_plus" else ("",)
        for rule in rules:
            common = {"product": options.product, "rule": rule}
            before = all_masks(method, module.PUBLISHED, pictures, **common)
            share = np.mean([mask.mean() for mask in before])
            for what, switches in variants(method):
                after = all_masks(method, switches, pictures, **common)
                ious = [_iou(a, b) for a, b in zip(before, after, strict=True)]
                n_changed = sum(iou < 1 for iou in ious)
                name = f"`{method}`, {rule}" if rule else f"`{method}`"
                print(
                    f"| {name} | {what} | {np.mean(ious):.3f} | {n_changed} of {len(ious)} "
                    f"| {share:.1%} |"
                )


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    """IoU of two masks; 1 where both are empty."""
    union = (one | other).sum()
    return float((one & other).sum() / union) if union else 1.0


if __name__ == "__main__":
    main()
