"""Drawn textures: five surfaces, each with its defects, each defect with its exact mask."""

import numpy as np
import pytest

from realitycheck.datasets.registry import FORMATS
from realitycheck.datasets.synthetic.textures import DEFECTS, SURFACES, draw_texture, generate


@pytest.mark.parametrize("category", SURFACES)
def test_defect_changes_the_surface_inside_its_mask_only(category):
    """Masks are the truth that methods are scored by."""
    for defect in DEFECTS[category]:
        good = draw_texture(np.random.default_rng([1, 2]), category, None, size_px=128)
        # The surface is drawn first, from the same chance, so both show the same one.
        bad = draw_texture(np.random.default_rng([1, 2]), category, defect, size_px=128)
        assert not good.mask.any()
        assert 0 < bad.mask.mean() < 0.2
        # Far from the defect both differ by the camera's exposure and noise alone.
        change = np.abs(bad.image.astype(float) - good.image).mean(axis=-1)
        inside, outside = change[bad.mask].mean(), np.median(change[~bad.mask])
        assert inside > outside


def test_counts_are_for_each_surface_and_defects_take_turns(tmp_path):
    """Every surface must be there with every of its defects."""
    settings = {"categories": ["tile", "wood"], "n_ok": 1, "n_nok": 4, "n_train": 1}
    settings |= {"image_size_px": 96, "seed": 0}
    FORMATS.open("synthetic_textures").generate(tmp_path, settings)
    found = sorted(
        p.relative_to(tmp_path / "images").as_posix() for p in tmp_path.glob("images/**/*.png")
    )
    assert [path for path in found if "/NOK/" in path] == [
        "test/NOK/tile/crack/0000.png",
        "test/NOK/tile/crack/0001.png",
        "test/NOK/tile/glue/0000.png",
        "test/NOK/tile/stain/0000.png",
        "test/NOK/wood/hole/0000.png",
        "test/NOK/wood/hole/0001.png",
        "test/NOK/wood/scratch/0000.png",
        "test/NOK/wood/stain/0000.png",
    ]
    assert len(found) == 2 * (1 + 1 + 4)


def test_unknown_surface_is_refused(tmp_path):
    """The message must name those that there are."""
    with pytest.raises(ValueError, match="expected some of carpet, grid"):
        generate(tmp_path, categories=["paper"], n_ok=1, n_nok=1, n_train=0)
