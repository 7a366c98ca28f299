"""What makes another try, and what does not."""

import copy

import pytest

from realitycheck.core.provenance import digest_of
from realitycheck.planning.plan import Plan
from realitycheck.planning.tries import tries_of, tries_settings
from realitycheck.settings.load import load_settings

SETTINGS = {
    "datasets": {"chips": {"format": "synthetic_sat", "object_name": "chip"}},
    "prompts": {"chips": {"plain": {"segmentation": ["crack"], "lvlm": "Is it bent?"}}},
    "methods": {
        "grounded_sam": {},
        "asked": {"kind": "lvlm"},
        "clip_zero_shot": {},
        "pixel_difference": {},
    },
    "models": dict.fromkeys(("sam", "grounding_dino", "clip"), {"variant": "everyday"}),
}


def digests(changes=()):
    """Digest of each run after an edit, by method."""
    settings = copy.deepcopy(SETTINGS)
    for path, value in changes:
        *places, last = path.split(".")
        block = settings
        for place in places:
            block = block.setdefault(place, {})
        block[last] = value
    found = tries_of(Plan(load_settings(settings)), "chips")
    return {each["method"]: digest_of(each["tried"]) for each in found}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_every_run_and_its_verdict_by_area_is_a_try_and_no_baseline_is():
    """Two verdicts from one mask are two ways to decide."""
    areas = {"grounded_sam_area", "pixel_difference_area"}
    assert set(digests()) == {*SETTINGS["methods"], *areas}
    assert len(set(digests().values())) == 6


@pytest.mark.parametrize(
    ("path", "value", "changed"),
    [
        ("prompts.chips.plain.segmentation", ["void"], {"grounded_sam", "grounded_sam_area"}),
        ("prompts.chips.plain.lvlm", "Is it wet?", {"asked"}),
        ("methods.grounded_sam.box_threshold", 0.3, {"grounded_sam", "grounded_sam_area"}),
        ("methods.asked.model", "other", {"asked"}),
        ("datasets.chips.object_name", "plate", {"asked", "clip_zero_shot"}),
        (
            "requirements.max_overkill_rate",
            0.1,
            {"grounded_sam_area", "pixel_difference_area"},
        ),
        ("compute.precision", "bfloat16", {"grounded_sam", "grounded_sam_area", "clip_zero_shot"}),
        ("methods.asked.timeout_s", 9, set()),
        ("methods.asked.ledger", "elsewhere.sqlite", set()),
        ("methods.grounded_sam.title", "Another name", set()),
        ("datasets.chips.shards", 3, set()),
        ("compute.threads", 2, set()),
        ("evaluation.n_resamples", 500, set()),
        ("results_dir", "other", set()),
    ],
)
def test_what_an_answer_depends_on_is_the_try(path, value, changed):
    """And nothing else: not names, prices, waiting times or how jobs are cut."""
    before, after = digests(), digests([(path, value)])
    assert {name for name in before if before[name] != after[name]} == changed


def test_alignment_is_another_try_for_all():
    """Every method sees other images."""
    changes = [("datasets.chips.alignment", {"method": "ecc"})]
    before, after = digests(), digests(changes)
    assert all(before[name] != after[name] for name in before)


def test_job_is_told_its_own_runs_and_the_family_where_one_is_fixed():
    """All runs of the data set belong to the family, whichever job scores first."""
    settings = copy.deepcopy(SETTINGS)
    for is_fixed in (False, True):
        settings["datasets"]["chips"]["preregistered"] = is_fixed
        plan = Plan(load_settings(settings))
        told = tries_settings(plan, "chips", plan.settings.verdict_runs())
        assert {each["method"] for each in told["runs"]} == {"asked", "clip_zero_shot"}
        assert len(told["family"]) == (6 if is_fixed else 0)
        assert told["file"] == "ledger/tries.jsonl"
