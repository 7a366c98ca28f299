"""What was ever tried on a data set's parts: an append-only file beside the results.

Whatever was scored on parts is one *try*: a method with its resolved settings, its texts, its
threshold and its weights. Equal tries count once; baselines, which nobody chooses, are not handed
in. Tries are counted by the digest of the parts' images and truth, so that another folder of
results, another name or another user of one file does not begin a new count, and an edited image or
label does.

One JSON record per line; each holds the digest of itself and of the line before, so that no line
can be changed, lost or moved unseen. How many records there were and the digest of the last stand
in a small second file (`.seen`), and callers may keep them in a third place (`Seen`): a file that
was cut or replaced is noticed, and is a fault, never a smaller count. A last line without its end
that was never counted is what a killed process left; the next addition removes it.

Records are added under a lock of the operating system on the file itself. Nothing here is an
output of a job, and nothing that counts makes a job run again.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from realitycheck.core.files import write_text
from realitycheck.core.provenance import digest_of

KINDS = (
    "begin",  # the first line: a name of the file of its own
    "try",  # something was scored
    "elsewhere",  # so many tries were made where this file did not count them
    "family",  # tries that were named before any was scored
    "opened",  # a locked part of the data was scored
)
"""What a line can record."""

#: In a folder of results: how far they have seen the file.
NOTE_NAME = "tries_seen.json"

_DIGEST_LENGTH = 32
#: Every line begins so; what begins otherwise is not ours to cut off.
_START = b'{"before": "'
#: How long another process may hold the file, in seconds.
_PATIENCE_S = 60.0


class TriesError(RuntimeError):
    """The file of tries cannot be trusted or written."""


class Seen(NamedTuple):
    """How far a file of tries was seen: its number of records and the digest of the last."""

    n_records: int
    digest: str


@dataclass(frozen=True)
class Try:
    """What was scored on parts.

    Attributes:
        dataset: Name of the data set, for people; it is not part of the key.
        parts: Digest of its parts (`parts_digest`).
        method: Kind of the method.
        settings: Its resolved settings, plain values.
        texts: Prompts and phrases that it was given, plain values.
        threshold: The threshold, or the rule that fixes it, plain value.
        weights: Digests of the weights by network.
    """

    dataset: str
    parts: str
    method: str
    settings: Any = None
    texts: Any = None
    threshold: Any = None
    weights: Any = None

    @property
    def digest(self) -> str:
        """Key: all but the data set's name."""
        return _digest({k: v for k, v in asdict(self).items() if k != "dataset"})


@dataclass(frozen=True)
class Record:
    """A line of the file.

    Attributes:
        number: 1 for the first line.
        kind: One of `KINDS`.
        date: When it was added, UTC, ISO 8601.
        body: What it records.
        before: Digest of the line before; empty in the first.
        digest: Of all the rest.
    """

    number: int
    kind: str
    date: str
    body: dict[str, Any]
    before: str
    digest: str = ""

    def sealed(self) -> Record:
        """The same with its digest."""
        content = asdict(self)
        del content["digest"]
        return Record(**content, digest=_digest(content))

    def line(self) -> bytes:
        """The line with its end."""
        return (json.dumps(asdict(self), sort_keys=True) + "\n").encode()


