"""Images and truth masks on the canvas of the reference."""

import cv2
import numpy as np
import pandas as pd
import pytest

from realitycheck.alignment import covered_pixels, matrix_of
from realitycheck.core.files import image_file
from realitycheck.core.images import read_image, write_png
from realitycheck.core.masks import decode_mask
from realitycheck.core.parquet import ArtifactError
from realitycheck.core.provenance import shard_names
from realitycheck.core.references import read_references
from realitycheck.core.schemas import TRANSFORMS, TRUTH
from realitycheck.core.tables import check_table, write_table
from realitycheck.stages.align import align_shard, align_truth, pixels_digest

TRANSLATION = {"method": "ecc", "motion": "translation", "quarter_turns": False}
NONE = {"method": "none", "motion": "translation", "quarter_turns": False}


def align(product, folder, *, shard="0-of-1", alignment=TRANSLATION):
    n_images, rows = align_shard(
        product.paths["manifest_path"],
        product.paths["references_path"],
        shard=shard,
        settings={"alignment": alignment, "intensity": product.settings["intensity"]},
        folder=folder,
        n_workers=2,
    )
    table = pd.DataFrame(list(rows), columns=TRANSFORMS.columns)
    assert len(table) == n_images
    check_table(table, TRANSFORMS, where="test")
    return table


def align_masks(product, transforms, folder):
    rows = align_truth(product.manifest, transforms, folder=folder)
    table = pd.DataFrame(list(rows))
    check_table(table, TRUTH, where="test")
    return table.set_index("image_id")


def stored(folder, image_id):
    return cv2.imread(str(image_file(folder, image_id)), cv2.IMREAD_UNCHANGED)


def test_shifted_parts_are_laid_on_the_reference(product, tmp_path):
    """The shifts were drawn, so the transforms are known: they take them back to within half a
    pixel. The interior then differs by the noise alone, 2 grey levels in each image."""
    table = align(product.prepare(), tmp_path / "aligned").set_index("image_id")
    assert set(table["status"]) == {"aligned"}
    reference = read_image(product.root / "OK/0.png").astype(float)
    shifts = {"product/OK/1": (3, -2), "product/OK/2": (-4, 1), "product/NOK/chip/0": (2, 3)}
    for image_id, (x, y) in shifts.items():
        row = table.loc[image_id]
        assert row["m02"] == pytest.approx(-x, abs=0.5)
        assert row["m12"] == pytest.approx(-y, abs=0.5)
        assert row["residual_after"] < row["residual_before"]
    image = read_image(image_file(tmp_path / "aligned", "product/OK/1")).astype(float)
    assert np.abs(image - reference)[8:-8, 8:-8].mean() < 4


def test_image_that_fits_nowhere_keeps_its_own_pixels_and_size(product, tmp_path):
    """A warp that means nothing must not stretch it to the reference's size."""
    noise = np.random.default_rng(3).integers(0, 256, (70, 90, 3)).astype(np.uint8)
    write_png(noise, product.root / "OK/other.png")
    table = align(product.prepare(), tmp_path / "aligned").set_index("image_id")
    row = table.loc["product/OK/other"]
    assert row["status"] == "kept_original"
    assert (row["height_px"], row["width_px"]) == (70, 90)
    np.testing.assert_array_equal(matrix_of(row), np.eye(3))
    np.testing.assert_array_equal(
        read_image(image_file(tmp_path / "aligned", "product/OK/other")), noise
    )
    assert row["pixels_sha256"] == pixels_digest(noise)


@pytest.mark.parametrize("reference", ["none", "auto"])
def test_without_alignment_images_stay_as_they_are(product, tmp_path, reference):
    """The stages after this one find all images in one place all the same."""
    table = align(product.prepare(reference=reference), tmp_path / "aligned", alignment=NONE)
    assert set(table["status"]) == {"not_requested"}
    assert (table["overlap"] == 1).all()
    for row, image_id in zip(product.manifest.itertuples(), table["image_id"], strict=True):
        assert row.image_id == image_id
        np.testing.assert_array_equal(
            read_image(image_file(tmp_path / "aligned", image_id)), read_image(row.image_path)
        )


def test_shards_share_the_images_without_changing_them(product, tmp_path):
    """Three jobs must end where one ends."""
    product.prepare()
    whole = align(product, tmp_path / "a")
    parts = pd.concat([align(product, tmp_path / "b", shard=name) for name in shard_names(3)])
    parts = parts.sort_values("image_id").reset_index(drop=True)
    pd.testing.assert_frame_equal(parts, whole, check_dtype=False)


