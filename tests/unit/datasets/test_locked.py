"""Locked parts: which they are follows from each part alone, and nobody decodes them."""

from dataclasses import replace
from pathlib import Path

import pytest

from realitycheck.datasets.folder import list_folder
from realitycheck.datasets.locked import LOCKED, lock, lock_faults, locked_parts, opened
from realitycheck.datasets.records import Record


def part(name, label="OK", split="test", group=None):
    return Record(f"p/{name}", "p", label, None, split, group, Path(f"{name}.png"), None)


PARTS = [part(f"{n}", label="NOK" if n % 2 else "OK") for n in range(200)]


def locked_ids(records, fraction=0.4, seed=0):
    found = lock(records, fraction=fraction, seed=seed)
    return {each.image_id for each in found if each.split == LOCKED}


def test_new_parts_lock_and_unlock_no_other():
    """A part that was seen is never locked later, and one that was locked is never seen."""
    before = locked_ids(PARTS)
    assert 50 < len(before) < 110
    more = [*PARTS, *(part(f"new {n}") for n in range(100))]
    assert {each for each in locked_ids(more) if "new" not in each} == before
    assert locked_ids(more[::-1]) == locked_ids(more)
    assert locked_ids(PARTS, seed=1) != before
    assert locked_ids(PARTS, fraction=0) == set()
    assert before < locked_ids(PARTS, fraction=0.6)


def test_views_of_one_part_stay_together():
    """And a part that is trained on is not locked."""
    records = [replace(each, group=f"g{n // 4}") for n, each in enumerate(PARTS)]
    records[0] = replace(records[0], split="train")
    found = lock(records, fraction=0.4, seed=0)
    by_group = {}
    for each in found:
        by_group.setdefault(each.group, set()).add(each.split == LOCKED)
    assert all(len(each) == 1 for each in by_group.values())
    assert by_group["g0"] == {False}
    assert {True, False} == {next(iter(each)) for each in by_group.values()}


def test_opened_parts_take_the_place_of_the_others():
    """Training images stay: thresholds come from the same ones."""
    records = lock([*PARTS, part("t", split="train")], fraction=0.4, seed=0)
    found = opened(records)
    assert {each.image_id for each in found if each.split == "test"} == locked_ids(PARTS)
    assert [each.image_id for each in found if each.split == "train"] == ["p/t"]


def test_training_images_are_drawn_from_what_is_not_locked(tmp_path):
    """However many are drawn."""
    for label in ("OK", "NOK"):
        (tmp_path / label).mkdir()
        for number in range(40):
            (tmp_path / label / f"{number}.png").write_bytes(b"")
    splits = [
        {each.image_id for each in list_folder(tmp_path, **draw).records if each.split == LOCKED}
        for draw in (
            {"confirm_fraction": 0.4},
            {"confirm_fraction": 0.4, "train_fraction": 0.9},
        )
    ]
    assert splits[0] == splits[1] and splits[0]


@pytest.fixture
def files(tmp_path):
    """Two parts of four bytes, which are no pictures."""
    records = []
    for name, label in (("a", "OK"), ("x", "NOK")):
        path = tmp_path / f"{name}.png"
        path.write_bytes(f"is {name}".encode())
        records.append(replace(part(name, label, LOCKED), image_path=path))
    return records


def test_locked_parts_are_known_by_their_bytes(files, tmp_path):
    """Another name is the same part; another byte, mask or label is not."""
    found = locked_parts(files)
    assert (found["n_ok"], found["n_nok"]) == (1, 1)
    renamed = [replace(each, image_id=f"{n}") for n, each in enumerate(reversed(files))]
    assert locked_parts(renamed)["parts"] == found["parts"]
    (tmp_path / "mask.png").write_bytes(b"mask")
    others = [replace(files[0], label="NOK"), replace(files[0], mask_path=tmp_path / "mask.png")]
    for other in others:
        assert locked_parts([other, files[1]])["parts"] != found["parts"]


def test_what_makes_locked_parts_worthless_is_a_fault(files, tmp_path):
    """A copy among the others, or no part of a kind."""
    found = locked_parts(files)
    same = {found["files"][0]: "copy.png", "other": "other.png"}
    (fault,) = lock_faults(found, same, fraction=0.4, root=tmp_path)
    assert "the same file among the parts that are locked" in str(fault)
    assert "copy.png" in str(fault)
    (fault,) = lock_faults(locked_parts(files[:1]), {}, fraction=0.4, root=tmp_path)
    assert "expected defective parts among those that split.confirm_fraction 0.4 locks" in str(
        fault
    )
    assert lock_faults(locked_parts([]), {}, fraction=0, root=tmp_path) == []
