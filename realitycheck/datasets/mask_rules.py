"""Decide for all masks of a data set what their values mean, and how they lie on their images.

A setting decides where there is one. Else convention does (0, black, index 0 of a palette and
transparent are background), unless the borders and areas of all masks speak against it: a value
that holds the border and more than half of every mask is background. What stays in doubt is a fault
that shows the values and names the setting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from realitycheck.core.masks import TRANSPARENT, MaskFacts, MaskReading, ValueFacts, shape_turned
from realitycheck.datasets.records import Fault

#: A value that holds this share of a mask's border, and more than half of its area, looks like
#: its background.
_BORDER_SHARE = 0.95
#: Where so many of the pixels between lie at edges or alone, their values are no classes.
_LOOSE_SHARE = 0.1
#: Where a set gives only one value, it can stand for defect all over.
_FULL = frozenset({"255", "65535", "#ffffff"})
#: Index and colour of the border that PASCAL VOC leaves undecided.
_VOC_BORDER = ("255", "#e0e0c0")
_N_SHOWN = 8

_TURNS = {
    2: "mirrors",
    3: "turns by 180°",
    4: "mirrors upside down",
    5: "mirrors and turns by 90°",
    6: "turns by 90°",
    7: "mirrors and turns by 90°",
    8: "turns by 270°",
}

MaskValues = str | Mapping[str, str | float]
Readings = tuple[MaskReading, ...]


class Mask(NamedTuple):
    """A mask beside the image that it belongs to.

    Attributes:
        facts: What the file holds.
        is_good: Whether the image is OK.
        image_path: The image.
        image_orientation: EXIF orientation of the image.
        image_shape: Height and width of the image as it is shown.
    """

    facts: MaskFacts
    is_good: bool
    image_path: Path
    image_orientation: int
    image_shape: tuple[int, int]


def threshold_of(values: MaskValues) -> float | None:
    """Threshold that `mask_values` sets; None if it sets none."""
    return None if isinstance(values, str) else values.get("threshold")


def decide_readings(
    masks: Sequence[Mask], *, values: MaskValues, background: str, orientation: str
) -> tuple[dict[Path, Readings], list[Fault]]:
    """Decide how the masks of a data set are read, over all of them.

    Masks of one form (grey, palette, colour, with transparent pixels) are read alike.

    Args:
        masks: All masks that can be decoded, looked at with the threshold of `values`.
        values: `auto`, `nonzero`, `{"threshold": level}`, or what each value means: `defect`,
            `background` or `ignore` by its name.
        background: `auto`, `dark` or `bright`.
        orientation: `auto`; `shown`: each mask is turned by its own EXIF orientation; `stored`: its
            stored pixels lie on the stored pixels of its image, whose orientation turns both.

    Returns:
        By the path of each mask the one way to read it, or, where that is in doubt, the two that
        call most and least of it a defect; and the doubts.
    """
    readings: dict[Path, Readings] = {}
    faults = []
    for form in dict.fromkeys(mask.facts.form for mask in masks):
        own = [mask for mask in masks if mask.facts.form == form]
        found, fault = _decide_values(form, own, values, background)
        readings |= found
        if fault is not None:
            faults.append(fault)
    turns, told, turn_faults = _decide_turns(masks, orientation)
    for path, possible in readings.items():
        readings[path] = tuple(
            replace(
                reading,
                orientation=turns[path],
                told="; ".join(filter(None, (reading.told, told.get(path)))),
            )
            for reading in possible
        )
    return readings, [*faults, *turn_faults]


# ----------------------------------------------------------------------------------------- values


def _decide_values(
    form: str, masks: Sequence[Mask], values: MaskValues, background: str
) -> tuple[dict[Path, Readings], Fault | None]:
    total = _sum(masks)
    conventional = masks[0].facts.ground
    threshold = threshold_of(values)
    if threshold is None and not isinstance(values, str):
        return _mapped(masks, total, {str(k): str(v) for k, v in values.items()})
    ground, told, fault = (conventional,), "", None
    if background != "auto":
        ground = _said_ground(form, total, conventional, background)
    elif values != "nonzero":
        ground, told, fault = _found_ground(form, masks, total, conventional)
    voc = total.get(_VOC_BORDER[0])
    is_voc = form == "palette" and voc is not None and voc.colour == _VOC_BORDER[1]
    reading = MaskReading(
        background=ground,
        ignore=_VOC_BORDER[:1] if is_voc else (),
        threshold=threshold,
        told=told,
    )
    soft = [mask for mask in masks if _is_soft(mask.facts)] if values == "auto" else []
    if soft:
        fault = _soft_fault(soft)
    if fault is None:
        return {mask.facts.path: (reading,) for mask in masks}, None
    return {
        mask.facts.path: _possible(mask, total, reading, is_soft=bool(soft)) for mask in masks
    }, fault


def _possible(
    mask: Mask, total: Mapping[str, ValueFacts], usual: MaskReading, *, is_soft: bool
) -> Readings:
    """How a mask can be read while its form is in doubt.

    Of soft edges the value that is farthest from the background may alone be defect. Else the value
    that holds most of the other borders may be the background, save of a mask that holds nothing
    but the usual one.
    """
    ground = usual.background
    others = [name for name in total if name not in (*ground, *usual.ignore)]
    if not others or set(mask.facts.values) <= set(ground):
        return (usual,)
    if not is_soft:
        other = max(others, key=lambda name: total[name].n_frame_px)
        return usual, replace(usual, background=(other,))
    level = total[ground[0]].brightness if ground[0] in total else 0.0
    farthest = max(others, key=lambda name: abs(total[name].brightness - level))
    between = tuple(name for name in others if name != farthest)
    return usual, replace(usual, background=(*ground, *between))


def _soft_fault(soft: Sequence[Mask]) -> Fault:
    level = _middle(soft[0].facts)
    return _fault(
        soft,
        f"expected regions of one value each, found soft edges or stray values in "
        f"{_shown(soft[0])} (from a smooth brush, resizing, JPEG, or a border of its own value)",
        f"set mask_values: {{threshold: {level}}} to take {level} and above for the defect, "
        "mask_values: nonzero for all but the background, or mask_values: {255: defect, 128: "
        "ignore} to say what each value is",
    )


def _mapped(
    masks: Sequence[Mask], total: Mapping[str, ValueFacts], meanings: Mapping[str, str]
) -> tuple[dict[Path, Readings], Fault | None]:
    known = {masks[0].facts.ground: "background"} | meanings
    background, ignore = (
        tuple(name for name, said in known.items() if said == meaning)
        for meaning in ("background", "ignore")
    )
    reading = MaskReading(background, ignore)
    strange = [mask for mask in masks if set(mask.facts.values) - set(known)]
    if not strange:
        return {mask.facts.path: (reading,) for mask in masks}, None
    names = [name for name in total if name not in known]
    fault = _fault(
        strange,
        f"expected only the values that mask_values names ({', '.join(meanings)}), found also "
        f"{', '.join(names[:_N_SHOWN])}{', …' if len(names) > _N_SHOWN else ''} in "
        f"{_shown(strange[0])}",
        "say in mask_values whether each is defect, background or ignore, or set "
        "mask_values: {threshold: …} if they are soft edges",
    )
    both = (reading, replace(reading, background=(*background, *names)))
    return {mask.facts.path: both for mask in masks}, fault


def _said_ground(
    form: str, total: Mapping[str, ValueFacts], conventional: str, background: str
) -> tuple[str, ...]:
    """Names of the background where a setting says whether it is dark or bright."""
    opaque = [name for name in total if name != TRANSPARENT]
    choose = min if background == "dark" else max
    if form != "transparent":
        # Masks of one value all over: the other one is not there to be compared with.
        is_full = len(opaque) == 1 and background == "dark"
        return (conventional if is_full else choose(opaque, key=lambda n: total[n].brightness),)
    # Strokes of one colour on nothing: there is no other ground.
    if len(opaque) < 2:
        return (TRANSPARENT,)
    return TRANSPARENT, choose(opaque, key=lambda name: total[name].brightness)


def _found_ground(
    form: str, masks: Sequence[Mask], total: Mapping[str, ValueFacts], conventional: str
) -> tuple[tuple[str, ...], str, Fault | None]:
    """Background by convention, borders and areas; what was decided by a rule; or the doubt."""
    as_usual = ((conventional,), "", None)
    if form == "transparent" and {"#000000", "#ffffff"} & set(total) and len(total) > 2:
        return *as_usual[:2], _doubt(masks, total, "transparent pixels and an opaque ground")
    telling = [mask for mask in masks if mask.is_good or len(mask.facts.values) > 1]
    if not telling:
        only = set(total) - {conventional}
        if only <= _FULL or TRANSPARENT in total:
            return as_usual
        return *as_usual[:2], _doubt(masks, total, "no background")
    counted = _sum(telling)
    others = {name: found.n_frame_px for name, found in counted.items() if name != conventional}
    if not others:
        return as_usual
    other = max(others, key=others.__getitem__)
    looking = [mask for mask in telling if _looks_like_ground(mask.facts, other)]
    is_used = conventional in counted
    if len(looking) == len(telling) and (len(looking) > 1 or not is_used):
        told = (
            f"{_named(other, counted)} is read as background, because it holds the border and "
            f"more than half of {_all(len(telling))}"
        )
        return (other,), told, None
    if looking:
        why = f"{_named(other, counted)} around the rest in {len(looking)} of {_masks(telling)}"
        return *as_usual[:2], _doubt(looking, counted, why)
    n_px = sum(found.n_px for found in counted.values())
    n_frame_px = sum(found.n_frame_px for found in counted.values())
    usual = counted.get(conventional)
    if usual is None or (2 * usual.n_px < n_px and 2 * usual.n_frame_px < n_frame_px):
        return *as_usual[:2], _doubt(masks, counted, "no value that is clearly the background")
    return as_usual


def _looks_like_ground(facts: MaskFacts, name: str) -> bool:
    found = facts.values.get(name)
    if found is None:
        return False
    n_frame_px = sum(each.n_frame_px for each in facts.values.values())
    n_px = facts.height_px * facts.width_px
    return found.n_frame_px >= _BORDER_SHARE * n_frame_px and 2 * found.n_px > n_px


def _is_soft(facts: MaskFacts) -> bool:
    if facts.is_lossy and len(facts.values) > 2:
        return True
    return facts.n_between > 0 and facts.n_loose >= _LOOSE_SHARE * facts.n_between


def _middle(facts: MaskFacts) -> str:
    """Level in the middle of a mask's range, in units of its file."""
    top = max(found.brightness for found in facts.values.values())
    return f"{top / 2:g}" if facts.form == "grey" and (top > 255 or top <= 1) else "128"