@dataclass(frozen=True)
class Count:
    """How many tries were made on some parts.

    Attributes:
        n_scored: Tries that this file saw.
        n_elsewhere: Tries that were declared.
        since: When the file began to count; None where there is no file yet.
        n_before: Tries on a data set of this name whose images or truth were others.
        family: Digests of the tries that were named before any was scored; empty: none were.
        family_date: When they were named.
        family_digest: Digest of the record that names them.
        n_locked: Parts of the data set that are locked away.
        opened: Every opening of them: when, and by which settings.
        is_opened: Whether it is they that the count is of.
    """

    n_scored: int = 0
    n_elsewhere: int = 0
    since: str | None = None
    n_before: int = 0
    family: frozenset[str] = frozenset()
    family_date: str | None = None
    family_digest: str | None = None
    n_locked: int = 0
    opened: tuple[tuple[str, str], ...] = ()
    is_opened: bool = False

    @property
    def n_tries(self) -> int:
        """All tries on the parts."""
        return self.n_scored + self.n_elsewhere

    def words(self) -> str:
        """Say it in one sentence."""
        if not (self.since or self.n_tries):
            return "Tries are not counted yet."
        told = f"{self.n_tries} tried on these parts"
        if self.since:
            told += f", counted from {self.since[:10]}"
        if self.n_elsewhere:
            told += f", {self.n_elsewhere} of them declared as made elsewhere"
        if self.family:
            told += (
                f"; {len(self.family)} were named on {self.family_date[:10]}, before any was scored"
            )
        if self.n_before:
            tries = "one try" if self.n_before == 1 else f"{self.n_before} tries"
            told += f"; the count began anew when images or truth were edited, after {tries}"
        return f"{told}.{self._locked_words()}"

    def _locked_words(self) -> str:
        if not self.n_locked:
            return ""
        openings = ", ".join(f"on {date[:10]} by the settings {by}" for date, by in self.opened)
        if self.is_opened:
            return f" These {self.n_locked} parts were locked, and opened {openings}."
        if openings:
            return f" {self.n_locked} more parts were locked, and opened {openings}."
        return f" {self.n_locked} more parts are locked; nothing was scored on them."


@dataclass(frozen=True)
class Tried:
    """Among how many tries the runs of a data set are judged.

    Attributes:
        count: Of all tries on its parts.
        digests: Try of each run at hand, by method and prompt; a run that judged nothing has none.
    """

    count: Count
    digests: Mapping[tuple[str, str], str]

    def is_named(self, method: str, prompt: str) -> bool:
        """Whether a run was named before any was scored."""
        return self.digests.get((method, prompt)) in self.count.family


def parts_digest(parts: Iterable[tuple[str, str]]) -> str:
    """Digest a data set's parts: each image's and each truth's digest, in any order."""
    return _digest(sorted([image, truth] for image, truth in parts))


