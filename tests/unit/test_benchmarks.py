"""The benchmarks run at miniature size, print what they promise, and both ways agree."""

import gc
import importlib
import json
import re
import sys

import pandas as pd
import pytest
import torch

from realitycheck.core.images import write_png
from realitycheck.methods.registry import METHODS
from realitycheck.models.cpu_linear import linear
from realitycheck.settings.load import load_settings

COMMON = ["--n-images", "1", "--image-size-px", "96", "--points-per-side", "3", "--threads", "1"]


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Folder that keeps the miniature networks for all benchmarks of this file."""
    return tmp_path_factory.mktemp("networks")


@pytest.fixture
def benchmark(repository, networks, monkeypatch, capsys):
    """Run a benchmark's main function and return what it prints."""
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    n_threads = torch.get_num_threads()
    gc.freeze()  # their searches for garbage take long over all that other tests imported

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, "--networks", str(networks), *arguments])
        importlib.import_module(name).main()
        return capsys.readouterr().out

    yield run
    gc.unfreeze()
    torch.set_num_threads(n_threads)


def assert_same(printed, what):
    """In float32 ours finds exactly what the package finds; bfloat16 is reported beside it."""
    numbers = dict(re.findall(rf"^(\w+) +\S+ s +ratio .* (\d+) {what}$", printed, re.MULTILINE))
    found = {
        way: (n, of, float(least))
        for way, n, of, least in re.findall(
            rf"^(\w+) +finds (\d+) of the package's (\d+) {what}: .* least (\S+)",
            printed,
            re.MULTILINE,
        )
    }
    assert set(numbers) == {"package", "float32", "bfloat16"}
    assert set(found) == {"float32", "bfloat16"}
    assert found["float32"][:2] == (numbers["package"],) * 2
    assert numbers["float32"] == numbers["package"] != "0"
    assert found["float32"][2] >= 0.999


def test_repaired_masks_agree_with_one_encoding(benchmark, networks, tmp_path):
    """Sharing and reordering must not change a mask; one colour order serves all methods."""
    full_size, ours, published = (
        importlib.import_module(name) for name in ("_full_size", "_our_way", "_published_way")
    )
    run = ours.Run(
        networks=full_size.write_networks(networks, size="miniature", others="miniature"),
        images_folder=tmp_path / "images",
        transforms=full_size.write_images(tmp_path / "images", n_images=1, image_size_px=96),
        phrases=("dark spot", "defect"),
        variant="repaired",
        points_per_side=3,
    )
    one, other = ours.OurWay(run, tmp_path), published.PublishedWay(run)
    assert [name for name in one.steps() if name.startswith("encode_images")] == [
        "encode_images rgb"
    ]
    ours.run_steps(one.steps())
    ours.run_steps(other.steps())
    assert set(one.masks) == set(other.masks) == set(ours.METHODS)
    n_pixels = 0
    for method in ours.METHODS:
        (mask,), (expected,) = one.masks[method].values(), other.masks[method].values()
        assert (mask != expected).sum() <= 0.001 * max(1, expected.sum())
        n_pixels += mask.sum()
    assert n_pixels


def test_detector_finds_the_boxes_of_the_package(benchmark):
    """Sharing the image's features among prompts must not lose a box."""
    printed = benchmark(
        *("grounding_dino", "--size", "miniature", "--repeats", "1", "--box-threshold", "0.02")
    )
    assert_same(printed, "boxes")


def test_automatic_masks_are_those_of_the_package(benchmark):
    """Matched one to one; their order may differ where qualities tie."""
    printed = benchmark(
        *("automatic_masks", "--size", "miniature", "--repeats", "1", "--points-per-side", "6")
    )
    assert_same(printed, "masks")