def _doubt(masks: Sequence[Mask], total: Mapping[str, ValueFacts], why: str) -> Fault:
    values = ", ".join(f"{_quoted(name)}: …" for name in list(total)[:2])
    return _fault(
        masks,
        f"expected masks that show what is background, found {why}: {_listed(total)} in all",
        "look at one: set mask_background: dark or bright to say which is the background, or "
        f"mask_values: {{{values}}} to say which is defect, background or ignore, or correct the "
        "masks",
    )


def _fault(masks: Sequence[Mask], problem: str, remedy: str) -> Fault:
    paths = [mask.facts.path for mask in masks]
    if len(paths) > 1:
        problem += f" ({len(paths)} such masks, also {_names(paths[1:])})"
    return Fault(paths[0], problem, remedy)


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths[:3]) + (", …" if len(paths) > 3 else "")


def _sum(masks: Iterable[Mask]) -> dict[str, ValueFacts]:
    """Values of masks of one form, counted together."""
    pixels: Counter[str] = Counter()
    frames: Counter[str] = Counter()
    looks = {}
    for mask in masks:
        for name, found in mask.facts.values.items():
            pixels[name] += found.n_px
            frames[name] += found.n_frame_px
            looks[name] = (found.brightness, found.colour)
    return {name: ValueFacts(pixels[name], frames[name], *looks[name]) for name in looks}


