"""Images come to lie on their reference, or stay where they are and say so."""

import cv2
import numpy as np
import pytest

from realitycheck import alignment
from realitycheck.alignment import (
    Aligner,
    choose_reference,
    covered,
    warp_image,
    warp_mask,
)
from realitycheck.core.constants import ALIGNMENT_STATUSES
from realitycheck.datasets.synthetic.sat import SatSettings, draw_part, image_rng

STILL = SatSettings(
    image_size_px=256, max_rotation_deg=0, max_shift_fraction=0, max_scale_fraction=0
)


def scan(name="reference", **changes):
    """A good synthetic part of 256 px."""
    settings = SatSettings(**{**STILL.__dict__, **changes})
    return draw_part(image_rng(name, seed=0), settings=settings)


def rgb(grey):
    """The same values in three channels."""
    return np.repeat(grey[..., None], 3, axis=2)


def corner_error(matrix, truth, *, height_px=256, width_px=256):
    """Largest distance between two transforms over the corners, in pixels."""
    right, low = width_px - 1, height_px - 1
    corners = np.array([[0, 0, 1], [right, 0, 1], [right, low, 1], [0, low, 1]], float).T
    ends = [m @ corners for m in (matrix, truth)]
    a, b = (end[:2] / end[2] for end in ends)
    return np.linalg.norm(a - b, axis=0).max()


def shift_matrix(dx, dy):
    """Move by (dx, dy)."""
    return np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1.0]])


def turned_matrix(angle_deg, *, scale=1.0, shift=(0, 0), size_px=256):
    """Turn and scale about the image's centre, then shift; shape (3, 3)."""
    middle = (size_px - 1) / 2
    matrix = np.eye(3)
    matrix[:2] = cv2.getRotationMatrix2D((middle, middle), angle_deg, scale)
    matrix[:2, 2] += shift
    return matrix


# --- warping ----------------------------------------------------------------------------------


def test_known_shift_moves_pixels_by_whole_numbers():
    """matrix is reference <- image: the pixel at (1, 2) appears at (1 + 3, 2 + 1)."""
    image = np.zeros((8, 10, 3), np.uint8)
    image[2, 1] = (9, 8, 7)
    warped = warp_image(image, shift_matrix(3, 1), height_px=8, width_px=10, border="black")
    assert warped[3, 4].tolist() == [9, 8, 7]
    assert np.count_nonzero(warped) == 3


def test_border_is_replicated_or_black():
    """What lies beyond the image is its edge, or nothing."""
    image = np.full((4, 4), 50, np.uint8)
    kept = warp_image(image, shift_matrix(2, 0), height_px=4, width_px=4)
    assert (kept == 50).all()
    black = warp_image(image, shift_matrix(2, 0), height_px=4, width_px=4, border="black")
    assert black.tolist() == [[0, 0, 50, 50]] * 4
    with pytest.raises(ValueError, match="one of replicate, black, got 'wrap'"):
        warp_image(image, np.eye(3), height_px=4, width_px=4, border="wrap")


def test_warped_mask_holds_no_new_value():
    """Nearest neighbour: undecided (128) never appears between 0 and 255 by interpolation."""
    truth = np.zeros((64, 64), np.uint8)
    truth[16:40, 20:50] = 255
    truth[24:30, 30:40] = 128
    warped = warp_mask(truth, turned_matrix(7.3, size_px=64), height_px=64, width_px=64)
    assert set(np.unique(warped)) == {0, 128, 255}
    flags = warp_mask(truth > 0, turned_matrix(7.3, size_px=64), height_px=64, width_px=64)
    assert flags.dtype == bool
    np.testing.assert_array_equal(flags, warped > 0)


def test_covered_counts_the_canvas_that_the_image_reaches():
    """An image of 3 x 4 shifted by 2 covers the columns from 2 on, and no row below 3."""
    inside = covered(shift_matrix(2, 0), source_shape=(3, 4), height_px=5, width_px=5)
    expected = np.zeros((5, 5), bool)
    expected[:3, 2:] = True
    np.testing.assert_array_equal(inside, expected)


