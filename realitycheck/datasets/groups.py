"""Read `groups.csv`: which images show the same part.

Columns `image` and `group`, parted by comma, semicolon or tab; UTF-8, UTF-16, or another encoding
where the files on disk show which.
"""

import csv
import difflib
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from realitycheck.datasets.records import Faults, Record, nfc

GROUPS = "groups.csv"

_TABLE_SUFFIXES = (".csv", ".tsv", ".xls", ".xlsx", ".ods")
#: Encodings that spreadsheets on Windows, DOS and old Macs save in.
_OLD_ENCODINGS = {"cp1252": "Windows-1252", "cp850": "DOS 850", "mac_roman": "Mac Roman"}
#: Bytes of a table that its first line is looked for in.
_HEAD_BYTES = 400


def attach_groups(
    root: Path, base: Path, records: list[Record], faults: Faults, path: Path
) -> tuple[list[Record], str]:
    """Give each record the group that the table names; others are groups of their own.

    Args:
        root: The data set's folder.
        base: Folder of the images; paths may begin at either.
        records: The images.
        faults: What is wrong is added here.
        path: The table.

    Returns:
        The records, and the encoding of the table.
    """
    index_of = {}
    for index, record in enumerate(records):
        for start in (base, root):
            index_of[nfc(record.image_path.relative_to(start).as_posix())] = index
    text, encoding = _decoded(path, index_of, faults)
    rows = None if text is None else _rows(path, text, faults)
    groups: dict[int, str] = {}
    for line, image, group in rows or ():
        index = index_of.get(_place(image))
        if index is None or not group or groups.get(index, group) != group:
            if index is None:
                problem = f"expected the path of an image below {root}, found {image!r}"
            elif not group:
                problem = f"expected a group for {image}, found none"
            else:
                problem = f"expected one group for {image}, found {groups[index]!r} and {group!r}"
            faults.add(path, f"line {line}: {problem}", "correct the line, or remove it")
            continue
        groups[index] = group
    return [
        replace(record, group=groups[index]) if index in groups else record
        for index, record in enumerate(records)
    ], encoding


def check_groups(path: Path, records: Iterable[Record], faults: Faults) -> None:
    """Report groups that lie in train and in test."""
    splits_of: dict[str, set[str]] = defaultdict(set)
    for record in records:
        if record.group is not None:
            splits_of[record.group].add(record.split)
    for group, splits in sorted(splits_of.items()):
        if len(splits) > 1:
            faults.add(
                path,
                f"expected each group in one of train and test, found {group!r} in both",
                "move its images into one of them, or the part is learned and then tested",
            )


def looks_like_groups(path: Path) -> bool:
    """Whether a file may be meant as the table of groups, by its name or its first line."""
    name = nfc(path.name).lower()
    stem, suffix = Path(name).stem, Path(name).suffix
    if suffix not in (*_TABLE_SUFFIXES, ".txt", ""):
        return False
    word = stem.removesuffix(".csv")
    is_close = difflib.SequenceMatcher(None, word, "groups").ratio() > 0.75
    if is_close or (word.startswith("group") and suffix in _TABLE_SUFFIXES):
        return True
    if suffix not in (".csv", ".tsv", ".txt"):
        return False
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    lines = (unicode_text(head)[0] or head.decode("latin-1")).splitlines()
    return _delimiter([line.lower() for line in lines[:2]]) is not None


def _place(image: str) -> str:
    return nfc(PurePosixPath(image.strip().replace("\\", "/")).as_posix())


def unicode_text(data: bytes) -> tuple[str | None, str]:
    """Decode UTF-8 or UTF-16, with or without a mark at its start; None where it is neither."""
    encoding, name = "utf-8-sig", "UTF-8"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding, name = "utf-16", "UTF-16"
    elif b"\0" in data[:2]:
        encoding, name = "utf-16-be" if data[:1] == b"\0" else "utf-16-le", "UTF-16"
    try:
        return data.decode(encoding), name
    except UnicodeDecodeError:
        return None, "unknown"


def _decoded(path: Path, index_of: Mapping[str, int], faults: Faults) -> tuple[str | None, str]:
    """Decode the table; in an old encoding only if every name in it that shows which is a file.

    Returns:
        Text, None where it cannot be told, and the encoding's name.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        faults.add(path, f"expected a table, but it cannot be read ({error.strerror})", "check it")
        return None, "unknown"
    text, encoding = unicode_text(data)
    if text is not None:
        return text, encoding
    for encoding, name in _OLD_ENCODINGS.items():
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        images = [image for _, image, _ in _rows(path, text, []) or ()]
        telling = [image for image in images if not image.isascii()]
        if telling and all(_place(image) in index_of for image in telling):
            return text, name
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        faults.add(
            path,
            f"line {line}: expected UTF-8, found the byte 0x{data[error.start]:02x}, which may "
            "stand for several letters, and no file's name shows for which",
            "save it as UTF-8 (in Excel: 'CSV UTF-8')",
        )
    return None, "unknown"


def _delimiter(lines: list[str]) -> str | None:
    """What parts the columns image and group in the first line, or behind Excel's `sep=;`."""
    if lines and lines[0].startswith("sep="):
        lines = lines[1:]
    for delimiter in ",;\t":
        columns = {name.strip(' "') for name in lines[0].split(delimiter)} if lines else set()
        if {"image", "group"} <= columns:
            return delimiter
    return None


def _rows(path: Path, text: str, faults: Faults) -> list[tuple[int, str, str]] | None:
    """Line, image and group of each row that is not blank."""
    lines = text.splitlines()
    n_skipped = 1 if lines and lines[0].lower().startswith("sep=") else 0
    delimiter = _delimiter([line.lower() for line in lines[:2]])
    if delimiter is None:
        first = lines[n_skipped] if len(lines) > n_skipped else "nothing"
        faults.add(
            path,
            f"expected the columns image and group, found {first}",
            "correct its first line",
        )
        return None
    body = "\n".join(lines[n_skipped:])
    reader = csv.DictReader(io.StringIO(body, newline=""), delimiter=delimiter)
    reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
    try:
        return [
            (reader.line_num + n_skipped, row["image"] or "", nfc(row["group"] or "").strip())
            for row in reader
            if any(value.strip() for value in row.values() if isinstance(value, str))
        ]
    except csv.Error as error:
        place = reader.line_num + n_skipped
        faults.add(path, f"line {place}: expected a table, but {error}", "save it as CSV again")
        return None
