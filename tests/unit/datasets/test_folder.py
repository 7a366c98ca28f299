"""A user's folder is read as its owner means it, or refused with the reason."""

from collections import Counter

import pytest

from realitycheck.datasets.folder import list_folder


def make(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def facts(listing):
    """Show what was read: id to category, label, defect type and split."""
    assert not listing.faults, "\n".join(map(str, listing.faults))
    return {r.image_id: (r.category, r.label, r.defect_type, r.split) for r in listing.records}


def problems(listing):
    return "\n".join(map(str, listing.faults))


def masks(root, listing):
    return {
        r.image_id: r.mask_path.relative_to(root).as_posix()
        for r in listing.records
        if r.mask_path is not None
    }


def test_flat_folders_are_one_product(tmp_path):
    """The simplest layout that a user can have."""
    make(tmp_path, "OK/1.png", "OK/2.JPG", "NOK/1.tif", "readme.txt", "notes/todo.txt")
    assert facts(list_folder(tmp_path)) == {
        "product/NOK/1": ("product", "NOK", None, "test"),
        "product/OK/1": ("product", "OK", None, "test"),
        "product/OK/2": ("product", "OK", None, "test"),
    }


@pytest.mark.parametrize("base", ["", "images/"])
def test_folder_below_nok_is_a_defect_type_if_ok_is_flat(tmp_path, base):
    """Also where masks/ has the same folder."""
    make(tmp_path, f"{base}OK/1.png", f"{base}NOK/crack/7.png", "masks/crack/7.png")
    listing = list_folder(tmp_path)
    assert facts(listing)["product/NOK/crack/7"] == ("product", "NOK", "crack", "test")
    assert masks(tmp_path, listing) == {"product/NOK/crack/7": "masks/crack/7.png"}


def test_folder_below_nok_is_a_category_if_ok_has_it(tmp_path):
    """The layout of the cookies, with a second product."""
    make(
        tmp_path,
        "images/OK/cookie/1.jpg",
        "images/NOK/cookie/1.jpg",
        "images/OK/cake/1.jpg",
        "images/NOK/cake/1.jpg",
        "masks/cookie/1.png",
    )
    listing = list_folder(tmp_path)
    assert facts(listing) == {
        f"{category}/{label}/1": (category, label, None, "test")
        for category in ("cookie", "cake")
        for label in ("OK", "NOK")
    }
    assert masks(tmp_path, listing) == {"cookie/NOK/1": "masks/cookie/1.png"}


def test_category_and_defect_type_are_read_together(tmp_path):
    """NOK/category/defect_type/ beside NOK/category/."""
    make(tmp_path, "OK/nut/1.png", "NOK/nut/bent/1.png", "NOK/nut/2.png")
    assert facts(list_folder(tmp_path)) == {
        "nut/OK/1": ("nut", "OK", None, "test"),
        "nut/NOK/bent/1": ("nut", "NOK", "bent", "test"),
        "nut/NOK/2": ("nut", "NOK", None, "test"),
    }


def test_flat_and_categories_may_be_mixed(tmp_path):
    """Then a folder that OK has too is a category, and any other a defect type of `product`."""
    make(tmp_path, "OK/1.png", "OK/nut/1.png", "NOK/nut/1.png", "NOK/crack/1.png")
    read = facts(list_folder(tmp_path))
    assert read["nut/NOK/1"] == ("nut", "NOK", None, "test")
    assert read["product/NOK/crack/1"] == ("product", "NOK", "crack", "test")


def test_case_of_labels_does_not_count(tmp_path):
    """`ok` is understood; it is the id that is uniform."""
    make(tmp_path, "ok/1.png", "Nok/1.png", "masks/Nok/1.png")
    listing = list_folder(tmp_path)
    assert set(facts(listing)) == {"product/OK/1", "product/NOK/1"}
    assert masks(tmp_path, listing) == {"product/NOK/1": "masks/Nok/1.png"}


def test_unsafe_names_become_safe_ids_and_keep_their_category(tmp_path):
    """The category is a value that settings name; the id is a path."""
    make(tmp_path, "OK/Teil 1/a b.png", "NOK/Teil 1/ü.png")
    assert facts(list_folder(tmp_path)) == {
        "Teil_1/NOK/ü": ("Teil 1", "NOK", None, "test"),
        "Teil_1/OK/a_b": ("Teil 1", "OK", None, "test"),
    }


def test_train_and_test_folders_say_the_split(tmp_path):
    """Equal names in train and test are two images; train needs no NOK."""
    make(tmp_path, "images/train/OK/1.png", "images/test/OK/1.png", "images/test/NOK/1.png")
    make(tmp_path, "masks/test/NOK/1.png")
    for split in ("official", "all"):
        listing = list_folder(tmp_path, split=split)
        assert facts(listing) == {
            "product/train/OK/1": ("product", "OK", None, "train"),
            "product/test/OK/1": ("product", "OK", None, "test"),
            "product/test/NOK/1": ("product", "NOK", None, "test"),
        }
        assert masks(tmp_path, listing) == {"product/test/NOK/1": "masks/test/NOK/1.png"}


@pytest.mark.parametrize(
    "mask",
    [
        "masks/NOK/nut/bent/1.png",
        "masks/nut/bent/1.png",
        "masks/nut/bent/1_mask.png",
        "masks/test/nut/bent/1.bmp",
        "masks/test/NOK/nut/bent/1_mask.tif",
    ],
)
def test_masks_mirror_with_or_without_split_and_label(tmp_path, mask):
    """However a labelling tool wrote them."""
    make(tmp_path, "test/OK/nut/1.png", "train/OK/nut/2.png", "test/NOK/nut/bent/1.png", mask)
    listing = list_folder(tmp_path)
    assert not listing.faults
    assert masks(tmp_path, listing) == {"nut/test/NOK/bent/1": mask}


@pytest.mark.parametrize("folder", ["masks", "mask", "Masks", "ground_truth", "GT"])
def test_mask_folders_go_by_several_names(tmp_path, folder):
    """MVTec calls it ground_truth, and case is lost on some disks."""
    make(tmp_path, "Images/OK/1.png", "Images/NOK/2.png", f"{folder}/NOK/2.png")
    listing = list_folder(tmp_path)
    assert masks(tmp_path, listing) == {"product/NOK/2": f"{folder}/NOK/2.png"}


@pytest.mark.parametrize(
    "mask",
    ["2_mask.png", "2_GT.png", "2-gt.bmp", "2_label.bmp", "2.mask.png", "mask_2.png", "2_SEG.tif"],
)
def test_masks_beside_their_images_are_no_parts(tmp_path, mask):
    """KolektorSDD and most labelling tools write them there; else NOK parts count twice."""
    make(tmp_path, "OK/1.png", "NOK/2.png", f"NOK/{mask}", "NOK/scratch_label.png")
    listing = list_folder(tmp_path)
    assert set(facts(listing)) == {"product/OK/1", "product/NOK/2", "product/NOK/scratch_label"}
    assert masks(tmp_path, listing) == {"product/NOK/2": f"NOK/{mask}"}


@pytest.mark.parametrize("folder", ["NOK/masks", "NOK/crack_gt", "NOK/ground_truth"])
def test_folder_of_masks_among_the_parts_is_a_fault(tmp_path, folder):
    """Read as a defect type, it would double the defective parts."""
    make(tmp_path, "OK/1.png", "NOK/crack/2.png", "NOK/crack/3.png")
    make(tmp_path, f"{folder}/2.png", f"{folder}/3_mask.png")
    (fault,) = list_folder(tmp_path).faults
    assert fault.path == tmp_path / folder and "named as the masks of others" in str(fault)


def test_composed_and_decomposed_names_are_the_same(tmp_path):
    """Of categories, types, images and masks."""
    make(tmp_path, "OK/Geha\u0308use/1.png", "NOK/Geh\u00e4use/\u00fc.png")
    make(tmp_path, "masks/Geha\u0308use/u\u0308.png")
    listing = list_folder(tmp_path)
    assert {r.category for r in listing.records} == {"Geh\u00e4use"}
    assert list(masks(tmp_path, listing)) == ["Geh\u00e4use/NOK/\u00fc"]


@pytest.mark.parametrize("label", ["OK", "NOK"])
def test_parts_of_one_label_are_accepted(tmp_path, label):
    """Public segmentation sets have no good parts; the other folder may be there, empty."""
    make(tmp_path, f"{label}/1.png", f"{label}/2.png")
    assert len(facts(list_folder(tmp_path))) == 2
    other = tmp_path / ("NOK" if label == "OK" else "OK")
    other.mkdir()
    listing = list_folder(tmp_path)
    assert not listing.faults and listing.unused[0].path == other


def test_layout_of_mvtec_is_recognised(tmp_path):
    """The message says what to write into the settings."""
    make(tmp_path, "nut/train/good/1.png", "nut/test/bent/1.png")
    assert f"format: mvtec_ad, root: {tmp_path}, categories: [nut]" in problems(
        list_folder(tmp_path)
    )
    assert f"root: {tmp_path}, categories: [nut]" in problems(list_folder(tmp_path / "nut"))


def test_mask_without_label_level_belongs_to_the_defect(tmp_path):
    """OK/1 and NOK/1 share a name, and only one of them has something to mark."""
    make(tmp_path, "OK/1.png", "NOK/1.png", "masks/1.png", "masks/OK/1.png")
    assert masks(tmp_path, list_folder(tmp_path)) == {
        "product/NOK/1": "masks/1.png",
        "product/OK/1": "masks/OK/1.png",
    }


def test_masks_that_fit_nothing_or_two_are_named(tmp_path):
    """Each mask must belong to one image and each image to one mask."""
    make(tmp_path, "train/OK/1.png", "train/NOK/1.png", "test/OK/2.png", "test/NOK/1.png")
    make(tmp_path, "test/NOK/3.png", "masks/1.png", "masks/3.png", "masks/3_mask.png")
    make(tmp_path, "masks/4.png", "masks/notes.txt", "masks/a/b/c/d/e/5.png")
    text = problems(list_folder(tmp_path))
    assert "masks/1.png: expected the mask of one image, found 2" in text
    assert "test/NOK/3.png: expected one mask, found 2" in text
    assert "masks/4.png: expected an image in the same place" in text
    assert "masks/notes.txt: expected a mask (.png" in text
    assert "masks/a/b/c/d/e: expected at most split, label, category and defect type" in text
    assert len(text.splitlines()) == 5


def test_found_folders_are_named_where_ok_and_nok_are_missing(tmp_path):
    """Most users will have called them otherwise."""
    make(tmp_path, "images/good/1.png", "images/bad/1.png")
    text = problems(list_folder(tmp_path))
    assert "images: expected the folders OK and NOK, found bad, good; rename or make OK and" in text
    assert "images/bad: expected only OK and NOK here" in text


def test_everything_that_nobody_would_look_at_is_named(tmp_path):
    """No image is passed over in silence."""
    make(tmp_path, "images/OK/a/1.png", "images/NOK/a/b/1.png", "images/1.png")
    make(tmp_path, "images/unclear/1.png", "images/OK/a/deep/1.png", "images/NOK/a/b/c/1.png")
    make(tmp_path, "images/NOK/a/2.webp", "images/OK/a/.DS_Store", "images/OK/a/Thumbs.db")
    (tmp_path / "images" / "NOK" / "a" / "empty").mkdir()
    listing = list_folder(tmp_path)
    assert sorted(f.path.relative_to(tmp_path / "images").as_posix() for f in listing.faults) == [
        "1.png",
        "NOK/a/2.webp",
        "NOK/a/b/c",
        "NOK/a/empty",
        "OK/a/deep",
        "unclear",
    ]


def test_empty_and_missing_folders_are_named(tmp_path):
    """A path with a typing error, a folder that was never filled."""
    assert "found nothing" in problems(list_folder(tmp_path / "no"))
    (tmp_path / "OK").mkdir()
    (tmp_path / "NOK").mkdir()
    text = problems(list_folder(tmp_path))
    assert "/OK: expected images, found none" in text
    assert "/NOK: expected images, found none" in text


def test_category_without_good_images_is_a_fault(tmp_path):
    """OK/nut and NOK/bent: `bent` was meant as a defect type, and would be read as a product."""
    make(tmp_path, "OK/nut/1.png", "NOK/bent/1.png")
    text = problems(list_folder(tmp_path))
    assert "good images of the category 'bent', because OK has nut, found none" in text
    assert "NOK/[category]/[defect_type]" in text


def test_two_levels_below_a_flat_label_are_a_fault(tmp_path):
    """`nut` can only be a category, and OK has none of that name."""
    make(tmp_path, "OK/1.png", "NOK/nut/bent/1.png")
    assert "but OK has no folder nut" in problems(list_folder(tmp_path))


def test_images_of_one_stem_get_one_id_for_the_check_to_find(tmp_path):
    """The listing keeps both, and no second fault speaks of their common mask."""
    make(tmp_path, "OK/1.png", "NOK/a.png", "NOK/a.jpg", "masks/a.png")
    listing = list_folder(tmp_path)
    assert not listing.faults
    assert Counter(r.image_id for r in listing.records)["product/NOK/a"] == 2


def numbered(root, n, label="OK", category="nut"):
    return make(root, *(f"{label}/{category}/{number:02d}.png" for number in range(n)))


def test_train_fraction_draws_good_images_of_each_category(tmp_path):
    """A quarter of 20 and of 8, always the same ones; defects stay in the test."""
    numbered(numbered(tmp_path, 20), 8, category="bolt")
    numbered(numbered(tmp_path, 4, "NOK"), 4, "NOK", "bolt")

    def train(seed, root=tmp_path):
        listing = list_folder(root, train_fraction=0.25, seed=seed)
        assert not listing.faults
        return {r.image_id for r in listing.records if r.split == "train"}

    assert Counter(name.split("/")[0] for name in train(0)) == {"nut": 5, "bolt": 2}
    assert all("/OK/" in name for name in train(0))
    assert train(0) == train(0) != train(1)
    bolts = {name for name in train(0) if name.startswith("bolt")}
    for file in list((tmp_path / "OK" / "nut").iterdir())[:10]:
        file.unlink()
    assert {name for name in train(0) if name.startswith("bolt")} == bolts


def test_groups_are_read_and_stay_together(tmp_path):
    """Several pictures of one part are never on both sides."""
    numbered(tmp_path, 12)
    numbered(tmp_path, 2, "NOK")
    rows = [f"OK/nut/{number:02d}.png,part{number // 3}" for number in range(12)]
    rows += ["NOK/nut/00.png,part0", ".\\NOK\\nut\\01.png,part9"]
    (tmp_path / "groups.csv").write_text("image,group\n" + "\n".join(rows) + "\n")
    for seed in range(5):
        listing = list_folder(tmp_path, train_fraction=0.5, seed=seed)
        assert not listing.faults
        split_of = {}
        for record in listing.records:
            split_of.setdefault(record.group, set()).add(record.split)
        assert all(len(splits) == 1 for splits in split_of.values())
        assert split_of["part0"] == {"test"}  # one of its pictures is NOK
        assert sum(r.split == "train" for r in listing.records) == 6
        assert set(split_of) == {"part0", "part1", "part2", "part3", "part9"}


def test_groups_may_be_named_from_either_folder_and_be_left_out(tmp_path):
    """Below root or below images/; an image without a row is a group of its own."""
    make(tmp_path, "images/OK/1.png", "images/OK/2.png", "images/NOK/1.png")
    (tmp_path / "groups.csv").write_text(
        "\ufeffgroup,image\nA,images/OK/1.png\nB,NOK/1.png\n", encoding="utf-8"
    )
    listing = list_folder(tmp_path)
    assert not listing.faults
    assert {r.image_id: r.group for r in listing.records} == {
        "product/OK/1": "A",
        "product/OK/2": None,
        "product/NOK/1": "B",
    }


def test_faults_of_groups_are_named_by_line(tmp_path):
    """A wrong line would split a part silently."""
    make(tmp_path, "train/OK/1.png", "test/OK/1.png", "test/NOK/1.png")
    (tmp_path / "groups.csv").write_text(
        "image,group\ntest/OK/9.png,A\ntest/NOK/1.png,\ntrain/OK/1.png,A\ntest/OK/1.png,A\n"
        "test/OK/1.png,B\n"
    )
    text = problems(list_folder(tmp_path))
    assert "line 2: expected the path of an image" in text and "found 'test/OK/9.png'" in text
    assert "line 3: expected a group for test/NOK/1.png, found none" in text
    assert "line 6: expected one group for test/OK/1.png, found 'A' and 'B'" in text
    assert "expected each group in one of train and test, found 'A' in both" in text
    (tmp_path / "groups.csv").write_text("picture;part\n")
    assert "columns image and group, found picture;part" in problems(list_folder(tmp_path))


def test_official_needs_both_folders(tmp_path):
    """A split that is not there cannot be taken."""
    make(tmp_path, "OK/1.png", "NOK/1.png")
    text = problems(list_folder(tmp_path, split="official"))
    assert "expects the folders train and test, found NOK, OK; make both" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "paper"}, "all or official, found 'paper'"),
        ({"train_fraction": 1.0}, "0 to 1 without 1, found 1.0"),
        ({"split": "official", "train_fraction": 0.2}, "but train_fraction is 0.2"),
    ],
)
def test_senseless_settings_are_refused(tmp_path, options, message):
    """Before the folder is looked at."""
    with pytest.raises(ValueError, match=message):
        list_folder(tmp_path, **options)


def test_linked_folders_are_read(tmp_path):
    """Images often lie on another disk."""
    make(tmp_path, "far/1.png", "set/NOK/1.png")
    (tmp_path / "set" / "OK").symlink_to(tmp_path / "far")
    assert "product/OK/1" in facts(list_folder(tmp_path / "set"))
