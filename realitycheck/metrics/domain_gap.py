"""How far a data set lies from what the small networks were trained on, in image features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Everyday images of the bank.
BANK_SIZE = 64
#: Principal directions of the bank in which sets are compared; few, since sets are small.
N_DIRECTIONS = 16


@dataclass(frozen=True)
class FeatureBank:
    """Features of everyday images, and the scale on which others are compared with them.

    Attributes:
        mean: (D,).
        directions: Principal directions, each divided by the bank's deviation along it, (D, P).
        features: The bank along the directions, (N, P); mean 0 and deviation 1 in each.
        own_distance: Mean distance of a bank image to its nearest neighbour in the bank.
    """

    mean: np.ndarray
    directions: np.ndarray
    features: np.ndarray
    own_distance: float


def make_bank(features: np.ndarray, *, n_directions: int = N_DIRECTIONS) -> FeatureBank:
    """Make a bank of the features of everyday images.

    Args:
        features: (N, D), N larger than `n_directions`.
        n_directions: Principal directions that are kept.

    Returns:
        The bank.

    Raises:
        ValueError: If there are too few images.
    """
    if len(features) <= n_directions:
        raise ValueError(
            f"bank of everyday images: expected more than {n_directions}, found {len(features)}"
        )
    mean = features.mean(axis=0)
    _, scales, axes = np.linalg.svd(features - mean, full_matrices=False)
    deviations = scales[:n_directions] / np.sqrt(len(features) - 1)
    directions = axes[:n_directions].T / np.maximum(deviations, 1e-9)
    along = (features - mean) @ directions
    distances = np.linalg.norm(along[:, None] - along[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    return FeatureBank(mean, directions, along, float(distances.min(axis=1).mean()))


def frechet_distance(bank: FeatureBank, features: np.ndarray) -> float:
    """Compute the Fréchet distance of two normal distributions with the sets' moments.

    d = |m₁ - m₂|² + tr(C₁ + C₂ - 2 (C₁ C₂)^½), along the bank's directions

    Source: Heusel et al. (2017), "GANs Trained by a Two Time-Scale Update Rule", on other features.

    Args:
        bank: The everyday images.
        features: Of the other set, (n, D), n at least 2.

    Raises:
        ValueError: If there are fewer than two images.
    """
    if len(features) < 2:
        raise ValueError(f"Fréchet distance: expected at least 2 images, found {len(features)}")
    other = (features - bank.mean) @ bank.directions
    first, second = (np.atleast_2d(np.cov(x.T)) for x in (bank.features, other))
    # The eigenvalues of a product of two positive semidefinite matrices are real and not negative.
    shared = np.sqrt(np.clip(np.linalg.eigvals(first @ second).real, 0, None)).sum()
    shift = bank.features.mean(axis=0) - other.mean(axis=0)
    return float(shift @ shift + np.trace(first) + np.trace(second) - 2 * shared)


def nearest_neighbour_ratio(bank: FeatureBank, features: np.ndarray) -> float:
    """Compare the mean distance to the nearest bank image with that within the bank.

    Args:
        bank: The everyday images.
        features: Of the other set, (n, D).

    Returns:
        1 where the images lie as near to everyday images as these to each other.
    """
    other = (features - bank.mean) @ bank.directions
    distances = np.linalg.norm(other[:, None] - bank.features[None], axis=-1)
    return float(distances.min(axis=1).mean() / bank.own_distance)
