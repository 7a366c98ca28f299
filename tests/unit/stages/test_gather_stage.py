"""Tables of shards are put together for many runs in one job; those that are up to date stay."""

import cv2
import numpy as np
import pytest

from realitycheck.core.masks import encode_mask
from realitycheck.core.parquet import ArtifactError
from realitycheck.core.schemas import BOXES, MASKS, TRANSFORMS
from realitycheck.core.tables import read_facts, read_table, write_table
from realitycheck.stages.gather import gather_runs, write_mask_images

IDS = ("p/OK/1", "p/OK/2", "p/NOK/void/1")


def write_shard(folder, name, image_ids, *, size=1):
    """Masks of some images, `size` columns of four marked."""
    mask = np.zeros((4, 4), bool)
    mask[:, :size] = True
    rows = [
        dict.fromkeys(MASKS.columns)
        | {"dataset": "chips", "image_id": image_id, "method": folder.name, "prompt": "plain"}
        | {"mask_height_px": 4, "mask_width_px": 4, "mask_rle": encode_mask(mask)}
        | {"n_regions": 1, "status": "ok"}
        for image_id in image_ids
    ]
    path = folder / "shards" / f"{name}.parquet"
    write_table(rows, path, schema=MASKS, facts={"seed": 0})
    return str(path)


@pytest.fixture
def job(tmp_path):
    """Two runs of two shards each: shards, tables, and the images that they are of."""
    transforms = tmp_path / "transforms.parquet"
    rows = [
        dict.fromkeys(TRANSFORMS.columns)
        | {"dataset": "chips", "image_id": image_id, "status": "aligned", "pixels_sha256": "0"}
        for image_id in IDS
    ]
    write_table(rows, transforms, schema=TRANSFORMS, facts={})
    runs = [tmp_path / name for name in ("one", "two")]
    shards = [
        write_shard(run, name, ids)
        for name, ids in (("0-of-2", IDS[:1]), ("1-of-2", IDS[1:]))
        for run in runs
    ]
    return shards, [str(run / "masks.parquet") for run in runs], str(transforms)


def gathered(job, code="c0de"):
    """How many tables were written."""
    shards, outputs, transforms = job
    return gather_runs(shards, outputs, code=code, transforms=transforms)


def test_each_run_gets_its_own_rows_and_pictures(job, tmp_path):
    """Other shards than its own lie among the inputs."""
    assert gathered(job) == 2
    for run in ("one", "two"):
        table = read_table(tmp_path / run / "masks.parquet", schema=MASKS)
        assert set(table["image_id"]) == set(IDS) and set(table["method"]) == {run}
        assert read_facts(tmp_path / run / "masks.parquet")["seed"] == 0
        pictures = {
            path.relative_to(tmp_path / run / "masks").with_suffix("").as_posix()
            for path in (tmp_path / run / "masks").rglob("*.png")
        }
        assert pictures == set(IDS)


def test_table_of_the_same_shards_is_left_alone(job, tmp_path):
    """An edit costs the runs that it concerns; the same shards under other code are gathered."""
    gathered(job)
    before = (tmp_path / "one" / "masks.parquet").stat().st_ino
    assert gathered(job) == 0
    write_shard(tmp_path / "two", "1-of-2", IDS[1:], size=2)
    assert gathered(job) == 1
    assert (tmp_path / "one" / "masks.parquet").stat().st_ino == before
    found = cv2.imread(str(tmp_path / "two/masks/p/OK/2.png"), cv2.IMREAD_UNCHANGED)
    assert (found[0] == [255, 255, 0, 0]).all()
    assert gathered(job, code="edited") == 2


def test_job_that_was_killed_before_the_pictures_makes_them(job, tmp_path, monkeypatch):
    """The table comes last, so it never says that pictures are there which are not."""
    with monkeypatch.context() as patch:
        patch.setattr("realitycheck.stages.gather.write_mask_images", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            gathered(job)
    assert not (tmp_path / "one" / "masks.parquet").exists()
    assert gathered(job) == 2


def test_lost_image_is_an_error(job):
    """No image is dropped among the shards."""
    shards, outputs, transforms = job
    with pytest.raises(ArtifactError, match="one row for each of 3 images; 2 are missing"):
        gather_runs(shards[:2], outputs, code="c0de", transforms=transforms)


def test_boxes_have_neither_pictures_nor_one_row_for_each_image(tmp_path):
    """An image may hold none, or many."""
    box = {"dataset": "chips", "image_id": "p/OK/1", "prompt": "plain", "box_id": 0, "text": "dent"}
    lists = {"token_scores": [0.5], "tokens": ["dent"], "relative_box": [0.5] * 4}
    row = dict.fromkeys(BOXES.columns, 0.5) | box | lists
    shards = [str(tmp_path / "plain" / "shards" / f"{i}-of-2.parquet") for i in range(2)]
    for path, rows in zip(shards, ([row], []), strict=True):
        write_table(rows, path, schema=BOXES, facts={})
    output = tmp_path / "plain" / "boxes.parquet"
    assert gather_runs(shards, [str(output)], code="c0de") == 1
    assert len(read_table(output, schema=BOXES)) == 1
    assert sorted(path.name for path in output.parent.iterdir()) == ["boxes.parquet", "shards"]


def test_mask_images_are_black_and_white(tmp_path):
    """Any viewer shows them."""
    mask = np.eye(4, dtype=bool)
    assert write_mask_images([("p/OK/1", mask)], tmp_path) == 1
    found = cv2.imread(str(tmp_path / "p/OK/1.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(found, 255 * mask.astype(np.uint8))


def test_mask_images_of_images_that_are_gone_are_removed(tmp_path):
    """The folder must hold what the table holds; other files stay."""
    mask = np.ones((2, 2), bool)
    write_mask_images([("p/OK/1", mask), ("p/NOK/void/1", mask)], tmp_path / "masks")
    (tmp_path / "masks" / "note.txt").write_text("mine")
    (tmp_path / "masks.parquet").write_text("table")
    write_mask_images([("p/OK/1", mask)], tmp_path / "masks")
    left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert left == {"masks.parquet", "masks/note.txt", "masks/p/OK/1.png"}