def test_covered_agrees_with_warping_a_white_image():
    """Independent: what a white image on black warps to at full white comes from the image."""
    matrix = np.array([[1.02, 0.05, -7], [-0.03, 0.97, 5], [1e-4, -2e-4, 1]])
    inside = covered(matrix, source_shape=(40, 50), height_px=48, width_px=44)
    white = warp_image(
        np.full((40, 50), 255, np.uint8), matrix, height_px=48, width_px=44, border="black"
    )
    # OpenCV rounds positions to 1/32 px, so pixels on the very border may differ.
    assert np.mean(inside != (white == 255)) < 0.01


# --- recovering known transforms -----------------------------------------------------------------


@pytest.mark.parametrize("method", ["ecc", "phase"])
@pytest.mark.parametrize("shift", [(5.0, -3.0), (-12.4, 7.6)])
def test_known_translation_is_recovered_to_a_tenth_of_a_pixel(method, shift):
    """The image is the reference moved by a known amount, with noise of its own."""
    reference = scan().image
    moved = warp_image(reference, shift_matrix(*shift), height_px=256, width_px=256)
    noise = np.random.default_rng(0).normal(0, 3, moved.shape)
    moved = np.clip(moved + noise, 0, 255).astype(np.uint8)
    result = Aligner(rgb(reference), method=method, motion="translation").align(rgb(moved))
    assert result.status == "aligned"
    np.testing.assert_allclose(result.matrix[:2, 2], [-shift[0], -shift[1]], atol=0.1)
    assert result.residual_after < result.residual_before
    expected = (256 - np.ceil(abs(shift[0]))) * (256 - np.ceil(abs(shift[1]))) / 256**2
    assert result.overlap == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("motion", ["euclidean", "similarity", "affine", "homography"])
def test_ecc_recovers_its_own_motion(motion):
    """A transform that the motion holds exactly comes back to 0.15 px at the corners."""
    reference = scan().image
    truth = turned_matrix(4.0, scale=1.0 if motion == "euclidean" else 1.025, shift=(6, -4))
    if motion in ("affine", "homography"):
        truth = np.array([[1, 0.02, 0], [0, 0.99, 0], [0, 0, 1]]) @ truth
    if motion == "homography":
        truth = np.array([[1, 0, 0], [0, 1, 0], [6e-5, -4e-5, 1]]) @ truth
    image = warp_image(reference, np.linalg.inv(truth), height_px=256, width_px=256)
    result = Aligner(reference, method="ecc", motion=motion).align(image)
    assert result.status == "aligned"
    # The corners that fell off the image are extrapolated.
    assert corner_error(result.matrix, truth) < (0.15 if motion != "homography" else 0.6)


@pytest.mark.parametrize(("method", "limit_px"), [("ecc", 0.6), ("features", 3.0), ("phase", 6.0)])
def test_methods_recover_real_scans_within_their_accuracy(method, limit_px):
    """Other parts with their own tolerances, noise and brightness: the acceptance in small."""
    reference = scan()
    aligner = Aligner(reference.image, method=method, motion="similarity")
    for index in range(4):
        part = scan(
            f"part/{index}",
            max_rotation_deg=8.0,
            max_shift_fraction=0.05,
            max_scale_fraction=0.03,
            max_brightness_fraction=0.3,
        )
        result = aligner.align(part.image)
        assert result.status == "aligned"
        assert corner_error(result.matrix, part.matrix) < limit_px


@pytest.mark.parametrize("method", ["ecc", "phase", "features"])
@pytest.mark.parametrize("turn", [1, 2, 3])
def test_part_turned_by_quarters_is_found(method, turn):
    """A part may lie in its tray any way round."""
    reference = scan().image
    image = np.ascontiguousarray(np.rot90(scan("other", max_rotation_deg=3.0).image, turn))
    result = Aligner(reference, method=method, motion="euclidean").align(image)
    assert result.status == "aligned"
    angle = np.rad2deg(np.arctan2(result.matrix[1, 0], result.matrix[0, 0]))
    assert round(angle / 90) % 4 == turn
    assert result.residual_after < 0.5 * result.residual_before


def test_turned_part_keeps_its_place_where_turns_are_not_asked_for():
    """quarter_turns false: no method turns a part around."""
    reference = scan().image
    image = np.ascontiguousarray(np.rot90(reference, 2))
    for method in ("ecc", "phase", "features"):
        aligner = Aligner(reference, method=method, motion="euclidean", quarter_turns=False)
        angle = np.arctan2(*aligner.align(image).matrix[1::-1, 0])
        assert abs(angle) < np.pi / 4


