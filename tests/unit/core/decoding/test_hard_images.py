"""Images that nobody had in mind go through all four methods, in both variants.

An all-black one, one of 64 × 48 px, one of 4000 × 300 px, a grey one of 16 bits; and, by where the
thresholds lie, some without a box and some without an automatic mask.
"""

from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from realitycheck.core.files import image_file
from realitycheck.core.images import read_image, write_png
from realitycheck.core.masks import decode_mask
from realitycheck.core.schemas import (
    ANOMALY_MAPS,
    BOXES,
    ENCODINGS,
    MANIFEST,
    MASK_STATUSES,
    MASKS,
    TRANSFORMS,
)
from realitycheck.core.tables import check_rows, read_table, write_table
from realitycheck.core.variants import switched
from realitycheck.encoders.base import Encodings, keys_of
from realitycheck.encoders.clip import TextFeatures, text_store
from realitycheck.methods.clip_surgery_sam.segmenter import ClipSurgerySam
from realitycheck.methods.grounded_sam.segmenter import GroundedSam
from realitycheck.methods.saa_plus.prompts import captions, prompts_of_category
from realitycheck.methods.saa_plus.segmenter import SaaPlus, map_anomalies
from realitycheck.methods.sam_clip.segmenter import SamClip
from realitycheck.models.registry import network
from realitycheck.stages.align import align_shard
from realitycheck.stages.detect import detect_shard
from realitycheck.stages.encode import Encoding
from realitycheck.stages.evaluate import score_masks
from realitycheck.stages.prepare import prepare_dataset
from realitycheck.stages.segment import segment_shard
from training.miniatures import model_settings

FLOOR = 0.05
VARIANTS = ("published", "repaired")
PROMPTS = ["defect", "scratch"]
SAA_PLUS = {
    "default": {
        "class_name": "part",
        "object_name": None,
        "class_prompts": [["black hole", ""]],
        "general_prompts": True,
        "n_objects": 1,
        "max_masks": 3,
        "area_ratio": 0.9,
    }
}
GRID = {
    "points_per_side": 3,
    "pred_iou_thresh": 0.0,
    "stability_score_thresh": 0.0,
    "stability_score_offset": 1.0,
    "box_nms_thresh": 0.7,
}
SIZES = {"black": (96, 128), "small": (48, 64), "wide": (300, 4000), "deep": (90, 70)}


def texture(height, width, *, seed):
    """Blurred noise, 0 to 1."""
    noise = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, None, 3)
    return (noise - noise.min()) / (noise.max() - noise.min())


