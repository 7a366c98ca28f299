"""CLIP Surgery + SAM: from stored tokens to one mask, with a stand-in for SAM's decoder."""

import numpy as np
import pytest

from realitycheck.methods.clip_surgery_sam import algorithm as clip_surgery_sam

SIZE = (40, 80)
NONE = np.zeros(2, np.float32)


def tokens_with(*peaks):
    """1 + 4² tokens of length 1; a peak (row, column) of 2 × 2 patches points along the x axis."""
    plane = np.zeros((4, 4))
    for row, column in peaks:
        plane[row : row + 2, column : column + 2] = 1
    flat = plane.ravel()
    return np.concatenate([[[0, 1]], np.stack([flat, 1 - flat], axis=1)]).astype(np.float32)


class Decoder:
    """Draws the 20 × 40 quarter of the image around the first positive point, and remembers."""

    def __init__(self):
        self.calls = []

    def __call__(self, points, labels):
        self.calls.append((points.tolist(), labels.tolist()))
        mask = np.zeros(SIZE, bool)
        x, y = points[0] // (40, 20)
        mask[y * 20 : y * 20 + 20, x * 40 : x * 40 + 40] = True
        return mask


def segment(tokens, text, decoder, **changes):
    settings = {
        "redundant_feature": NONE,
        "decode_points": decoder,
        "image_size_hw": SIZE,
        "norm_axis": "channels",
        "first_prompt_only": False,
    }
    return clip_surgery_sam.segment(tokens, np.array(text, np.float32), **{**settings, **changes})


def test_variants_are_the_published_switches():
    """The literal code without surgery is the third row of the tables."""
    published = clip_surgery_sam.VARIANTS["published"]
    assert published.surgery and published.double_norm and published.first_prompt_only
    assert published.norm_axis == "tokens" and published.antialias
    repaired = clip_surgery_sam.VARIANTS["repaired"]
    assert repaired.surgery and not repaired.double_norm and not repaired.first_prompt_only
    assert repaired.norm_axis == "channels"
    plain = clip_surgery_sam.VARIANTS["plain_clip"]
    assert not plain.surgery and plain.double_norm
    assert {v.clip_input_size for v in clip_surgery_sam.VARIANTS.values()} == {224}


def test_all_points_go_to_sam_as_one_prompt():
    """One positive and one negative point, at the centres of the 2 × 2 cells."""
    decoder = Decoder()
    found = segment(tokens_with((2, 2)), [[1, 0]], decoder)
    ((points, labels),) = decoder.calls
    assert labels == [1, 0] and points == [[60, 30], [20, 10]]
    assert found.mask[20:, 40:].all() and found.mask.sum() == 20 * 40
    assert (found.status, found.n_regions) == ("ok", 1)
    assert found.score == pytest.approx(1 / (1 + np.exp(-100)))


def test_the_redundant_feature_is_taken_away():
    """Text (1, 0.5) minus (0.5, 0.5): half the contrast remains, at the same place."""
    decoder = Decoder()
    text = np.array([[0.01, 0.5]])
    found = segment(
        tokens_with((0, 2)),
        text,
        decoder,
        redundant_feature=np.array([0.0, 0.5], np.float32),
    )
    assert found.score == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-6)
    assert found.mask[:20, 40:].all()


def test_the_class_token_points_nowhere():
    """It stands first and has no place in the image."""
    tokens = tokens_with((0, 0))
    tokens[0] = (1000, 0)
    decoder = Decoder()
    segment(tokens, [[1, 0]], decoder)
    assert decoder.calls[0][0][0] == [20, 10]


@pytest.mark.parametrize(("first_prompt_only", "n_regions"), [(True, 1), (False, 2)])
def test_prompts_after_the_first_count_only_if_repaired(first_prompt_only, n_regions):
    """The published code computes all maps and uses one."""
    tokens = np.zeros((17, 3), np.float32)
    tokens[:, 2] = 1
    tokens[[1, 2, 5, 6]] = (1, 0, 0)
    tokens[[11, 12, 15, 16]] = (0, 1, 0)
    decoder = Decoder()
    found = segment(
        tokens,
        [[1, 0, 0], [0, 1, 0]],
        decoder,
        redundant_feature=np.zeros(3, np.float32),
        first_prompt_only=first_prompt_only,
    )
    assert len(decoder.calls) == found.n_regions == n_regions
    assert found.mask.sum() == n_regions * 800


def test_a_constant_map_gives_an_empty_mask_without_asking_sam():
    """The published code fails here, with more points than labels."""
    decoder = Decoder()
    found = segment(np.ones((17, 2), np.float32), [[1, 0]], decoder)
    assert found[1:4] == (None, 0, "constant_map") and not found.mask.any()
    assert decoder.calls == []


def test_one_constant_map_of_two_does_not_hide_the_other():
    """The second prompt differs from the empty phrase, the first does not."""
    found = segment(tokens_with((0, 0)), [[0, 0], [1, 0]], Decoder())
    assert (found.status, found.n_regions) == ("ok", 1)


def test_a_mask_without_pixels_is_said_to_be_empty():
    """SAM may find nothing at the points."""
    found = segment(tokens_with((0, 0)), [[1, 0]], lambda points, labels: np.zeros(SIZE, bool))
    assert found.status == "empty" and found.n_regions == 0 and found.score > 0.99


def test_norm_axis_reaches_the_similarity():
    """Along the tokens, four equal peaks have length 1/2 each."""
    found = segment(tokens_with((0, 0)), [[0.02, 0]], Decoder(), norm_axis="tokens")
    assert found.score == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-6)


def test_what_does_not_belong_together_is_refused():
    """A decoder that returns three candidates, or no prompt at all."""
    with pytest.raises(ValueError, match=r"expected shape \(40, 80\) .* found \(3, 40, 80\)"):
        segment(tokens_with((0, 0)), [[1, 0]], lambda points, labels: np.zeros((3, *SIZE), bool))
    with pytest.raises(ValueError, match="at least one prompt"):
        segment(tokens_with((0, 0)), np.zeros((0, 2)), Decoder())
