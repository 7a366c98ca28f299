"""Read every COCO export of a run with the tools that people use, and say what each of them finds.

Runs in an environment of its own, with `pip install pycocotools supervision datumaro`; nothing of
RealityCheck is needed. Ends with an error if a tool cannot read a file, or counts other regions.

    python benchmarks/read_exports.py results
"""

import argparse
import contextlib
import json
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

import datumaro
import supervision
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

TOOLS = ("pycocotools", "supervision", "datumaro")


def main():
    """Read all exports below a folder of results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="folder of results of a finished run")
    results = parser.parse_args().results
    print(", ".join(f"{tool} {version(tool)}" for tool in TOOLS))
    truths = sorted((results / "exports").glob("*/truth.coco.json"))
    if not truths:
        raise SystemExit(f"{results}/exports: no */truth.coco.json; run the workflow first")
    for truth in truths:
        pictures = results / "aligned" / truth.parent.name
        print(f"{truth.parent.name}, truth: {count_in_data_set(truth, pictures)} regions")
        for masks in sorted(truth.parent.glob("*/*/predictions.coco.json")):
            n_regions = count_in_data_set(masks, pictures)
            told = score(truth, masks.with_name("results.coco.json"), n_regions)
            run = " ".join(masks.parts[-3:-1])
            print(f"{truth.parent.name}, {run}: {n_regions} regions; {told}")


def count_in_data_set(path, pictures):
    """Number of regions in a data set, if all three tools find as many."""
    with quiet():
        found = {"pycocotools": len(COCO(str(path)).anns)}
        read = supervision.DetectionDataset.from_coco(
            images_directory_path=str(pictures), annotations_path=str(path), force_masks=True
        )
        found["supervision"] = sum(len(each) for each in read.annotations.values())
        with tempfile.TemporaryDirectory() as folder:
            # datumaro takes a whole data set: pictures below images/, annotations beside them.
            (Path(folder) / "annotations").mkdir()
            (Path(folder) / "images").symlink_to(pictures.resolve(), target_is_directory=True)
            place = Path(folder) / "annotations" / "instances_all.json"
            place.write_bytes(path.read_bytes())
            items = datumaro.Dataset.import_from(folder, "coco_instances")
            outlines = datumaro.AnnotationType.polygon  # each comes with its box beside it
            found["datumaro"] = sum(
                each.type == outlines for item in items for each in item.annotations
            )
    if len(set(found.values())) != 1:
        raise SystemExit(f"{path}: the tools do not find the same: {found}")
    return found["pycocotools"]


def score(truth, path, n_regions):
    """Average precision, if pycocotools takes the array of results and finds as many regions."""
    entries = json.loads(path.read_text(encoding="utf-8"))
    if len(entries) != n_regions:
        raise SystemExit(f"{path}: {len(entries)} entries, expected {n_regions}")
    if not entries:
        return "nothing to score"
    with quiet():
        known = COCO(str(truth))
        scored = COCOeval(known, known.loadRes(str(path)), "segm")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    return f"average precision {scored.stats[0]:.3f}"


@contextlib.contextmanager
def quiet():
    """Keep what the tools print to themselves."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


if __name__ == "__main__":
    main()
