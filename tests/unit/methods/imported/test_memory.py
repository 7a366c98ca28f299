"""What an import of many rows keeps in memory."""

import json
import tracemalloc

import pandas as pd
import pytest

from realitycheck.methods.imported.settings import Settings
from realitycheck.methods.imported.source import faults

N_ROWS = 3_000


def write_csv(path):
    rows = "".join(f"part_{n}.png,OK,0.5,{'a scratch ' * 10},1.5\n" for n in range(N_ROWS))
    path.write_text("image,label,score,reasoning,seconds\n" + rows)
    return {"verdicts": str(path)}


def write_coco(path):
    mask = {"size": [48, 64], "counts": [100, 20, 28, 20, 28, 20, 28, 20, 2808]}
    found = {
        "images": [
            {"id": n, "file_name": f"part_{n}.png", "width": 64, "height": 48}
            for n in range(N_ROWS)
        ],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "segmentation": mask, "score": 0.5}
            for n in range(N_ROWS)
        ],
    }
    path.write_text(json.dumps(found))
    return {"coco": str(path), "geometry": "original", "mask_orientation": "shown"}


@pytest.mark.parametrize("write", [write_csv, write_coco])
def test_a_row_takes_some_kilobytes(tmp_path, write):
    """So 100,000 rows, with what Python and its packages take, stay below a gigabyte."""
    ids = [f"chip/OK/part_{n}" for n in range(N_ROWS)]
    manifest = pd.DataFrame(
        {
            **{"image_id": ids, "category": "chip", "label": "OK"},
            **{"image_path": [f"data/{name}.png" for name in ids], "sha256": ids},
            **{"width_px": 64, "height_px": 48},
        }
    )
    settings = Settings(kind="imported", **write(tmp_path / "found")).plain()
    tracemalloc.start()
    found = faults("chips", settings, manifest, manifest[:0], [], n_workers=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == []
    assert peak / N_ROWS < 7_000
