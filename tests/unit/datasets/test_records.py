"""Ids are safe paths, draws are reproducible, and every fault is shown."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realitycheck.datasets.inventory import inventory
from realitycheck.datasets.records import (
    DatasetError,
    Fault,
    Record,
    draw,
    make_image_id,
    missing_root,
    with_unique_ids,
)

NAMES = [f"image-{number}" for number in range(50)]


def test_error_lists_every_fault():
    """A user mends a data set once, not once per fault."""
    faults = [Fault(Path("a.png"), "expected X, found Y", "do Z")] * 12
    lines = str(DatasetError(faults, dataset="cookies")).splitlines()
    assert lines[0] == "data set cookies: 12 faults"
    assert lines[1:] == ["  a.png: expected X, found Y; do Z"] * 12
    assert str(DatasetError(faults[:1])).startswith("data set: 1 fault\n")
    assert DatasetError(faults).faults == tuple(faults)


def test_id_keeps_safe_characters_only():
    """An image id becomes a path below the results."""
    assert make_image_id(("Teil 1", "NOK", "Riß/x", "007")) == "Teil_1/NOK/Riß_x/007"
    assert make_image_id(("..", ".hidden", "a.b-c_d")) == "_./_hidden/a.b-c_d"
    with pytest.raises(ValueError, match="non-empty parts"):
        make_image_id(("a", ""))


def test_ids_keep_letters_of_any_script_and_compose_them():
    """Whoever reads a table recognises the file; a Mac's spelling of a name is the same name."""
    assert make_image_id(("部品", "OK", "Prüfling 7 🔧")) == "部品/OK/Prüfling_7__"
    assert make_image_id(("u\u0308", "कि")) == make_image_id(("\u00fc", "कि")) == "\u00fc/कि"
    assert make_image_id(("\u0308a", "b")) == "_\u0308a/b"


def test_long_names_stay_apart_and_fit_a_file_name():
    """255 bytes with the ending of a PNG."""
    one, two = (make_image_id(("p", "ü" * 125 + end)) for end in ("a", "b" * 4))
    assert one == "p/" + "ü" * 125 + "a"
    assert len(two.encode()) <= 2 + 251 and two != make_image_id(("p", "ü" * 125 + "c" * 4))


def record(name, category="p"):
    path = Path(f"root/OK/{name}")
    image_id = make_image_id((category, "OK", path.stem))
    return Record(image_id, category, "OK", None, "test", None, path, None)


def test_names_that_an_id_cannot_tell_apart_get_a_mark():
    """`a b` and `a+b` are two parts; a.png and a.jpg are one name, which the check reports."""
    ids = [r.image_id for r in with_unique_ids(map(record, ["a b.png", "a+b.png", "c.png"]))]
    assert len(set(ids)) == 3 and "p/OK/c" in ids
    assert all(i.startswith("p/OK/a_b-") for i in ids if i != "p/OK/c")
    again = with_unique_ids(map(record, ["a+b.png", "a b.png"]))
    assert {r.image_id for r in again} == {*ids} - {"p/OK/c"}
    twins = with_unique_ids(map(record, ["a.png", "a.jpg"]))
    assert {r.image_id for r in twins} == {"p/OK/a"}
    products = with_unique_ids([record("1.png", "Teil 1"), record("1.png", "Teil_1")])
    assert len({r.image_id for r in products}) == 2


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4))
def test_id_never_leaves_its_folder(parts):
    """Whatever the files are called."""
    image_id = make_image_id(parts)
    assert image_id.count("/") == len(parts) - 1
    assert os.path.normpath(image_id) == image_id
    assert not image_id.startswith(("/", "."))
    assert max(len(part.encode()) for part in image_id.split("/")) <= 251
    assert " " not in image_id and image_id.isprintable()


