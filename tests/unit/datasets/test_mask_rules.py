"""What the masks of a whole data set mean, and what is left in doubt."""

import re

import cv2
import numpy as np
import pytest
from PIL import Image

from realitycheck.core.masks import MaskReading, read_truth
from realitycheck.datasets.ingest import check_records
from realitycheck.datasets.records import Record

SIZE = (40, 60)
VOC_BORDER = [0] * 765 + [224, 224, 192]
CVAT = [0, 0, 0, 250, 50, 83, 36, 179, 83]


def bars(n=4):
    """Where the defects lie: a bar in the middle, a little further right in each image."""
    masks = np.zeros((n, *SIZE), bool)
    for number, mask in enumerate(masks):
        mask[15:21, 10 + 4 * number : 22 + 4 * number] = True
    return masks


def halves(mask, first, second, ground=0):
    """Number the upper and the lower half of a defect."""
    found = np.where(mask, second, ground).astype(np.uint8)
    found[:18][mask[:18]] = first
    return found


def palette(indices, colours):
    image = Image.fromarray(indices.astype(np.uint8), "P")
    image.putpalette(colours)
    return image


def write(folder, pictures, *, ending="png", **options):
    """Write masks with Pillow, or arrays as such."""
    folder.mkdir(exist_ok=True)
    paths = []
    for number, picture in enumerate(pictures):
        path = folder / f"m{number}.{ending}"
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        image.save(path, **options)
        paths.append(path)
    return paths


def check(folder, paths, *, good_masks=(), orientation=1, size=SIZE, **settings):
    """Check masks beside images of noise, the image of each with the EXIF orientation."""
    exif = Image.Exif()
    exif[274] = orientation
    records = []
    for number, mask in enumerate([*paths, *good_masks, None]):
        noise = np.random.default_rng(number).integers(0, 256, size, dtype=np.uint8)
        image = folder / f"image{number}.png"
        Image.fromarray(noise).save(image, exif=exif)
        label = "NOK" if number < len(paths) else "OK"
        records.append(Record(f"p/{number}", "p", label, None, "test", None, image, mask))
    return check_records(records, **settings)


def truths(manifest):
    drawn = manifest[manifest["mask_path"].notna() & (manifest["label"] == "NOK")]
    return np.stack(
        [read_truth(r.mask_path, MaskReading.from_text(r.mask_reading)) for r in drawn.itertuples()]
    )


def told(manifest):
    readings = manifest["mask_reading"].dropna().map(MaskReading.from_text)
    return {reading.told for reading in readings}


def only_fault(faults):
    assert len(faults) == 1, "\n".join(map(str, faults))
    return str(faults[0])


def strokes(mask, colour=(0, 0, 0), opacity=255):
    return np.dstack([np.full(SIZE, c, np.uint8) for c in colour] + [mask * np.uint8(opacity)])


