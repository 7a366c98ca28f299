"""One run at a time writes into a folder of results, and runs of one working folder only."""

import shutil

import pytest

from realitycheck.core.one_run import NOTE_NAME, NoLocksError, ResultsInUse, check_owner, claim


@pytest.fixture
def folders(tmp_path):
    """Two working folders, and results that lie in neither."""
    for name in ("a", "b"):
        (tmp_path / name / ".snakemake").mkdir(parents=True)
    return tmp_path / "a", tmp_path / "b", tmp_path / "results"


def test_two_runs_at_once_in_one_folder_of_results_are_refused(folders):
    """Also from the same working folder; the lock is gone with whoever held it."""
    a, b, results = folders
    with claim(results, a):
        for folder in (a, b):
            with pytest.raises(
                ResultsInUse, match=r"another run is at work in the results .*results"
            ):
                claim(results, folder)
    claim(results, a).close()


def test_results_of_another_working_folder_are_named(folders):
    """Each of the two would take the other's manifests for its own."""
    a, b, results = folders
    check_owner(results, a)
    claim(results, a).close()
    check_owner(results, a)
    with pytest.raises(ResultsInUse, match=f"results of runs in {a}; .* delete .*{NOTE_NAME}"):
        check_owner(results, b)
    (results / NOTE_NAME).unlink()
    check_owner(results, b)


def test_moved_and_copied_runs_own_their_results(folders, tmp_path):
    """Who moves a run takes its results with it; a copy is another run with its own results."""
    a, b, _ = folders
    claim(a / "results", a).close()
    shutil.copytree(a, tmp_path / "copy")
    check_owner(tmp_path / "copy" / "results", tmp_path / "copy")
    a.rename(tmp_path / "moved")
    check_owner(tmp_path / "moved" / "results", tmp_path / "moved")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "moved")
    claim(tmp_path / "moved" / "results", link).close()
    check_owner(tmp_path / "moved" / "results", tmp_path / "moved")


@pytest.mark.parametrize("note", ["", "{", "[]", '{"folder": 3}', "\x00"])
def test_note_that_says_nothing_is_no_owner(folders, note):
    """A killed run may leave an empty one."""
    _, b, results = folders
    results.mkdir()
    (results / NOTE_NAME).write_text(note)
    check_owner(results, b)
    claim(results, b).close()


def test_folder_without_locks_says_so(folders, monkeypatch):
    """Then whoever starts two runs must know; the note is written all the same."""

    def refuse(*_):
        raise OSError("no locks available")

    a, b, results = folders
    monkeypatch.setattr("realitycheck.core.one_run.fcntl.flock", refuse)
    with pytest.raises(NoLocksError, match="no locks here"):
        claim(results, a)
    with pytest.raises(ResultsInUse):
        check_owner(results, b)