def test_prompt_edit_runs_no_image_encoder(benchmark):
    """The encodings know no prompt, so an edited one finds them all in place."""
    printed = benchmark("prompt_edit", "--size", "miniature", *COMMON)
    passes = re.findall(r"^(.+?) +passes of SAM's image encoder: (\d+)$", printed, re.MULTILINE)
    edits = ["another phrase", "another text of SAA+", "all texts of SAA+"]
    assert passes == [("first run", "2"), *((edit, "0") for edit in edits)]
    shares = re.findall(r"^(.+?)  +(\w+) +share .* wall (\S+) ", printed, re.MULTILINE)
    rows = ["grounded_sam", "sam_clip", "clip_surgery_sam", "saa_plus", "total"]
    assert [row[:2] for row in shares] == [(edit, row) for edit in edits for row in rows]
    assert all(float(share) >= 0 for *_, share in shares)


def test_scaling_tells_the_cost_of_an_image_and_of_a_prompt(benchmark, monkeypatch):
    """Each count in a process of its own; a row for each, the fewest being the base.

    The first is such a process here; the others run in this one, which has imported the packages.
    """
    scaling = importlib.import_module("scaling")
    asked, others = [], [scaling.measure, scaling.alone]

    def alone(networks, **options):
        asked.append((options["n_images"], options["n_phrases"]))
        measure = others.pop() if len(others) > 1 else others[0]
        return measure(networks, **options)

    monkeypatch.setattr(scaling, "alone", alone)
    printed = benchmark(
        *("scaling", "--counts", "1", "2", "--prompts", "1", "2", "--points-per-side", "2"),
        *("--threads", "1"),
    )
    assert asked == [(1, 1), (2, 1), (1, 1), (1, 2)]
    rows = re.findall(
        r"^ +(\d+) images: +(\S+) s an image .* ratio (\S+); peak memory +(\d+) MB, ratio (\S+) ",
        printed,
        re.MULTILINE,
    )
    assert [int(row[0]) for row in rows] == [1, 2]
    assert rows[0][2] == rows[0][4] == "1.000"
    assert all(float(value) > 0 for row in rows for value in row)
    for number in (1, 2):
        assert re.search(rf"^ +{number} prompts: +\d+\.\d+ s an image", printed, re.MULTILINE)


def test_variant_effects_list_every_switch(benchmark, tmp_path):
    """One row a switch, and one for the repaired preset, for every method and rule."""
    import _full_size

    write_png(_full_size.drawn_image("x", image_size_px=64, seed=0), tmp_path / "a.png")
    printed = benchmark("variant_effects", str(tmp_path))
    rows = [line for line in printed.splitlines() if line.startswith("| `")]
    for method, n_rows in (
        ("grounded_sam", 2),
        ("sam_clip", 3),
        ("clip_surgery_sam", 7),
        ("saa_plus", 8),
    ):
        assert sum(row.startswith(f"| `{method}`") for row in rows) == n_rows
    assert "strip_special: true` | 1.000 | 0 of 1" in printed


@pytest.fixture
def scale(repository, monkeypatch):
    """The benchmark of very many images."""
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    return importlib.import_module("scale")


def test_scale_scores_every_generated_image(scale, tmp_path):
    """Its steps are the calls of the scripts, and lose no image among the shards."""
    scale.write_inputs(tmp_path, 60, 3)
    scale.gather_masks(tmp_path, 3)
    scale.score(tmp_path)
    scale.tabulate(tmp_path)
    scores = pd.read_parquet(tmp_path / "scores.parquet")
    assert len(scores) == 60
    assert (scores["label"] == "NOK").sum() == 60 // scale.NOK_SHARE
    assert scores.loc[scores["label"] == "NOK", "truth_px"].eq(100).all()


def test_scale_plans_a_checked_data_set(scale, tmp_path):
    """What is written for it passes for what the prepare stage writes."""
    scale.prepared(tmp_path, 40)
    said = scale.plan(tmp_path, 3, "--rerun-triggers", "mtime")
    assert re.fullmatch(r"wall \d+\.\d s, processor \d+\.\d s, (\d+) jobs", said)
    assert int(said.split()[-2]) > 3 * 6


