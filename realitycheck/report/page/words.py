"""Words of the page and of Snakemake's own report: figures, networks, licences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Title, caption and text for readers who cannot see it, of each figure, by the file's name.
FIGURE_WORDS: dict[str, dict[str, str]] = {
    "slip_overkill": {
        "title": "Slip against overkill",
        "caption": "Defective parts that pass against good parts that are rejected, each with the "
        "bounds that the parts at hand prove. A method is ready if its bars lie in the hatched "
        "corner.",
        "alt": "A point with two bars for each method; the same numbers stand in Table 2 and on "
        "the decision cards.",
    },
    "iou_distribution": {
        "title": "How well masks fit, part by part",
        "caption": "IoU of every defective part with a truth, the mean with its interval, and, "
        "where there is one, the mean in the study.",
        "alt": "A line of points for each method; means and intervals stand in Table 1.",
    },
    "published_scores": {
        "title": "Beside the study",
        "caption": "Our score with its interval, and the score that the study gives.",
        "alt": "Two points for each method, ours and the study's; both stand in Tables 1 and 2.",
    },
    "detection_probability": {
        "title": "how small a defect is found",
        "caption": "Share of defects found against their area, by size and as a fitted curve with "
        "its band. Numbers on top: defects of that size.",
        "alt": "A panel for each method; the sizes found stand in the table on how small a defect "
        "is found.",
    },
    "domain_gap": {
        "title": "How far what the networks know carries",
        "caption": "Mean IoU of each method against the distance of each data set from the drawn "
        "everyday scenes that the networks were trained on; 1 is the distance of such scenes from "
        "each other. Dashed: the whole image as the mask.",
        "alt": "A line for each method over the data sets; distances stand in the table on the "
        "domain gap, scores in Table 1.",
    },
    "overlays": {
        "title": "truth and prediction",
        "caption": "In yellow the truth, then what each method marks. The images are chosen by the "
        "rule that stands below them, never by hand.",
        "alt": "Rows of images with yellow masks; the gallery shows every image with its numbers.",
    },
}

NETWORK_NAMES = {
    "sam": "SAM",
    "grounding_dino": "GroundingDINO",
    "clip": "CLIP",
    "saliency": "Residual network of SAA+",
    "resnet": "Residual network of the supervised baseline",
}


def licences_of(
    licences: Mapping[str, str], datasets: Mapping[str, Mapping[str, Any]]
) -> list[list[str]]:
    """What may be done with what the page shows.

    Args:
        licences: Of the images of each data set.
        datasets: What is said of each data set.

    Returns:
        Pairs of a thing and its licence.
    """
    rows = [[f"Images of {datasets[name]['name']}", licence] for name, licence in licences.items()]
    rows.append(["RealityCheck", "Apache-2.0"])
    return rows
