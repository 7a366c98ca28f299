"""Everything below a data set's folder is used, or named with the reason and what to do."""

import os
import socket

import pytest

from realitycheck.datasets.contents import take_stock
from realitycheck.datasets.folder import list_folder
from realitycheck.datasets.inventory import inventory
from realitycheck.datasets.registry import list_records

SOUND = ("images/OK/1.png", "images/OK/2.png", "images/NOK/3.png", "masks/NOK/3.png")


def make(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def stock(root, **options):
    return take_stock(root, list_folder(root, **options))


def faults(root, **options):
    """Every fault by its place below `root`."""
    return {
        os.fsdecode(os.fsencode(fault.path.relative_to(root))): str(fault)
        for fault in stock(root, **options).faults
    }


@pytest.mark.parametrize(
    ("name", "place", "remedy"),
    [
        ("val/OK/1.png", "val", "only train/ and test/ are read"),
        ("Validation/NOK/1.png", "Validation", "move its images into test/, which is scored"),
        ("NOK_2/1.png", "NOK_2", "defective ones into NOK/"),
        ("images_new/OK/9.png", "images_new", "good parts belong into OK/"),
        ("NOK_masks/3.png", "NOK_masks", "masks belong into masks/ beside images/"),
        ("labels/3.bmp", "labels", "masks belong into masks/"),
        ("4.png", ".", "good parts belong into OK/"),
        ("backup/old/deep/5.TIF", "backup", "or move the folder out"),
        ("images/NOK_2/1.png", "images/NOK_2", "move its images into OK or NOK"),
        ("more/1.webp", "more", "convert them to PNG or TIFF"),
        ("images/groups.csv", "images/groups.csv", "save it as groups.csv (CSV, UTF-8) in"),
        ("group.csv", "group.csv", "save it as groups.csv"),
        ("Gruops.CSV", "Gruops.CSV", "save it as groups.csv"),
        ("groups.xlsx", "groups.xlsx", "save it as groups.csv"),
        ("groups.csv.txt", "groups.csv.txt", "save it as groups.csv"),
        ("groups (1).csv", "groups (1).csv", "save it as groups.csv"),
    ],
)
def test_what_looks_like_data_and_is_not_used_is_a_fault(tmp_path, name, place, remedy):
    """Three of twelve images that nobody looks at change every number."""
    make(tmp_path, *SOUND, name)
    found = faults(tmp_path)
    assert list(found) == [place] and remedy in found[place]


def test_table_of_groups_under_another_name_is_known_by_its_columns(tmp_path):
    """Lots that stand in lots.csv would be torn apart by the folds."""
    make(tmp_path, *SOUND)
    (tmp_path / "lots.csv").write_text("Image;Group\n")
    (tmp_path / "prices.csv").write_text("part,price\n")
    assert list(faults(tmp_path)) == ["lots.csv"]


def test_what_is_no_data_is_listed_without_alarm(tmp_path):
    """Hidden and system files in one line, other files by folder and ending, each with a reason."""
    make(tmp_path, *SOUND, "readme.txt", "docs/a.pdf", "docs/b.pdf", "old.zip", "coco.json")
    make(tmp_path, "images/OK/.DS_Store", "images/OK/._1.png", "__MACOSX/OK/1.png", "lost+found/x")
    make(tmp_path, "images/NOK/Thumbs.db", "desktop.ini", "@eaDir/1.png", "~$groups.xlsx")
    listing = stock(tmp_path)
    assert not listing.faults and len(listing.records) == 3
    found = {
        item.path.relative_to(tmp_path).as_posix(): (len(item.files), item.reason, item.remedy)
        for item in listing.unused
    }
    assert found["docs/*.pdf"] == (2, "neither images nor masks", "nothing to do")
    assert found["old.zip"][1:] == ("archives are not looked into", "unpack it if it holds images")
    assert "mask images only" in found["coco.json"][1]
    assert found["."][0] == 8 and "hidden and system files" in found["."][1]
    assert sorted(found) == [".", "coco.json", "docs/*.pdf", "old.zip", "readme.txt"]


def test_results_below_the_folder_are_not_data(tmp_path):
    """Whoever works in the folder of the images has the aligned ones there, too."""
    make(tmp_path, *SOUND, "results/aligned/p/1.png")
    listing = take_stock(tmp_path, list_folder(tmp_path), ours=[tmp_path / "results"])
    assert not listing.faults


def test_pipes_sockets_devices_and_circles_are_named_and_hang_nobody(tmp_path):
    """Whatever is opened here must be a file."""
    make(tmp_path, *SOUND)
    (tmp_path / "masks/NOK/3.png").unlink()
    os.mkfifo(tmp_path / "masks/NOK/3.png")
    os.mkfifo(tmp_path / "images/OK/pipe.png")
    os.mkfifo(tmp_path / "groups.csv")
    (tmp_path / "images/OK/linked.png").symlink_to(tmp_path / "images/OK/pipe.png")
    (tmp_path / "images/OK/zero.png").symlink_to("/dev/zero")
    (tmp_path / "images/NOK/gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "images/NOK/self.png").symlink_to("self.png")
    (tmp_path / "images/NOK/up").symlink_to(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b").symlink_to(tmp_path / "c")
    (tmp_path / "c").mkdir()
    (tmp_path / "c/d").symlink_to(tmp_path / "a")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(tmp_path, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/images/OK/socket.png")
        os.close(here)
    assert len(inventory(tmp_path)) == 64
    found = faults(tmp_path)
    for name, kind in {
        "masks/NOK/3.png": "found a pipe",
        "images/OK/pipe.png": "found a pipe",
        "groups.csv": "found a pipe",
        "images/OK/linked.png": "found a link to a pipe",
        "images/OK/zero.png": "found a link to a device",
        "images/OK/socket.png": "found a socket",
        "images/NOK/gone.png": "which is not there",
        "images/NOK/self.png": "found a link in a circle",
        "images/NOK/up": "found a link in a circle",
        "a/b/d": "found a link in a circle",
    }.items():
        assert kind in found.pop(name), name
    assert list(found) == ["c/d/b"]


def test_name_that_is_no_utf_8_is_shown_by_its_bytes(tmp_path):
    """A disk written under an old system; a table could not hold the name."""
    make(tmp_path, *SOUND)
    with open(os.fsencode(tmp_path) + b"/images/OK/Pr\xfcfling.png", "wb"):
        pass
    (fault,) = stock(tmp_path).faults
    assert r"images/OK/Pr\xfcfling.png: expected a file or folder, found a name that is no" in str(
        fault
    )
    assert str(fault).isascii() and "rename it" in str(fault)


def test_one_of_each_kind_gives_one_list_with_remedies(tmp_path):
    """Whoever tidies a folder of thousands wants to do it once."""
    make(tmp_path, *SOUND, "val/OK/1.png", "NOK_2/1.png", "gt_old/3.png", "group.csv", "5.png")
    make(
        tmp_path, "images/OK/notes.docx", "masks/NOK/9.png", "raw/1.webp", "images/NOK/a/b/c/1.png"
    )
    make(tmp_path, "mask/NOK/3.png")
    os.mkfifo(tmp_path / "images/OK/pipe.png")
    with open(os.fsencode(tmp_path) + b"/images/OK/\xfc.png", "wb"):
        pass
    (tmp_path / "groups.csv").write_bytes("image,group\nOK/\u00fc1.png,Los\n".encode("cp1252"))
    settings = {"format": "folder", "root": str(tmp_path)}
    split = {"kind": "all", "train_fraction": 0.0, "seed": 0}
    listing = list_records(settings | {"split": split})
    said = [str(fault) for fault in listing.faults]
    assert len(said) == len(set(said)) == 13
    for part in (
        *("val: ", "NOK_2: ", "gt_old", "group.csv: ", "notes.docx: ", "masks/NOK/9.png: "),
        *("raw: ", "images/NOK/a/b/c: ", "pipe.png: ", r"images/OK/\xfc.png: "),
        "found an image (first: 5.png)",
        "mask: expected one such folder, found masks, mask",
        "groups.csv: line 2: expected UTF-8",
    ):
        assert [line for line in said if part in line], part
    assert all("; " in line for line in said)