def draw(root: Path):
    """A product of hard images: good ones to be a reference, and the defective ones."""
    for name, (height, width) in SIZES.items():
        grey = texture(height, width, seed=len(name))
        if name == "black":
            grey = np.zeros((height, width), np.float32)
        path = root / "NOK" / "odd" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == "deep":
            # Twelve of sixteen bits, as acoustic microscopes write them: 8-bit viewers show black.
            cv2.imwrite(str(path), (500 + 3500 * grey).astype(np.uint16))
        else:
            write_png(np.repeat((255 * grey).astype(np.uint8)[..., None], 3, axis=2), path)
        mask = np.zeros((height, width), bool)
        mask[height // 3 : height // 2, width // 4 : width // 2] = True
        write_png(mask, root / "masks" / "odd" / f"{name}.png")
    good = (255 * texture(80, 80, seed=99)).astype(np.uint8)
    write_png(np.repeat(good[..., None], 3, axis=2), root / "OK" / "plain.png")


class Hard:
    """The data set with everything that the encode stage makes of it."""

    def __init__(self, folder: Path):
        draw(folder / "raw")
        intensity = {"mapping": "window", "low": 0.01, "high": 0.99}
        manifests = folder / "manifests"
        prepare_dataset(
            "hard",
            {
                "format": "folder",
                "root": str(folder / "raw"),
                "split": {"kind": "all", "seed": 0, "train_fraction": 0.0},
                "reference": "none",
                "intensity": intensity,
                "allow_duplicates": False,
                "missing_masks": "fault",
                "named_categories": {},
                "mask_values": "auto",
                "mask_background": "auto",
                "mask_orientation": "auto",
                "max_decoded_mb": 600,
            },
            manifest_path=manifests / "hard.parquet",
            train_path=manifests / "hard" / "train.parquet",
            references_path=manifests / "hard" / "references.parquet",
            digests_path=manifests / "hard" / "digests.json",
            inventory_path=manifests / "hard" / "inventory.parquet",
            trigger="before",
            signature="now",
            n_workers=1,
        )
        self.manifest = read_table(manifests / "hard.parquet", schema=MANIFEST)
        self.folder, self.images = folder, folder / "aligned"
        alignment = {"method": "none", "motion": "euclidean", "quarter_turns": False}
        _, rows = align_shard(
            manifests / "hard.parquet",
            manifests / "hard" / "references.parquet",
            shard="0-of-1",
            settings={"alignment": alignment, "intensity": intensity},
            folder=self.images,
            n_workers=1,
        )
        self.transforms = self.table(list(rows), TRANSFORMS)
        networks = model_settings(folder / "weights", "sam", "grounding_dino", "clip", "saliency")
        self.sam, self.detector, self.clip, self.saliency = (
            network(name).load(block, block | {"precision": "float32"}, device="cpu")
            for name, block in networks.items()
        )
        store = text_store(folder / "texts", settings={}, weights={})
        self.texts = TextFeatures(store, lambda: self.clip)
        self.embeddings = {
            colour: self.encoded("sam_embeddings", self.sam, colour, colour=colour, batch_size=2)
            for colour in ("rgb", "bgr")
        }
        found = detect_shard(
            self.transforms,
            self.detector,
            asked={
                "texts": PROMPTS,
                "composed": [
                    {"kind": "saa_plus", "told": SAA_PLUS, "settings": {"object_comma": form}}
                    for form in (False, True)
                ],
            },
            prompt="plain",
            floor=FLOOR,
            images_folder=self.images,
        )
        self.boxes = self.table([row for rows in found for row in rows], BOXES)

    def table(self, rows, schema):
        """Rows as the next stage reads them, checked on the way."""
        path = self.folder / f"{schema.name}.parquet"
        write_table(rows, path, schema=schema, facts={})
        return read_table(path, schema=schema)

    def encoded(self, name, network, folder, *, settings=None, **options):
        """A filled store and the key of each image in it."""
        encoding = Encoding(
            name,
            lambda: network,
            self.folder / folder,
            self.transforms,
            self.images,
            settings=settings or {},
            network={},
            weights={},
            **options,
        )
        return Encodings(encoding.store, keys_of(self.table(list(encoding.rows()), ENCODINGS)))

    def masks(self, segmenter, method):
        """The masks table of a method, by image."""
        rows = segment_shard(self.transforms, segmenter.segment, method=method, prompt="plain")
        table = self.table(list(rows), MASKS)
        check_rows(table, self.transforms["image_id"], where=method)
        return table

    def automatic_masks(self, **settings):
        return self.encoded(
            "automatic_masks",
            self.sam,
            "masks",
            settings=GRID | settings,
            stored=self.embeddings["rgb"],
            batch_size=8,
        )

    def sam_clip(self, variant, **settings):
        stored = self.automatic_masks(**settings)
        switches = {"switches": asdict(switched("sam_clip", variant, {}))}
        crops = self.encoded(
            "crops", self.clip, "crops", settings=switches, stored=stored, batch_size=2
        )
        segmenter = SamClip(
            stored,
            crops,
            self.texts,
            prompts=PROMPTS,
            settings={"logit_scale": 100.0, "threshold": 0.05},
        )
        return self.masks(segmenter, "sam_clip")

    def grounded_sam(self, variant, box_threshold):
        segmenter = GroundedSam(
            self.boxes,
            lambda: self.sam,
            self.embeddings["rgb"],
            captions=PROMPTS,
            settings={
                "switches": asdict(switched("grounded_sam", variant, {})),
                "box_threshold": box_threshold,
                "text_threshold": 0.25,
            },
            floor=FLOOR,
        )
        return self.masks(segmenter, "grounded_sam")

    def clip_surgery_sam(self, variant):
        settings = {
            "switches": asdict(switched("clip_surgery_sam", variant, {})),
            "clip_input_size": 224,
            "threshold": 0.8,
            "downsample": 2,
        }
        patches = self.encoded("patches", self.clip, "patches", settings=settings)
        segmenter = ClipSurgerySam(
            patches,
            self.embeddings["rgb"],
            self.texts,
            lambda: self.sam,
            prompts=PROMPTS,
            settings=settings,
        )
        return self.masks(segmenter, "clip_surgery_sam")

    def saa_plus(self, variant, box_threshold):
        colour = "bgr" if variant == "published" else "rgb"
        store, keys = self.embeddings[colour]
        saliency, saliency_keys = self.encoded(
            "saliency", self.saliency, f"s_{colour}", colour=colour
        )
        settings = {
            "switches": asdict(switched("saa_plus", variant, {})),
            "box_threshold": box_threshold,
            "text_threshold": 0.1,
            "binarise": "union",
            "eval_resolution": "native",
        }
        rows = map_anomalies(
            self.transforms,
            self.boxes,
            sam=self.sam,
            embeddings=store,
            embedding_keys=keys,
            saliency=saliency,
            saliency_keys=saliency_keys,
            saliency_network=lambda: self.saliency,
            images_folder=self.images,
            prompt="plain",
            wanted=SAA_PLUS,
            settings=settings,
            floor=FLOOR,
        )
        maps = self.table(list(rows), ANOMALY_MAPS)
        check_rows(maps, self.transforms["image_id"], where="maps")
        limits = dict.fromkeys(maps["image_id"], 0.0)
        segmenter = SaaPlus(maps, limits, SAA_PLUS, settings, FLOOR, boxes=None, saliency=None)
        return self.masks(segmenter, "saa_plus")

    def best_scores(self, captions):
        """Score of the best box of each image, 0 without any."""
        own = self.boxes[self.boxes["text"].isin(captions)]
        best = own.groupby("image_id")["score"].max()
        return best.reindex(self.transforms["image_id"]).fillna(0.0)


@pytest.fixture(scope="module")
def hard(tmp_path_factory):
    return Hard(tmp_path_factory.mktemp("hard"))


def between(values):
    """A threshold that some values pass and some do not."""
    ordered = np.unique(values)
    assert len(ordered) > 1, values
    middle = len(ordered) // 2
    return float((ordered[middle - 1] + ordered[middle]) / 2)


def assert_complete(table, hard):
    """A row an image, a mask of the image's own size, and no pixel unless the status is ok."""
    about = hard.transforms.set_index("image_id")
    assert set(table["status"]) <= MASK_STATUSES
    assert table["image_id"].is_unique
    for row in table.itertuples():
        size = (about.loc[row.image_id, "height_px"], about.loc[row.image_id, "width_px"])
        assert (row.mask_height_px, row.mask_width_px) == size
        mask = decode_mask(row.mask_rle, height_px=size[0], width_px=size[1])
        assert mask.any() == (row.status == "ok"), row.image_id
        assert np.isnan(row.score) or 0 <= row.score <= 1
        assert (row.n_regions > 0) == (row.status == "ok"), row.image_id


def statuses(table):
    """Status of each image by its last name."""
    return {Path(row.image_id).name: row.status for row in table.itertuples()}


def test_images_reach_the_methods_in_their_own_sizes(hard):
    """Nothing is cut, padded or turned on the way; the 16-bit image uses the whole grey range."""
    sizes = {Path(row.image_id).name: (row.height_px, row.width_px) for row in
             hard.transforms.itertuples()}  # fmt: skip
    assert sizes == {**SIZES, "plain": (80, 80)}
    images = {
        Path(i).name: read_image(image_file(hard.images, i)) for i in hard.transforms["image_id"]
    }
    assert images["deep"].dtype == np.uint8
    assert (images["deep"].min(), images["deep"].max()) == (0, 255)
    assert images["black"].max() == 0
    depths = {Path(row.image_id).name: row.bit_depth for row in hard.manifest.itertuples()}
    assert depths["deep"] == 16


@pytest.mark.parametrize("variant", VARIANTS)
def test_grounded_sam_says_which_images_have_no_box(hard, variant):
    """The published code fails on such an image; here it is a row with an empty mask."""
    best = hard.best_scores(PROMPTS)
    limit = between(best)
    table = hard.grounded_sam(variant, limit)
    assert_complete(table, hard)
    expected = {Path(i).name: value > limit for i, value in best.items()}
    assert {name: status != "no_box" for name, status in statuses(table).items()} == expected
    assert len(set(statuses(table).values())) > 1


@pytest.mark.parametrize("variant", VARIANTS)
def test_sam_clip_says_which_images_have_no_automatic_mask(hard, variant):
    """An image that SAM cuts nothing out of has nothing to choose from."""
    store, keys = hard.automatic_masks()
    best = [store.get(key)["predicted_ious"].max(initial=0.0) for key in keys.values()]
    limit = between(best)
    table = hard.sam_clip(variant, pred_iou_thresh=limit)
    assert_complete(table, hard)
    expected = {Path(i).name: b > limit for i, b in zip(keys, best, strict=True)}
    assert {name: status != "no_mask" for name, status in statuses(table).items()} == expected
    assert table.loc[table["status"] == "no_mask", "score"].isna().all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_sam_clip_chooses_among_the_masks_of_hard_images(hard, variant):
    """Crops of a black image, and of one 13 times as wide as high, are encoded like any other."""
    table = hard.sam_clip(variant)
    assert_complete(table, hard)
    assert "no_mask" not in set(table["status"])


@pytest.mark.parametrize("variant", [*VARIANTS, "plain_clip"])
def test_clip_surgery_points_into_every_image(hard, variant):
    """Places of patches are scaled to the image, whatever its shape."""
    table = hard.clip_surgery_sam(variant)
    assert_complete(table, hard)
    assert set(table["status"]) <= {"ok", "empty", "constant_map"}
    assert (table["status"] == "ok").any()


@pytest.mark.parametrize("variant", VARIANTS)
def test_saa_plus_says_which_images_have_no_box(hard, variant):
    """Its anomaly map is 0 everywhere there, at the size of the image."""
    asked = captions(prompts_of_category(SAA_PLUS, "raw"), object_comma=variant == "published")
    best = hard.best_scores(asked.defect_captions)
    limit = between(best)
    table = hard.saa_plus(variant, limit)
    assert_complete(table, hard)
    found = table.set_index("image_id")["status"]
    assert (found[best.index[best <= limit]] == "no_box").all()
    table = hard.saa_plus(variant, 0.999)
    assert_complete(table, hard)
    assert set(table["status"]) == {"no_box"}
    assert (table["score"] == 0).all()
    table = hard.saa_plus(variant, FLOOR)
    assert_complete(table, hard)
    assert "ok" in set(table["status"])


def test_empty_masks_of_hard_images_are_scored(hard, tmp_path):
    """A slip is a slip: IoU 0 over all true pixels, in a table as long as the manifest."""
    table = hard.grounded_sam("published", 0.999)
    assert set(table["status"]) == {"no_box"}
    truth = []
    for row in hard.manifest.itertuples():
        if isinstance(row.mask_path, str):
            drawn = read_image(Path(row.mask_path))[..., 0] > 0
            write_png(drawn, image_file(tmp_path, row.image_id))
        truth.append({"dataset": "hard", "image_id": row.image_id, "has_truth": True, "lost_px": 0})
    scores = pd.DataFrame(
        score_masks(
            hard.manifest,
            pd.DataFrame(truth),
            table,
            truth_folder=tmp_path,
            ignore_border="ignore",
        )
    )
    assert len(scores) == len(hard.manifest) == 5
    defective = scores[scores["label"] == "NOK"]
    assert (defective["iou"] == 0).all()
    assert (defective["truth_px"] > 0).all()
    assert (scores["label_predicted"] == "OK").all()
