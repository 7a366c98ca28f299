"""Broken inputs and settings stop a run before it costs anything, with one clear message."""

import hashlib
import re
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock
from PIL import Image

from training.miniatures import model_settings


def truncate(run):
    """Cut an image file in half, as an interrupted copy does."""
    path = run.part("NOK", "y")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def orphan_mask(run):
    """Leave a mask whose image is gone."""
    path = run.part("masks", "nobody")
    shutil.copy2(run.part("masks", "x"), path)
    return path


def resize_mask(run):
    """Leave a mask of another size than its image."""
    path = run.part("masks", "z")
    Image.open(path).resize((48, 40), Image.Resampling.NEAREST).save(path)
    return path


def assert_one_fault(said, *paths):
    """The message has one line per fault, which begins with the file and goes on with a remedy."""
    lines = re.findall(r"^  \S+\.png: .+; .+$", said, re.MULTILINE)
    assert sorted(line.split(": ")[0].split("/")[-1] for line in lines) == sorted(
        path.name for path in paths
    ), said
    assert len(re.findall(r"^ *\w*Error: ", said, re.MULTILINE)) == 1, said


def test_broken_file_stops_a_run_before_any_encoding(run):
    """One message names the file; nothing is touched, and once it is mended nothing costly runs."""
    healthy = run.part("NOK", "y").read_bytes()
    shutil.rmtree(run.results / "encodings")
    before = run.written()
    manifest = run.read("manifests/parts.parquet")
    path = truncate(run)
    said = run.fail()
    assert_one_fault(said, path)
    assert not (run.results / "encodings").exists()
    # Those of the failed check are put back from a copy, so only their dates differ; the note of
    # whose results these are names this folder now.
    kept = {p: t for p, t in before.items() if not p.startswith(("manifests/parts", ".reality"))}
    assert {p: t for p, t in run.written().items() if p in kept} == kept
    assert set(run.written()) == set(before)
    assert run.read("manifests/parts.parquet").equals(manifest)
    path.write_bytes(healthy)
    assert run.rules_run() == {"prepare_dataset": 1, "audit_dataset": 1, "check_inputs": 1}


def test_all_broken_files_are_named_at_once(run):
    """Nobody wants to find ten broken files in ten runs."""
    paths = [break_it(run) for break_it in (truncate, orphan_mask, resize_mask)]
    said = run.fail()
    assert_one_fault(said, *paths)


def test_misspelt_key_stops_a_run_before_its_first_job(run):
    """The message has the key's path and what was meant; nothing is written."""
    before = run.written()
    run.settings["methods"]["grounded_sam"]["box_treshold"] = 0.3
    run.settings["datasets"]["parts"]["shards"] = 0
    said = run.fail()
    assert "methods.grounded_sam.box_treshold: unknown key; did you mean 'box_threshold'?" in said
    assert "datasets.parts.shards" in said, "all faults are listed together"
    assert "Traceback" not in said
    assert "Job stats" not in said
    assert run.written() == before


def test_second_run_in_the_same_folder_is_turned_away(run):
    """Two runs that write the same files would spoil each other's; the second one says why."""
    shutil.rmtree(run.results / "tables")
    before = run.written()
    with FileLock(run.folder / ".snakemake" / "realitycheck.lock"):
        said = run.fail()
    assert f"another run is at work in {run.folder}" in said
    assert run.written() == before


def test_leak_stops_the_run_before_any_encoding(unstarted_run):
    """A folder without training images takes a scored one as the reference, and is told so."""
    run = unstarted_run
    run.settings["datasets"]["parts"]["methods"].append("pixel_difference")
    said = run.fail()
    assert "AuditError: data set parts: the audit stops here, before anything costs time" in said
    assert "reference_is_scored: the reference of the one category is itself scored" in said
    assert "audit: {reference_is_scored: flag}" in said
    assert not (run.results / "encodings").exists()
    assert not (run.results / "aligned").exists()
    run.settings["audit"] = {"reference_is_scored": "flag"}
    run.finish("results/manifests/parts/audit.parquet")
    found = run.read("manifests/parts/audit.parquet").set_index("check")
    assert found.loc["reference_is_scored", "n_affected"] == 1


def test_start_of_a_run_finds_what_check_finds(new_run, tmp_path):
    """One code behind both; Snakemake itself would take the braces for a wildcard."""
    datasets = {"p": {"format": "synthetic_sat", "split": {"kind": "paper"}}}
    run = new_run(tmp_path, {"results_dir": "res{x}", "datasets": datasets})
    said = run.fail("--dry-run")
    assert "results_dir: 'res{x}' holds { }, expected a plain folder" in said
    assert "datasets.p.split.kind: 'paper' is defined for the study's data sets only" in said


@pytest.mark.long
def test_words_are_looked_up_once_the_vocabulary_is_there(new_run, tmp_path):
    """It comes with the weights; after them, nothing that costs anything has run.

    The copy of the workflow fetches the published text encoder from a server of the test's own.
    """
    files = model_settings(tmp_path / "published", "grounding_dino")["grounding_dino"]
    handler = partial(SimpleHTTPRequestHandler, directory=files["text_encoder"])
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    run = new_run(
        tmp_path,
        {
            "datasets": {
                "p": {"format": "synthetic_sat", "n_ok": 1, "n_nok": 1, "image_size_px": 96}
            },
            "prompts": {"p": {"plain": {"segmentation": "缺陷"}}},
            "methods": {"grounded_sam": {}},
            "models": ["sam"],
            "compute": {"device": "cpu", "threads": 1},
        },
    )
    own = {"variant": "swint_ogc", "weights": files["weights"]}
    run.settings["models"]["grounding_dino"] = own
    run.code = shutil.copytree(run.code, tmp_path / "code")
    with (run.code / "realitycheck/models/grounding_dino/network.py").open("a") as module:
        for name in ("config.json", "vocab.txt"):
            content = Path(files["text_encoder"], name).read_bytes()
            known = f"bert_base_uncased/{Path(name).stem}"
            changed = {
                "url": f"http://127.0.0.1:{server.server_port}/{name}",
                "sha256": hashlib.sha256(content).hexdigest(),
                "size_bytes": len(content),
            }
            fields = ", ".join(f"{key}={value!r}" for key, value in changed.items())
            module.write(
                f"GROUNDING_DINO.known[{known!r}] = RemoteFile(\n"
                f"    name={name!r}, licence='Apache-2.0', {fields}\n)\n"
            )
    try:
        said = run.fail()
    finally:
        server.shutdown()
    assert "GroundingDINO's vocabulary holds no word of '缺陷'" in said
    assert (run.results / "weights" / "grounding_dino.json").is_file()
    assert not (run.results / "aligned").exists()
