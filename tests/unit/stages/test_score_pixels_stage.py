"""Score maps are made again from what the segment stage kept, and scored where there is truth."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from realitycheck.core.files import image_file
from realitycheck.core.images import write_png
from realitycheck.core.masks import encode_mask
from realitycheck.core.schemas import ANOMALY_MAPS, PIXEL_SCORES, THRESHOLDS
from realitycheck.core.store import EncodingStore
from realitycheck.core.tables import check_table, write_table
from realitycheck.core.variants import switched
from realitycheck.encoders.base import Encodings
from realitycheck.methods.base import Inputs, Run
from realitycheck.methods.clip_surgery_sam.segmenter import ClipSurgerySam
from realitycheck.methods.saa_plus import segmenter as saa_plus
from realitycheck.methods.saa_plus.segmenter import anomaly_map
from realitycheck.models.clip.surgery import similarity_map
from realitycheck.stages.score_pixels import score_pixels

SIZE = (12, 16)
IDS = ["p/OK/1", "p/NOK/1", "p/NOK/2", "q/OK/1"]


@pytest.fixture
def tables(tmp_path):
    """A good part, a drawn and an undrawn defective one; and a category without any defect."""
    manifest = pd.DataFrame(
        {
            "dataset": "chips",
            "image_id": IDS,
            "category": ["p", "p", "p", "q"],
            "mask_path": [None, "raw.png", None, None],
        }
    )
    truth = pd.DataFrame({"image_id": IDS, "has_truth": [True, True, False, True]})
    transforms = pd.DataFrame(
        {"dataset": "chips", "image_id": IDS, "height_px": SIZE[0], "width_px": SIZE[1]}
    )
    pixels = np.zeros(SIZE, np.uint8)
    pixels[2:6, 3:9] = 255
    write_png(pixels, image_file(tmp_path / "truth", IDS[1]))
    return manifest, truth, transforms


def score(tables, map_of, tmp_path):
    rows = score_pixels(
        *tables,
        map_of,
        truth_folder=tmp_path / "truth",
        ignore_border="ignore",
        method="mine",
        prompt="plain",
    )
    found = pd.DataFrame(list(rows))
    check_table(found, PIXEL_SCORES, where="test")
    return found.set_index("category")


def maps():
    return {name: np.random.default_rng(n).random(SIZE).round(2) for n, name in enumerate(IDS)}


def test_images_with_truth_are_scored_category_by_category(tables, tmp_path):
    """An undrawn defect would count as good pixels; a category without defects has no score."""
    values = maps()
    found = score(tables, lambda row: values[row.image_id], tmp_path)
    assert found["n_images"].to_dict() == {"p": 2, "q": 1}
    truth = np.zeros((2, *SIZE), bool)
    truth[1, 2:6, 3:9] = True
    stacked = np.stack([values[IDS[0]], values[IDS[1]]])
    expected = roc_auc_score(truth.ravel(), stacked.ravel())
    assert found.loc["p", "auroc"] == pytest.approx(expected, abs=1e-12)
    assert np.isnan(found.loc["q", "auroc"])


def test_no_map_is_made_where_there_is_nothing_to_score(tables, tmp_path):
    """A data set without any truth mask costs nothing, and says how many images it has."""
    manifest = tables[0].assign(mask_path=None)

    def refuse(row):
        raise AssertionError(row.image_id)

    found = score((manifest, *tables[1:]), refuse, tmp_path)
    assert found["n_images"].to_dict() == {"p": 2, "q": 1}
    assert (found["n_defective"] == 0).all() and found["auroc"].isna().all()


def test_image_without_a_map_is_left_out_and_counted(tables, tmp_path):
    """An image that could not be compared has no map; the number of images says so."""
    found = score(
        tables, lambda row: None if row.image_id == IDS[0] else maps()[row.image_id], tmp_path
    )
    assert found.loc["p", "n_images"] == 1


def test_saa_plus_maps_come_from_stored_masks(tables, tmp_path):
    """Run lengths and scores are all that is kept."""
    mask = np.zeros(SIZE, bool)
    mask[:4] = True
    row = dict.fromkeys(ANOMALY_MAPS.columns) | {
        "dataset": "chips",
        "image_id": IDS[1],
        "prompt": "plain",
        "height_px": SIZE[0],
        "width_px": SIZE[1],
        "mask_rles": [encode_mask(mask)],
        "mask_scores": [0.5],
        "status": "ok",
    }
    write_table([row], tmp_path / "maps.parquet", schema=ANOMALY_MAPS, facts={})
    limits = [{"dataset": "chips", "image_id": IDS[1], "threshold": 0.0, "fold": None}]
    write_table(limits, tmp_path / "thresholds.parquet", schema=THRESHOLDS, facts={})
    inputs = Inputs(
        {"maps": [tmp_path / "maps.parquet"], "thresholds": tmp_path / "thresholds.parquet"}
    )
    map_of = saa_plus.open(inputs, Run("chips", "mine", "plain", {}), "cpu").score_map
    wanted = pd.DataFrame([row]).itertuples()
    np.testing.assert_array_equal(
        map_of(next(tables[2].iloc[1:].itertuples())), anomaly_map(next(wanted))
    )


class Texts:
    """Features of texts that need no network."""

    def ensemble(self, phrase):
        rng = np.random.default_rng([ord(letter) for letter in phrase] or 0)
        feature = rng.normal(size=8).astype(np.float32)
        return feature / np.linalg.norm(feature)


@pytest.mark.parametrize(
    ("variant", "used"), [("published", ["void"]), ("repaired", ["void", "crack"])]
)
def test_similarity_becomes_a_map_of_the_image(tmp_path, tables, variant, used):
    """Each patch has its highest similarity over the prompts in use; corners keep their patch."""
    store = EncodingStore(tmp_path / "patches")
    tokens = np.random.default_rng(3).normal(size=(1 + 9, 8)).astype(np.float32)
    store.put("ab" * 20, {"tokens": tokens})
    settings = {"switches": asdict(switched("clip_surgery_sam", variant, {}))}
    segmenter = ClipSurgerySam(
        Encodings(store, {IDS[0]: "ab" * 20}),
        Encodings(store, {}),
        Texts(),
        None,
        prompts=["void", "crack"],
        settings=settings,
    )
    found = segmenter.score_map(next(tables[2].itertuples()))
    grid = similarity_map(
        tokens,
        np.stack([Texts().ensemble(text) for text in used]),
        redundant_feature=Texts().ensemble(""),
        norm_axis="tokens" if variant == "published" else "channels",
    )[1:].max(axis=1)
    assert found.shape == SIZE
    corners = found[[0, 0, -1, -1], [0, -1, 0, -1]]
    np.testing.assert_allclose(corners, grid[[0, 2, 6, 8]], rtol=1e-6)
