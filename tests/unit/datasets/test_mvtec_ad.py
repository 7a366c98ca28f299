"""The listing of MVTec AD gives the official split and the study's counts."""

import pytest

from realitycheck.datasets.contents import take_stock
from realitycheck.datasets.mvtec_ad import TEXTURES, list_mvtec_ad

# The published counts: train/good, test/good, and the defective test images by type.
COUNTS = {
    "carpet": (
        280,
        28,
        {"color": 19, "cut": 17, "hole": 17, "metal_contamination": 17, "thread": 19},
    ),
    "grid": (
        264,
        21,
        {"bent": 12, "broken": 12, "glue": 11, "metal_contamination": 11, "thread": 11},
    ),
    "leather": (245, 32, {"color": 19, "cut": 19, "fold": 17, "glue": 19, "poke": 18}),
    "tile": (
        230,
        33,
        {"crack": 17, "glue_strip": 18, "gray_stroke": 16, "oil": 18, "rough": 15},
    ),
    "wood": (247, 19, {"color": 8, "combined": 11, "hole": 10, "liquid": 10, "scratch": 21}),
}
PAPER_OK = {"carpet": 56, "grid": 53, "leather": 49, "tile": 46, "wood": 49}
PAPER_NOK = {"carpet": 18, "grid": 11, "leather": 18, "tile": 17, "wood": 12}


def make_files(folder, n, ending=".png"):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(n):
        (folder / f"{number:03d}{ending}").touch()


def make_category(folder, n_train, n_good, defects):
    make_files(folder / "train" / "good", n_train)
    make_files(folder / "test" / "good", n_good)
    for kind, n in defects.items():
        make_files(folder / "test" / kind, n)
        make_files(folder / "ground_truth" / kind, n, "_mask.png")


@pytest.fixture(scope="module")
def textures(tmp_path_factory):
    """The five textures with their real counts, as empty files."""
    root = tmp_path_factory.mktemp("mvtec")
    for category, counts in COUNTS.items():
        make_category(root / category, *counts)
    (root / "license.txt").touch()
    (root / "readme.txt").touch()
    return root


@pytest.fixture
def small(tmp_path):
    make_category(tmp_path / "nut", 10, 3, {"bent": 5})
    return tmp_path


def count(records, **wanted):
    return sum(
        all(getattr(record, key) == value for key, value in wanted.items()) for record in records
    )


@pytest.mark.parametrize("split", ["official", "all"])
def test_official_split_uses_every_image(textures, split):
    """1266 train, 133 good and 382 defective test images."""
    records, faults, *_ = list_mvtec_ad(textures, split=split)
    assert not faults
    assert count(records, split="train", label="OK") == 1266
    assert count(records, split="test", label="OK") == 133
    assert count(records, split="test", label="NOK") == 382
    assert len(records) == 1266 + 133 + 382


def test_paper_split_has_the_counts_of_the_study(textures):
    """253 OK and 76 NOK, and 20 % of each category, rounded."""
    records, faults, *_ = list_mvtec_ad(textures, split="paper", seed=0)
    assert not faults
    assert count(records, split="test", label="OK") == 253
    assert count(records, split="test", label="NOK") == 76
    for category in TEXTURES:
        assert count(records, category=category, split="test", label="OK") == PAPER_OK[category]
        assert count(records, category=category, split="test", label="NOK") == PAPER_NOK[category]
    assert count(records, split="train", label="OK") == 1266 - 253
    assert all("/train/good/" in record.image_id for record in records if record.label == "OK")


def test_paper_draw_of_a_category_ignores_the_others(textures):
    """Adding a category must not change what was computed for the first."""

    def names(seed, categories):
        records, _, *_ = list_mvtec_ad(textures, categories=categories, split="paper", seed=seed)
        return {r.image_id for r in records if r.category == "grid" and r.split == "test"}

    assert names(0, TEXTURES) == names(0, ["grid"]) == names(0, ["wood", "grid"])
    assert names(0, ["grid"]) != names(1, ["grid"])


def test_ids_types_and_masks(small):
    """A defect has its type and mask, a good part neither."""
    records, faults, *_ = list_mvtec_ad(small, categories=["nut"])
    assert not faults
    by_id = {record.image_id: record for record in records}
    bad = by_id["nut/test/bent/003"]
    assert (bad.label, bad.defect_type, bad.split) == ("NOK", "bent", "test")
    assert bad.mask_path == small / "nut" / "ground_truth" / "bent" / "003_mask.png"
    good = by_id["nut/train/good/007"]
    assert (good.label, good.defect_type, good.split) == ("OK", None, "train")
    assert good.mask_path is None
    assert list(by_id) == sorted(by_id)


