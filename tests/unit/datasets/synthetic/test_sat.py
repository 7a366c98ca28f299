"""The scans of `synthetic_sat` are what their truth says, and come out the same every time."""

import csv
from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy import stats

from realitycheck.datasets.synthetic.sat import (
    DEFECT_TYPES,
    TRUTH_COLUMNS,
    SatSettings,
    draw_part,
    generate,
    image_rng,
    list_images,
)

SMALL = SatSettings(image_size_px=128)
# No blur, no chance in the scan: what differs between two images is the drawing alone.
PLAIN = SatSettings(
    image_size_px=192,
    bit_depth=16,
    tolerance=0,
    blur_fraction=0,
    speckle=0,
    line_drift=0,
    texture=0,
    noise=0,
    max_brightness_fraction=0,
)


def read_truth(path):
    """Rows of truth.csv as dictionaries of text."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("defect_type", DEFECT_TYPES)
@pytest.mark.parametrize("seed", range(4))
def test_mask_is_exactly_what_the_defect_changes(defect_type, seed):
    """Without blur and noise, the images with and without the defect differ in the mask only."""
    good = draw_part(np.random.default_rng(seed), settings=PLAIN)
    bad = draw_part(np.random.default_rng(seed), defect_type=defect_type, settings=PLAIN)
    np.testing.assert_array_equal(good.image != bad.image, bad.mask)
    assert not good.mask.any()
    assert np.array_equal(good.matrix, bad.matrix)


@pytest.mark.parametrize("defect_type", DEFECT_TYPES)
def test_blurred_defect_stays_near_its_mask_and_has_its_sign(defect_type):
    """The beam smears a defect by a few pixels, and neither moves nor inverts it."""
    for seed in range(3):
        good = draw_part(np.random.default_rng(seed), settings=SatSettings(image_size_px=256))
        bad = draw_part(
            np.random.default_rng(seed),
            defect_type=defect_type,
            settings=SatSettings(image_size_px=256),
        )
        change = bad.image.astype(int) - good.image.astype(int)
        near = cv2.dilate(bad.mask.astype(np.uint8), np.ones((11, 11))).astype(bool)
        assert not change[~near].any()
        assert np.sign(change[bad.mask].mean()) == np.sign(bad.contrast)


def test_area_of_voids_and_delaminations_is_that_of_the_drawn_diameter():
    """Size in the truth table and area in the mask say the same, to the rounding of a pixel."""
    for seed in range(12):
        kind = ("void", "delamination")[seed % 2]
        part = draw_part(np.random.default_rng(seed), defect_type=kind, settings=SMALL)
        expected = max(1, round(np.pi / 4 * part.defect_size_px**2))
        # Two pixels may tie on the last distance.
        assert expected <= part.mask.sum() <= expected + 1


def test_sizes_are_log_uniform_between_the_limits():
    """Kolmogorov-Smirnov against the uniform law of the logarithm; all sizes lie inside."""
    rng = np.random.default_rng(0)
    settings = replace(SMALL, max_scale_fraction=0.0)
    parts = [draw_part(rng, defect_type="void", settings=settings) for _ in range(150)]
    logs = np.log([part.defect_size_px / settings.image_size_px for part in parts])
    low, high = np.log([settings.min_defect_fraction, settings.max_defect_fraction])
    assert logs.min() >= low and logs.max() <= high
    assert stats.kstest((logs - low) / (high - low), "uniform").pvalue > 0.01


def test_contrast_varies_between_the_limits():
    """Gaps shine or, seldom, invert; cracks are dark, and 1.5 times as strong."""
    rng = np.random.default_rng(1)
    for kind, factor in (("void", 1), ("crack", 1.5), ("delamination", 1)):
        drawn = [
            draw_part(rng, defect_type=kind, settings=SMALL).contrast / factor for _ in range(20)
        ]
        size = np.abs(drawn)
        assert size.min() >= SMALL.min_contrast and size.max() <= SMALL.max_contrast
        assert size.max() > 1.5 * size.min()
        if kind != "delamination":
            assert len(set(np.sign(drawn))) == 1


def test_true_transform_brings_images_onto_each_other():
    """Two scans of the same drawing agree after warping by their matrices, and not before."""
    moved = replace(PLAIN, max_rotation_deg=8, max_shift_fraction=0.05, max_scale_fraction=0.03)
    moved = replace(moved, blur_fraction=0.01, quarter_turns=True)
    still = replace(moved, max_rotation_deg=0, max_shift_fraction=0, max_scale_fraction=0)
    still = replace(still, quarter_turns=False)
    fixed = draw_part(np.random.default_rng(0), settings=still)
    np.testing.assert_allclose(fixed.matrix, np.eye(3), atol=1e-12)
    for seed in range(1, 5):
        part = draw_part(np.random.default_rng(seed), settings=moved)
        warped = cv2.warpPerspective(part.image, part.matrix, fixed.image.shape)
        inside = slice(40, -40)  # the outermost pixels may lie beyond the moved image
        after = np.abs(warped.astype(float) - fixed.image)[inside, inside].mean()
        before = np.abs(part.image.astype(float) - fixed.image)[inside, inside].mean()
        # The focus of each scan differs a little, so the edges do not cancel to nothing.
        assert after < 0.08 * before


def test_transform_is_a_similarity_within_its_limits():
    """Angle, scale and the centre's shift keep to the settings; quarter turns come on top."""
    settings = replace(SMALL, max_rotation_deg=8, max_scale_fraction=0.03, quarter_turns=True)
    turns = set()
    for seed in range(30):
        matrix = draw_part(np.random.default_rng(seed), settings=settings).matrix
        scale = np.sqrt(np.linalg.det(matrix[:2, :2]))
        np.testing.assert_allclose(
            matrix[:2, :2].T @ matrix[:2, :2], scale**2 * np.eye(2), atol=1e-12
        )
        assert abs(scale - 1) <= 0.03 + 1e-9
        angle = np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0]))
        turns.add(round(angle / 90) % 4)
        assert abs((angle + 45) % 90 - 45) <= 8 + 1e-9
        centre = np.array([63.5, 63.5, 1])
        assert np.abs(matrix @ centre - centre).max() <= 0.02 * 128 + 1e-9
    assert turns == {0, 1, 2, 3}


