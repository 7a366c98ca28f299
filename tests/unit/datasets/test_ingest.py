"""Every broken file is found and named before anything expensive is done."""

import hashlib
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from realitycheck.datasets.folder import list_folder
from realitycheck.datasets.ingest import COLUMNS, check_records
from realitycheck.datasets.records import DatasetError, Fault, Record


def picture(seed, size=(8, 12)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def mask(size=(8, 12), value=255):
    array = np.zeros(size, np.uint8)
    array[2:4, 3:6] = value
    return array


@pytest.fixture
def parts(tmp_path):
    """Two good and two defective parts, with masks."""
    root = tmp_path / "parts"
    for number in (1, 2):
        save(root / "OK" / f"{number}.png", picture(number))
        save(root / "NOK" / "crack" / f"{number}.png", picture(10 + number))
        save(root / "masks" / "crack" / f"{number}.png", mask())
    return root


def check(root, **options):
    return check_records(*list_folder(root)[:2], root=root, **options)


def only_fault(root, **options):
    """Return the text of the one fault there should be."""
    _, faults = check(root, **options)
    assert len(faults) == 1, "\n".join(map(str, faults))
    return str(faults[0])


def test_sound_data_set_gives_its_manifest(parts):
    """One row an image, sorted, with sizes and digests."""
    manifest, faults = check(parts, requires_masks=True)
    assert not faults
    assert tuple(manifest.columns) == COLUMNS
    assert manifest["image_id"].tolist() == [
        "product/NOK/crack/1",
        "product/NOK/crack/2",
        "product/OK/1",
        "product/OK/2",
    ]
    row = manifest.iloc[0]
    assert (row["width_px"], row["height_px"], row["bit_depth"], row["n_channels"]) == (12, 8, 8, 3)
    assert row["defect_type"] == "crack" and row["split"] == "test" and row["group"] is None
    assert row["sha256"] == hashlib.sha256(Path(row["image_path"]).read_bytes()).hexdigest()
    assert row["mask_sha256"] == hashlib.sha256(Path(row["mask_path"]).read_bytes()).hexdigest()
    assert manifest["mask_path"].iloc[2] is None and manifest["mask_sha256"].iloc[2] is None
    assert all(manifest[name].dtype == "int64" for name in ("width_px", "height_px", "bit_depth"))


def test_manifest_depends_neither_on_order_nor_on_threads(parts):
    """Rows of a manifest are compared between runs."""
    records = list_folder(parts).records
    expected, _ = check_records(records)
    random.Random(0).shuffle(records)
    got, _ = check_records(records, n_workers=4)
    pd.testing.assert_frame_equal(got, expected)


def test_progress_is_told(parts):
    """100,000 images take minutes."""
    told = []
    check(parts, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_truncated_image_is_found_and_keeps_its_row(parts):
    """The row shows what is missing, and no size is made up."""
    path = parts / "OK" / "1.png"
    path.write_bytes(path.read_bytes()[:-40])
    manifest, faults = check(parts)
    assert "OK/1.png: expected a whole PNG image, found it damaged" in str(faults[0])
    assert len(faults) == 1 and len(manifest) == 4
    assert manifest["width_px"].isna().tolist() == [False, False, True, False]
    assert manifest["sha256"].iloc[2] is None


def test_truncated_and_missing_masks_are_found(parts):
    """Also where the listing knows only where a mask ought to be."""
    path = parts / "masks" / "crack" / "1.png"
    path.write_bytes(path.read_bytes()[:-20])
    assert "masks/crack/1.png: expected a whole PNG image" in only_fault(parts)
    records = list_folder(parts).records
    path.unlink()
    _, faults = check_records(records)
    assert "crack/1.png: expected the mask of " in str(faults[0]) and "found no file" in str(
        faults[0]
    )


def test_mask_of_another_size_is_found(parts):
    """The message says the width first, as the manifest's columns do."""
    save(parts / "masks" / "crack" / "1.png", mask((9, 12)))
    assert "expected a mask of 12 x 8 px" in only_fault(parts)
    assert "found 12 x 9 px; draw or export" in only_fault(parts)


def test_mask_is_compared_with_the_turned_image(parts):
    """An image with EXIF orientation is 8 wide and 12 high on the screen, and in its mask."""
    exif = Image.Exif()
    exif[274] = 6
    save(parts / "NOK" / "crack" / "1.png", picture(11), exif=exif)
    for size in ((12, 8), (8, 12)):
        save(parts / "masks" / "crack" / "1.png", mask(size))
        manifest, faults = check(parts)
        assert not faults, "the size says whether the tool had turned the image"
        assert (manifest["width_px"].iloc[0], manifest["height_px"].iloc[0]) == (8, 12)
    save(parts / "NOK" / "crack" / "1.png", picture(11))
    save(parts / "masks" / "crack" / "1.png", mask((12, 8)))
    assert "found 8 x 12 px; turn the mask as the image is turned" in only_fault(parts)


def test_mask_of_more_than_two_values_is_found(parts):
    """A pixel that the brush missed."""
    array = mask()
    array[0, 0] = 100
    save(parts / "masks" / "crack" / "1.png", array)
    assert "stray values in 3 values: 0 (89 px), 100 (1 px), 255 (6 px)" in only_fault(parts)


def test_empty_mask_on_a_defect_is_found(parts):
    """It would count every correct answer as wrong."""
    save(parts / "masks" / "crack" / "1.png", mask(value=0))
    assert "is NOK, found an empty mask (the values 0 are read" in only_fault(parts)


def test_mask_with_a_defect_on_a_good_part_is_found(parts):
    """One of the two labels is wrong; an empty mask is welcome."""
    save(parts / "masks" / "OK" / "1.png", mask(value=0))
    assert not check(parts)[1]
    save(parts / "masks" / "OK" / "1.png", mask())
    assert "is OK, found 6 defect pixels; remove the mask, or move" in only_fault(parts)


def test_some_masks_are_not_enough(parts):
    """An image without truth would drop out of the mean."""
    (parts / "masks" / "crack" / "1.png").unlink()
    said = only_fault(parts)
    assert "NOK/crack/1.png: expected a mask, because 1 of 2 NOK images have one" in said
    assert "set missing_masks: label_only" in said


def test_parts_without_a_mask_may_count_by_their_label(parts):
    """Annotation goes on for weeks; the images without a drawing are defective all the same."""
    (parts / "masks" / "crack" / "1.png").unlink()
    manifest, faults = check(parts, missing_masks="label_only")
    assert not faults and list(manifest["mask_path"].isna()) == [True, False, True, True]
    save(parts / "masks" / "crack" / "1.png", mask(value=0))
    assert "delete the file and set missing_masks: label_only" in only_fault(parts)


def test_no_mask_at_all_is_a_choice(parts):
    """Unless the methods need them."""
    shutil.rmtree(parts / "masks")
    manifest, faults = check(parts)
    assert not faults and manifest["mask_path"].isna().all()
    assert "found none for all 2" in only_fault(parts, requires_masks=True)


def test_mask_without_image_is_found(parts):
    """It comes with the faults of the content, in one message."""
    (parts / "NOK" / "crack" / "1.png").unlink()
    path = parts / "OK" / "1.png"
    path.write_bytes(b"no image at all")
    _, faults = check(parts)
    text = str(DatasetError(faults))
    assert text.startswith("data set: 2 faults")
    assert "masks/crack/1.png: expected an image in the same place" in text
    assert "OK/1.png: expected a whole PNG, JPEG, TIFF, BMP or GIF image, found 15 bytes" in text


def test_same_file_twice_is_found(parts):
    """The worst case: once as good and once as bad."""
    shutil.copy(parts / "OK" / "1.png", parts / "OK" / "9.png")
    text = only_fault(parts)
    assert "OK/1.png: expected a picture of its own, found the same file also in" in text
    assert "OK/9.png; remove all but one, or set allow_duplicates" in text
    shutil.copy(parts / "NOK" / "crack" / "1.png", parts / "OK" / "9.png")
    assert "OK/9.png, once as OK and once as NOK" in only_fault(parts)
    assert not check(parts, allow_duplicates=True)[1]


def test_same_picture_in_two_files_is_found(parts):
    """Saving it again does not make it another picture."""
    save(parts / "OK" / "9.bmp", picture(1))
    assert "found the same picture also in" in only_fault(parts)


def test_two_images_with_one_id_are_found(parts):
    """a.png beside a.bmp, and one name whose letters are composed in two ways."""
    save(parts / "OK" / "1.bmp", picture(21))
    save(parts / "NOK" / "crack" / "\u00e4.png", picture(22))
    save(parts / "NOK" / "crack" / "a\u0308.png", picture(23))
    shutil.rmtree(parts / "masks")
    manifest, faults = check(parts)
    text = "\n".join(map(str, faults))
    assert len(faults) == 2 and len(manifest) == 7
    assert "OK/1.bmp: expected an image id of its own, found 'product/OK/1' also for" in text
    assert "\u00e4.png; rename all but one" in text


@pytest.mark.parametrize("label", ["OK", "NOK"])
def test_images_of_one_label_are_enough(parts, label):
    """A public segmentation set has defective images only; half of what is asked stays unknown."""
    kept = [record for record in list_folder(parts).records if record.label == label]
    manifest, faults = check_records(kept, root=parts)
    assert not faults and set(manifest["label"]) == {label}


def test_set_without_an_image_to_score_is_found(parts):
    """Train images are not scored, and a missing folder is said once."""
    trained = [replace(record, split="train") for record in list_folder(parts).records]
    _, faults = check_records(trained, root=parts)
    assert "found none in the test split (4 in train); add images" in str(faults[0])
    manifest, faults = check_records([], root=parts)
    assert len(faults) == 1 and len(manifest) == 0 and tuple(manifest.columns) == COLUMNS
    _, faults = check(parts / "no")
    assert len(faults) == 1


def test_depth_that_the_mapping_cannot_take_is_found(parts):
    """Before the alignment, where the image would be read first."""
    deep = np.linspace(-1, 1, 96, dtype=np.float32).reshape(8, 12)
    Image.fromarray(deep).save(parts / "OK" / "9.tif")
    assert "found 32-bit floating-point numbers" in only_fault(parts)
    window = {"mapping": "window", "low": 0.0, "high": 1.0}
    assert not check(parts, intensity=window)[1]


def deep_parts(root, bits, *, white_is_zero=False, shares=(0.2, 1.0, 0.6, 0.4)):
    """Four images of 16 bits of which only so many are used, the brightest in one of them."""
    places = ("OK/1", "OK/2", "NOK/1", "NOK/2")
    for number, (place, share) in enumerate(zip(places, shares, strict=True)):
        values = np.random.default_rng(number).random((8, 12))
        values[0, 0] = 1
        stored = np.rint(values * share * (2**bits - 1)).astype(np.uint16)
        save(root / f"{place}.png", 65535 - stored if white_is_zero else stored)
    return root


@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize(("bits", "ends"), [(10, 1023), (12, 4095), (14, 16383), (11, 4095)])
def test_unused_bits_are_told_with_the_intensity_that_mends_it(tmp_path, bits, ends, white_is_zero):
    """A camera's 12 bits in a 16-bit file are a night to every method; one image alone may be."""
    root = deep_parts(tmp_path, bits, white_is_zero=white_is_zero)
    low, high = (65535 - ends, 65535) if white_is_zero else (0, ends)
    said = only_fault(root)
    assert f"set intensity: {{mapping: fixed, low: {low}, high: {high}}}" in said
    assert "in 4 images of 16 bits" in said
    assert not check(root, intensity={"mapping": "fixed", "low": low, "high": high})[1]
    assert not check(root, intensity={"mapping": "fixed", "low": 0, "high": 65535})[1]


def test_dark_image_among_others_is_no_fault(tmp_path):
    """Only all images together say how many bits are used."""
    assert not check(deep_parts(tmp_path, 16, shares=(0.01, 0.05, 0.3, 0.02)))[1]


def test_images_of_other_depths_are_not_forgotten(tmp_path):
    """The remedy of the 16-bit images would blacken the 8-bit ones."""
    deep_parts(tmp_path, 12)
    save(tmp_path / "OK" / "8.png", picture(8))
    assert "images of other depths need a data set of their own" in only_fault(tmp_path)


def test_every_kind_of_unreadable_file_is_named_in_one_list(parts):
    """Each with its own remedy."""
    folder = parts / "OK"
    page = np.zeros((8, 12), np.uint8)
    tifffile.imwrite(folder / "pages.tif", np.stack([page] * 2), photometric="minisblack")
    tifffile.imwrite(folder / "double.tif", page.astype(float), photometric="minisblack")
    tifffile.imwrite(folder / "signed.tif", page.astype(np.int16), photometric="minisblack")
    tifffile.imwrite(folder / "lab.tif", picture(1).astype(np.uint16), photometric="cielab")
    (folder / "lfs.png").write_text("version https://git-lfs.github.com/spec/v1\n")
    (folder / "page.jpg").write_text("<html>")
    (folder / "heic.jpg").write_bytes(b"\0\0\0\x18ftypheic")
    (folder / "large.png").write_bytes(save(folder / "1.png", picture(1, (500, 900))).read_bytes())
    _, faults = check(parts, max_decoded_mb=1)
    words = {
        "1.png": "raise max_decoded_mb",
        "large.png": "raise max_decoded_mb",
        "pages.tif": "save each page",
        "double.tif": "64-bit floating-point.*set intensity",
        "signed.tif": "16-bit signed integers.*set intensity",
        "lab.tif": "LAB colours",
        "lfs.png": "git lfs pull",
        "page.jpg": "an HTML page",
        "heic.jpg": "a HEIC image",
    }
    found = {fault.path.name: f"{fault.problem}; {fault.remedy}" for fault in faults}
    assert set(found) == set(words)
    for name, expected in words.items():
        assert re.search(expected, found[name]), found[name]


def test_trimaps_are_read_as_such(tmp_path):
    """Values 1, 2, 3; a trimap without animal is an empty mask."""
    records = []
    for number, values in enumerate([[1, 2, 3], [2, 3, 3]]):
        image = save(tmp_path / f"{number}.jpg", picture(number, (1, 3)), format="PNG")
        truth = save(tmp_path / f"{number}.png", np.array([values], np.uint8))
        records.append(Record(f"cat/{number}", "cat", "NOK", "cat", "test", None, image, truth))
    image = save(tmp_path / "dog.jpg", picture(5, (1, 3)), format="PNG")
    records.append(Record("dog/1", "dog", "OK", None, "test", None, image, None))
    _, faults = check_records(
        records, mask_values={"1": "defect", "2": "background", "3": "ignore"}
    )
    assert [fault.path.name for fault in faults] == ["1.png"]
    assert "found an empty mask" in str(faults[0])
    _, faults = check_records(records)
    assert "mask_values" in str(faults[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_workers": 0}, "n_workers must be at least 1"),
        ({"intensity": {"mapping": "gamma"}}, "found 'gamma'"),
    ],
)
def test_senseless_arguments_are_refused(parts, options, message):
    """They are no faults of the data."""
    with pytest.raises(ValueError, match=message):
        check(parts, **options)


def test_cookies_are_sound(shared):
    """Real photographs of another project's data set, with drawn masks."""
    root = shared / "data" / "cookies"
    manifest, faults = check(root, requires_masks=True)
    assert not faults
    assert manifest["label"].value_counts().to_dict() == {"NOK": 16, "OK": 14}
    assert manifest["mask_path"].notna().sum() == 16
    assert set(manifest["category"]) == {"cookie"}
    assert set(manifest["width_px"]) == {576} and set(manifest["height_px"]) == {768}
    index = pd.read_csv(root / "index.csv")
    expected = {str(root / path) for path in index["image"]}
    assert set(manifest["image_path"]) == expected


def test_faults_put_into_the_cookies_are_all_found(shared, tmp_path):
    """One of each kind at once, in real files."""
    root = tmp_path / "cookies"
    shutil.copytree(shared / "data" / "cookies", root)
    bad, masks = root / "images" / "NOK" / "cookie", root / "masks" / "cookie"
    good = root / "images" / "OK" / "cookie"
    data = (bad / "anomaly-01.jpg").read_bytes()
    (bad / "anomaly-01.jpg").write_bytes(data[: len(data) // 2])
    (masks / "anomaly-02.png").unlink()
    save(masks / "normal-01.png", np.zeros((768, 576), np.uint8))
    save(masks / "anomaly-04.png", np.zeros((768, 576), np.uint8))
    save(masks / "anomaly-06.png", np.full((10, 10), 255, np.uint8))
    save(masks / "anomaly-99.png", np.full((768, 576), 255, np.uint8))
    shutil.copy(good / "normal-01.jpg", good / "normal-99.jpg")
    (good / "normal-02.txt").write_text("x")
    _, faults = check(root, requires_masks=True)
    assert all(isinstance(fault, Fault) for fault in faults)
    assert sorted(fault.path.name for fault in faults) == [
        "anomaly-01.jpg",
        "anomaly-02.jpg",
        "anomaly-04.png",
        "anomaly-06.png",
        "anomaly-99.png",
        "normal-01.jpg",
        "normal-02.txt",
    ]