@pytest.mark.parametrize(
    ("ending", "mask"), [(".jpg", "_mask.png"), (".BMP", ".bmp"), (".png", "_GT.PNG")]
)
def test_own_product_in_this_layout_is_read(tmp_path, ending, mask):
    """BTAD has BMP; labelling tools leave `_mask` out; a camera writes capitals."""
    make_files(tmp_path / "nut/train/good", 4, ending)
    make_files(tmp_path / "nut/test/good", 2, ending)
    make_files(tmp_path / "nut/test/bent", 3, ending)
    make_files(tmp_path / "nut/ground_truth/bent", 3, mask)
    make_files(tmp_path / "nut/ground_truth/good", 2, mask)
    listing = list_mvtec_ad(tmp_path, categories=["nut"])
    assert not listing.faults and len(listing.records) == 9
    masks = {r.image_id: r.mask_path for r in listing.records if r.mask_path}
    assert masks["nut/test/bent/002"] == tmp_path / f"nut/ground_truth/bent/002{mask}"
    assert len(masks) == 5


def test_folder_of_a_category_is_told_from_that_of_all(small):
    """The message says what to write."""
    fault = list_mvtec_ad(small / "nut", categories=["nut"]).faults[0]
    assert f"set root: {small}, categories: [nut]" in str(fault)


def test_what_is_not_drawn_and_not_asked_for_is_named(small):
    """The paper's split leaves images out, `categories` whole products."""
    make_category(small / "bolt", 2, 1, {"cut": 1})
    make_files(small / "nut" / "val" / "good", 2)
    listing = take_stock(small, list_mvtec_ad(small, categories=["nut"], split="paper"))
    assert [fault.path.name for fault in listing.faults] == ["val"]
    left = {item.path.name: (len(item.files), item.reason) for item in listing.unused}
    assert left["bolt"] == (5, "not among `categories`")
    assert left["nut"] == (3 + 4 + 4, "split 'paper' does not draw these images")


def test_all_categories_are_found(small):
    """A user may not know their names, and other folders are none."""
    make_category(small / "bolt", 2, 1, {"cut": 1})
    (small / "notes").mkdir()
    records, faults, *_ = list_mvtec_ad(small, categories=None)
    assert not faults
    assert {record.category for record in records} == {"nut", "bolt"}


def test_all_faults_of_a_listing_are_named(small):
    """Missing folders, strangers, masks without image, at once."""
    make_files(small / "nut" / "ground_truth" / "bent", 7, "_mask.png")
    (small / "nut" / "test" / "bent" / "notes.docx").touch()
    (small / "nut" / "test" / "empty").mkdir()
    (small / "nut" / "train" / "bad").mkdir()
    (small / "nut" / "train" / ".DS_Store").touch()
    records, faults, *_ = list_mvtec_ad(small, categories=["nut", "bolt"])
    assert sorted(str(fault.path.relative_to(small)) for fault in faults) == [
        "bolt",
        "nut/ground_truth/bent/005_mask.png",
        "nut/ground_truth/bent/006_mask.png",
        "nut/test/bent/notes.docx",
        "nut/test/empty",
        "nut/train/bad",
    ]
    assert "found nut" in str(faults[-1])
    assert len(records) == 18


def test_wrong_roots_are_named(tmp_path, small):
    """No folder, a folder of something else, a category cut short."""
    assert "found nothing" in str(list_mvtec_ad(tmp_path / "no").faults[0])
    (tmp_path / "other" / "pictures").mkdir(parents=True)
    _, faults, *_ = list_mvtec_ad(tmp_path / "other", categories=None)
    assert "expected folders with train/ in them, found pictures" in str(faults[0])
    (tmp_path / "other" / "nut" / "train").mkdir(parents=True)
    _, faults, *_ = list_mvtec_ad(tmp_path / "other", categories=["nut"])
    assert [fault.path.name for fault in faults] == ["good", "test", "ground_truth"]
    with pytest.raises(ValueError, match="one of official, paper, all, found 'half'"):
        list_mvtec_ad(small, split="half")
