"""Masks and score maps of other systems: as they lie on the image, or on the aligned one."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from realitycheck.core.schemas import THRESHOLDS
from realitycheck.core.tables import write_table
from realitycheck.methods.imported.names import PredictionError
from realitycheck.methods.imported.segmenter import fit
from realitycheck.methods.imported.segmenter import open as open_segmenter

HEIGHT, WIDTH = 24, 40
#: Reference ← image of a quarter turn clockwise, and the size of what comes out.
QUARTER = np.array([[0, -1, HEIGHT - 1], [1, 0, 0], [0, 0, 1]], float)


def segmented(chips, transforms=None, **block):
    table = chips.transforms() if transforms is None else transforms
    segmenter = open_segmenter(chips.inputs(table), chips.run(**block), "cpu")
    return {row.image_id: segmenter.segment(row) for row in table.itertuples()}


def test_what_is_not_zero_is_defective_and_what_is_not_there_is_missing(chips, blot):
    """Whatever number a tool writes for a defect."""
    chips.write_mask("NOK/a.png", blot * 255)
    chips.write_mask("c_mask.bmp", blot * 1)
    chips.write_mask("OK/a.tif", blot * 0)
    assert chips.faults(masks="masks") == []
    found = segmented(chips, masks="masks")
    for name in ("NOK/a", "NOK/c"):
        assert (found[f"chip/{name}"].mask == blot).all()
        assert found[f"chip/{name}"][1:] == (None, 3, "ok", None)
    assert found["chip/OK/a"][1:] == (None, 0, "empty", None)
    assert found["chip/OK/b"][1:] == (None, 0, "missing", None)
    assert not found["chip/OK/b"].mask.any()


def test_values_of_masks_mean_what_the_settings_say(chips, blot):
    """As for truth masks."""
    chips.write_mask("OK/a.png", np.where(blot, 200, 90))
    found = segmented(chips, masks="masks", mask_values={"threshold": 128})
    assert (found["chip/OK/a"].mask == blot).all()
    values = {"200": "background", "90": "defect"}
    found = segmented(chips, masks="masks", mask_values=values)
    assert (found["chip/OK/a"].mask == ~blot).all()


def test_a_mask_of_the_original_image_is_turned_onto_the_aligned_one(chips, blot):
    """With the transform that turned the image, by 90° here, to the pixel."""
    chips.write_mask("NOK/a.png", blot)
    turned = chips.transforms("NOK/a", status="aligned", matrix=QUARTER, shape=(WIDTH, HEIGHT))
    found = segmented(chips, turned, masks="masks")
    assert (found["chip/NOK/a"].mask == np.rot90(blot, -1)).all()
    kept = chips.transforms("NOK/a", status="kept_original", matrix=QUARTER)
    assert (segmented(chips, kept, masks="masks")["chip/NOK/a"].mask == blot).all()


def test_a_mask_of_the_aligned_image_stays_as_it_is(chips, blot):
    """Whatever the transform of its image was."""
    chips.write_mask("NOK/a.png", np.rot90(blot, -1))
    turned = chips.transforms("NOK/a", status="aligned", matrix=QUARTER, shape=(WIDTH, HEIGHT))
    found = segmented(chips, turned, masks="masks", geometry="aligned")
    assert (found["chip/NOK/a"].mask == np.rot90(blot, -1)).all()
    with pytest.raises(PredictionError, match="expected 40 x 24 px .* as the aligned image chip"):
        segmented(chips, masks="masks", geometry="aligned")


def test_a_mask_lies_on_an_image_with_an_orientation_as_sizes_tell(chips, blot):
    """`turned` is stored on its side, and shown turned by its EXIF orientation."""
    for pixels in (blot, np.rot90(blot)):
        chips.write_mask("turned.png", pixels)
        assert chips.faults(masks="masks") == []
        assert (segmented(chips, masks="masks")["chip/NOK/turned"].mask == blot).all()
    (line,) = chips.faults(masks="masks", mask_orientation="shown")
    assert "found 24 x 40 px; turn it as the image is turned" in line


def test_where_sizes_do_not_tell_the_orientation_it_must_be_said(chips, blot):
    """A guess would turn half of all defects to another place."""
    path = chips.folder / "data" / "NOK" / "turned.png"
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(path, exif=exif)
    chips.write_mask("turned.png", blot)
    (line,) = chips.faults(masks="masks")
    assert "expected one EXIF orientation for a mask and its image" in line
    for way, expected in (("shown", blot), ("stored", blot[::-1, ::-1])):
        block = {"masks": "masks", "mask_orientation": way}
        assert chips.faults(**block) == []
        assert (segmented(chips, **block)["chip/NOK/turned"].mask == expected).all()


def test_a_coco_file_gives_masks_with_scores(chips, blot):
    """An image that it lists without an annotation has nothing; one that it does not list, none."""
    rows, columns = np.nonzero(blot)
    annotations = [
        {"image_id": 1, "segmentation": [[3, 2, 14, 2, 14, 9, 3, 9]], "score": 0.25},
        {"image_id": 3, "segmentation": [[3, 2, 14, 2, 14, 9, 3, 9]]},
    ]
    images = [
        {"id": 1, "file_name": "NOK/a.png", "width": WIDTH, "height": HEIGHT},
        {"id": 2, "file_name": "b.png", "width": WIDTH, "height": HEIGHT},
        {"id": 3, "file_name": "turned.png", "width": HEIGHT, "height": WIDTH},  # as it is stored
    ]
    path = chips.vendor / "found.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    assert chips.faults(coco="found.json") == []
    found = segmented(chips, coco="found.json")
    assert found["chip/NOK/a"][1:] == (0.25, 1, "ok", None)
    assert found["chip/NOK/a"].mask.sum() == 77
    assert found["chip/OK/b"].status == "empty" and found["chip/OK/a"].status == "missing"
    stored = np.zeros((WIDTH, HEIGHT), bool)
    stored[2:9, 3:14] = True
    assert (found["chip/NOK/turned"].mask == np.rot90(stored, -1)).all()


def test_score_maps_of_every_form_and_a_threshold(chips):
    """8 and 16 bits as 0 to 1, floats as they are."""
    ramp = np.linspace(0, 1, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
    folder = chips.vendor / "maps"
    folder.mkdir()
    np.save(folder / "NOK-c.npy", 10 * ramp)
    (folder / "NOK-c.npy").rename(folder / "c.npy")
    Image.fromarray(ramp).save(folder / "b.tiff")
    Image.fromarray((255 * ramp).astype(np.uint8)).save(folder / "turned.png")
    Image.fromarray((65535 * ramp).astype(np.uint16)).save(folder / "chip.png")
    (folder / "OK").mkdir()
    (folder / "chip.png").rename(folder / "OK" / "a.png")
    block = {"maps": "maps", "threshold": 0.5}
    assert chips.faults(**block) == []
    segmenter = open_segmenter(chips.inputs(), chips.run(**block), "cpu")
    for row in chips.transforms("OK/a", "OK/b", "NOK/turned").itertuples():
        assert np.abs(segmenter.score_map(row) - ramp).max() < 1 / 255
        found = segmenter.segment(row)
        assert abs(found.mask.mean() - 0.5) < 0.01 and found.score == pytest.approx(1)
    (row,) = chips.transforms("NOK/c").itertuples()
    assert segmenter.score_map(row).max() == pytest.approx(10)
    assert segmenter.segment(row).score == 1 and segmenter.segment(row).seconds is None
    (row,) = chips.transforms("NOK/a").itertuples()
    assert segmenter.score_map(row) is None and segmenter.segment(row).status == "missing"


def test_good_training_images_set_the_threshold(chips):
    """As for few_shot; the scored images have no say in it."""
    folder = chips.vendor / "maps"
    (folder / "train").mkdir(parents=True)
    for number in range(3):
        values = np.zeros((HEIGHT, WIDTH), np.float32)
        values[3:5, 3:5] = 0.1 * (number + 1)
        values[9, 9] = 0.9  # dust
        np.save(folder / "train" / f"{number}.npy", values)
    np.save(folder / "c.npy", np.full((HEIGHT, WIDTH), 0.35, np.float32))
    block = {"maps": "maps", "threshold": "good", "max_overkill_rate": 0.0, "min_area_px": 4}
    assert chips.faults(**block) == []
    transforms = chips.transforms("train/0", "train/1", "train/2")
    rows = list(fit(chips.inputs(transforms), chips.run(**block), "cpu", {}))
    assert [row["threshold"] for row in rows] == [pytest.approx(0.3)] * 5
    path = chips.folder / "thresholds.parquet"
    write_table(rows, path, schema=THRESHOLDS, facts={})
    inputs = chips.inputs(thresholds=path)
    segmenter = open_segmenter(inputs, chips.run(**block), "cpu")
    (row,) = chips.transforms("NOK/c").itertuples()
    assert segmenter.segment(row).mask.all()
    (folder / "train" / "1.npy").unlink()
    (folder / "train" / "2.npy").unlink()
    (line,) = chips.faults(**block)
    assert "2 or more good training images of category chip to set the" in line


def bad_files(chips):
    """A folder with a fault, the key of its source, and what is said of it."""
    size = (HEIGHT, WIDTH)

    def array(values):
        np.save(chips.vendor / "maps" / "c.npy", values, allow_pickle=True)

    return {
        "no folder": (None, "masks", "expected a folder of masks, found nothing"),
        "empty folder": (lambda: None, "masks", "expected masks, found no file"),
        "other file": (
            lambda: (chips.vendor / "masks" / "notes.txt").write_text(""),
            "masks",
            "found a file that ends with .txt; remove it",
        ),
        "other size": (
            lambda: chips.write_mask("c.png", np.zeros((9, 9))),
            "masks",
            "expected 40 x 24 px",
        ),
        "damaged": (
            lambda: (chips.vendor / "masks" / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n"),
            "masks",
            "masks/c.png",
        ),
        "unknown": (
            lambda: chips.write_mask("z.png", np.zeros(size)),
            "masks",
            "'z.png' is the name of no image of the data set",
        ),
        "ambiguous": (
            lambda: chips.write_mask("a.png", np.zeros(size)),
            "masks",
            "'a.png' is the name of 2 images (chip/OK/a, chip/NOK/a)",
        ),
        "twice": (
            lambda: [chips.write_mask(f"c.{end}", np.zeros(size)) for end in ("png", "bmp")],
            "masks",
            "expected one prediction of chip/NOK/c, found 2: 'c.bmp', 'c.png'",
        ),
        "nan": (lambda: array(np.full(size, np.nan)), "maps", "found 960 that are none (NaN"),
        "colours": (lambda: array(np.zeros((*size, 3))), "maps", "numbers of shape (H, W)"),
        "no numbers": (lambda: array(np.full(size, "x", object)), "maps", "it cannot be read"),
        "wide": (lambda: array(np.zeros((24, 41))), "maps", "found 41 x 24 px"),
    }


@pytest.mark.parametrize("kind", bad_files(None))
def test_what_is_wrong_with_a_folder_is_told(chips, kind):
    """Before anything is computed, with the file and what to do."""
    write, key, words = bad_files(chips)[kind]
    if write:
        (chips.vendor / key).mkdir()
        write()
    block = {key: key} | ({"threshold": 0.5} if key == "maps" else {})
    found = chips.faults(**block)
    assert len(found) == 1 and words in found[0], found


def test_a_value_that_the_settings_do_not_name_is_told(chips, blot):
    """A mask of other values is no mask of this meaning."""
    chips.write_mask("c.png", blot * 7)
    (line,) = chips.faults(masks="masks", mask_values={"255": "defect"})
    assert "expected only the values that mask_values names (255), found also 7" in line


def test_a_locked_image_has_a_name_and_takes_no_other_image_s_place(chips, blot):
    """Jobs do not see locked images, so a name that they would read otherwise is a fault."""
    chips.write_mask("locked.png", blot)
    chips.write_mask("c.png", blot)
    records = chips.records()
    locked = replace(records[0], image_id="chip/OK/locked", image_path=chips.folder / "locked.png")
    assert chips.faults(records=[*records, locked], masks="masks") == []
    assert (segmented(chips, masks="masks")["chip/NOK/c"].mask == blot).all()
    clash = replace(records[0], image_id="c", image_path=chips.folder / "x.png")
    (chips.vendor / "v.csv").write_text("image,label\nc,OK\n")
    (line,) = chips.faults(records=[*records, locked, clash], verdicts="v.csv")
    assert "'c' (line 2) may be c or chip/NOK/c; name the image by its image id" in line