@pytest.mark.parametrize("method", ["ecc", "phase", "features"])
def test_brightness_changes_the_match_little(method):
    """0.7 times as bright, with an offset: edge strength cancels both but for rounding."""
    reference = scan().image
    image = warp_image(reference, turned_matrix(3, shift=(4, 5)), height_px=256, width_px=256)
    dim = np.rint(image * 0.7 + 25).astype(np.uint8)
    aligner = Aligner(reference, method=method, motion="euclidean")
    plain, dimmed = aligner.align(image), aligner.align(dim)
    assert plain.status == dimmed.status == "aligned"
    assert corner_error(plain.matrix, dimmed.matrix) < 0.5
    assert dimmed.residual_after == pytest.approx(plain.residual_after, abs=0.02)


def test_displaced_component_does_not_pull_the_part_along():
    """Robust weights: a die that slid by 6 px moves the transform by less than 0.2 px."""
    reference = scan().image
    image = reference.copy()
    image[45:155, 60:145] = reference[45:155, 54:139]
    result = Aligner(reference, method="ecc", motion="euclidean").align(image)
    assert corner_error(result.matrix, np.eye(3)) < 0.2


def test_other_size_is_aligned_at_full_resolution():
    """The image may be larger than the reference; the matrix is in both images' own pixels."""
    reference = scan().image
    canvas = np.full((300, 340), int(np.median(reference[:4])), np.uint8)
    canvas[20:276, 50:306] = reference
    result = Aligner(reference, method="ecc", motion="euclidean").align(canvas)
    assert result.status == "aligned"
    assert corner_error(result.matrix, shift_matrix(-50, -20)) < 0.3
    assert result.overlap == 1.0


def test_finer_image_of_the_same_part_is_scaled():
    """Half as many pixels again, similarity: the search also starts from the fitted scale."""
    reference = scan().image
    finer = cv2.resize(reference, (384, 384), interpolation=cv2.INTER_CUBIC)
    result = Aligner(reference, method="ecc", motion="similarity").align(finer)
    assert result.status == "aligned"
    # cv2.resize maps pixel centres x to (x + 0.5) / 1.5 - 0.5.
    truth = np.array([[1 / 1.5, 0, 0.5 / 1.5 - 0.5], [0, 1 / 1.5, 0.5 / 1.5 - 0.5], [0, 0, 1]])
    assert corner_error(result.matrix, truth, height_px=384, width_px=384) < 0.5


def test_reduced_images_give_a_matrix_in_full_pixels():
    """max_long_side_px trades accuracy for time, not the meaning of the matrix."""
    reference = scan().image
    truth = turned_matrix(5, shift=(-7, 3))
    image = warp_image(reference, np.linalg.inv(truth), height_px=256, width_px=256)
    aligner = Aligner(reference, method="ecc", motion="euclidean", max_long_side_px=140)
    assert corner_error(aligner.align(image).matrix, truth) < 0.5


def test_ecc_agrees_with_opencv():
    """Independent: OpenCV's forward, unweighted ECC from the same start on the same edges."""
    fixed = alignment._edge_strength(scan().image.astype(np.float32))
    part = scan("part", max_rotation_deg=1.5, max_shift_fraction=0.01)
    moving = alignment._edge_strength(part.image.astype(np.float32))
    ours = alignment._maximise_ecc(fixed, moving, np.eye(3), motion="euclidean")
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-7)
    start = np.eye(2, 3, dtype=np.float32)
    _, rows = cv2.findTransformECC(fixed, moving, start, cv2.MOTION_EUCLIDEAN, criteria, None, 1)
    theirs = np.linalg.inv(np.vstack([rows, [0, 0, 1]]))
    # Ours weighs displaced dies down, theirs does not.
    assert corner_error(ours, theirs) < 0.4
    assert corner_error(ours, part.matrix) < 0.4


# --- refusing ----------------------------------------------------------------------------------