def test_same_seed_gives_the_same_bytes(tmp_path):
    """A set can be made again anywhere: every file is identical, truth.csv included."""
    for name in ("a", "b"):
        generate(tmp_path / name, n_ok=2, n_nok=3, n_train=1, seed=7, settings=SMALL)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 6 + 3 + 1
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_more_images_leave_the_existing_ones_alone(tmp_path):
    """An image depends on the seed and its own name, so ten more cost only ten more."""
    generate(tmp_path / "few", n_ok=1, n_nok=4, n_train=1, seed=0, settings=SMALL)
    generate(tmp_path / "many", n_ok=2, n_nok=7, n_train=2, seed=0, settings=SMALL)
    for file in (tmp_path / "few").rglob("*.png"):
        other = tmp_path / "many" / file.relative_to(tmp_path / "few")
        assert file.read_bytes() == other.read_bytes()


def test_another_seed_gives_other_images():
    """The seed reaches every image."""
    first, second = (
        draw_part(image_rng("test/OK/0000", seed=seed), settings=SMALL).image for seed in (0, 1)
    )
    assert not np.array_equal(first, second)


def test_default_counts_are_those_of_the_study():
    """231 good and 32 defective test images, the three types as even as 32 allows."""
    kinds = [kind for name, kind in list_images(n_ok=231, n_nok=32, n_train=0)]
    assert kinds.count(None) == 231
    assert [kinds.count(kind) for kind in DEFECT_TYPES] == [11, 11, 10]


def test_layout_and_truth_agree(tmp_path):
    """Folders as promised; each row of truth.csv tells of an image that is there, and its mask."""
    calls = []
    path = generate(
        tmp_path,
        n_ok=2,
        n_nok=3,
        n_train=1,
        seed=3,
        settings=SMALL,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(i, 6) for i in range(1, 7)]
    rows = read_truth(path)
    assert tuple(rows[0]) == TRUTH_COLUMNS
    images = {
        p.relative_to(tmp_path / "images").as_posix() for p in tmp_path.glob("images/**/*.png")
    }
    assert images == {row["image"] for row in rows}
    assert {"train/OK/0000.png", "test/OK/0001.png", "test/NOK/crack/0000.png"} <= images
    for row in rows:
        image = cv2.imread(str(tmp_path / "images" / row["image"]), cv2.IMREAD_UNCHANGED)
        assert image.shape == (128, 128) and image.dtype == np.uint8
        mask_path = tmp_path / "masks" / row["image"]
        assert mask_path.exists() == (row["label"] == "NOK")
        if mask_path.exists():
            mask = cv2.imread(str(mask_path), cv2.IMREAD_UNCHANGED)
            assert set(np.unique(mask)) == {0, 255}
            assert int((mask > 0).sum()) == int(row["defect_area_px"]) > 0
        part = draw_part(
            image_rng(row["image"].removesuffix(".png"), seed=3),
            defect_type=row["defect_type"] or None,
            settings=SMALL,
        )
        np.testing.assert_array_equal(image, part.image)
        written = [float(row[column]) for column in TRUTH_COLUMNS if column.startswith("m")]
        np.testing.assert_array_equal(np.reshape(written, (3, 3)), part.matrix)
    assert not [p for p in tmp_path.rglob(".*")], "temporary files are left"