def read_note(path: str | Path) -> list[Seen]:
    """Read how far someone has seen a file of tries; nothing where no note is.

    Raises:
        TriesError: If the note is damaged.
    """
    path = Path(path)
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return [Seen(int(told["n_records"]), str(told["digest"]))]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise TriesError(
            f"{path}: cannot be read ({error.strerror}); it says how many tries were recorded. "
            "Make it readable"
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise TriesError(
            f"{path}: expected the number of recorded tries and the digest of the last as JSON, "
            "found something else; put a backup in its place, or delete it if the record of tries "
            "is known to be whole"
        ) from error


class TriesFile:
    """The file; safe for several processes.

    Args:
        path: The file; made when the first record is added.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.seen_path = self.path.with_name(self.path.name + ".seen")

    # -------------------------------------------------------------------------------------- reading

    def read(self, *also_seen: Seen) -> list[Record]:
        """Read all records.

        Args:
            also_seen: How far callers have seen the file; a file that no longer holds that is a
                fault.

        Returns:
            The records; none if there is no file and none was seen.

        Raises:
            TriesError: If the file is damaged, cut short, or another one.
        """
        seen = [*also_seen, *read_note(self.seen_path)]  # before the file, which only grows
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            content = b""
        except OSError as error:
            raise TriesError(
                f"{self.path}: the record of tries cannot be read ({error.strerror}); without it "
                "nobody knows among how many a method was chosen. Make it readable"
            ) from error
        return self._checked(content, seen)

    def _checked(self, content: bytes, seen: Sequence[Seen]) -> list[Record]:
        lines = content.split(b"\n")
        n_seen = max((each.n_records for each in seen), default=0)
        records: list[Record] = []
        for number, line in enumerate(lines[:-1], 1):
            records.append(self._record(number, line, records[-1].digest if records else ""))
        if not (lines[-1].startswith(_START) or _START.startswith(lines[-1])):
            raise TriesError(
                f"{self.path}: expected a record of tries, found something else at its end; name "
                "another file (evaluation.tries_file), or put a backup in its place"
            )
        if len(records) < n_seen:
            raise TriesError(
                f"{self.path}: {self._held(len(records))}, but {n_seen} were there before: it was "
                "deleted, cut short or replaced, and its tries would no longer count. Put it back "
                f"from a backup; if it is lost, delete {self.seen_path.name} and {NOTE_NAME} in "
                "the results, and declare the lost tries (tries_elsewhere of the data set)"
            )
        for each in seen:
            if each.n_records and records[each.n_records - 1].digest != each.digest:
                raise TriesError(
                    f"{self.path}: record {each.n_records} is not the one that was there before: "
                    "the file was replaced by another one. Put the former back; if another one is "
                    f"meant from now on, delete {NOTE_NAME} in the results, and declare the "
                    "former's tries (tries_elsewhere of the data set)"
                )
        return records

    def _held(self, n_records: int) -> str:
        if not self.path.exists():
            return "the record of tries is missing"
        return f"holds {n_records} whole {'record' if n_records == 1 else 'records'}"

    def _record(self, number: int, line: bytes, before: str) -> Record:
        try:
            record = Record(**json.loads(line))
            is_whole = record == record.sealed() and record.kind in KINDS
        except (ValueError, TypeError, RecursionError):
            is_whole = False
        if not is_whole or record.number != number or record.before != before:
            what = (
                "its content does not fit its checksum"
                if not is_whole
                else "it does not follow the line before"
            )
            raise TriesError(
                f"{self.path}, line {number}: {what}; the file is only ever added to, so it was "
                "damaged or edited. Put a backup in its place"
            )
        return record

    # --------------------------------------------------------------------------------------- adding

    def add_tries(self, tries: Iterable[Try], *, now: datetime | None = None) -> Seen:
        """Record what was scored; equal tries count once.

        A file that holds them all already is not written, so it may be read-only.

        Raises:
            TriesError: If the file cannot be trusted or written, and then nothing was counted.
        """
        bodies = {each.digest: asdict(each) | {"try": each.digest} for each in tries}

        def missing(records: Sequence[Record]) -> list[tuple[str, dict[str, Any]]]:
            known = {r.body["try"] for r in records if r.kind == "try"}
            return [("try", body) for digest, body in bodies.items() if digest not in known]

        return self._add(missing, now)

    def declare_elsewhere(
        self, dataset: str, parts: str, *, where: str, n_tries: int, now: datetime | None = None
    ) -> Seen:
        """Record tries on these parts that were made where this file did not see them.

        Args:
            dataset: Name of the data set.
            parts: Digest of its parts.
            where: A name for the place or time; of each, the largest number ever declared counts.
            n_tries: How many, 1 or more.
            now: For tests.

        Raises:
            ValueError: If the number is below 1.
            TriesError: As for `add_tries`.
        """
        if n_tries < 1:
            raise ValueError(f"tries made elsewhere must be 1 or more, but are {n_tries}")
        body = {"dataset": dataset, "parts": parts, "where": where, "n_tries": n_tries}

        def missing(records: Sequence[Record]) -> list[tuple[str, dict[str, Any]]]:
            is_known = any(r.kind == "elsewhere" and r.body == body for r in records)
            return [] if is_known else [("elsewhere", body)]

        return self._add(missing, now)

    def name_family(
        self, dataset: str, parts: str, tries: Iterable[str], *, now: datetime | None = None
    ) -> Seen:
        """Record which tries will be made, before any is scored on these parts.

        Args:
            dataset: Name of the data set.
            parts: Digest of its parts.
            tries: Digests of the tries.
            now: For tests.

        Raises:
            ValueError: If no try is named.
            TriesError: If something was scored on the parts before, or another family was named;
                and as for `add_tries`.
        """
        body = {"dataset": dataset, "parts": parts, "tries": sorted(set(tries))}
        if not body["tries"]:
            raise ValueError(f"{dataset}: a family of tries needs at least one, but none is named")

        def missing(records: Sequence[Record]) -> list[tuple[str, dict[str, Any]]]:
            own = [r for r in records if r.body.get("parts") == parts]
            if any(r.kind == "family" and r.body["tries"] == body["tries"] for r in own):
                return []
            for record in own:
                if record.kind in ("try", "elsewhere", "family"):
                    what = "a family was named" if record.kind == "family" else "tries were made"
                    raise TriesError(
                        f"{self.path}: the tries on {dataset} cannot be named as fixed before any "
                        f"was scored, because {what} on its parts on {record.date[:10]} (line "
                        f"{record.number}); decide among all tries, or take parts that none has "
                        "seen"
                    )
            return [("family", body)]

        return self._add(missing, now)

    def open_locked(
        self, dataset: str, parts: str, *, of: Try, by: str, now: datetime | None = None
    ) -> Seen:
        """Record that a locked part of a data set is scored; every opening is a record.

        Args:
            dataset: Name of the data set.
            parts: Digest of the locked parts.
            of: What is scored on them.
            by: Digest of the settings of the run.
            now: For tests.

        Raises:
            TriesError: As for `add_tries`; then it must not be opened.
        """
        body = {"dataset": dataset, "parts": parts, "try": of.digest, "by": by}
        return self._add(lambda records: [("opened", body)], now)

    def _add(
        self,
        missing: Callable[[Sequence[Record]], list[tuple[str, dict[str, Any]]]],
        now: datetime | None,
    ) -> Seen:
        records = self.read()
        if not missing(records):
            return _seen_of(records)
        date = (now or datetime.now(UTC)).isoformat(timespec="seconds")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                self._lock(file)
                seen = read_note(self.seen_path)
                file.seek(0)
                content = file.read()
                records = self._checked(content, seen)
                wanted = missing(records)  # another process may have added some
                if not records:
                    wanted.insert(0, ("begin", {"file": os.urandom(8).hex()}))
                whole = content[: content.rfind(b"\n") + 1]
                if len(whole) < len(content):
                    file.truncate(len(whole))
                for kind, body in wanted:
                    before = records[-1].digest if records else ""
                    body = json.loads(json.dumps(body, default=str))
                    records.append(Record(len(records) + 1, kind, date, body, before).sealed())
                    file.write(records[-1].line())
                file.flush()
                os.fsync(file.fileno())
                seen_now = _seen_of(records)
                write_text(json.dumps(seen_now._asdict()), self.seen_path)
        except OSError as error:
            raise TriesError(
                f"{self.path}: tries of this run cannot be recorded ({error.strerror}), so they "
                "would not count. Make the file and its folder writable, make room on the disk, or "
                "name a file elsewhere (evaluation.tries_file)"
            ) from error
        return seen_now

    def _lock(self, file: BinaryIO) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TriesError(
                        f"{self.path}: another process has held it for {_PATIENCE_S:.0f} s; end "
                        "that process, then run again"
                    ) from None
            time.sleep(0.02)


# --------------------------------------------------------------------------------------- counting


def count(records: Sequence[Record], dataset: str, parts: str) -> Count:
    """Count the tries on a data set's parts.

    Args:
        records: Of the file.
        dataset: Name of the data set.
        parts: Digest of its parts.

    Returns:
        The count.
    """
    own = [r for r in records if r.body.get("parts") == parts]
    elsewhere: dict[str, int] = {}
    for r in own:
        if r.kind == "elsewhere":
            elsewhere[r.body["where"]] = max(elsewhere.get(r.body["where"], 0), r.body["n_tries"])
    named = next((r for r in own if r.kind == "family"), None)
    return Count(
        n_scored=len({r.body["try"] for r in own if r.kind == "try"}),
        n_elsewhere=sum(elsewhere.values()),
        since=records[0].date if records else None,
        n_before=len(
            {
                r.body["try"]
                for r in records
                if r.kind == "try" and r.body["dataset"] == dataset and r.body["parts"] != parts
            }
        ),
        family=frozenset(named.body["tries"]) if named else frozenset(),
        family_date=named.date if named else None,
        family_digest=named.digest if named else None,
    )


def openings(records: Sequence[Record], parts: str) -> list[Record]:
    """Every opening of locked parts, the first one first."""
    return [r for r in records if r.kind == "opened" and r.body["parts"] == parts]


def _seen_of(records: Sequence[Record]) -> Seen:
    return Seen(len(records), records[-1].digest if records else "")


def _digest(value: Mapping[str, Any] | list) -> str:
    return digest_of(value)[:_DIGEST_LENGTH]