def woven(rng, size_px=192):
    """Carpet: a fine regular weave under coarse wear, at a phase of its own."""
    y, x = np.mgrid[:size_px, :size_px]
    phase = rng.uniform(0, 2 * np.pi, 2)
    weave = np.sign(np.sin(2 * np.pi * x / 9 + phase[0]) * np.sin(2 * np.pi * y / 9 + phase[1]))
    wear = cv2.GaussianBlur(rng.normal(0, 60, weave.shape), (0, 0), 1.5)
    return np.clip(120 + 40 * weave + wear, 0, 255).astype(np.uint8)


def wooden(rng, size_px=192):
    """Wood: long grain along one direction, nowhere alike."""
    grain = cv2.GaussianBlur(rng.normal(0, 1, (size_px, size_px)), (0, 0), sigmaX=2, sigmaY=40)
    grey = 128 + 35 * grain / grain.std() + rng.normal(0, 6, grain.shape)
    return np.clip(grey, 0, 255).astype(np.uint8)


def cloudy(rng, size_px=192):
    """Leather-like blobs: smooth enough that chance matches are not rare."""
    blobs = cv2.GaussianBlur(rng.normal(0, 1, (size_px, size_px)), (0, 0), 10)
    return np.clip(128 + 40 * blobs / blobs.std(), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("texture", [woven, wooden, cloudy])
@pytest.mark.parametrize(
    ("method", "motion"), [("ecc", "euclidean"), ("ecc", "homography"), ("features", "affine")]
)
def test_texture_without_structure_does_not_get_worse(texture, method, motion):
    """Two pieces of carpet have nothing to align: they stay, or lie better than before."""
    rng = np.random.default_rng(0)
    aligner = Aligner(texture(rng), method=method, motion=motion)
    for _ in range(2):
        result = aligner.align(texture(rng))
        assert result.residual_after <= result.residual_before
        if result.status == "kept_original":
            np.testing.assert_array_equal(result.matrix, np.eye(3))


@pytest.mark.parametrize("method", ["ecc", "phase", "features"])
def test_unrelated_noise_keeps_its_place(method):
    """A best match always exists; one that chance explains is refused."""
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    result = Aligner(rgb(scan().image), method=method, motion="similarity").align(noise)
    assert result.status == "kept_original"
    np.testing.assert_array_equal(result.matrix, np.eye(3))
    assert result.residual_after == result.residual_before
    assert result.overlap == 1.0


@pytest.mark.parametrize("method", ["ecc", "phase", "features"])
@pytest.mark.parametrize("is_reference_flat", [True, False])
def test_constant_image_keeps_its_place(method, is_reference_flat):
    """Nothing to hold on to, in the image or in the reference: no exception."""
    flat, part = np.full((256, 256, 3), 90, np.uint8), rgb(scan().image)
    reference, image = (flat, part) if is_reference_flat else (part, flat)
    result = Aligner(reference, method=method, motion="euclidean").align(image)
    assert result.status == "kept_original"
    assert result.residual_before == 1.0


@pytest.mark.parametrize("method", ["ecc", "phase", "features"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (20, 30), (1500, 20), (400, 1)])
def test_image_of_any_size_is_no_exception(method, shape):
    """Slivers and specks keep their place, in the image's role and in the reference's."""
    rng = np.random.default_rng(0)
    odd = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    part = rgb(scan().image)
    for reference, image in ((part, odd), (odd, part), (odd, odd[::-1].copy())):
        result = Aligner(reference, method=method, motion="similarity").align(image)
        assert result.status in ALIGNMENT_STATUSES
        assert np.isfinite([result.residual_before, result.residual_after]).all()
        assert 0 <= result.overlap <= 1
        if min(shape) < 16:
            assert result.status == "kept_original"


def test_transform_that_makes_the_match_worse_is_refused(monkeypatch):
    """Whatever a method claims, the match decides."""
    reference = scan().image
    aligner = Aligner(reference, method="ecc", motion="euclidean")
    monkeypatch.setattr(aligner, "_find_ecc", lambda grey, levels: turned_matrix(5))
    result = aligner.align(scan("other").image)
    assert result.status == "kept_original"
    np.testing.assert_array_equal(result.matrix, np.eye(3))


@pytest.mark.parametrize(
    "matrix",
    [
        np.diag([1.0, -1.0, 1.0]),
        np.diag([1.0, 2.0, 1.0]),
        np.diag([0.0, 0.0, 1.0]),
        np.array([[1, 0, 0], [0, 1, 0], [0.02, 0, 1.0]]),
        np.full((3, 3), np.nan),
    ],
    ids=["mirror", "stretch", "collapse", "keystone", "nan"],
)
def test_impossible_transform_is_refused(matrix):
    """A part on a stage is not mirrored, stretched twofold or folded."""
    aligner = Aligner(scan().image, method="ecc", motion="homography")
    assert not aligner._is_sane(matrix, (256, 256))
    assert aligner._is_sane(turned_matrix(187, scale=1.1), (256, 256))


def test_image_already_in_place_is_aligned():
    """The reference itself has nothing to improve, and is no refusal."""
    reference = scan().image
    result = Aligner(reference, method="ecc", motion="euclidean").align(reference)
    assert result.status == "aligned"
    assert corner_error(result.matrix, np.eye(3)) < 0.01
    assert result.residual_after == pytest.approx(0, abs=1e-6)


def test_method_none_measures_and_moves_nothing():
    """not_requested: the identity, with the residual as a fact."""
    result = Aligner(scan().image, method="none").align(scan("other").image)
    assert result.status == "not_requested"
    assert result.status in ALIGNMENT_STATUSES
    np.testing.assert_array_equal(result.matrix, np.eye(3))
    assert 0 < result.residual_before == result.residual_after < 1


def test_alignment_repeats_itself():
    """No chance is left in any method."""
    reference = scan().image
    image = scan("part", max_rotation_deg=5.0).image
    for method in ("ecc", "phase", "features"):
        first, second = (
            Aligner(reference, method=method, motion="similarity").align(image) for _ in range(2)
        )
        np.testing.assert_array_equal(first.matrix, second.matrix)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "sift"}, "none, phase, ecc, features, got 'sift'"),
        ({"motion": "rigid"}, "got 'rigid'"),
        ({"method": "phase", "motion": "affine"}, "use motion similarity, or method ecc"),
        ({"quarter_turns": "yes"}, "true, false or auto, got 'yes'"),
        ({"max_long_side_px": 10}, "at least 128, got 10"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    """Before any image is read, with what was found and what would do."""
    with pytest.raises(ValueError, match=message):
        Aligner(np.zeros((64, 64), np.uint8), **settings)


# --- choosing the reference -----------------------------------------------------------------------


def test_medoid_is_the_image_in_the_middle():
    """By hand: vectors at 0, 10 and 60 degrees; the sums of distances are least at 10 degrees."""
    axes = np.array([[1, -1, 0, 0], [0, 0, 1, -1]], float)
    angles = np.deg2rad([0, 60, 10])
    thumbnails = [100 * (np.cos(a) * axes[0] + np.sin(a) * axes[1]).reshape(2, 2) for a in angles]
    assert choose_reference(thumbnails) == 2


def test_medoid_ignores_brightness_and_outliers():
    """Gain and offset do not count, and one strange image is never the reference."""
    rng = np.random.default_rng(0)
    base = rng.integers(40, 120, (16, 16)).astype(np.uint8)
    strange = rng.integers(0, 255, (16, 16)).astype(np.uint8)
    constant = np.full((16, 16), 7, np.uint8)
    assert choose_reference([strange, constant, base, base + 60, base // 2 * 2]) == 2


def test_medoid_of_many_is_near_the_exact_one():
    """The subsample costs little: the choice is among the best tenth of the exact ranking."""
    rng = np.random.default_rng(2)
    base = rng.normal(size=(8, 8))
    thumbnails = base + rng.uniform(0.1, 2, (300, 1, 1)) * rng.normal(size=(300, 8, 8))
    chosen = choose_reference(thumbnails, max_compared=40, seed=1)
    assert chosen == choose_reference(thumbnails, max_compared=40, seed=1)
    rows = thumbnails.reshape(300, -1)
    rows = (rows - rows.mean(1, keepdims=True)) / rows.std(1, keepdims=True)
    exact = np.linalg.norm(rows[:, None] - rows[None], axis=2).mean(axis=1)
    assert (exact < exact[chosen]).sum() < 30


def test_medoid_needs_thumbnails_of_one_shape():
    """No image and two shapes are refused."""
    with pytest.raises(ValueError, match="at least one good training image, got none"):
        choose_reference([])
    with pytest.raises(ValueError, match="must have one shape"):
        choose_reference([np.zeros((2, 2)), np.zeros((2, 3))])