def test_draw_depends_on_names_seed_and_purpose_only():
    """Not on the order of a folder's listing, nor on Python's own random state."""
    drawn = draw(NAMES, 10, seed=0, purpose="carpet")
    assert drawn == draw(reversed(NAMES), 10, seed=0, purpose="carpet") == sorted(set(drawn))
    assert drawn != draw(NAMES, 10, seed=1, purpose="carpet")
    assert drawn != draw(NAMES, 10, seed=0, purpose="grid")
    assert draw(NAMES, 50, seed=0, purpose="") == sorted(NAMES)
    assert draw([], 0, seed=0, purpose="") == []


def test_new_name_changes_a_draw_by_one_at_most():
    """Ten new images must not shuffle what was computed before."""
    before = set(draw(NAMES, 10, seed=0, purpose="p"))
    after = set(draw([*NAMES, "new"], 10, seed=0, purpose="p"))
    assert len(before - after) <= 1


def test_draw_is_pinned():
    """A release that draws others changes published tables; this shows it in review."""
    assert draw(NAMES, 3, seed=0, purpose="pinned") == ["image-34", "image-46", "image-9"]


def test_draw_is_fair():
    """Over 2000 seeds each of 50 names is drawn 10 in 50 times: 400, with a deviation of 18."""
    counts = dict.fromkeys(NAMES, 0)
    for seed in range(2000):
        for name in draw(NAMES, 10, seed=seed, purpose="fair"):
            counts[name] += 1
    assert all(abs(count - 400) < 5 * 18 for count in counts.values())


def test_too_many_cannot_be_drawn():
    """A smaller draw would be a silent change of the study."""
    with pytest.raises(ValueError, match="cannot draw 51 of 50 names for carpet"):
        draw(NAMES, 51, seed=0, purpose="carpet")


def test_missing_root_is_a_fault(tmp_path):
    """A file is no folder either."""
    (tmp_path / "file").write_text("x")
    assert missing_root(tmp_path, "images") is None
    assert "found nothing" in missing_root(tmp_path / "no", "images").problem
    assert "found a file" in missing_root(tmp_path / "file", "images").problem


def filled(folder):
    (folder / "a" / "b").mkdir(parents=True)
    for name in ("one", "a/two", "a/b/three"):
        (folder / name).write_text(name)
        os.utime(folder / name, ns=(10**18, 10**18))
    return folder


def test_inventory_knows_a_folder_under_another_path(tmp_path):
    """A data set that was moved has not changed."""
    assert inventory(filled(tmp_path / "x")) == inventory(filled(tmp_path / "y"))


@pytest.mark.parametrize("change", ["add", "remove", "rename", "edit", "grow", "touch"])
def test_inventory_sees_every_change(tmp_path, change):
    """Whatever may change a result."""
    folder = filled(tmp_path / "x")
    before = inventory(folder)
    file = folder / "a" / "b" / "three"
    if change == "add":
        (folder / "new").write_text("")
    elif change == "remove":
        file.unlink()
    elif change == "rename":
        file.rename(folder / "a" / "three")
    elif change == "edit":
        file.write_text("THREE")
    elif change == "grow":
        file.write_text("longer text")
        os.utime(file, ns=(10**18, 10**18))
    else:
        os.utime(file, ns=(10**18, 10**18 + 1))
    assert inventory(folder) != before


def test_inventory_follows_links_and_survives_circles(tmp_path):
    """Data sets on clusters are often links; a broken one is no reason to stop here."""
    folder = filled(tmp_path / "x")
    other = filled(tmp_path / "other")
    (folder / "link").symlink_to(other)
    (folder / "circle").symlink_to(folder)
    (folder / "broken").symlink_to(tmp_path / "nothing")
    before = inventory(folder)
    (other / "one").write_text("changed")
    assert inventory(folder) != before


def test_inventory_of_a_file_and_of_nothing(tmp_path):
    """A reference image is a file; a missing folder is said by name."""
    filled(tmp_path / "x")
    before = inventory(tmp_path / "x" / "one")
    (tmp_path / "x" / "one").write_text("changed")
    assert inventory(tmp_path / "x" / "one") != before
    with pytest.raises(FileNotFoundError, match="nowhere: expected the folder of a data set"):
        inventory(tmp_path / "nowhere")