def test_digest_of_pixels_follows_shape_type_and_values():
    """Entries of the store are found by it."""
    image = np.zeros((2, 6, 3), np.uint8)
    changed = image.copy()
    changed[1, 2, 0] = 1
    variants = [image, changed, image.reshape(6, 2, 3), image.astype(np.int8)]
    assert len({pixels_digest(a) for a in variants}) == 4
    assert pixels_digest(image) == pixels_digest(image[:, ::-1])


def test_references_are_read_by_category(product):
    """Each category has its own."""
    found = read_references(
        product.prepare().paths["references_path"], intensity=product.settings["intensity"]
    )
    np.testing.assert_array_equal(found["product"], read_image(product.root / "OK/0.png"))


def test_truth_moves_with_its_image(product, tmp_path):
    """Image and mask were shifted alike, and both must come back: the defect lies at x 60 to 71,
    y 40 to 49 of the reference. A transform that is wrong by up to half a pixel moves an edge by at
    most one."""
    table = align(product.prepare(), tmp_path / "aligned")
    truth = align_masks(product, table, tmp_path / "truth")
    mask = stored(tmp_path / "truth", "product/NOK/chip/0")
    assert set(np.unique(mask)) == {0, 255}
    rows, columns = np.nonzero(mask)
    found = (columns.min(), columns.max(), rows.min(), rows.max())
    np.testing.assert_allclose(found, (60, 71, 40, 49), atol=1)
    row = truth.loc["product/NOK/chip/0"]
    assert row["has_truth"]
    assert row["truth_px"] == (mask == 255).sum()
    assert row["undecided_px"] == 0
    assert row["pixels_sha256"] == pixels_digest(mask)


def test_truth_of_an_image_that_kept_its_pixels_stays(product, tmp_path):
    """Mask and image must still lie on each other."""
    noise = np.random.default_rng(3).integers(0, 256, (70, 90, 3)).astype(np.uint8)
    mask = np.zeros((70, 90), bool)
    mask[3:6, 80:88] = True
    write_png(noise, product.root / "NOK/chip/other.png")
    write_png(mask, product.root / "masks/chip/other.png")
    table = align(product.prepare(), tmp_path / "aligned")
    assert "kept_original" in set(table["status"])
    truth = align_masks(product, table, tmp_path / "truth")
    assert truth.loc["product/NOK/chip/other", "truth_px"] == 24
    np.testing.assert_array_equal(
        stored(tmp_path / "truth", "product/NOK/chip/other"), 255 * mask.astype(np.uint8)
    )


def test_good_part_has_an_empty_truth_and_no_file(product, tmp_path):
    """Nothing is drawn on it, and that is known."""
    table = align(product.prepare(), tmp_path / "aligned")
    truth = align_masks(product, table, tmp_path / "truth")
    assert len(truth) == 5
    row = truth.loc["product/OK/1"]
    assert row["has_truth"]
    assert row["truth_px"] == 0
    assert not image_file(tmp_path / "truth", "product/OK/1").exists()


def test_defective_part_without_mask_has_no_truth(product, tmp_path):
    """It is not the same as an empty mask: its IoU is not known. What an earlier run drew goes."""
    for path in (product.root / "masks/chip").glob("*.png"):
        path.unlink()
    table = align(product.prepare(), tmp_path / "aligned")
    stale = image_file(tmp_path / "truth", "product/NOK/chip/0")
    write_png(np.ones((4, 4), bool), stale)
    truth = align_masks(product, table, tmp_path / "truth")
    assert not truth.loc["product/NOK/chip/0", "has_truth"]
    assert truth.loc["product/OK/0", "has_truth"]
    assert not stale.exists()


def test_undecided_border_is_kept_apart(product, tmp_path):
    """Value 3 of a trimap is neither defect nor background."""
    trimap = np.full((96, 128), 2, np.uint8)
    trimap[10:20, 10:20] = 3
    trimap[12:18, 12:18] = 1
    for path in (product.root / "masks/chip").glob("*.png"):
        write_png(trimap, path)
    product.prepare(mask_values={"1": "defect", "2": "background", "3": "ignore"})
    table = align(product, tmp_path / "aligned", alignment=NONE)
    truth = align_masks(product, table, tmp_path / "truth")
    row = truth.loc["product/NOK/chip/0"]
    assert (row["truth_px"], row["undecided_px"]) == (36, 64)
    assert set(np.unique(stored(tmp_path / "truth", "product/NOK/chip/0"))) == {0, 128, 255}


