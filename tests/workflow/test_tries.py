"""Everything that was tried counts: through the workflow, with a model asked on this machine."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "servers"))

from realitycheck.core.tries_file import TriesFile
from realitycheck.datasets.folder import list_folder
from realitycheck.datasets.locked import LOCKED
from realitycheck.planning.confirm import ConfirmError, open_for
from realitycheck.settings.load import load_settings

TABLE = "results/tables/readiness.parquet"
#: What an edited prompt runs again; the server answers, so no network is loaded.
AFTER_A_PROMPT = {"ask_lvlm": 1, "score_labels_parts": 1, "tabulate": 1}
SETTINGS = {
    "datasets": {"parts": {"format": "folder", "root": "data/parts", "reference": "none"}},
    "prompts": {"parts": {"basic": {"lvlm": "Is it scratched?", "reference": False}}},
    "methods": {
        "asked": {
            "kind": "lvlm",
            "backend": "openai_compatible",
            "model": "own",
            "price": {"input": 1, "output": 1},
            "requests_per_minute": None,
        }
    },
    "evaluation": {"n_resamples": 200},
}


@pytest.fixture
def run(new_run, tmp_path):
    """Seven parts, and a server that calls them good."""
    from openai_server import OpenAIServer

    run = new_run(tmp_path, SETTINGS)
    for label, names in {"OK": "abcd", "NOK": "xyz"}.items():
        for name in names:
            run.add_part(label, name)
    with OpenAIServer() as server:
        run.settings["methods"]["asked"]["base_url"] = f"{server.url}/v1"
        yield run


def counted(run):
    """Row of the one method: how many were tried, and what is said of it."""
    table = run.read("tables/readiness.parquet")
    assert len(table) == 1
    return int(table["n_tries"][0]), table["reason"][0], table["tries_note"][0]


def test_every_prompt_that_was_tried_counts_and_nothing_runs_again_for_it(run):
    """One after another; the results are deleted between; an edited image begins a new count."""
    for number in range(1, 6):
        run.settings["prompts"]["parts"]["basic"]["lvlm"] = f"Is it scratched? Look {number} times"
        if number == 1:
            run.finish(TABLE)
        elif number == 3:
            shutil.rmtree(run.results)
            run.finish(TABLE)
        else:
            assert run.rules_run(TABLE) == AFTER_A_PROMPT
        n_tries, reason, note = counted(run)
        assert n_tries == number
        assert (f"one of {number} tried on these parts" in reason) == (number > 1)
        assert note.startswith(f"{number} tried on these parts, counted from 20")
    assert "Nothing to be done" in run.finish("--dry-run", TABLE)

    # What a run may cost or how long it waits is no try; nor is another name; a former one is none.
    run.settings["methods"]["asked"] |= {"timeout_s": 200, "title": "A model"}
    run.settings["prompts"]["parts"] = {
        "again": {"lvlm": "Is it scratched? Look 2 times", "reference": False}
    }
    run.finish(TABLE)
    assert counted(run)[0] == 5

    tries = run.folder / "ledger" / "tries.jsonl"
    whole = tries.read_bytes()
    tries.write_bytes(whole[:-40])
    assert "whole records, but 6 were there before: it was deleted, cut short" in run.fail(TABLE)
    for each in (tries, tries.with_name("tries.jsonl.seen")):
        each.unlink()
    assert "the record of tries is missing, but 6 were there before" in run.fail(TABLE)
    tries.write_bytes(whole)

    run.part("NOK", "x").write_bytes(run.part("NOK", "y").read_bytes() + b" ")
    run.settings["datasets"]["parts"] |= {"tries_elsewhere": {"a pilot": 12}}
    run.settings["datasets"]["parts"] |= {"allow_duplicates": True}
    run.finish(TABLE)
    n_tries, _, note = counted(run)
    assert n_tries == 13
    assert "12 of them declared as made elsewhere" in note
    assert "the count began anew when images or truth were edited, after 5 tries" in note


def test_family_is_named_before_it_is_scored_or_not_at_all(run):
    """Two prompts that were fixed share the error between them; a later one is one of all."""
    run.settings["prompts"]["parts"]["other"] = {"lvlm": "Is it bent?", "reference": False}
    run.settings["datasets"]["parts"]["preregistered"] = True
    run.finish(TABLE)
    run.settings["prompts"]["parts"]["other"]["lvlm"] = "Is it broken?"
    run.finish(TABLE)
    table = run.read("tables/readiness.parquet").set_index("prompt")
    assert table["is_named_before"].to_dict() == {"basic": True, "other": False}
    assert "it is one of 2 named on 20" in table.loc["basic", "reason"]
    assert "it is one of 3 tried on these parts" in table.loc["other", "reason"]
    shutil.rmtree(run.folder / "ledger")
    shutil.rmtree(run.results)
    run.settings["datasets"]["parts"]["preregistered"] = False
    run.finish(TABLE)
    run.settings["datasets"]["parts"]["preregistered"] = True
    said = run.fail(TABLE)
    assert "cannot be named as fixed before any was scored, because tries were made" in said


def test_locked_parts_are_opened_by_no_job_before_they_are_confirmed(run, monkeypatch):
    """Whoever decoded one would stop, for they are no pictures; then one method is confirmed."""
    for number in range(8):
        for label in ("OK", "NOK"):
            run.add_part(label, f"more_{number}")
    root = run.folder / "data" / "parts"
    listed = list_folder(root, confirm_fraction=0.4).records
    locked = [each for each in listed if each.split == LOCKED]
    assert {each.label for each in locked} == {"OK", "NOK"}
    pictures = {each.image_path: each.image_path.read_bytes() for each in locked}
    run.settings["datasets"]["parts"]["split"] = {"confirm_fraction": 0.4}
    for path in pictures:
        path.write_bytes(b"no picture")
    run.finish(TABLE, "results/report.html")
    scored = set(run.read("manifests/parts.parquet")["image_id"])
    assert scored == {each.image_id for each in listed if each.split == "test"}
    note = counted(run)[2]
    assert f"{len(locked)} more parts are locked; nothing was scored on them" in note
    page = (run.results / "report.html").read_text(encoding="utf-8")
    assert "more parts are locked" in page
    assert not any(each.image_id in page for each in locked)

    run.settings["datasets"]["parts"]["split"]["opened"] = True
    said = run.fail("results/manifests/parts.parquet")
    assert "the locked parts are opened by the command `realitycheck confirm` alone" in said
    del run.settings["datasets"]["parts"]["split"]["opened"]
    for path, picture in pictures.items():
        path.write_bytes(picture)
    run.finish(TABLE)

    monkeypatch.chdir(run.folder)
    settings = load_settings(run.settings)
    chosen = {"method": "asked", "prompt": "basic", "dataset": None}
    found = open_for(settings, run.settings, **chosen)
    assert found.said[0].endswith("good parts are opened for candidate 1")
    table = str(found.results / "tables" / "readiness.parquet")
    run.finish(table, "--configfile", str(found.file))
    table = run.read("confirmed/parts/asked/basic/tables/readiness.parquet")
    assert int(table["n_tries"][0]) == 1
    assert table["n_ok"][0] + table["n_nok"][0] == len(locked)
    assert f"These {len(locked)} parts were locked, and opened on 20" in table["tries_note"][0]

    said = open_for(settings, run.settings, **chosen).said
    assert said[0].startswith("opened before: 20") and said[1].endswith("for candidate 1")
    assert [r.kind for r in TriesFile("ledger/tries.jsonl").read()].count("opened") == 2
    run.settings["prompts"]["parts"]["basic"]["lvlm"] = "Is it bent?"
    with pytest.raises(ConfirmError, match="was not scored on the other parts"):
        open_for(load_settings(run.settings), run.settings, **chosen)
