"""Everyday scenes, the training domain of the small networks, are drawn with exact truth."""

import numpy as np
import pytest

from realitycheck.datasets.synthetic.everyday import BACKGROUNDS, draw_background, draw_scene
from realitycheck.datasets.synthetic.everyday_parts import NOUNS


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(np.random.default_rng([5, index]), size_px=96) for index in range(12)]


def test_same_seed_gives_the_same_scene():
    """A training that is resumed, or repeated elsewhere, must see the same scenes."""
    first, again, other = (
        draw_scene(np.random.default_rng(seed), size_px=96) for seed in (3, 3, 4)
    )
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.identities, again.identities)
    assert first.instances == again.instances
    assert not np.array_equal(first.image, other.image)


def test_boxes_and_areas_are_those_of_the_visible_pixels(scenes):
    """Boxes teach the detector, and masks teach SAM: they must say the same."""
    n_seen = 0
    for scene in scenes:
        for instance in scene.instances:
            rows, columns = np.nonzero(scene.identities == instance.identity)
            assert instance.area_px == len(rows)
            assert instance.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            n_seen += 1
    assert n_seen > 12


def test_parts_belong_to_one_thing_each(scenes):
    """A part asked for by a point must not run over into the neighbour."""
    for scene in scenes:
        assert np.array_equal(scene.parts > 0, scene.identities > 0)
        for part in np.unique(scene.parts[scene.parts > 0]):
            assert len(np.unique(scene.identities[scene.parts == part])) == 1


def test_phrase_says_colour_finish_and_noun(scenes):
    """Captions are made of what was drawn."""
    for instance in (i for scene in scenes for i in scene.instances):
        words = instance.phrase.split()
        assert (words[0], words[-1]) == (instance.colour, instance.noun)
        assert ("plain" not in words) and (len(words) == 2 + (instance.finish != "plain"))


@pytest.mark.parametrize("noun", NOUNS)
def test_every_noun_has_closed_outlines_near_its_unit_square(noun):
    """A misplaced part would be cut off, or make a thing another size than asked for."""
    for seed in range(5):
        parts = NOUNS[noun](np.random.default_rng(seed))
        assert parts
        points = np.concatenate([part.outline for part in parts])
        assert np.isfinite(points).all()
        assert np.abs(points).max() < 1.7


def test_unknown_background_is_refused():
    """A misspelt kind must not draw another."""
    for kind in BACKGROUNDS:
        assert draw_background(np.random.default_rng(0), 40, 50, kind=kind).shape == (40, 50, 3)
    with pytest.raises(ValueError, match="expected one of room"):
        draw_background(np.random.default_rng(0), 40, 50, kind="sea")
