"""Look into every file of a data set before anything expensive is done with it.

All images and masks are decoded completely, and all faults are collected, so that a user mends a
data set once and not once per fault.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from realitycheck.core.constants import LABELS, MAX_DECODED_MB
from realitycheck.core.decoding.decoded import ImageError
from realitycheck.core.images import IDENTITY, ImageFacts, image_facts, intensity_problem
from realitycheck.core.masks import MaskFacts, MaskReading, look_at_mask, shape_turned
from realitycheck.core.schemas import MANIFEST
from realitycheck.datasets.mask_rules import (
    Mask,
    MaskValues,
    Readings,
    decide_readings,
    threshold_of,
)
from realitycheck.datasets.records import Fault, Faults, Record

#: Columns of a manifest without its key `dataset`; the digests are of the files' bytes.
COLUMNS = tuple(name for name in MANIFEST.columns if name != "dataset")

_INTEGERS = ("width_px", "height_px", "bit_depth", "n_channels")


@dataclass(frozen=True)
class _Looked:
    """What one image and its mask turned out to be; None where a file cannot be read."""

    facts: ImageFacts | None
    mask: MaskFacts | None
    faults: tuple[Fault, ...]


def check_records(
    records: Sequence[Record],
    listing_faults: Iterable[Fault] = (),
    *,
    mask_values: MaskValues = "auto",
    mask_background: str = "auto",
    mask_orientation: str = "auto",
    intensity: Mapping[str, object] = IDENTITY,
    requires_masks: bool = False,
    missing_masks: str = "fault",
    allow_duplicates: bool = False,
    max_decoded_mb: float = MAX_DECODED_MB,
    root: Path = Path("."),
    n_workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[pd.DataFrame, list[Fault]]:
    """Check all images and masks of a data set, and tabulate them.

    Found are: files that are missing, damaged, cut short, too large or of no known kind; samples
    that the intensity mapping cannot take, or that leave most of their depth unused in all images
    (10, 12 or 14 bits in 16); masks of another size than the image as it is shown, whose values or
    orientation can be read in several ways, empty on a defective part or not empty on a good one;
    defective parts without mask where others have one; two images with one id; the same picture
    twice, byte for byte or saved in two ways; no test image at all.

    Memory holds `n_workers` images at a time, each some 6 times `max_decoded_mb` at most.

    Args:
        records: What a format's listing found.
        listing_faults: What was wrong already; returned first.
        mask_values: What the values of the masks mean; see `decide_readings`.
        mask_background: As for `decide_readings`.
        mask_orientation: As for `decide_readings`.
        intensity: How images become 8-bit, as for `read_image`.
        requires_masks: Whether every NOK image needs a mask. If not, a data set without any mask
            is accepted (IoU is then not available), but not one with some.
        missing_masks: `fault`, or `label_only`: NOK images without a mask have a label only.
        allow_duplicates: Whether the same picture may occur twice, as in some public sets.
        max_decoded_mb: Largest file, and largest image in it, that is decoded, in MB (10^6 bytes).
        root: Folder that faults of the whole set are reported for.
        n_workers: Threads that decode.
        progress: Called with the number of records done and of all, after each.

    Returns:
        The manifest, one row per record sorted by `image_id`, with `COLUMNS` (paths as given;
        None where there is no mask, defect type or group; sizes are missing where the image cannot
        be read), and the faults. Only a manifest without faults is fit for use.

    Raises:
        ValueError: If an argument is out of range.
    """
    if n_workers < 1:
        raise ValueError(f"n_workers must be at least 1, found {n_workers}")
    intensity_problem("uint8", intensity)  # Bad settings show here and not in every image.
    records = sorted(records, key=lambda record: (record.image_id, str(record.image_path)))

    def look(record: Record) -> _Looked:
        return _look_at(record, threshold_of(mask_values), intensity, max_decoded_mb)

    looked = []
    with ThreadPoolExecutor(n_workers) as pool:
        for found in pool.map(look, records):
            looked.append(found)
            if progress is not None:
                progress(len(looked), len(records))

    faults = list(listing_faults)
    if records or not faults:
        faults += _label_faults(records, root)
    faults += _id_faults(records)
    if missing_masks == "fault":
        faults += _missing_mask_faults(records, requires_masks, root)
    faults += _unused_depth_faults(records, looked, intensity, root)
    readings, doubts = decide_readings(
        list(_masks_of(records, looked)),
        values=mask_values,
        background=mask_background,
        orientation=mask_orientation,
    )
    faults += doubts
    for record, found in zip(records, looked, strict=True):
        faults += found.faults
        if record.mask_path in readings:
            faults += _compare(record, found, readings[record.mask_path])
    if not allow_duplicates:
        faults += _duplicate_faults(records, looked)
    return _manifest(records, looked, readings), faults


def _look_at(
    record: Record,
    threshold: float | None,
    intensity: Mapping[str, object],
    max_decoded_mb: float,
) -> _Looked:
    """Decode an image and its mask."""
    facts, mask = None, None
    faults = Faults()
    try:
        facts = image_facts(record.image_path, max_decoded_mb=max_decoded_mb)
    except ImageError as error:
        faults.add(error.path, error.problem, error.remedy)
    else:
        problem = intensity_problem(facts.sample_type, intensity)
        if problem:
            faults.add(record.image_path, *problem)
    if record.mask_path is not None:
        try:
            mask = look_at_mask(
                record.mask_path, threshold=threshold, max_decoded_mb=max_decoded_mb
            )
        except ImageError as error:
            problem = error.problem
            if not record.mask_path.exists():
                problem = f"expected the mask of {record.image_path}, found no file"
            faults.add(error.path, problem, error.remedy)
    return _Looked(facts, mask, tuple(faults))


def _masks_of(records: Sequence[Record], looked: Sequence[_Looked]) -> Iterator[Mask]:
    """Masks that can be read, beside their images; an image that cannot be read says nothing."""
    for record, found in zip(records, looked, strict=True):
        mask, facts = found.mask, found.facts
        if mask is not None:
            own = shape_turned(mask.height_px, mask.width_px, mask.orientation)
            yield Mask(
                facts=mask,
                is_good=record.label == "OK",
                image_path=record.image_path,
                image_orientation=mask.orientation if facts is None else facts.orientation,
                image_shape=own if facts is None else (facts.height_px, facts.width_px),
            )


def _compare(record: Record, found: _Looked, readings: Sequence[MaskReading]) -> list[Fault]:
    """Compare a mask with the size and the label of its image, as far as each reading agrees."""
    faults = Faults()
    facts, mask = found.facts, found.mask
    height, width = shape_turned(mask.height_px, mask.width_px, readings[0].orientation)
    if facts is not None and (height, width) != (facts.height_px, facts.width_px):
        swapped = (width, height) == (facts.height_px, facts.width_px)
        faults.add(
            record.mask_path,
            f"expected a mask of {facts.width_px} x {facts.height_px} px (width x height) as "
            f"its image {record.image_path} is shown, found {width} x {height} px",
            "turn the mask as the image is turned (EXIF orientation)"
            if swapped
            else "draw or export the mask at the size of the image",
        )
    n_defect_px = [mask.count(reading) for reading in readings]
    if record.label == "NOK" and not any(n_defect_px):
        faults.add(
            record.mask_path,
            f"expected defect pixels, because {record.image_path} is NOK, found an empty mask "
            f"(the values {', '.join(mask.values)} are read as background or undecided)",
            "draw the defect, or move the image to OK; or delete the file and set "
            "missing_masks: label_only, so that the image counts by its label alone",
        )
    if record.label == "OK" and all(n_defect_px):
        faults.add(
            record.mask_path,
            f"expected an empty mask or none, because {record.image_path} is OK, found "
            f"{min(n_defect_px)} defect pixels",
            "remove the mask, or move the image to NOK",
        )
    return faults


def _label_faults(records: Sequence[Record], root: Path) -> list[Fault]:
    if any(record.split == "test" for record in records):
        return []
    return [
        Fault(
            Path(root),
            f"expected images to score, found none in the test split ({len(records)} in train)",
            "add images, or choose another split",
        )
    ]


def _id_faults(records: Sequence[Record]) -> list[Fault]:
    by_id = defaultdict(list)
    for record in records:
        by_id[record.image_id].append(record)
    return [
        Fault(
            same[0].image_path,
            f"expected an image id of its own, found {image_id!r} also for {_names(same[1:])}",
            "rename all but one, or move masks into masks/ (endings such as .png do not count, nor "
            "how letters with accents are composed)",
        )
        for image_id, same in by_id.items()
        if len(same) > 1
    ]


def _missing_mask_faults(
    records: Sequence[Record], requires_masks: bool, root: Path
) -> list[Fault]:
    bad = [record for record in records if record.label == "NOK"]
    bare = [record for record in bad if record.mask_path is None]
    if len(bare) < len(bad):
        return [
            Fault(
                record.image_path,
                f"expected a mask, because {len(bad) - len(bare)} of {len(bad)} NOK images have "
                "one, found none",
                "draw the mask; or set missing_masks: label_only, so that images without a mask "
                "count by their label alone",
            )
            for record in bare
        ]
    if bare and requires_masks:
        return [
            Fault(
                Path(root),
                f"expected a mask for each NOK image, found none for all {len(bare)} (first: "
                f"{bare[0].image_path})",
                "add the masks, or run only methods that need no mask",
            )
        ]
    return []


def _unused_depth_faults(
    records: Sequence[Record],
    looked: Sequence[_Looked],
    intensity: Mapping[str, object],
    root: Path,
) -> list[Fault]:
    """Find the 8 to 14 bits of a camera in 16-bit files, by the values of all of them together."""
    deep = [
        (found.facts, record)
        for record, found in zip(records, looked, strict=True)
        if found.facts is not None and found.facts.bit_depth == 16
    ]
    if not deep or intensity.get("mapping", "identity") != "identity":
        return []
    lowest = int(min(facts.lowest for facts, _ in deep))
    highest, first = max((int(facts.highest), str(record.image_path)) for facts, record in deep)
    for bits in (8, 10, 12, 14):
        # White-is-zero files have the same values below the top.
        low = 0 if highest < 2**bits else 2**16 - 2**bits
        if low <= lowest and highest < low + 2**bits:
            break
    else:
        return []
    remedy = (
        f"set intensity: {{mapping: fixed, low: {low}, high: {low + 2**bits - 1}}} (or, if all is "
        "meant to be so dark or bright, low: 0 and high: 65535)"
    )
    if len(deep) < sum(found.facts is not None for found in looked):
        remedy += "; images of other depths need a data set of their own then"
    return [
        Fault(
            Path(root),
            f"expected values from 0 to 65535 in {len(deep)} images of 16 bits, found {lowest} to "
            f"{highest} in all of them (highest: {first}), as {bits}-bit data have that were saved "
            f"with 16 bits: the methods would see hardly any contrast",
            remedy,
        )
    ]


def _duplicate_faults(records: Sequence[Record], looked: Sequence[_Looked]) -> list[Fault]:
    by_picture = defaultdict(list)
    for record, found in zip(records, looked, strict=True):
        if found.facts is not None:
            by_picture[found.facts.pixel_digest].append((record, found.facts.sha256))
    faults = Faults()
    for same in by_picture.values():
        if len(same) < 2:
            continue
        kind = "the same file" if len({digest for _, digest in same}) == 1 else "the same picture"
        others = [record for record, _ in same[1:]]
        both = {record.label for record, _ in same} == set(LABELS)
        faults.add(
            same[0][0].image_path,
            f"expected a picture of its own, found {kind} also in {_names(others)}"
            + (", once as OK and once as NOK" if both else ""),
            "remove all but one, or set allow_duplicates",
        )
    return faults


def _names(records: Sequence[Record]) -> str:
    return ", ".join(str(record.image_path) for record in records)


def _manifest(
    records: Sequence[Record], looked: Sequence[_Looked], readings: Mapping[Path, Readings]
) -> pd.DataFrame:
    rows = []
    for record, found in zip(records, looked, strict=True):
        facts, (reading, *_) = found.facts, readings.get(record.mask_path, (None,))
        rows.append(
            {
                "image_id": record.image_id,
                "category": record.category,
                "label": record.label,
                "defect_type": record.defect_type,
                "split": record.split,
                "group": record.group,
                "image_path": str(record.image_path),
                "mask_path": None if record.mask_path is None else str(record.mask_path),
                "mask_sha256": None if found.mask is None else found.mask.sha256,
                "mask_reading": None if reading is None else reading.to_text(),
                "sha256": None if facts is None else facts.sha256,
                **{name: None if facts is None else getattr(facts, name) for name in _INTEGERS},
            }
        )
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for name in COLUMNS:
        if name not in _INTEGERS:
            table[name] = table[name].astype(object)
            table[name] = table[name].where(table[name].notna(), None)
        elif table[name].isna().any():
            table[name] = table[name].astype("Int64")
        else:
            table[name] = table[name].astype("int64")
    return table