def test_sixteen_bit_scan_refines_the_eight_bit_one():
    """Bit depth changes the rounding and nothing else."""
    fine = draw_part(np.random.default_rng(0), settings=replace(SMALL, bit_depth=16)).image
    coarse = draw_part(np.random.default_rng(0), settings=SMALL).image
    assert fine.dtype == np.uint16
    assert np.abs(fine / 257 - coarse.astype(float)).max() <= 0.5 + 1e-9


def test_plain_difference_to_a_reference_does_not_separate():
    """As in the study: with perfect registration, tolerances still exceed the defects."""
    settings = replace(
        SatSettings(image_size_px=256),
        max_rotation_deg=0,
        max_shift_fraction=0,
        max_scale_fraction=0,
        max_brightness_fraction=0,
    )
    reference = draw_part(image_rng("reference", seed=0), settings=settings).image.astype(float)
    scores = {}
    for kind in (None, *DEFECT_TYPES):
        n_drawn = 24 if kind is None else 8
        parts = [
            draw_part(image_rng(f"{kind}/{i}", seed=0), defect_type=kind, settings=settings)
            for i in range(n_drawn)
        ]
        scores[kind] = [
            cv2.GaussianBlur(np.abs(part.image - reference), (0, 0), 1.5).max() for part in parts
        ]
    bad = np.concatenate([scores[kind] for kind in DEFECT_TYPES])
    area_under_curve = stats.mannwhitneyu(bad, scores[None]).statistic / (24 * 24)
    # Near chance; the standard error of 24 against 24 is 0.08.
    assert area_under_curve < 0.75


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size_px": 16}, "image_size_px must be at least 32, got 16"),
        ({"bit_depth": 12}, "bit_depth must be 8 or 16, got 12"),
        ({"speckle": -1.0}, r"speckle must lie in \[0, 1\], got -1"),
        ({"min_defect_fraction": 0.13}, "got 0.13 and 0.12"),
        ({"max_contrast": 0.01}, "got 0.16 and 0.01"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    """The message names the setting, its range and what was found."""
    with pytest.raises(ValueError, match=message):
        SatSettings(**change)


def test_all_impossible_settings_are_told_at_once():
    """Two faults, one message."""
    with pytest.raises(ValueError, match="bit_depth must be.*noise must lie"):
        SatSettings(bit_depth=1, noise=3.0)


def test_unknown_defect_and_negative_count_are_refused(tmp_path):
    """Neither draws anything."""
    with pytest.raises(ValueError, match="one of void, crack, delamination or None, got 'dent'"):
        draw_part(np.random.default_rng(0), defect_type="dent")
    with pytest.raises(ValueError, match="n_nok of synthetic_sat must be at least 0, got -1"):
        generate(tmp_path / "new", n_nok=-1)
    assert not (tmp_path / "new").exists()


def test_defect_lies_wholly_inside_even_where_the_part_is_cut():
    """A part partly out of the image still has its whole defect, or its area would not be known."""
    settings = replace(SMALL, max_shift_fraction=0.3, max_rotation_deg=30)
    for seed in range(12):
        kind = DEFECT_TYPES[seed % 3]
        mask = draw_part(np.random.default_rng(seed), defect_type=kind, settings=settings).mask
        assert mask.any()
        assert not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def test_part_too_far_out_for_its_defect_is_refused():
    """With the dies beyond the image there is no place, and the message says what to lower."""
    settings = replace(SMALL, max_shift_fraction=0.5, min_defect_fraction=0.1)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="found no place for a crack.*lower max_shift_fraction"):
        for _ in range(40):
            draw_part(rng, defect_type="crack", settings=settings)
