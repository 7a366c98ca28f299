"""What is exported and imported again says the same, in every number of every score."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from realitycheck.core.masks import masks_of
from realitycheck.core.schemas import MASKS, TRANSFORMS
from realitycheck.core.tables import read_table, write_table
from realitycheck.methods.base import Inputs, Run, Segmentation
from realitycheck.methods.imported.settings import Settings
from realitycheck.stages.align import align_truth
from realitycheck.stages.classify import make_verdicts
from realitycheck.stages.evaluate import score_areas, score_defects, score_labels, score_masks
from realitycheck.stages.export import mask_annotations, write_coco, write_coco_results
from realitycheck.stages.segment import make_masks, segment_shard

#: Of an image 128 px wide and 96 px high that lies turned by 90° on the reference.
QUARTER = np.array([[0, -1, 95], [1, 0, 0], [0, 0, 1]], float)


class Exported:
    """A prepared product whose defective images are turned by 90°, and the masks of a method."""

    def __init__(self, product, folder):
        self.folder, self.product = folder, product.prepare()
        self.manifest = product.manifest
        rows = []
        for row in self.manifest.itertuples():
            is_turned = row.label == "NOK"
            matrix = QUARTER if is_turned else np.eye(3)
            height, width = (128, 96) if is_turned else (96, 128)
            rows.append(
                {
                    "dataset": "chips",
                    "image_id": row.image_id,
                    "category": row.category,
                    "status": "aligned" if is_turned else "kept_original",
                    **{f"m{r}{c}": float(matrix[r, c]) for r in range(3) for c in range(3)},
                    "overlap": 1.0,
                    "width_px": width,
                    "height_px": height,
                }
            )
        self.transforms = pd.DataFrame(rows).reindex(columns=TRANSFORMS.columns)
        self.transforms_path = folder / "aligned" / "chips" / "transforms.parquet"
        write_table(self.transforms, self.transforms_path, schema=TRANSFORMS, facts={})
        self.truth_folder = folder / "truth"
        self.truth = pd.DataFrame(
            align_truth(self.manifest, self.transforms, folder=self.truth_folder)
        )
        path = folder / "own.parquet"
        rows = list(segment_shard(self.transforms, self.segment, method="own", prompt="none"))
        write_table(rows, path, schema=MASKS, facts={})
        self.masks = read_table(path, schema=MASKS)

    def segment(self, row):
        """Two blots, one of them near the truth; nothing on one good image."""
        mask = np.zeros((int(row.height_px), int(row.width_px)), bool)
        if row.image_id.endswith("OK/0"):
            return Segmentation(mask, 0.25, 0, "empty")
        mask[60:75, 40:52] = mask[3:5, 7:30] = mask[90, 9] = True
        return Segmentation(mask, 0.25, 3, "ok")

    def scores(self, masks):
        """Scores of masks: by image, by area and by defect, keys and words left out."""
        shared = {"truth_folder": self.truth_folder, "ignore_border": "ignore"}
        given = self.manifest, self.truth, masks
        images = pd.DataFrame(score_masks(*given, **shared))
        areas = pd.DataFrame(score_areas(images, "x", max_overkill_rate=0.1))
        defects = pd.DataFrame(score_defects(*given, **shared, min_covered_share=0.1))
        return [numbers(each) for each in (images, areas, defects)]

    def inputs(self):
        paths = self.product.paths
        return Inputs(
            {
                "manifest": paths["manifest_path"],
                "train": paths["train_path"],
                "transforms": self.transforms_path,
            }
        )

    def imported(self, **block):
        """Masks table of what is imported."""
        run = Run("chips", "again", "none", Settings(kind="imported", **block).plain())
        outputs = {"masks": str(self.folder / "again.parquet")}
        make_masks(self.inputs(), run, outputs, kind="imported", device="cpu", code="")
        return read_table(outputs["masks"], schema=MASKS)


def numbers(table):
    """A table without what an export does not hold: names of the run, status, score, time."""
    others = ("method", "prompt", "status", "score", "latency_s")
    return table.drop(columns=[name for name in others if name in table])


@pytest.fixture
def run(product, tmp_path):
    """The run that is exported."""
    return Exported(product, tmp_path)


def test_there_is_something_to_compare(run):
    """Hits, misses, good parts with and without a mask."""
    images, _, defects = run.scores(run.masks)
    assert images["iou"].dropna().between(0, 1, inclusive="neither").all()
    assert set(images["label_predicted"]) == {"OK", "NOK"} and len(defects) == 2


@pytest.mark.parametrize("geometry", ["aligned", "original"])
def test_masks_as_png_come_back_to_the_pixel(run, geometry):
    """An image that is turned by 90° among them."""
    shapes = run.transforms.set_index("image_id")["status"]
    for image_id, mask in masks_of(run.masks):
        if geometry == "original" and shapes[image_id] == "aligned":
            mask = np.rot90(mask)
        path = run.folder / "png" / f"{image_id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
    again = run.imported(masks=str(run.folder / "png"), geometry=geometry)
    assert (again["mask_rle"] == run.masks["mask_rle"]).all()
    for before, after in zip(run.scores(run.masks), run.scores(again), strict=True):
        pd.testing.assert_frame_equal(before, after)
    assert again["latency_s"].isna().all()


@pytest.mark.parametrize("form", ["instances", "results", "original"])
def test_masks_as_coco_come_back_to_the_pixel(run, form):
    """Polygons of instances, run lengths of results; with their scores where there is a mask."""
    images = run.transforms.merge(run.manifest[["image_id", "label"]], on="image_id")
    path, block = run.folder / "found.json", {"geometry": "aligned"}
    annotations = list(mask_annotations(images, run.masks))
    if form == "original":
        block = {"geometry": "original"}
        turn = images["status"] == "aligned"
        annotations = [(n, np.rot90(m) if turn[n] else m, f) for n, m, f in annotations]
        sides = images[["width_px", "height_px"]].to_numpy(copy=True)
        sides[turn] = sides[turn][:, ::-1]
        images = images.assign(width_px=sides[:, 0], height_px=sides[:, 1])
    about = {"description": "", "version": ""}
    write_coco(run.folder / "instances.json", images, annotations, **about)
    if form == "results":
        write_coco_results(path, annotations)
        block |= {"coco_images": str(run.folder / "instances.json")}
    else:
        path = run.folder / "instances.json"
    again = run.imported(coco=str(path), **block)
    assert (again["mask_rle"] == run.masks["mask_rle"]).all()
    for before, after in zip(run.scores(run.masks), run.scores(again), strict=True):
        pd.testing.assert_frame_equal(before, after)
    is_found = run.masks["status"] == "ok"
    assert (again["score"][is_found] == 0.25).all()
    assert json.loads(path.read_text())


def test_verdicts_as_csv_come_back(run):
    """Of masks the verdicts alone; label and score are those of before."""
    before = pd.DataFrame(
        score_masks(
            *(run.manifest, run.truth, run.masks),
            truth_folder=run.truth_folder,
            ignore_border="ignore",
        )
    )
    table = before.rename(columns={"image_id": "image"})[["image", "score"]]
    table.assign(label=before["label_predicted"]).to_csv(run.folder / "v.csv", index=False)
    block = Settings(kind="imported", verdicts=str(run.folder / "v.csv")).plain()
    path = run.folder / "labels.parquet"
    told = Run("chips", "again", "none", block)
    make_verdicts(run.inputs(), told, str(path), kind="imported", device="cpu", code="")
    after = pd.DataFrame(score_labels(run.manifest, pd.read_parquet(path)))
    keys = ["image_id", "label", "label_predicted", "score", "category", "group"]
    pd.testing.assert_frame_equal(
        before[keys].sort_values("image_id", ignore_index=True),
        after[keys].sort_values("image_id", ignore_index=True),
    )
