"""The workflow's stages 3 and 4 for all four methods, in one process and in the workflow's order.

Each step does what the script of the same name does, on the same stores; what is read or written
beside the stores (tables, PNGs) is left out, and loading a network is not timed.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _full_size import SIZES, Clock, Networks, write_images

from realitycheck.core.job import batch_size
from realitycheck.core.masks import decode_mask
from realitycheck.core.store import EncodingStore, FinishedRows
from realitycheck.core.variants import switched
from realitycheck.encoders.base import Encodings, Lazily, keys_of
from realitycheck.encoders.clip import TextFeatures, text_store
from realitycheck.methods.clip_surgery_sam.segmenter import ClipSurgerySam
from realitycheck.methods.grounded_sam.segmenter import GroundedSam
from realitycheck.methods.saa_plus import segmenter as saa_plus
from realitycheck.methods.sam_clip.segmenter import SamClip
from realitycheck.models.settings import DETECTION_FLOOR
from realitycheck.stages.detect import detect_shard
from realitycheck.stages.encode import Encoding
from realitycheck.stages.segment import segment_shard

METHODS = ("grounded_sam", "sam_clip", "clip_surgery_sam", "saa_plus")
DECODER = ("prompt_encoder", "mask_decoder")


@dataclass(frozen=True)
class Run:
    """What is asked for; both ways take it.

    Attributes:
        networks: Files of the networks.
        images_folder: Folder of the images.
        transforms: Their table.
        phrases: The prompt set's phrases.
        variant: `published` or `repaired`.
        points_per_side: Of the grid of automatic masks.
        saa_plus: What the prompt set says of SAA+; see `prompts_of_category`.
    """

    networks: Networks
    images_folder: Path
    transforms: pd.DataFrame
    phrases: tuple[str, ...]
    variant: str
    points_per_side: int
    saa_plus: str | Mapping[str, Any] = "auto"

    def settings(self, kind: str) -> dict[str, Any]:
        """Settings of a method: the documented defaults, but for one.

        Untrained, CLIP of real size finds about a hundred masks nearly equally likely. The usual
        threshold would mark none of them, and there would be nothing to compare.
        """
        is_arranged = self.networks.is_miniature("clip")
        own = {
            "grounded_sam": {"box_threshold": 0.35, "text_threshold": 0.25},
            "sam_clip": {"logit_scale": 100.0, "threshold": 0.05 if is_arranged else 0.008},
            "clip_surgery_sam": {"clip_input_size": 224, "threshold": 0.8, "downsample": 2},
            "saa_plus": {
                "box_threshold": 0.10,
                "text_threshold": 0.10,
                "binarise": "union",
                "eval_resolution": "native",
            },
        }
        return {"switches": asdict(self.switches(kind)), **own[kind]}

    def switches(self, kind: str) -> Any:
        """Switches of a method's variant."""
        return switched(kind, self.variant, {})

    @property
    def grid(self) -> dict[str, Any]:
        """Settings of the automatic masks.

        The masks of an untrained SAM of real size span the image, so nothing would survive the
        suppression of overlapping boxes; it is off there.
        """
        is_arranged = self.networks.is_miniature("sam")
        return {
            "points_per_side": self.points_per_side,
            "box_nms_thresh": 0.7 if is_arranged else 1.0,
        }


