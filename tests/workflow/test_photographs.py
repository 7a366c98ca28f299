"""Real photographs: cookies, the defective ones with masks drawn by hand."""

import copy
import shutil

import pytest

#: As many good ones, and as many defective ones.
N_EACH = 6
N_PHOTOGRAPHS = 2 * N_EACH


@pytest.fixture
def photographs(shared, unstarted_run):
    """A run on photographs, with the data beside its settings."""
    source = shared / "data" / "cookies"
    if not source.is_dir():
        pytest.skip("the photographs are not in the shared folder")
    run = unstarted_run
    shutil.rmtree(run.folder / "data")
    shutil.copytree(source, run.folder / "data" / "cookies")
    for label in ("OK", "NOK"):
        for path in sorted((run.folder / "data/cookies/images" / label).rglob("*.jpg"))[N_EACH:]:
            path.unlink()
            (run.folder / f"data/cookies/masks/cookie/{path.stem}.png").unlink(missing_ok=True)
    settings = copy.deepcopy(run.settings)
    settings["datasets"] = {"cookies": {"format": "folder", "root": "data/cookies"}}
    settings["prompts"] = {"cookies": {"crack": {"segmentation": ["crack"]}}}
    settings["methods"] = {"grounded_sam": {}}
    run.settings = settings
    return run


@pytest.mark.long
def test_photographs_run_to_tables_with_a_row_for_each(photographs):
    """What a first-time user does with a folder of their own."""
    photographs.finish("tables")
    manifest = photographs.read("manifests/cookies.parquet")
    assert len(manifest) == N_PHOTOGRAPHS
    assert manifest["mask_path"].notna().sum() == N_EACH
    for table in (
        "aligned/cookies/transforms.parquet",
        "truth/cookies/truth.parquet",
        "predictions/cookies/grounded_sam/crack/masks.parquet",
        "scores/cookies/grounded_sam/crack/images.parquet",
    ):
        assert len(photographs.read(table)) == N_PHOTOGRAPHS, table
    segmentation = photographs.read("tables/segmentation.parquet")
    assert set(segmentation["method"]) == {"grounded_sam", "whole_image"}
    assert (segmentation["n_images"] == N_PHOTOGRAPHS).all()
    n_defective = (manifest["label"] == "NOK").sum()
    assert (segmentation["n_defective"] == n_defective).all()
    audit = photographs.read("tables/audit.parquet").set_index("check")
    twins = audit.loc["near_duplicate_parts"]
    assert twins["n_affected"] == 2, "normal-01 and normal-02 show the same cookie"
    assert "normal-01" in twins["example"]


def test_one_broken_photograph_gives_one_error_before_any_encoding(photographs):
    """A half-copied file is the commonest fault of all."""
    path = sorted((photographs.folder / "data" / "cookies" / "images").rglob("*.jpg"))[7]
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    said = photographs.fail()
    assert said.count(path.name) == 1, said
    assert said.count("DatasetError") == 1, said
    assert not (photographs.results / "encodings").exists()
    assert not (photographs.results / "aligned").exists()
