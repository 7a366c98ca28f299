"""The set-up chooses an installer, takes pip's indexes along, and goes on where it broke off."""

import importlib.util
import json
import subprocess
import sys

import pytest


@pytest.fixture
def set_up(repository):
    """The script that the Makefile calls, before anything is installed."""
    spec = importlib.util.spec_from_file_location("set_up", repository / "envs" / "set_up.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def venv(tmp_path):
    """An environment without anything in it but a Python that is none."""
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").touch()
    return tmp_path / "venv"


@pytest.fixture
def calls(set_up, monkeypatch):
    """Record commands instead of running them; what a word of a command leads to can be set."""
    made, status = [], {}

    def run(command, **given):
        made.append((command, given.get("env", {})))
        code = next((code for word, code in status.items() if word in command), 0)
        return subprocess.CompletedProcess(command, code, stdout=status.get("listed", ""))

    monkeypatch.setattr(set_up.subprocess, "run", run)
    monkeypatch.setattr(set_up.shutil, "which", lambda name: None)
    return made, status


def installs(calls):
    return [command for command, _ in calls[0] if "--editable" in command]


def test_pips_indexes_are_handed_to_uv(set_up):
    """uv reads none of pip's files; a variable counts more than they do, `install` most of them."""
    settings = set_up.pip_settings(
        "global.index-url='first'\n"
        "global.extra-index-url='a  b\\nc'\n"
        "install.index-url='second'\n"
        "download.index-url='of another command'\n"
        ":env:.index-url='third'\n"
        ":env:.find-links='/x /y'\n"
        ":env:.quiet='1'\n"
    )
    variables, missing = set_up.uv_variables(settings)
    assert variables == {
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_DEFAULT_INDEX": "third",
        "UV_INDEX": "a b c",
        "UV_FIND_LINKS": "/x,/y",
    }
    assert missing == []


def test_setting_that_uv_does_not_know_is_left_to_pip(set_up, venv, calls, capsys):
    """Rather slow than from another place, or without a certificate."""
    calls[1]["listed"] = "global.client-cert='/a.pem'\n"
    assert set_up.set_up(venv, tests=False) == 0
    assert installs(calls)[0][:4] == [str(venv / "bin" / "python"), "-m", "pip", "install"]
    assert "pip, for uv knows nothing like its setting client-cert" in capsys.readouterr().out


def test_uv_of_the_path_comes_first(set_up, venv, calls, monkeypatch):
    monkeypatch.setattr(set_up.shutil, "which", lambda name: "/usr/bin/uv")
    set_up.set_up(venv, tests=False)
    [command] = installs(calls)
    assert command[:5] == ["/usr/bin/uv", "pip", "install", "--python", str(venv / "bin/python")]
    assert command[5] == "--constraint" and command[6].endswith("constraints.txt")


def test_packages_are_compiled_where_python_would_never_keep_that(set_up, venv, calls, monkeypatch):
    """Else each of a run's many jobs compiles torch and all it imports again."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    set_up.set_up(venv, tests=False)
    assert "--compile-bytecode" in installs(calls)[0]


def test_uv_is_fetched_where_there_is_none(set_up, venv, calls):
    set_up.set_up(venv, tests=False)
    assert [command[-1] for command, _ in calls[0]][1] == "uv"
    assert installs(calls)[0][:3] == [str(venv / "bin" / "uv"), "pip", "install"]


def test_pip_installs_where_uv_is_not_to_be_had(set_up, venv, calls, capsys):
    """From the same constraints, and not in silence."""
    calls[1]["uv"] = 1
    assert set_up.set_up(venv, tests=False) == 0
    [command] = installs(calls)
    assert command[1:4] == ["-m", "pip", "install"] and "--quiet" not in command
    assert "--constraint" in command
    assert "pip, for uv is not to be had" in capsys.readouterr().out


def test_first_line_says_what_comes_and_how_large_it_is(set_up, venv, calls, capsys):
    set_up.set_up(venv, tests=False)
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"Setting up {venv}: what the workflow needs; about 3.4 GB to fetch")
    assert "6.6 GB on the disk" in first and "GB are free" in first


def test_too_little_room_is_said_first(set_up, tmp_path):
    said = set_up.announcement(tmp_path, tests=True, free_gb=2.0)
    assert "and what the tests need" in said and "2 GB are free" in said
    assert "That may be too little" in said
    assert "too little" not in set_up.announcement(tmp_path, tests=True, free_gb=20.0)


def test_demo_leaves_out_what_tests_need_and_a_second_call_installs_nothing(set_up, venv, calls):
    """An environment for tests will do for the demo, not the other way round."""
    wanted = []
    for tests in (False, False, True, True, False):
        set_up.set_up(venv, tests=tests)
        wanted.append([command[-1].endswith("[test]") for command in installs(calls)])
    assert wanted == [[False], [False], [False, True], [False, True], [False, True]]


def test_other_constraints_are_installed_anew(set_up, venv, calls):
    set_up.set_up(venv, tests=False)
    note = venv / set_up.NOTE
    note.write_text(json.dumps({**json.loads(note.read_text()), "digest": "of others"}))
    set_up.set_up(venv, tests=False)
    assert len(installs(calls)) == 2


def test_set_up_that_was_broken_off_goes_on(set_up, venv, calls, capsys):
    """What counts as installed without being whole is forgotten; failure leaves no note."""
    site = venv / "lib" / "python3.11" / "site-packages"
    for name in ("half-1.0", "whole-2.0"):
        (site / f"{name}.dist-info").mkdir(parents=True)
    (site / "whole-2.0.dist-info" / "INSTALLER").write_text("uv")
    calls[1]["--editable"] = 2
    assert set_up.set_up(venv, tests=False) == 2
    assert not (site / "half-1.0.dist-info").exists() and (site / "whole-2.0.dist-info").exists()
    assert "installed again: half-1.0" in capsys.readouterr().out
    del calls[1]["--editable"]
    assert set_up.set_up(venv, tests=False) == 0
    assert len(installs(calls)) == 2


@pytest.mark.parametrize(("end", "word"), [(2, "failed"), (KeyboardInterrupt(), "was interrupted")])
def test_end_before_the_end_says_what_to_do(set_up, venv, monkeypatch, capsys, end, word):
    def broken(folder, *, tests):
        if isinstance(end, int):
            return end
        raise end

    monkeypatch.setattr(set_up, "set_up", broken)
    monkeypatch.setattr(sys, "argv", ["set_up.py", str(venv)])
    assert set_up.main() == (end if isinstance(end, int) else 130)
    said = capsys.readouterr().err
    assert f"The set-up {word}" in said and "GB are free at" in said
    assert "The same command goes on from here" in said


def test_old_python_is_refused_in_words(set_up, monkeypatch, capsys):
    monkeypatch.setattr(set_up, "LEAST_PYTHON", (99, 1))
    assert set_up.main() == 1
    assert "RealityCheck needs Python 99.1 or later" in capsys.readouterr().err
