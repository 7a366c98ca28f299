"""The record of tries: a right count or a named fault, whatever happens to the file."""

import contextlib
import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realitycheck.core.tries_file import (
    Seen,
    TriesError,
    TriesFile,
    Try,
    count,
    openings,
    parts_digest,
)

DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)
PARTS = parts_digest([("image a", "OK"), ("image b", "NOK and mask")])


def a_try(text="crack", **changes):
    """One try of a method with another text."""
    return replace(
        Try("chips", PARTS, "sam_clip", {"points": 16}, text, 0.5, {"sam": "s"}), **changes
    )


@pytest.fixture
def file(tmp_path):
    """A file with three tries."""
    file = TriesFile(tmp_path / "tries.jsonl")
    file.add_tries([a_try(text) for text in "abc"], now=DAY)
    return file


def n_tries(file, *seen):
    return count(file.read(*seen), "chips", PARTS).n_tries


def test_equal_tries_count_once_and_each_edit_counts(file):
    """Method, settings, texts, threshold, weights: an edit of any is another try."""
    assert n_tries(file) == 3
    content = file.path.read_bytes()
    file.add_tries([a_try("a"), a_try("b", dataset="renamed")])
    assert file.path.read_bytes() == content
    edits = {"method": "x", "settings": {}, "texts": "x", "threshold": 0.6, "weights": {}}
    for n, (name, value) in enumerate(edits.items(), 4):
        file.add_tries([a_try("a", **{name: value})])
        assert n_tries(file) == n


def test_five_edits_one_after_another_count_as_five(tmp_path):
    """A fresh object each time, as each run is a new process."""
    for n in range(1, 6):
        TriesFile(tmp_path / "t.jsonl").add_tries([a_try(f"text {n}"), a_try("text 1")])
        assert n_tries(TriesFile(tmp_path / "t.jsonl")) == n


def test_parts_are_known_by_image_and_truth_in_any_order():
    """A new truth or image is another data set; the order of the rows is not."""
    parts = [("a", "OK"), ("b", "NOK")]
    assert parts_digest(parts) == parts_digest(reversed(parts))
    assert parts_digest(parts) != parts_digest([("a", "NOK"), ("b", "NOK")])
    assert parts_digest(parts) != parts_digest([("a", "NOK"), ("b", "OK")])


def test_edited_truth_begins_a_new_count_and_says_so(file):
    """The former tries are not forgotten, but they were on other parts."""
    edited = parts_digest([("image a", "NOK"), ("image b", "NOK and mask")])
    file.add_tries([a_try("a", parts=edited)])
    found = count(file.read(), "chips", edited)
    assert (found.n_tries, found.n_before) == (1, 3)
    assert found.words() == (
        "1 tried on these parts, counted from 2026-03-01; the count began anew when images or "
        "truth were edited, after 3 tries."
    )


def test_no_file_yet_counts_nothing(tmp_path):
    """And says that it does not count."""
    found = count(TriesFile(tmp_path / "none.jsonl").read(), "chips", PARTS)
    assert (found.n_tries, found.since) == (0, None)
    assert found.words() == "Tries are not counted yet."


def test_tries_made_elsewhere_are_declared(file):
    """Of each place the largest number ever declared counts: none is taken back."""
    for where, n in (("pilot", 12), ("pilot", 15), ("pilot", 3), ("other tool", 2)):
        file.declare_elsewhere("chips", PARTS, where=where, n_tries=n)
    found = count(file.read(), "chips", PARTS)
    assert (found.n_scored, found.n_elsewhere, found.n_tries) == (3, 17, 20)
    assert "20 tried on these parts, counted from 2026-03-01, 17 of them declared" in found.words()
    with pytest.raises(ValueError, match="must be 1 or more, but are 0"):
        file.declare_elsewhere("chips", PARTS, where="x", n_tries=0)


