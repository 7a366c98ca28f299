"""Format: images in the folders OK and NOK, masks of the defective ones in `masks`."""

from typing import ClassVar, Literal

from realitycheck.datasets.records import Listing, Record
from realitycheck.datasets.settings import DatasetBlock

LICENCE = "drawn for a test"


class Settings(DatasetBlock):
    """Images in one folder for each label."""

    format: Literal["good_and_bad"]
    root: str
    layout: ClassVar[str] = "the folders OK, NOK and masks"


def list_images(root, settings):
    """List the images of both folders; each part is a group of its own."""
    return Listing(
        [
            Record(
                image_id=f"part/{label}/{path.stem}",
                category="part",
                label=label,
                defect_type=None,
                split="test",
                group=None,
                image_path=path,
                mask_path=root / "masks" / path.name if label == "NOK" else None,
            )
            for label in ("OK", "NOK")
            for path in sorted((root / label).glob("*.png"))
        ],
        [],
    )
