"""A program of one's own from request to masks, maps and verdicts; what ends, changes or fails."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from realitycheck.core.parquet import ArtifactError
from realitycheck.core.schemas import THRESHOLDS
from realitycheck.core.tables import write_table
from realitycheck.methods.base import Inputs
from realitycheck.methods.command.exchange import ExchangeError
from realitycheck.methods.command.program import ProgramError
from realitycheck.methods.command.segmenter import open as open_program
from realitycheck.methods.command.views import views

BAD = ["a/bad/1", "a/bad/2"]


def test_masks_of_a_program_in_another_environment(bench):
    """Its interpreter is the one of the settings; its masks and seconds become rows."""
    table = bench.masks(bench.block("masks"))
    assert table["status"].to_dict() == {
        name: "ok" if name in BAD else "empty" for name in table.index
    }
    assert table.loc[BAD, "n_regions"].tolist() == [1, 1]
    prefix = str(Path(bench.python).parents[1])
    said = (bench.exchange / "program.log").read_text()
    assert f"prefix {prefix}" in said and prefix != sys.prefix


def test_request_tells_no_label(bench):
    """Neither a name nor an order does, and what is scored has no truth there."""
    bench.program.write_text(
        "import shutil; shutil.copytree('.', '../seen'); raise SystemExit('seen')"
    )
    with pytest.raises(ProgramError, match="seen"):
        bench.masks(bench.block("masks"))
    seen = bench.exchange.parent / "seen"
    told = [path for path in seen.rglob("*") if path.is_file() and path.suffix != ".log"]
    assert {path.relative_to(seen).as_posix() for path in told} == {
        *("request.json", "images.parquet", "training.parquet", "references.parquet"),
        *(f"{kind}/{index:06d}.png" for kind in ("images", "training") for index in range(4)),
    }
    for path in told:
        assert not any(word in path.read_bytes() for word in (b"bad", b"good/", b"NOK")), path
    images = pd.read_parquet(seen / "images.parquet")
    assert images.columns.tolist() == ["index", "file", "category", "height_px", "width_px"]
    assert json.loads((seen / "request.json").read_text())["format"] == 1


def test_maps_take_their_threshold_from_parts_that_the_program_did_not_learn_from(bench):
    """And their scores and views come from what it left, without running it again."""
    block = bench.block("maps", held_back=0.25, min_area_px=1)
    limits = bench.fitted(block)
    assert len(set(limits.values())) == 1 and set(limits) >= set(BAD)
    held = bench.exchange.with_name("held-back")
    assert (len(pd.read_parquet(held / "images.parquet")), bench.runs()) == (1, 1)
    assert len(pd.read_parquet(held / "training.parquet")) == 3
    path = bench.results / "thresholds.parquet"
    rows = [
        {"dataset": "parts", "image_id": name, "threshold": limit, "fold": None}
        for name, limit in limits.items()
    ]
    write_table(rows, path, schema=THRESHOLDS, facts={})
    table = bench.masks(block, thresholds=path)
    assert set(table.index[table["status"] == "ok"]) >= set(BAD)
    assert len(pd.read_parquet(bench.exchange / "training.parquet")) == 3

    later = Inputs({"transforms": bench.scored[0], "thresholds": path, "masks": bench.scored[0]})
    segmenter = open_program(later, bench.run_of(block), "cpu")
    for row in pd.read_parquet(bench.scored[0]).itertuples():
        assert segmenter.score_map(row).shape == (row.height_px, row.width_px)
        (view,) = views(segmenter, row, np.zeros((24, 16, 3), np.uint8), None)
        assert view.threshold == limits[row.image_id]
    assert bench.runs() == 2


def test_verdicts_of_a_program(bench):
    """With score, reason and seconds."""
    table = bench.verdicts(bench.block("verdicts"))
    labels = table["label_predicted"]
    assert labels.to_dict() == {name: "NOK" if name in BAD else "OK" for name in table.index}
    assert set(table["reasoning"]) == {"brighter"} and set(table["latency_s"]) == {0.25}
    assert table["score"].between(0, 1).all()


def test_image_that_the_program_gives_up_is_not_judged(bench):
    """Neither as good nor as defective."""
    bench.program.write_text(
        bench.program.read_text()
        + "\npd.DataFrame({'index': [0, 1, 2, 3], 'status': ['failed', *['answered'] * 3]})"
        + ".to_csv('predictions.csv', index=False)\nPath('masks/000000.png').unlink()\n"
    )
    assert sorted(bench.masks(bench.block("masks"))["status"]).count("failed") == 1


# --------------------------------------------------------------------------- when it runs, and not


def test_finished_shard_is_not_run_again_until_something_of_it_changes(bench):
    """Limits and thresholds are afterthoughts; program, files, seed and images are not."""
    weights = bench.folder / "weights.bin"
    weights.write_bytes(b"1")
    given = {"threshold": 0.3, "files": [str(weights)]}
    bench.masks(bench.block("maps", **given))
    for same in ({}, {"minutes": 5, "memory_mb": 900}, {"threshold": 0.2, "min_area_px": 3}):
        bench.masks(bench.block("maps", **{**given, **same}))
        assert bench.runs() == 1, same
    weights.write_bytes(b"2")
    bench.masks(bench.block("maps", **given))
    assert bench.runs() == 2
    bench.program.write_text(bench.program.read_text() + "\n# edited\n")
    bench.masks(bench.block("maps", **given))
    assert bench.runs() == 3
    bench.masks(bench.block("maps", **given, command=f"python {bench.program} --again"))
    assert bench.runs() == 4


def test_answers_that_are_gone_take_the_masks_with_them(bench):
    """So that the next run makes both anew."""
    block = bench.block("maps", threshold=0.3)
    bench.masks(block)
    shard = bench.results / "predictions" / "parts" / "own" / "none" / "shards" / "0-of-1.parquet"
    shard.parent.mkdir(parents=True)
    shard.touch()
    (bench.exchange / "finished.json").unlink()
    later = Inputs({"transforms": bench.scored[0], "masks": bench.scored[0]})
    with pytest.raises(ArtifactError, match="4 images are gone .* run again"):
        open_program(later, bench.run_of(block), "cpu")
    assert not shard.exists()


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(condition, seconds=30):
    patience = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < patience, "it did not come"
        time.sleep(0.05)


SLOW = """
import os, subprocess, sys, time
from pathlib import Path
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
Path({marks!r}).write_text(f"{{os.getpid()}} {{child.pid}}")
time.sleep(600)
"""


def test_killed_job_ends_the_program_and_the_next_one_finishes(bench):
    """kill -9 of the job in the middle leaves no process behind, nor half an answer."""
    whole = bench.program.read_text()
    marks = bench.folder / "marks.txt"
    bench.program.write_text(SLOW.format(marks=str(marks)))
    words = [sys.executable, str(bench.program)]
    code = (
        "from pathlib import Path; from realitycheck.methods.command.program import run_program\n"
        f"run_program({words!r}, Path({str(bench.folder)!r}), environment={dict(os.environ)!r},\n"
        f"            limit_s=600, log=Path({str(bench.folder / 'said.log')!r}))"
    )
    job = subprocess.Popen([sys.executable, "-c", code])
    until(lambda: marks.exists() and len(marks.read_text().split()) == 2)
    pids = [int(word) for word in marks.read_text().split()]
    assert all(map(is_alive, pids))
    job.send_signal(signal.SIGKILL)
    job.wait()
    until(lambda: not any(map(is_alive, pids)))
    # What it had begun does not count.
    (bench.exchange / "masks").mkdir(parents=True)
    (bench.exchange / "masks" / "000000.png").write_bytes(b"half")
    bench.program.write_text(whole)
    assert bench.masks(bench.block("masks")).loc[BAD, "status"].tolist() == ["ok", "ok"]


def test_program_that_takes_too_long_is_ended_with_what_it_started(bench, monkeypatch):
    """The message says which setting holds it."""
    monkeypatch.setattr("realitycheck.methods.command.program._GRACE_S", 0.2)
    marks = bench.folder / "marks.txt"
    bench.program.write_text(SLOW.format(marks=str(marks)))
    block = bench.block("masks")
    settings = {**block.plain(), "minutes": 0.03}
    run = bench.run_of(block)
    with pytest.raises(ProgramError, match="ended after 0.03 minutes.*raise minutes"):
        open_program(bench.inputs(block), type(run)(**{**vars(run), "settings": settings}), "cpu")
    until(lambda: not any(is_alive(int(pid)) for pid in marks.read_text().split()))


# ------------------------------------------------------------------------------------- what fails


def test_crash_shows_the_last_lines_and_keeps_the_log(bench):
    """A traceback says more than a status."""
    bench.program.write_text("print('loading')\nraise RuntimeError('no such layer: conv9')\n")
    with pytest.raises(ProgramError, match="(?s)status 1.*loading.*: no such layer") as told:
        bench.masks(bench.block("masks"))
    assert str(bench.exchange / "program.log") in str(told.value)
    assert "conv9" in (bench.exchange / "program.log").read_text()
    assert not (bench.exchange / "finished.json").exists()


def test_program_that_is_killed_or_not_there_is_told(bench):
    """Memory that ran out looks like this."""
    bench.program.write_text("import os; os.kill(os.getpid(), 9)")
    with pytest.raises(ProgramError, match="ended by SIGKILL.*said nothing"):
        bench.masks(bench.block("masks"))
    with pytest.raises(ProgramError, match="no program no-such-tool"):
        bench.masks(bench.block("masks", command="no-such-tool --all"))


def test_wrong_answers_are_refused_and_asked_again_next_time(bench):
    """They are no result, and no reason to keep them."""
    whole = bench.program.read_text()
    bench.program.write_text(whole.replace("* 255).save", "* 99).save"))
    with pytest.raises(ExchangeError, match="values 0 and 255"):
        bench.masks(bench.block("masks"))
    bench.program.write_text(whole)
    assert len(bench.masks(bench.block("masks"))) == 4


# ------------------------------------------------------------------------------- what it is given


def test_keys_and_tokens_are_not_handed_on(bench, monkeypatch):
    """But for those that the settings name; and the hub is off unless the network is asked for."""
    monkeypatch.setenv("HF_TOKEN", "secret-1")
    monkeypatch.setenv("MY_LICENCE", "secret-2")
    monkeypatch.setenv("https_proxy", "http://proxy.example:1")
    bench.program.write_text(
        "import json, os\njson.dump(dict(os.environ), open('../seen.json', 'w'))\n"
        "raise SystemExit(3)"
    )

    def seen(**settings):
        with pytest.raises(ProgramError, match="status 3"):
            bench.masks(bench.block("masks", **settings))
        return json.loads((bench.exchange.parent / "seen.json").read_text())

    found = seen()
    assert not {"HF_TOKEN", "MY_LICENCE", "https_proxy", "PYTHONPATH"} & set(found)
    assert found["HF_HUB_OFFLINE"] == found["TRANSFORMERS_OFFLINE"] == "1"
    assert (found["OMP_NUM_THREADS"], found["CUDA_VISIBLE_DEVICES"]) == ("1", "")
    found = seen(network=True, environment=["MY_LICENCE"], threads=3)
    assert (found["MY_LICENCE"], found["https_proxy"]) == ("secret-2", "http://proxy.example:1")
    assert "HF_TOKEN" not in found and "HF_HUB_OFFLINE" not in found
    assert found["OMP_NUM_THREADS"] == "3"
    block = bench.block("masks", environment=["MY_LICENCE"])
    monkeypatch.delenv("MY_LICENCE")
    with pytest.raises(ProgramError, match="MY_LICENCE not set where the job runs"):
        bench.masks(block)
