"""The domain gap of whole data sets, from their aligned images."""

import numpy as np
import pandas as pd
import pytest

from realitycheck.core.images import write_png
from realitycheck.core.schemas import MANIFEST
from realitycheck.core.tables import check_table, write_table
from realitycheck.models.checkpoints.known import SHIPPED_FOLDER
from realitycheck.models.saliency import load_saliency
from realitycheck.report.tables.domain_gap import MEASURED_GAP
from realitycheck.stages import domain_gap
from realitycheck.stages.domain_gap import image_features, measured_gap


@pytest.fixture(scope="module")
def model():
    return load_saliency(SHIPPED_FOLDER / "resnet.safetensors", variant="everyday")


def test_feature_of_an_image_does_not_depend_on_its_neighbours(model):
    """Features of a set must not change with its other images."""
    images = list(np.random.default_rng(0).integers(0, 255, (2, 64, 80, 3), dtype=np.uint8))
    together = image_features(model, images)
    assert np.array_equal(together[1], image_features(model, images[1:])[0])
    assert np.linalg.norm(together[0] - together[1]) > 0


def test_data_set_of_one_image_has_no_frechet_distance(model, tmp_path, monkeypatch):
    """One image has no covariance; its nearest neighbour it has."""
    monkeypatch.setattr(domain_gap, "BANK_SIZE", 18)
    rng = np.random.default_rng(0)
    counts = {"one": 1, "two": 2}
    for dataset, n in counts.items():
        rows = []
        for number in range(n):
            row = dict.fromkeys(MANIFEST.columns) | {"dataset": dataset, "category": "a"}
            row |= {"image_id": f"a/{number}", "label": "OK", "split": "test"}
            row |= {"image_path": "x.png", "sha256": "0", "bit_depth": 8, "n_channels": 3}
            rows.append(row | {"width_px": 80, "height_px": 64})
            image = rng.integers(0, 255, (64, 80, 3), dtype=np.uint8)
            write_png(image, tmp_path / dataset / f"a/{number}.png")
        write_table(rows, tmp_path / f"{dataset}.parquet", schema=MANIFEST, facts={})
    rows = measured_gap(
        model,
        manifests={dataset: tmp_path / f"{dataset}.parquet" for dataset in counts},
        image_folders={dataset: tmp_path / dataset for dataset in counts},
        masks={dataset: [] for dataset in counts},
    )
    table = pd.DataFrame(rows)
    check_table(table, MEASURED_GAP, where="domain gap")
    assert list(table["dataset"]) == ["one", "two"]
    assert list(pd.isna(table["frechet_distance"])) == [True, False]
    assert (table["nearest_neighbour_ratio"] > 1).all()
    assert table["masks_per_image"].isna().all()