def moved(table, image_id, matrix):
    """The transforms with another one for an image."""
    table = table.set_index("image_id")
    table.loc[image_id, "status"] = "aligned"
    for r in range(3):
        for c in range(3):
            table.loc[image_id, f"m{r}{c}"] = float(matrix[r][c])
    return table.reset_index()


def whole_of(row):
    return decode_mask(
        row["whole_rle"],
        height_px=int(row["whole_height_px"]),
        width_px=int(row["whole_width_px"]),
    )


@pytest.mark.parametrize(
    ("shift", "lost_px", "status"),
    [((0, 0), 0, "complete"), ((60, 0), 60, "partly_lost"), ((0, -200), 120, "lost")],
)
def test_truth_beyond_the_canvas_is_counted_and_kept(product, tmp_path, shift, lost_px, status):
    """The defect, 12 x 10 px, lies at x 62 to 73 and y 43 to 52 of an image 128 px wide."""
    image_id = "product/NOK/chip/0"
    table = align(product.prepare(), tmp_path / "aligned", alignment=NONE)
    matrix = [[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]]
    truth = align_masks(product, moved(table, image_id, matrix), tmp_path / "truth")
    row = truth.loc[image_id]
    assert (row["truth_px"], row["lost_px"], row["status"]) == (120, lost_px, status)
    on_canvas = stored(tmp_path / "truth", image_id) == 255
    assert on_canvas.shape == (96, 128) and on_canvas.sum() == 120 - row["lost_px"]
    if lost_px:
        whole, top, left = whole_of(row), int(row["top_px"]), int(row["left_px"])
        assert whole.sum() == 120
        np.testing.assert_array_equal(whole[top : top + 96, left : left + 128], on_canvas)
    else:
        assert row["whole_rle"] is None
    assert truth.loc["product/OK/0", "status"] == "complete"


def test_defect_that_shrinks_to_nothing_keeps_a_pixel(product, tmp_path):
    """Nearest neighbour passes over a speck where the reference is smaller than the image."""
    mask = np.zeros((96, 128), bool)
    mask[41, 61] = True
    write_png(mask, product.root / "masks/chip/0.png")
    table = align(product.prepare(), tmp_path / "aligned", alignment=NONE)
    half = [[0.5, 0, 0], [0, 0.5, 0], [0, 0, 1]]
    truth = align_masks(product, moved(table, "product/NOK/chip/0", half), tmp_path / "truth")
    row = truth.loc["product/NOK/chip/0"]
    assert (row["truth_px"], row["lost_px"]) == (1, 0)
    assert stored(tmp_path / "truth", "product/NOK/chip/0").sum() == 255


def test_truth_is_read_as_the_manifest_says(product, tmp_path):
    """What was decided over all masks is not guessed again from one."""
    for path in (product.root / "masks/chip").glob("*.png"):
        write_png(read_image(path)[..., 0] == 0, path)
    table = align(product.prepare(), tmp_path / "aligned", alignment=NONE)
    truth = align_masks(product, table, tmp_path / "truth")
    assert truth.loc["product/NOK/chip/0", "truth_px"] == 120


def test_transforms_of_other_images_are_refused(product, tmp_path):
    """A mask that is silently left out would leave its image without a score."""
    table = align(product.prepare(), tmp_path / "aligned")
    with pytest.raises(ArtifactError, match="one row for each of 5 images; 1 are missing"):
        align_masks(product, table.iloc[1:], tmp_path / "truth")


def test_what_was_filled_in_is_not_covered(product, tmp_path):
    """An image that was moved 3 px to the left leaves a margin at the right."""
    table = align(product.prepare(), tmp_path / "aligned").set_index("image_id")
    manifest = product.manifest.set_index("image_id")
    covered = covered_pixels(table.loc["product/OK/1"], manifest.loc["product/OK/1"])
    assert covered.shape == (96, 128)
    assert covered[20:80, 10:120].all()
    assert not covered[50, -2:].any()
    assert not covered[:1, 50].any()


def test_rows_fit_the_table(product, tmp_path):
    """What one stage yields, the next can read."""
    write_table(
        align(product.prepare(), tmp_path / "aligned"),
        tmp_path / "t.parquet",
        schema=TRANSFORMS,
        facts={},
    )
