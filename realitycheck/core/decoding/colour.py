"""Bring the colours of a picture to sRGB, as a viewer shows them."""

from functools import lru_cache

import imagecodecs
import numpy as np

#: Colours that differ less from sRGB than so many of 255 levels are left as they are: the many
#: profiles that call themselves sRGB differ by some.
_TOLERANCE = 12
_WITHOUT_SHORT_CUTS = 0x0100  # cmsFLAGS_NOOPTIMIZE
#: Of sRGB: chromaticities x, y and a luminance of 1.
_WHITE_XYY = (0.3127, 0.3290, 1.0)
_PRIMARIES_XYY = (0.64, 0.33, 1.0, 0.30, 0.60, 1.0, 0.15, 0.06, 1.0)
_SPACES = {b"GRAY": ("gray", 1), b"RGB ": ("rgb", 3), b"CMYK": ("cmyk", 4)}


def to_srgb(pixels: np.ndarray, profile: bytes) -> np.ndarray:
    """Convert pixels by an ICC profile, where it differs visibly from sRGB.

    A profile that is damaged or of another colour space than the pixels is left out of account, as
    viewers do.

    Args:
        pixels: uint8 or uint16, shape (H, W) grey, (H, W, 3) RGB or (H, W, 4) CMYK (more is more
            ink), over the whole range of the type.
        profile: The ICC profile.

    Returns:
        In the same type, of the same shape, CMYK as RGB (by plain arithmetic without a profile
        that fits).
    """
    space, n_channels = _SPACES.get(profile[16:20], (None, 0))
    if n_channels != (1 if pixels.ndim == 2 else pixels.shape[2]) or not _differs(profile, space):
        return ink_to_rgb(pixels) if pixels.shape[2:] == (4,) else pixels
    return _convert(pixels, profile, space)


def ink_to_rgb(ink: np.ndarray) -> np.ndarray:
    """Mix inks by plain arithmetic: white, less the share of each ink, less black.

    red = (top - black) - cyan * (top - black) / top

    Args:
        ink: uint8 or uint16, shape (H, W, 4), cyan, magenta, yellow, black; more is more ink.

    Returns:
        RGB of the same type, shape (H, W, 3).
    """
    top = np.uint32(np.iinfo(ink.dtype).max)
    light = top - ink[:, :, 3:].astype(np.uint32)
    taken = (ink[:, :, :3] * light + top // 2) // top
    return (light - taken).astype(ink.dtype)


def gamma_profile(gamma: float, *, is_grey: bool) -> bytes:
    """Make the profile of grey or RGB with sRGB's colours and a gamma: light = stored ^ gamma."""
    return imagecodecs.cms_profile(
        "gray" if is_grey else "rgb",
        whitepoint=_WHITE_XYY,
        primaries=None if is_grey else _PRIMARIES_XYY,
        gamma=gamma,
    )


def _convert(pixels: np.ndarray, profile: bytes, space: str) -> np.ndarray:
    def shown(values: np.ndarray, flags: int | None) -> np.ndarray:
        return imagecodecs.cms_transform(
            np.ascontiguousarray(values),
            profile,
            imagecodecs.cms_profile("srgb"),
            colorspace=space,
            outcolorspace="rgb",
            flags=flags,
        )

    if space != "gray":
        return shown(pixels, None)
    # Every level once: what lcms takes as a short cut for 16-bit grey is 8 of 255 levels off.
    levels = np.arange(np.iinfo(pixels.dtype).max + 1).astype(pixels.dtype)[None]
    return shown(levels, _WITHOUT_SHORT_CUTS)[0, :, 0][pixels]


@lru_cache(maxsize=64)
def _differs(profile: bytes, space: str | None) -> bool:
    """Whether colours come out visibly otherwise than they are stored; ink always does."""
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    if space == "gray":
        colours = np.arange(256, dtype=np.uint8)[None]
    else:
        colours = np.stack(np.meshgrid(*[levels] * 3), axis=-1).reshape(1, -1, 3)
    if space == "cmyk":
        colours = np.dstack([colours, colours[:, :, :1]])
    try:
        shown = _convert(colours, profile, space)
    except Exception:  # lcms refuses a damaged profile in its own ways
        return False
    return space == "cmyk" or int(abs(shown.astype(int) - colours).max()) > _TOLERANCE