FORMS = {
    "grey": lambda m: m * np.uint8(255),
    "ones": lambda m: m * np.uint8(1),
    "16 bits": lambda m: m * np.uint16(65535),
    "one bit": lambda m: m,
    "red on black": lambda m: np.dstack([m * np.uint8(255), *[np.zeros(SIZE, np.uint8)] * 2]),
    "classes of VisA": lambda m: halves(m, 1, 2),
    "classes of LOCO": lambda m: halves(m, 236, 255),
    "palette of CVAT": lambda m: palette(halves(m, 1, 2), CVAT),
    "black strokes on nothing": strokes,
    "red strokes on nothing, half opaque": lambda m: strokes(m, (255, 0, 0), 128),
}
BRIGHT_FORMS = {
    "black on white": lambda m: np.where(m, 0, 255).astype(np.uint8),
    "one bit, black on white": lambda m: ~m,
    "zeros on ones": lambda m: (~m).astype(np.uint8),
    "classes on white": lambda m: halves(m, 1, 2, ground=255),
    "red on white": lambda m: np.where(m[..., None], [255, 0, 0], 255).astype(np.uint8),
    "index 0 on index 1": lambda m: palette(~m, [255, 0, 0, 10, 10, 10]),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_dark_ground_is_read_as_drawn(tmp_path, form):
    """Convention decides, and nothing needs to be told."""
    paths = write(tmp_path / "masks", map(FORMS[form], bars()))
    manifest, faults = check(tmp_path, paths)
    assert not faults, "\n".join(map(str, faults))
    np.testing.assert_array_equal(truths(manifest), bars() * np.uint8(255))
    assert told(manifest) == {""}


@pytest.mark.parametrize("form", BRIGHT_FORMS)
def test_ground_that_holds_the_border_of_all_masks_is_background(tmp_path, form):
    """Masks drawn dark on bright: the whole picture but the defect must not become the defect."""
    paths = write(tmp_path / "masks", map(BRIGHT_FORMS[form], bars()))
    manifest, faults = check(tmp_path, paths)
    assert not faults, "\n".join(map(str, faults))
    np.testing.assert_array_equal(truths(manifest), bars() * np.uint8(255))
    (said,) = told(manifest)
    assert "is read as background, because it holds the border and more than half of" in said


def test_index_0_is_the_ground_whatever_its_colour(tmp_path):
    """Red on white in a palette: convention says index 0, and borders agree."""
    paths = write(tmp_path / "masks", [palette(m, [255, 255, 255, 255, 0, 0]) for m in bars()])
    manifest, faults = check(tmp_path, paths)
    assert not faults
    np.testing.assert_array_equal(truths(manifest), bars() * np.uint8(255))


def test_border_that_voc_leaves_undecided_is_undecided(tmp_path):
    """Index 255 of that palette is neither defect nor background."""
    masks = bars()
    indices = masks.astype(np.uint8)
    indices[:, 13:15, 10:40] = 255
    colours = [0, 0, 0, 128, 0, 0, *VOC_BORDER[6:]]
    manifest, faults = check(
        tmp_path, write(tmp_path / "masks", [palette(each, colours) for each in indices])
    )
    assert not faults
    found = truths(manifest)
    assert ((found == 128) == (indices == 255)).all() and ((found == 255) == masks).all()


def test_one_bright_mask_alone_is_in_doubt(tmp_path):
    """One mask cannot tell an inverted one from a defect all around."""
    paths = write(tmp_path / "masks", map(BRIGHT_FORMS["black on white"], bars(1)))
    fault = only_fault(check(tmp_path, paths)[1])
    assert "2 values: 0 (72 px), 255 (2,328 px)" in fault
    assert "set mask_background: dark or bright" in fault
    dark, faults = check(tmp_path, paths, mask_background="dark")
    assert not faults and (truths(dark) == 255).sum() == 2328
    bright, faults = check(tmp_path, paths, mask_background="bright")
    assert not faults and (truths(bright) == 255).sum() == 72


def test_mask_that_looks_inverted_among_others_is_in_doubt(tmp_path):
    """Two people drew, one of them the other way round; the fault names the file."""
    pictures = [FORMS["grey"](mask) for mask in bars()]
    pictures[2] = 255 - pictures[2]
    fault = only_fault(check(tmp_path, write(tmp_path / "masks", pictures))[1])
    assert "m2.png" in fault and "255 around the rest in 1 of 4 masks" in fault


def test_mask_that_covers_nearly_everything_is_read_as_the_others_are(tmp_path):
    """The ground is decided over all masks, and one large defect does not turn it round."""
    masks = bars()
    masks[1] = True
    masks[2, 2:] = True
    manifest, faults = check(tmp_path, write(tmp_path / "masks", masks * np.uint8(255)))
    assert not faults
    np.testing.assert_array_equal(truths(manifest), masks * np.uint8(255))


def test_masks_of_good_images_show_the_ground(tmp_path):
    """They are all ground: bright ones confirm a bright ground, dark ones contradict it."""
    paths = write(tmp_path / "masks", map(BRIGHT_FORMS["black on white"], bars()))
    white, black = (
        write(tmp_path / name, [np.full(SIZE, value, np.uint8)])
        for name, value in (("white", 255), ("black", 0))
    )
    manifest, faults = check(tmp_path, paths, good_masks=white)
    assert not faults and (truths(manifest) == 255).sum() == 4 * 72
    assert "255 around the rest" in only_fault(check(tmp_path, paths, good_masks=black)[1])


def test_masks_of_one_value_that_is_not_white_are_in_doubt(tmp_path):
    """A mask full of 7 may be all defect or all background."""
    paths = write(tmp_path / "masks", [np.full(SIZE, 7, np.uint8)] * 2)
    fault = only_fault(check(tmp_path, paths)[1])
    assert "found no background: 1 value: 7 (4,800 px) in all" in fault
    paths = write(tmp_path / "masks", [np.full(SIZE, 255, np.uint8)] * 2)
    manifest, faults = check(tmp_path, paths)
    assert not faults and (truths(manifest) == 255).all()


def test_strokes_on_a_cut_out_part_are_in_doubt(tmp_path):
    """Nothing beside the part, black on it, white on the defect: black could be a stroke."""
    pictures = [strokes(m, opacity=0) for m in bars()]
    for picture, mask in zip(pictures, bars(), strict=True):
        picture[5:35, 5:55, 3] = 255
        picture[mask, :3] = 255
    paths = write(tmp_path / "masks", pictures)
    assert "transparent pixels and an opaque ground" in only_fault(check(tmp_path, paths)[1])
    for settings in (
        {"mask_background": "dark"},
        {"mask_values": {"#000000": "background", "#ffffff": "defect"}},
    ):
        manifest, faults = check(tmp_path, paths, **settings)
        assert not faults
        np.testing.assert_array_equal(truths(manifest), bars() * np.uint8(255))


def blurred(mask):
    return cv2.GaussianBlur(mask * np.uint8(255), (5, 5), 1)


def resized(mask):
    small = cv2.resize(mask * np.uint8(255), (45, 31), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, SIZE[::-1], interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("soften", [blurred, resized])
def test_soft_edges_are_a_fault_that_names_the_setting_which_reads_them(tmp_path, soften):
    """With the threshold, truth is what lies at or above it."""
    soft = [soften(mask) for mask in bars()]
    paths = write(tmp_path / "masks", soft)
    fault = only_fault(check(tmp_path, paths)[1])
    assert "soft edges" in fault and "4 such masks" in fault
    assert set(re.findall(r"\bmask_\w+", fault)) == {"mask_values"}
    manifest, faults = check(tmp_path, paths, mask_values={"threshold": 128})
    assert not faults
    assert ((truths(manifest) == 255) == (np.stack(soft) >= 128)).all()
    manifest, faults = check(tmp_path, paths, mask_values="nonzero")
    assert not faults
    assert ((truths(manifest) == 255) == (np.stack(soft) > 0)).all()


@pytest.mark.parametrize(("top", "level"), [(65535, 32767.5), (1.0, 0.5)])
def test_suggested_threshold_is_in_units_of_the_file(tmp_path, top, level):
    """128 of 65535 would take every haze for a defect, and 128 of 1 nothing at all."""
    kind = np.uint16 if top > 1 else np.float32
    soft = [(blurred(mask) / 255.0 * top).astype(kind) for mask in bars()]
    paths = write(tmp_path / "masks", soft, ending="tif")
    fault = only_fault(check(tmp_path, paths)[1])
    assert f"{{threshold: {level:g}}}" in fault
    manifest, faults = check(tmp_path, paths, mask_values={"threshold": float(f"{level:g}")})
    assert not faults
    assert ((truths(manifest) == 255) == (np.stack(soft) >= level)).all()


def test_compressed_masks_are_soft_and_read_by_the_threshold(tmp_path):
    """JPEG leaves scattered values beside every edge."""
    paths = write(tmp_path / "masks", bars() * np.uint8(255), ending="jpg", quality=70)
    assert "soft edges" in only_fault(check(tmp_path, paths)[1])
    manifest, faults = check(tmp_path, paths, mask_values={"threshold": 128})
    assert not faults
    np.testing.assert_array_equal(truths(manifest), bars() * np.uint8(255))


def test_threshold_finds_a_bright_ground_too(tmp_path):
    """Soft and drawn dark on bright: what lies below is the defect."""
    soft = [255 - blurred(mask) for mask in bars()]
    paths = write(tmp_path / "masks", soft)
    manifest, faults = check(tmp_path, paths, mask_values={"threshold": 128})
    assert not faults
    assert ((truths(manifest) == 255) == (np.stack(soft) < 128)).all()


def test_values_mean_what_the_settings_say(tmp_path):
    """A border of its own value looks like a soft edge, until a setting says what it is."""
    masks = bars()
    pictures = []
    for mask in masks:
        ring = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & ~mask
        pictures.append(np.where(mask, 255, np.where(ring, 128, 0)).astype(np.uint8))
    paths = write(tmp_path / "masks", pictures)
    assert "soft edges" in only_fault(check(tmp_path, paths)[1])
    manifest, faults = check(tmp_path, paths, mask_values={"255": "defect", "128": "ignore"})
    assert not faults, "0 need not be named"
    found = truths(manifest)
    assert ((found == 255) == masks).all() and ((found == 128) == (np.stack(pictures) == 128)).all()


def test_value_that_the_settings_do_not_name_is_a_fault(tmp_path):
    """Nobody said whether it is defect."""
    paths = write(tmp_path / "masks", [halves(mask, 3, 255) for mask in bars()])
    fault = only_fault(check(tmp_path, paths, mask_values={"255": "defect"})[1])
    assert "found also 3 in 3 values: 0 (2,328 px), 3 (36 px), 255 (36 px)" in fault
    assert "say in mask_values whether each is defect, background or ignore" in fault


def ringed(mask):
    """A defect with a border of its own value, which no setting names."""
    ring = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & ~mask
    return np.where(mask, 255, np.where(ring, 7, 0)).astype(np.uint8)


#: What leaves all masks of a form in doubt: one of four masks, settings, words of the doubt.
DOUBTS = {
    "soft edges": (blurred, {}, "soft edges"),
    "a bright ground": (lambda mask: np.where(mask, 0, 255).astype(np.uint8), {}, "1 of 5 masks"),
    "a value without a name": (ringed, {"mask_values": {"255": "defect"}}, "found also 7"),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_mask_in_doubt_hides_no_fault_of_another(tmp_path, doubt):
    """An empty mask and one of another size are told in the same list, not in the next run."""
    change, settings, words = DOUBTS[doubt]
    pictures = [mask * np.uint8(255) for mask in bars(6)]
    pictures[0] = change(bars()[0])
    pictures[1] = np.zeros(SIZE, np.uint8)
    pictures[2] = pictures[2][:-4]
    found = [str(each) for each in check(tmp_path, write(tmp_path / "m", pictures), **settings)[1]]
    assert len(found) == 3, "\n".join(found)
    assert words in found[0]
    assert "m1.png: expected defect pixels, because" in found[1] and "an empty mask" in found[1]
    assert "m2.png: expected a mask of 60 x 40 px" in found[2]


def test_mask_in_doubt_is_held_against_no_label_that_it_may_fit(tmp_path):
    """What is defect on a good part under every setting is told, haze is not."""
    good = [blurred(bars()[0]), np.where(bars()[1], 3, 0).astype(np.uint8)]
    good = write(tmp_path / "good", good)
    bad = write(tmp_path / "bad", [np.where(bars()[2], 3, 0).astype(np.uint8)])
    found = [str(each) for each in check(tmp_path, bad, good_masks=good)[1]]
    assert len(found) == 2 and "soft edges" in found[0]
    assert re.search(r"good/m0\.png: expected an empty mask or none, .* found \d+ defect", found[1])


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_orientation_that_sizes_cannot_tell_is_a_fault_and_settings_decide(tmp_path, orientation):
    """A tool that passed over the tag, and one that turned the picture, write the same size."""
    paths = write(tmp_path / "masks", bars() * np.uint8(255))
    fault = only_fault(check(tmp_path, paths, orientation=orientation)[1])
    assert f"found 1 for the mask and {orientation} for the image" in fault
    assert "mask_orientation: shown" in fault and "mask_orientation: stored" in fault
    shown, faults = check(tmp_path, paths, orientation=orientation, mask_orientation="shown")
    assert not faults
    np.testing.assert_array_equal(truths(shown), bars() * np.uint8(255))
    stored, faults = check(tmp_path, paths, orientation=orientation, mask_orientation="stored")
    assert not faults
    turned = {2: bars()[:, :, ::-1], 3: bars()[:, ::-1, ::-1], 4: bars()[:, ::-1]}[orientation]
    np.testing.assert_array_equal(truths(stored), turned * np.uint8(255))


def test_mask_with_the_orientation_of_its_image_is_turned_with_it(tmp_path):
    """Both are applied, as any viewer does."""
    exif = Image.Exif()
    exif[274] = 3
    paths = write(tmp_path / "masks", bars() * np.uint8(255), exif=exif)
    manifest, faults = check(tmp_path, paths, orientation=3)
    assert not faults
    np.testing.assert_array_equal(truths(manifest), bars()[:, ::-1, ::-1] * np.uint8(255))


@pytest.mark.parametrize("orientation", [6, 8])
def test_sizes_tell_how_masks_of_turned_images_lie(tmp_path, orientation):
    """The tool turned the picture: its masks have the size that is shown; else the stored one."""
    on_shown = np.rot90(bars(), axes=(1, 2))
    for name, masks in (("shown", on_shown), ("stored", bars())):
        paths = write(tmp_path / name, np.ascontiguousarray(masks) * np.uint8(255))
        manifest, faults = check(tmp_path, paths, orientation=orientation)
        assert not faults
        quarter = {6: -1, 8: 1}[orientation]
        expected = on_shown if name == "shown" else np.rot90(bars(), quarter, axes=(1, 2))
        np.testing.assert_array_equal(truths(manifest), expected * np.uint8(255))


def test_square_images_are_turned_as_sizes_of_others_tell(tmp_path):
    """The same tool drew all masks of the set."""
    exif = Image.Exif()
    exif[274] = 6
    records = []
    for number, size in enumerate([(40, 40), (40, 60)]):
        noise = np.random.default_rng(number).integers(0, 256, size, dtype=np.uint8)
        mask = np.zeros(size, np.uint8)
        mask[5:9, 20:30] = 255
        image, drawn = tmp_path / f"{number}.png", tmp_path / f"m{number}.png"
        Image.fromarray(noise).save(image, exif=exif)
        Image.fromarray(mask).save(drawn)
        records.append(Record(f"p/{number}", "p", "NOK", None, "test", None, image, drawn))
    good = tmp_path / "good.png"
    Image.fromarray(np.full((9, 9), 7, np.uint8)).save(good)
    records.append(Record("p/good", "p", "OK", None, "test", None, good, None))
    manifest, faults = check_records(records)
    assert not faults, "\n".join(map(str, faults))
    row = manifest.set_index("image_id").loc["p/0"]
    truth = read_truth(row["mask_path"], MaskReading.from_text(row["mask_reading"]))
    assert truth[20:30, 31:35].all() and (truth == 255).sum() == 40
    assert "as stored, as sizes of others tell" in row["mask_reading"]
    _, faults = check_records([records[0], records[2]])
    assert "turns by 90° its image" in only_fault(faults)


@pytest.mark.parametrize("seed", range(12))
def test_random_masks_in_every_form_come_back_exactly_or_name_a_setting(tmp_path, seed):
    """Whoever wrote them, however they are stored: nothing in between is allowed."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((int(rng.integers(2, 6)), *SIZE), bool)
    for mask in masks:
        for _ in range(int(rng.integers(1, 4))):
            top, left = int(rng.integers(-4, 36)), int(rng.integers(-4, 56))
            height, width = (int(side) for side in rng.integers(1, 25, 2))
            mask[max(top, 0) : top + height, max(left, 0) : left + width] = True
    masks = masks[masks.any(axis=(1, 2))]
    for number, (form, draw) in enumerate({**FORMS, **BRIGHT_FORMS}.items()):
        folder = tmp_path / str(number)
        pictures = [draw(mask) for mask in masks]
        if isinstance(pictures[0], np.ndarray) and pictures[0].dtype != bool and number % 2:
            folder.mkdir()
            paths = [folder / f"m{place}.png" for place in range(len(pictures))]
            for picture, path in zip(pictures, paths, strict=True):
                code = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
                if picture.ndim == 3:
                    picture = cv2.cvtColor(picture, code[picture.shape[2]])
                assert cv2.imwrite(str(path), picture)
        else:
            paths = write(folder, pictures, ending="tif" if number % 3 else "png")
        manifest, faults = check(folder, paths)
        if faults:
            assert all("mask_background" in str(f) or "mask_values" in str(f) for f in faults), form
            is_dark = form in FORMS or form == "index 0 on index 1"
            said = "dark" if is_dark else "bright"
            manifest, faults = check(folder, paths, mask_background=said)
        assert not faults, (form, *map(str, faults))
        np.testing.assert_array_equal(truths(manifest), masks * np.uint8(255), err_msg=form)
