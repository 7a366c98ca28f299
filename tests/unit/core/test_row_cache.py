"""A job that was killed goes on where it was."""

import pandas as pd
import pytest

from realitycheck.core.row_cache import finished_first, finished_rows, image_content
from realitycheck.core.schemas import TRUTH
from realitycheck.core.tables import write_table

IMAGES = pd.DataFrame(
    {"dataset": "chips", "image_id": list("abcd"), "category": "p", "pixels_sha256": list("1234")}
)
PARAMS = {"threshold": 0.3, "code": "x"}


class Worker:
    """Work that notes what it was asked for, and may be killed at an image."""

    def __init__(self, killed_at=None):
        self.killed_at = killed_at
        self.asked = []

    def __call__(self, row):
        if row.image_id == self.killed_at:
            raise KeyboardInterrupt
        self.asked.append(row.image_id)
        return [{"image_id": row.image_id}]

    def run(self, finished, images=IMAGES, **options):
        rows = finished_first(
            images.itertuples(), self, finished, content_of=image_content, **options
        )
        return [row["image_id"] for (row,) in rows]


@pytest.fixture
def opened(tmp_path):
    """Opens the finished rows of a rule, under params that may differ."""

    def open_them(rule="detect_boxes", tables=(), device="cpu", **params):
        folder = tmp_path / "results" / "aligned" / "chips"
        return finished_rows(rule, folder, params=PARAMS | params, tables=tables, device=device)

    return open_them


def test_killed_job_costs_the_image_in_hand(opened):
    """The next one works on that image and those after it, and has all rows in their order."""
    with pytest.raises(KeyboardInterrupt):
        Worker(killed_at="c").run(opened())
    again = Worker()
    assert again.run(opened()) == list("abcd")
    assert again.asked == ["c", "d"]


def test_another_number_of_shards_and_new_images_cost_nothing_that_is_finished(opened):
    """Rows are kept by image, whichever shard it falls in."""
    Worker().run(opened(), IMAGES.iloc[:2])
    Worker().run(opened(), IMAGES.iloc[2:3])
    again = Worker()
    assert again.run(opened()) == list("abcd")
    assert again.asked == ["d"]


@pytest.mark.parametrize("change", [{"threshold": 0.4}, {"code": "y"}, {"device": "cuda"}])
def test_edit_after_a_kill_finds_nothing_of_before(opened, change):
    """Half a table made under one setting and half under another would be worse than none."""
    with pytest.raises(KeyboardInterrupt):
        Worker(killed_at="c").run(opened())
    edited = Worker()
    edited.run(opened(**change))
    assert edited.asked == list("abcd")


def test_changed_pixels_or_input_tables_are_worked_on_again(opened, tmp_path):
    """What the tables before were made from is part of what a row was made from."""
    paths = [tmp_path / "first.parquet", tmp_path / "second.parquet"]
    for path in paths:
        write_table([], path, schema=TRUTH, facts={"settings_digest": path.stem})
    Worker().run(opened(tables=paths[:1]))
    other = Worker()
    other.run(opened(tables=paths[1:]))
    assert other.asked == list("abcd")
    changed = Worker()
    changed.run(opened(tables=paths[:1]), IMAGES.assign(pixels_sha256=list("1294")))
    assert changed.asked == ["c"]


def test_rows_without_their_picture_are_worked_on_again(opened):
    """The row alone would promise a file that is not there."""
    Worker().run(opened())
    again = Worker()
    again.run(opened(), is_intact=lambda rows: rows[0]["image_id"] != "b")
    assert again.asked == ["b"]
