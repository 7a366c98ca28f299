"""Arithmetic that a machine only emulates is told before it costs hours."""

import pytest

from realitycheck.__main__ import main
from realitycheck.planning import slow_precision
from realitycheck.planning.slow_precision import precision_warnings
from realitycheck.settings.load import load_settings

SETTINGS = {
    "datasets": {"pets": {"format": "synthetic_pets"}},
    "prompts": {"pets": {"p": {"segmentation": ["spot"]}}},
    "methods": {"grounded_sam": {}},
}


@pytest.fixture
def machine(monkeypatch):
    """Give this machine another processor and other GPUs."""

    def become(*, bfloat16=None, gpus=(), platform="linux"):
        monkeypatch.setattr(slow_precision, "has_bfloat16", lambda: bfloat16)
        monkeypatch.setattr(slow_precision, "widest_instructions", lambda: "AVX2")
        monkeypatch.setattr(slow_precision, "gpus", lambda: list(gpus))
        monkeypatch.setattr(slow_precision.sys, "platform", platform)

    return become


def warnings_of(**compute):
    return precision_warnings(load_settings({**SETTINGS, "compute": compute}))


def test_processor_without_bfloat16_is_named(machine):
    """What was found, how much slower, what to set."""
    machine(bfloat16=False)
    [warning] = warnings_of(precision="bfloat16")
    assert warning.startswith("compute.precision: bfloat16 will be slow here. The processor has no")
    assert "found: AVX2" in warning and "317 s, and 49 s in float32" in warning
    assert "Set float32" in warning


@pytest.mark.parametrize(
    ("compute", "found"),
    [
        ({"precision": "bfloat16"}, {"bfloat16": True}),
        ({"precision": "bfloat16"}, {"bfloat16": None}),
        ({"precision": "bfloat16"}, {"bfloat16": False, "gpus": [("NVIDIA A100", 8.0)]}),
        ({"precision": "bfloat16"}, {"bfloat16": False, "platform": "darwin"}),
        ({"precision": "bfloat16", "device": "mps"}, {"bfloat16": False}),
        ({"precision": "bfloat16", "device": "cuda"}, {"bfloat16": False}),
        ({"precision": "float32"}, {"bfloat16": False}),
        ({}, {"bfloat16": False, "gpus": [("Tesla V100", 7.0)]}),
    ],
)
def test_nothing_is_said_of_what_is_there_or_not_asked_for(machine, compute, found):
    """A warning that is always there is read by nobody."""
    machine(**found)
    assert warnings_of(**compute) == []


def test_old_gpu_is_named_even_beside_a_new_one(machine):
    """A job may get either."""
    machine(bfloat16=True, gpus=[("NVIDIA A100", 8.0), ("Tesla V100", 7.0)])
    [warning] = warnings_of(precision="bfloat16")
    assert "compute capability 8.0 on (found: Tesla V100, 7.0)" in warning


def test_named_processor_counts_where_there_is_a_gpu(machine):
    """`device: cpu` leaves the GPU alone."""
    machine(bfloat16=False, gpus=[("NVIDIA A100", 8.0)])
    [warning] = warnings_of(precision="bfloat16", device="cpu")
    assert "The processor" in warning


def test_detector_has_a_setting_of_its_own(machine):
    machine(bfloat16=False)
    both = warnings_of(precision="bfloat16", detector_precision="bfloat16")
    assert [warning.partition(":")[0] for warning in both] == [
        "compute.detector_precision",
        "compute.precision",
    ]


def test_networks_that_no_method_uses_do_not_count(machine):
    machine(bfloat16=False)
    raw = {
        "datasets": {"sat": {"format": "synthetic_sat"}},
        "methods": {"pixel_difference": {}},
        "compute": {"precision": "bfloat16"},
    }
    assert precision_warnings(load_settings(raw)) == []


@pytest.mark.parametrize("bfloat16", [True, False])
def test_check_warns_and_still_passes(machine, tmp_path, capsys, bfloat16):
    """The settings hold; it is the machine that is slow."""
    machine(bfloat16=bfloat16)
    file = tmp_path / "config.yaml"
    file.write_text(
        "datasets: {sat: {format: synthetic_sat}}\n"
        "prompts: {sat: {p: {segmentation: [void]}}}\n"
        "methods: {sam_clip: {}}\n"
        "compute: {precision: bfloat16}\n"
    )
    assert main(["check", str(file)]) == 0
    assert ("warning: compute.precision" in capsys.readouterr().err) is not bfloat16