class OurWay:
    """The stages, step by step.

    Args:
        run: What is asked for.
        folder: Folder of the stores.
        keeps_masks: Whether `masks` holds all masks at full size afterwards.
    """

    def __init__(self, run: Run, folder: str | Path, *, keeps_masks: bool = True):
        self.run = run
        self._keeps_masks = keeps_masks
        self._folder = Path(folder)
        self._digests = {"weights": "benchmark"}
        self._batch = batch_size("auto", device=run.networks.device)
        self._stored: dict[str, Encodings] = {}
        self._boxes = pd.DataFrame()
        self._maps = pd.DataFrame()
        self.masks: dict[str, dict[str, np.ndarray]] = {}
        self.n_boxes = self.n_masks = 0

    @property
    def colour(self) -> str:
        """Colour order that SAA+ shows to SAM and to the saliency network."""
        return "bgr" if self.run.switches("saa_plus").bgr else "rgb"

    def steps(self) -> dict[str, tuple[tuple[str, ...], Callable[[], Clock]]]:
        """List all steps by name: the methods that need it, and what runs it."""
        found = {}
        by_colour: dict[str, list[str]] = {"rgb": list(METHODS[:3])}
        by_colour.setdefault(self.colour, []).append("saa_plus")
        for colour, methods in by_colour.items():
            found[f"encode_images {colour}"] = (tuple(methods), partial(self._encode, colour))
        found |= {
            "propose_masks": (("sam_clip",), self._propose),
            "encode_crops": (("sam_clip",), self._crops),
            "encode_patches": (("clip_surgery_sam",), self._patches),
            "encode_saliency": (("saa_plus",), self._saliency),
        }
        return found | self.prompted_steps()

    def prompted_steps(self) -> dict[str, tuple[tuple[str, ...], Callable[[], Clock]]]:
        """List the steps that the workflow runs again when a prompt set is edited."""
        return {
            "detect_boxes": (("grounded_sam", "saa_plus"), self._detect),
            "segment_grounded_sam": (("grounded_sam",), self._grounded_sam),
            "segment_sam_clip": (("sam_clip",), self._sam_clip),
            "segment_clip_surgery_sam": (("clip_surgery_sam",), self._clip_surgery_sam),
            "map_anomalies": (("saa_plus",), self._map_anomalies),
            "segment_saa_plus": (("saa_plus",), self._saa_plus),
        }

    def edit(self, run: Run) -> None:
        """Go on with other prompts and the same stores."""
        self.run = run

    # ------------------------------------------------------------------------------- encode

    def _store(self, name: str) -> Path:
        return self._folder / "encodings" / name

    def _fill(self, name: str, network: Lazily, folder: str | None = None, **options: Any) -> Clock:
        """Encode all images into the store of an encoding."""
        network()
        folder = folder or name
        encoding = Encoding(
            name,
            network,
            self._store(folder),
            self.run.transforms,
            self.run.images_folder,
            network={"precision": self.run.networks.precision},
            weights=self._digests,
            batch_size=self._batch,
            **{"settings": {}, **options},
        )
        with Clock() as clock:
            rows = list(encoding.rows())
        self._stored[folder] = Encodings(encoding.store, keys_of(pd.DataFrame(rows)))
        return clock

    def _encode(self, colour: str) -> Clock:
        network = Lazily(partial(self.run.networks.sam, "image_encoder"))
        return self._fill("sam_embeddings", network, f"sam_{colour}", colour=colour)

    def _propose(self) -> Clock:
        network = Lazily(partial(self.run.networks.sam, *DECODER))
        clock = self._fill(
            "automatic_masks", network, settings=self.run.grid, stored=self._stored["sam_rgb"]
        )
        store, keys = self._stored["automatic_masks"]
        self.n_masks = sum(len(store.get(key)["areas"]) for key in keys.values())
        return clock

    def _crops(self) -> Clock:
        settings = self.run.settings("sam_clip")
        stored = self._stored["automatic_masks"]
        return self._fill("crops", Lazily(self.run.networks.clip), settings=settings, stored=stored)

    def _patches(self) -> Clock:
        settings = self.run.settings("clip_surgery_sam")
        return self._fill("patches", Lazily(self.run.networks.clip), settings=settings)

    def _saliency(self) -> Clock:
        return self._fill("saliency", Lazily(self.run.networks.saliency), colour=self.colour)

    # ------------------------------------------------------------------------------ segment

    def _detect(self) -> Clock:
        model = self.run.networks.grounding_dino()
        asked = {
            "texts": list(self.run.phrases),
            "composed": [
                {
                    "kind": "saa_plus",
                    "told": self.run.saa_plus,
                    "settings": {"object_comma": self.run.switches("saa_plus").object_comma},
                }
            ],
        }
        with Clock() as clock:
            found = detect_shard(
                self.run.transforms,
                model,
                asked=asked,
                prompt="prompt",
                floor=DETECTION_FLOOR,
                images_folder=self.run.images_folder,
                finished=self._finished("detect_boxes"),
            )
            self._boxes = pd.DataFrame(list(chain.from_iterable(found)))
        self.n_boxes = len(self._boxes)
        return clock

    def _texts(self) -> EncodingStore:
        return text_store(self._store("texts"), settings={}, weights=self._digests)

    def _finished(self, rule: str, **facts: Any) -> FinishedRows:
        return FinishedRows(self._store("finished") / rule, facts=facts)

    def _segment(self, method: str, segmenter: Any) -> None:
        segment_one = segmenter.segment
        rows = list(segment_shard(self.run.transforms, segment_one, method=method, prompt="prompt"))
        if not self._keeps_masks:
            return
        self.masks[method] = {
            row["image_id"]: decode_mask(
                row["mask_rle"], height_px=row["mask_height_px"], width_px=row["mask_width_px"]
            )
            for row in rows
        }

    def _grounded_sam(self) -> Clock:
        model = self.run.networks.sam(*DECODER)
        with Clock() as clock:
            segmenter = GroundedSam(
                self._boxes,
                lambda: model,
                self._stored["sam_rgb"],
                captions=list(self.run.phrases),
                settings=self.run.settings("grounded_sam"),
                floor=DETECTION_FLOOR,
            )
            self._segment("grounded_sam", segmenter)
        return clock

    def _sam_clip(self) -> Clock:
        network = self.run.networks.clip()
        texts = TextFeatures(self._texts(), lambda: network)
        with Clock() as clock:
            segmenter = SamClip(
                self._stored["automatic_masks"],
                self._stored["crops"],
                texts,
                prompts=self.run.phrases,
                settings=self.run.settings("sam_clip"),
            )
            self._segment("sam_clip", segmenter)
        return clock

    def _clip_surgery_sam(self) -> Clock:
        network, model = self.run.networks.clip(), self.run.networks.sam(*DECODER)
        texts = TextFeatures(self._texts(), lambda: network)
        with Clock() as clock:
            segmenter = ClipSurgerySam(
                self._stored["patches"],
                self._stored["sam_rgb"],
                texts,
                lambda: model,
                prompts=self.run.phrases,
                settings=self.run.settings("clip_surgery_sam"),
            )
            self._segment("clip_surgery_sam", segmenter)
        return clock

    def _map_anomalies(self) -> Clock:
        model = self.run.networks.sam(*DECODER)
        with Clock() as clock:
            rows = saa_plus.map_anomalies(
                self.run.transforms,
                self._boxes,
                sam=model,
                embeddings=self._stored[f"sam_{self.colour}"].store,
                embedding_keys=self._stored[f"sam_{self.colour}"].keys,
                saliency=self._stored["saliency"].store,
                saliency_keys=self._stored["saliency"].keys,
                saliency_network=Lazily(self.run.networks.saliency),
                images_folder=self.run.images_folder,
                prompt="prompt",
                wanted=self.run.saa_plus,
                settings=self.run.settings("saa_plus"),
                floor=DETECTION_FLOOR,
                finished=self._finished("map_anomalies"),
            )
            self._maps = pd.DataFrame(list(rows))
        return clock

    def _saa_plus(self) -> Clock:
        limits = dict.fromkeys(self.run.transforms["image_id"], 0.0)  # the rule `union`
        with Clock() as clock:
            segmenter = saa_plus.SaaPlus(
                self._maps,
                limits,
                self.run.saa_plus,
                self.run.settings("saa_plus"),
                DETECTION_FLOOR,
                boxes=lambda: self._boxes,
                saliency=lambda: self._stored["saliency"],
            )
            self._segment("saa_plus", segmenter)
        return clock