def test_overhead_is_measured_on_every_mask_method(repository, monkeypatch):
    """With fewer jobs there would be less to plan."""
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    settings = load_settings(importlib.import_module("workflow_overhead").settings_of(300, 2))
    kinds = {settings.methods[name].kind for name in settings.mask_methods()}
    others = {"lvlm", "resnet_mlp", "clip_zero_shot", "tuned_clip", "imported", "command"}
    assert kinds == set(METHODS) - others
    assert settings.datasets["chips"].n_ok + settings.datasets["chips"].n_nok == 300


def test_variants_page_names_every_switch(repository):
    """A new switch without a line in the page would be a secret."""
    from dataclasses import fields

    page = (repository / "docs" / "variants.md").read_text(encoding="utf-8")
    for kind in ("grounded_sam", "sam_clip", "clip_surgery_sam", "saa_plus"):
        module = importlib.import_module(f"realitycheck.methods.{kind}.algorithm")
        for field in fields(module.PUBLISHED):
            assert f"| `{field.name}` (" in page


@pytest.mark.long
def test_parts_of_the_gpu_benchmark_run_on_a_processor_too(benchmark, tmp_path, monkeypatch):
    """What runs once on a lent GPU must not fail there by a slip; a part's failure ends with 1.

    The last part compares the four methods, each side in a process of its own; as published, SAA+
    needs a second colour order.
    """
    monkeypatch.setenv("OUT", str(tmp_path))

    def command(name, *arguments):
        """In this process, where the packages are imported already."""
        return {"printed": benchmark(name, *arguments).splitlines()}

    monkeypatch.setattr(importlib.import_module("on_gpu"), "command", command)
    with pytest.raises(SystemExit) as ended:
        benchmark("on_gpu", "--size", "miniature", "--device", "cpu", *COMMON[4:])
    results = json.loads((tmp_path / "on_gpu.json").read_text(encoding="utf-8"))
    failed = {title: found["failed"] for title, found in results.items() if "failed" in found}
    assert not failed
    assert ended.value.code == 0
    printed = "\n".join(results["four_methods"]["printed"])
    for way in ("float32", "bfloat16"):
        assert re.search(
            rf"^{way} +time to published: wall \d\S+ +processor \d\S+ .* \(\d+ MB of \d+ MB",
            printed,
            re.MULTILINE,
        )
        assert len(re.findall(rf"^{way} +encode_images", printed, re.MULTILINE)) == 2
    ious = re.findall(r"^float32 +\w+ +IoU mean \S+ least (\S+)$", printed, re.MULTILINE)
    assert len(ious) == 4
    assert min(float(each) for each in ious) >= 0.999


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_gpu_benchmark_says_that_there_is_no_gpu(benchmark):
    with pytest.raises(SystemExit, match="no CUDA device here; run this on a machine with one"):
        benchmark("on_gpu")


def test_products_are_counted_exactly(benchmark, monkeypatch):
    """By torch's own counter, oneDNN's products included: the same on every machine."""
    clock = importlib.import_module("_full_size").Clock
    monkeypatch.setattr(clock, "counts", True)
    with torch.inference_mode(), clock() as counted:
        torch.nn.functional.linear(torch.ones(3, 4), torch.ones(5, 4))
        torch.nn.functional.conv2d(torch.ones(1, 2, 6, 6), torch.ones(7, 2, 3, 3))
        heads = torch.ones(1, 2, 6, 8)
        torch.nn.functional.scaled_dot_product_attention(heads, heads, heads)
        linear(torch.ones(2, 1024, 16), torch.ones(32, 16), torch.ones(32))
    products = 60 + 7 * 16 * 18 + 2 * 2 * 6 * 6 * 8 + 2 * 1024 * 16 * 32
    assert counted.gmac == pytest.approx(products / 1e9)
