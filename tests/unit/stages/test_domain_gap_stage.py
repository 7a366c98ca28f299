"""The domain gap as a table and a figure."""

import numpy as np
import pandas as pd
import pytest

from realitycheck.models.files import SHIPPED_FOLDER
from realitycheck.models.saliency import load_saliency
from realitycheck.stages.domain_gap import COLUMNS, gap_figure, image_features, markdown


@pytest.fixture(scope="module")
def table():
    rows = [("pets", "Pets", 10, 4.0, 1.2, 5.5, 0.8), ("sat", "Scans", 9, 90.0, 6.0, None, None)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_feature_of_an_image_does_not_depend_on_its_neighbours():
    """Features of a set must not change with its other images."""
    model = load_saliency(SHIPPED_FOLDER / "resnet.safetensors", variant="everyday")
    images = list(np.random.default_rng(0).integers(0, 255, (2, 64, 80, 3), dtype=np.uint8))
    together = image_features(model, images)
    assert np.array_equal(together[1], image_features(model, images[1:])[0])
    assert np.linalg.norm(together[0] - together[1]) > 0


def test_table_for_people_has_a_row_a_data_set_and_dashes_for_what_is_not_known(table):
    """A set without automatic masks must not look as if it had none."""
    lines = markdown(table).splitlines()
    assert lines[2] == "| Pets | 10 | 4.0 | 1.20 | 5.5 | 0.80 |"
    assert lines[3] == "| Scans | 9 | 90.0 | 6.00 | – | – |"


def test_figure_draws_a_line_a_method_over_the_gaps(table):
    """The nearer set stands on the left, whatever its place in the settings."""
    scores = pd.DataFrame(
        [("sat", "grounded_sam", 0.1), ("pets", "grounded_sam", 0.6), ("pets", "mine", np.nan)],
        columns=["dataset", "method", "iou"],
    )
    (axes,) = gap_figure(table, scores).axes
    drawn = [line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_marker() == "o"]
    assert len(drawn) == 1
    assert list(drawn[0].get_xdata()) == [1.2, 6.0]
    assert list(drawn[0].get_ydata()) == [0.6, 0.1]