def test_family_is_named_before_anything_is_scored(tmp_path):
    """Whatever comes later is a try, and no member."""
    file = TriesFile(tmp_path / "t.jsonl")
    members = [a_try(text) for text in "abcd"]
    file.name_family("chips", PARTS, [each.digest for each in members], now=DAY)
    file.name_family("chips", PARTS, [each.digest for each in reversed(members)])
    file.add_tries([*members, a_try("e"), a_try("f")])
    records = file.read()
    found = count(records, "chips", PARTS)
    assert set(found.family) == {each.digest for each in members}
    assert found.n_tries == 6
    assert found.family_date == "2026-03-01T12:00:00+00:00"
    assert found.family_digest == records[1].digest
    with pytest.raises(TriesError, match="a family was named on its parts on 2026-03-01"):
        file.name_family("chips", PARTS, [members[0].digest])


def test_family_cannot_be_claimed_afterwards(file):
    """One scored try is enough, or a declared one."""
    with pytest.raises(TriesError, match=r"tries were made on its parts on 2026-03-01 \(line 2\)"):
        file.name_family("chips", PARTS, [a_try("a").digest])
    with pytest.raises(ValueError, match="needs at least one"):
        file.name_family("chips", "other parts", [])
    file.declare_elsewhere("chips", "other parts", where="pilot", n_tries=1)
    with pytest.raises(TriesError, match="decide among all tries"):
        file.name_family("chips", "other parts", ["x"])


def test_every_opening_of_locked_parts_is_recorded(file):
    """The same candidate again is no second try, but it is said; another one is."""
    for text in "aab":
        file.open_locked("chips", "locked", of=a_try(text), by="settings", now=DAY)
    records = file.read()
    assert [r.body["by"] for r in openings(records, "locked")] == ["settings"] * 3
    assert n_tries(file) == 3


# -------------------------------------------------------------------------------- what can go wrong


def test_line_that_a_killed_process_left_is_removed_by_the_next(file):
    """It was never counted: what it records is scored again and then added."""
    whole = file.path.read_bytes()
    file.path.write_bytes(whole + file.path.read_bytes()[:25])
    assert n_tries(file) == 3
    file.add_tries([a_try("d")])
    assert n_tries(file) == 4
    assert file.path.read_bytes().startswith(whole)


@pytest.mark.parametrize("content", [b"a key", b"notes\nof mine", b'{"kind": "oth'])
def test_file_of_something_else_is_left_alone(tmp_path, content):
    """Named by mistake, it must not lose its last line."""
    path = tmp_path / "notes"
    path.write_bytes(content)
    for use in (TriesFile(path).read, lambda: TriesFile(path).add_tries([a_try()])):
        with pytest.raises(TriesError):
            use()
    assert path.read_bytes() == content


@pytest.mark.parametrize("n_bytes", [1, 40, 500])
def test_file_cut_short_is_a_fault(file, n_bytes):
    """Also where only the end of the last line is gone."""
    file.path.write_bytes(file.path.read_bytes()[:-n_bytes])
    for use in (file.read, lambda: file.add_tries([a_try("z")])):
        with pytest.raises(TriesError, match=r"whole records?, but 4 were there before: .* cut"):
            use()


def test_deleted_file_is_a_fault(file):
    """Starting anew silently would be a smaller count."""
    file.path.unlink()
    for use in (file.read, lambda: file.add_tries([a_try("z")])):
        with pytest.raises(TriesError, match="the record of tries is missing, but 4 were there"):
            use()
    assert not file.path.exists()


def test_results_remember_what_the_file_beside_does_not(file):
    """With file and count deleted, or cut together, the results' own note still tells."""
    seen = file.add_tries([])
    assert seen.n_records == 4
    lines = file.path.read_bytes().splitlines(keepends=True)
    file.seen_path.unlink()
    assert n_tries(file, seen) == 3
    file.path.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(TriesError, match="holds 3 whole records, but 4 were there before"):
        file.read(seen)
    file.path.unlink()
    with pytest.raises(TriesError, match=r"declare the lost tries \(tries_elsewhere"):
        file.read(seen)


