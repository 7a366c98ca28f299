"""What methods need of a data set that it may lack: good parts, a reference, masks.

Told with the audit, before anything costs time. Methods that learn in folds say so themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd


def lacking(
    manifest: pd.DataFrame,
    train: pd.DataFrame,
    references: pd.DataFrame,
    needs: Mapping[str, Sequence[str]],
) -> Iterator[str]:
    """Say of each method, and each category, what is not there.

    Args:
        manifest: Scored images.
        train: Images for thresholds and references.
        references: Reference image of each category.
        needs: What each method, or the alignment, needs: `reference`; `good` to set a threshold;
            `good_training` images; `truth`, a mask that shows a defect.

    Yields:
        A line each, with what would help.
    """
    of_reference = set(references["category"])
    for name, kinds in needs.items():
        for category, own in manifest.groupby("category", sort=True):
            trained = train[(train["category"] == category) & (train["label"] == "OK")]
            good = own[own["label"] == "OK"]
            if "reference" in kinds and category not in of_reference:
                yield (
                    f"{name}: needs a reference, which reference: auto takes from good parts, and "
                    f"category {category} has none; add good parts, or name a reference image"
                )
            elif "good" in kinds and not len(train) and _n_parts(good) < 2:
                yield (
                    f"{name}: sets its threshold by at least 2 independent good parts of each "
                    f"category, and category {category} has {_n_parts(good)}; add good parts"
                )
            elif "good" in kinds and len(train) and trained.empty:
                yield (
                    f"{name}: sets its threshold by good training images of each category, and "
                    f"category {category} has none; add some, or raise split.train_fraction"
                )
            elif "good_training" in kinds and _n_parts(trained) < 2:
                yield (
                    f"{name}: learns from at least 2 independent good training images of each "
                    f"category, and category {category} has {_n_parts(trained)}; add good parts, "
                    "or raise split.train_fraction"
                )
            elif "truth" in kinds and own[own["label"] == "NOK"]["mask_path"].isna().all():
                yield (
                    f"{name}: sets its threshold by the masks of defective parts, and category "
                    f"{category} has none; set binarise: good or union"
                )


def _n_parts(images: pd.DataFrame) -> int:
    """Number of parts, of which views of one group count once."""
    return images["group"].fillna(images["image_id"]).nunique()