def add_run_arguments(parser: argparse.ArgumentParser, *, n_images: int) -> None:
    """Add the options of a benchmark that runs all four methods; `n_images` is a default."""
    parser.add_argument("--size", choices=SIZES, default="vit_b", help="size of SAM")
    parser.add_argument(
        "--others",
        choices=("full", "miniature"),
        default=None,
        help="size of the other networks; as real as SAM's by default",
    )
    parser.add_argument("--n-images", type=int, default=n_images)
    parser.add_argument("--image-size-px", type=int, default=1024)
    parser.add_argument("--variant", choices=("published", "repaired"), default="published")
    parser.add_argument("--points-per-side", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--networks", type=Path, help="folder that keeps the drawn weights")


def drawn_run(
    options: argparse.Namespace, networks: Networks, folder: str | Path, *, repeat: int
) -> Run:
    """Draw the images of a repeat below a folder, by the options of `add_run_arguments`."""
    images_folder = Path(folder) / f"images_{repeat}"
    return Run(
        networks=networks,
        images_folder=images_folder,
        transforms=write_images(
            images_folder,
            n_images=options.n_images,
            image_size_px=options.image_size_px,
            seed=options.seed + repeat,
        ),
        phrases=("defect",),
        variant=options.variant,
        points_per_side=options.points_per_side,
    )


def run_steps(
    steps: Mapping[str, tuple[tuple[str, ...], Callable[[], Clock]]],
) -> dict[str, Clock]:
    """Run steps one after the other and free each one's networks before the next."""
    clocks = {}
    for name, (_, step) in steps.items():
        clocks[name] = step()
        gc.collect()
    return clocks


def sums(clocks: Mapping[str, Clock], names: Iterable[str]) -> tuple[float, float]:
    """Seconds on the wall and of the processor over some steps."""
    chosen = [clocks[name] for name in names]
    return sum(c.wall_s for c in chosen), sum(c.processor_s for c in chosen)