def test_file_replaced_by_another_is_a_fault(file, tmp_path):
    """A longer one from another place, too."""
    other = TriesFile(tmp_path / "other" / "tries.jsonl")
    other.add_tries([a_try(f"{n}") for n in range(9)])
    file.path.write_bytes(other.path.read_bytes())
    with pytest.raises(TriesError, match="record 4 is not the one that was there before"):
        file.read()


def test_edited_lost_and_moved_lines_are_faults(file):
    """Each names its line."""
    lines = file.path.read_bytes().splitlines(keepends=True)
    edited = lines[2].replace(b"0.5", b"0.6")
    moved = [lines[0], lines[2], lines[1], lines[3]]
    cases = {
        (2, "checksum"): [*lines[:1], b"\n", *lines[2:]],
        (3, "checksum"): [*lines[:2], edited, lines[3]],
        (2, "follow the line before"): moved,
        (3, "follow the line before "): [*lines[:2], lines[3]],
        (4, "checksum"): [*lines[:3], b"[1, 2]\n"],
        (1, "checksum"): [b"\xff\x00\n", *lines[1:]],
    }
    for (number, told), content in cases.items():
        file.path.write_bytes(b"".join(content))
        with pytest.raises(TriesError, match=rf"line {number}: .*{told.strip()}"):
            file.read()


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_damage_gives_a_smaller_count(tmp_path_factory, data):
    """Any cut, any changed byte: the same count or a fault."""
    file = TriesFile(tmp_path_factory.mktemp("tries") / "t.jsonl")
    file.add_tries([a_try(text) for text in "abc"], now=DAY)
    content = bytearray(file.path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:at]
    else:
        content[at] = data.draw(st.integers(0, 255))
    file.path.write_bytes(bytes(content))
    with contextlib.suppress(TriesError):
        assert n_tries(file) == 3


@pytest.mark.parametrize("content", ["", "{}", "[3]", '{"n_records": "x", "digest": 1}'])
def test_damaged_count_beside_the_file_is_a_fault(file, content):
    """It is the witness against a cut file."""
    file.seen_path.write_text(content)
    with pytest.raises(TriesError, match="jsonl.seen: expected the number of recorded tries"):
        file.read()


def test_file_that_cannot_be_written_counts_what_it_holds(file, monkeypatch):
    """Known tries need no writing; a new one that cannot be recorded is a fault."""
    path_open = type(file.path).open

    def refuse(self, mode="r", *args, **kwargs):
        if "a" in mode:
            raise PermissionError(13, "Permission denied")
        return path_open(self, mode, *args, **kwargs)

    monkeypatch.setattr(type(file.path), "open", refuse)
    file.add_tries([a_try("a")])
    with pytest.raises(
        TriesError, match=r"cannot be recorded \(Permission denied\), so they would"
    ):
        file.add_tries([a_try("new")])
    assert n_tries(file) == 3


def test_held_file_is_waited_for_then_named(file, monkeypatch):
    """By another handle, as by another process."""
    import fcntl

    monkeypatch.setattr("realitycheck.core.tries_file._PATIENCE_S", 0.1)
    with file.path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(TriesError, match="another process has held it for"):
            file.add_tries([a_try("new")])
    file.add_tries([a_try("new")])


_ADD_SOME = """
import sys
from realitycheck.core.tries_file import TriesFile, Try
path, parts, name = sys.argv[1:]
for n in range(20):
    own, shared = (Try("chips", parts, "sam_clip", texts=f"{t} {n}") for t in (name, "shared"))
    TriesFile(path).add_tries([own, shared])
"""


def test_runs_at_once_lose_nothing(tmp_path):
    """Four processes, each with tries of its own and tries that all have."""
    path = tmp_path / "t.jsonl"
    workers = [
        subprocess.Popen([sys.executable, "-c", _ADD_SOME, path, PARTS, name]) for name in "abcd"
    ]
    assert [worker.wait() for worker in workers] == [0] * 4
    file = TriesFile(path)
    assert n_tries(file) == 4 * 20 + 20
    records = file.read()
    assert sum(r.kind == "begin" for r in records) == 1
    assert json.loads(file.seen_path.read_text()) == Seen(101, records[-1].digest)._asdict()
