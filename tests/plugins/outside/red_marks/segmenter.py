"""Mark what is red."""

import numpy as np

from realitycheck.core.pictures import read_aligned
from realitycheck.methods.base import Segmentation


def open(inputs, run, device):
    """Open the aligned images."""
    return RedMarks(inputs.images_folder, run.settings["threshold"])


class RedMarks:
    """What is red is a defect."""

    def __init__(self, images_folder, threshold):
        self.images_folder, self.threshold = images_folder, threshold

    def score_map(self, row):
        """Excess of red over the other colours, 0 to 1."""
        image = read_aligned(self.images_folder, row.image_id).astype(np.float32) / 255
        return np.clip(image[..., 0] - image[..., 1:].max(axis=2), 0, 1)

    def segment(self, row):
        """Mark where the excess is above the threshold."""
        values = self.score_map(row)
        mask = values > self.threshold
        status = "ok" if mask.any() else "empty"
        return Segmentation(mask, float(values.max()), int(mask.any()), status)
