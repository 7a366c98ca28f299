"""What a block says of its jobs, and what is wrong with one before anything runs."""

import os

import pytest

from realitycheck.core.settings import SettingsError
from realitycheck.methods.command.settings import CommandMethod
from realitycheck.planning.checking import checked_settings
from realitycheck.planning.plan import Plan
from realitycheck.settings.load import load_settings


def block(**given):
    return CommandMethod.model_validate(
        {"kind": "command", "command": "python x.py", "gives": "masks", **given}
    )


def test_block_decides_what_it_gives_and_asks_for():
    """One kind is a segmenter or a classifier, with a GPU or without, here or on a node."""
    masks, verdicts, maps = (block(gives=gives) for gives in ("masks", "verdicts", "maps"))
    assert [each.gives_masks for each in (masks, verdicts, maps)] == [True, False, True]
    assert [each.gives_score_map for each in (masks, verdicts, maps)] == [False, False, True]
    assert [each.fits is not None for each in (masks, verdicts, maps)] == [False, False, True]
    assert block(gives="maps", threshold=0.5).fits is None
    job = block(gpu=1, minutes=30, memory_mb=900, threads=2, network=True).job
    assert (job.gpu, job.minutes, job.memory_mb, job.threads) == (True, 40, 900, 2)
    assert job.is_local and not masks.job.is_local
    assert masks.prompt_key is None and block(prompts="lvlm").prompt_key == "lvlm"


def test_digest_of_a_block_holds_the_files_that_it_names(tmp_path, monkeypatch):
    """So an edited program, a file of it or an environment is another block, and a comma is not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.py").write_text("1")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "a.txt").write_text("1")
    before = block(files=["config"]).plain()["digests"]
    assert set(before) == {"x.py", "config"}
    for path in (tmp_path / "x.py", tmp_path / "config" / "a.txt"):
        path.write_text("2")
        after = block(files=["config"]).plain()["digests"]
        assert sum(before[name] != after[name] for name in before) == 1
        before = after
    os.utime(tmp_path / "x.py", (1, 1))
    assert block(files=["config"]).plain()["digests"] == before, "a date is no content"
    (tmp_path / "pyvenv.cfg").write_text("version = 3.11")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    assert "pyvenv.cfg" in block(python="bin/python").plain()["digests"]


SETTINGS = {
    "datasets": {"chips": {"format": "synthetic_sat", "n_train": 4, "shards": 2}},
    "prompts": {"chips": {"plain": {"segmentation": ["void"]}}},
}


def test_runs_of_a_program_are_those_of_its_prompt_sets():
    """It is planned as any other method, and told what it asked for."""
    given = {"kind": "command", "command": "x", "prompts": "segmentation"}
    methods = {"a": {**given, "gives": "masks"}, "b": {**given, "gives": "verdicts"}}
    plan = Plan(load_settings({**SETTINGS, "methods": methods}))
    assert [run for run in plan.mask_runs() if run[1] in methods] == [("chips", "a", "plain")]
    assert plan.settings.verdict_runs() == [("chips", "b", "plain")]
    run = plan.run_of("chips", "a", "plain", plan.block("a").job)
    assert run["told"] == ["void"] and set(run["words"]) == {"object_name", "defect_names"}
    paths = plan.paths_of("chips", "b", "plain", shard=None)
    assert len(plan.block("b").inputs(paths)["shards"]) == 2
    assert "training images not known" in plan.method_notes()["a"]["note"]


def test_faults_of_a_block_are_listed_before_anything_runs(tmp_path):
    """Files that are not there, an interpreter that cannot run, a variable that is not set."""
    (tmp_path / "plain").touch()
    methods = {
        "a": {"command": "python gone.py", "python": "plain", "environment": ["NOT_SET_ANYWHERE"]},
        "b": {"command": "tool", "conda": "gone.yaml", "files": ["weights"]},
    }
    methods = {n: {"kind": "command", "gives": "masks", **each} for n, each in methods.items()}
    with pytest.raises(SettingsError) as told:
        checked_settings({**SETTINGS, "methods": methods}, folder=tmp_path)
    for fault in (
        "methods.a.command: there is no file gone.py",
        "methods.a.python: plain cannot be run",
        "methods.a.environment: NOT_SET_ANYWHERE is not set",
        "methods.b.conda: there is no file gone.yaml",
        "methods.b.files: there is no file or folder weights",
    ):
        assert fault in str(told.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"command": "python 'x"}, "No closing quotation"),
        ({"command": " "}, "expected a program"),
        ({"python": "p", "conda": "c"}, "python or conda, not both"),
        ({"environment": ["KEY=1"]}, "names of environment variables"),
        ({"gives": "maps", "training": "none"}, "set training: good, or a number"),
    ],
)
def test_block_that_cannot_be_meant_is_refused(given, message):
    """Before it reaches a job."""
    with pytest.raises(ValueError, match=message):
        block(**given)