def _shown(mask: Mask) -> str:
    return f"{_listed(mask.facts.values)} of a {mask.facts.form} mask"


def _listed(values: Mapping[str, ValueFacts]) -> str:
    """List values with their counts, at most eight of them."""
    shown = [
        f"{_named(name, values)} ({found.n_px:,} px)"
        for name, found in list(values.items())[:_N_SHOWN]
    ]
    noun = "value" if len(values) == 1 else "values"
    return f"{len(values)} {noun}: {', '.join(shown)}{', …' if len(values) > _N_SHOWN else ''}"


def _named(name: str, values: Mapping[str, ValueFacts]) -> str:
    colour = values[name].colour
    return f"{name} ({colour})" if colour else name


def _quoted(name: str) -> str:
    return f'"{name}"' if name.startswith("#") else name


def _masks(masks: Sequence[Mask]) -> str:
    return f"{len(masks)} masks" if len(masks) > 1 else "one mask"


def _all(n: int) -> str:
    return f"all {n} masks" if n > 1 else "the one mask"


# ------------------------------------------------------------------------------------ orientation


def _decide_turns(
    masks: Sequence[Mask], wanted: str
) -> tuple[dict[Path, int], dict[Path, str], list[Fault]]:
    """Orientation that brings each mask onto its image, what a rule decided, and what is in doubt.

    Where only one of the two has an orientation, a tool has either turned the picture or passed
    over its tag. Sizes tell which of the two where width and height change places; what they say in
    all such cases holds for the others.
    """
    turns, told, doubtful = {}, {}, []
    votes: Counter[str] = Counter()
    for mask in masks:
        facts, stored = mask.facts, mask.image_orientation
        turns[facts.path] = stored if wanted == "stored" else facts.orientation
        if wanted != "auto" or stored == facts.orientation:
            continue
        fits = {
            name
            for name, turn in (("shown", facts.orientation), ("stored", stored))
            if shape_turned(facts.height_px, facts.width_px, turn) == mask.image_shape
        }
        if len(fits) == 1:
            votes.update(fits)
            if fits == {"stored"}:
                turns[facts.path] = stored
                told[facts.path] = "masks are turned as their images, whose stored size they have"
        elif fits:
            doubtful.append(mask)
    if len(votes) == 1:
        (rule,) = votes
        for mask in doubtful:
            path = mask.facts.path
            turns[path] = mask.image_orientation if rule == "stored" else mask.facts.orientation
            told[path] = f"masks lie on their images as {rule}, as sizes of others tell"
        doubtful = []
    if not doubtful:
        return turns, told, []
    first = doubtful[0]
    of_image, of_mask = first.image_orientation, first.facts.orientation
    owner, turn = ("its image", of_image) if of_image != 1 else ("it", of_mask)
    fault = _fault(
        doubtful,
        f"expected one EXIF orientation for a mask and its image {first.image_path}, found "
        f"{of_mask} for the mask and {of_image} for the image, which {_TURNS[turn]} {owner}; both "
        "ways have the same size",
        "look at one: set mask_orientation: shown if the masks lie on the images as viewers show "
        "them, or mask_orientation: stored if they lie on the pixels as they are stored",
    )
    return turns, told, [fault]
