"""Parquet files: no flipped bit is read as other values, and nothing else is refused."""

import random
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from realitycheck.core.parquet import ArtifactError, open_parquet, read_frame, write_parquet
from realitycheck.core.schemas import MASKS, SCORES
from realitycheck.core.tables import gather, read_facts, read_parts, read_table
from realitycheck.core.tables import write_table as write_schema_table

N_ROWS = 40


def scores(n_rows=N_ROWS):
    """Rows of a scores table with numbers, texts and nulls."""
    rng = np.random.default_rng(0)
    return [
        dict.fromkeys(SCORES.columns)
        | {
            "dataset": "chips",
            "image_id": f"package/NOK/{number:03d}",
            "method": "m",
            "prompt": "p",
            "category": "package",
            "label": "NOK",
            "iou": float(rng.random()),
            "truth_px": int(rng.integers(1000)),
            "status": "ok",
        }
        for number in range(n_rows)
    ]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "images.parquet"
    write_schema_table(scores(), path, schema=SCORES, facts={"seed": 3})
    return path


def flipped(data, bit):
    """The bytes with one bit turned round."""
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def test_every_flipped_bit_of_all_places_is_noticed(path):
    """Pages, their headers, the footer, its length, the seal: none guards itself."""
    sound = path.read_bytes()
    places = random.Random(0).sample(range(8 * len(sound)), 2000)
    places += range(8 * len(sound) - 8 * 64, 8 * len(sound))  # length of the footer, both marks
    for bit in places:
        path.write_bytes(flipped(sound, bit))
        with pytest.raises(ArtifactError, match="damaged|not a readable Parquet file"):
            read_frame(path)
        assert not path.exists(), f"bit {bit}"


@pytest.mark.parametrize("n_bits", [2, 8, 64, 512])
def test_many_flipped_bits_are_noticed_too(n_bits, path):
    """Where the seal and its mention are both gone, pages still have checksums of their own."""
    sound, rng = path.read_bytes(), random.Random(n_bits)
    for _ in range(300):
        data = sound
        for _ in range(n_bits):
            data = flipped(data, rng.randrange(8 * len(sound)))
        path.write_bytes(data)
        with pytest.raises(ArtifactError):
            read_frame(path)


def test_every_flipped_bit_of_a_small_file_is_noticed(tmp_path):
    """All of them, one after the other."""
    path = tmp_path / "t"
    write_parquet(path, [pa.table({"a": [1]})], schema=pa.schema([("a", pa.int64())]))
    sound = path.read_bytes()
    for bit in range(8 * len(sound)):
        path.write_bytes(flipped(sound, bit))
        with pytest.raises(ArtifactError):
            read_frame(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:3],
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: data[:200] + bytes(512) + data[712:],
        lambda data: data + b"\0",
        lambda data: data[8:],
        lambda data: bytes(len(data)),
    ],
    ids=["empty", "3 bytes", "half", "one byte less", "zeros", "more", "begin lost", "all zeros"],
)
def test_broken_files_are_named_and_removed(damage, path):
    """The next run finds them missing, and makes them again as it would any other."""
    path.write_bytes(damage(path.read_bytes()))
    message = f"{re.escape(str(path))}: .*removed: run again, which makes it anew"
    with pytest.raises(ArtifactError, match=message):
        read_table(path, schema=SCORES)
    assert not path.exists()


READERS = {
    "table": lambda path: read_table(path, schema=SCORES, columns=["iou"]),
    "parts": lambda path: list(read_parts(path, schema=SCORES)),
    "facts": read_facts,
    "gathering": lambda path: gather([path], path.with_name("all"), schema=SCORES),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS.keys())
def test_every_way_to_read_looks_at_the_seal(read, path):
    """Facts decide which finished rows are found; parts are what large tables are read in."""
    assert read(path) is None or len(read(path))
    data = path.read_bytes()
    path.write_bytes(flipped(data, 8 * (len(data) // 3)))
    with pytest.raises(ArtifactError, match="damaged"):
        read(path)
    assert not path.exists()


def test_nothing_reads_parquet_beside_this_module(repository):
    """Another reader would take damaged values for data."""
    for folder in ("realitycheck", "scripts", "rules"):
        for file in (repository / folder).rglob("*.*"):
            if file.suffix in (".py", ".smk") and file.name != "parquet.py":
                text = file.read_text(encoding="utf-8")
                assert not re.search(r"read_parquet|pq\.read_|ParquetFile\(", text), file


def test_others_read_a_sealed_file_as_any_other(path):
    """Users open results with their own tools."""
    found = pq.read_table(path).to_pandas()
    pd.testing.assert_frame_equal(found, read_table(path, schema=SCORES))
    assert pd.read_parquet(path, columns=["iou"])["iou"].equals(found["iou"])
    assert pq.read_table(path, page_checksum_verification=True).num_rows == N_ROWS
    with open_parquet(path) as file:
        assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_same_rows_give_the_same_bytes(path, tmp_path):
    """What has not changed must not look changed to whoever compares files."""
    write_schema_table(scores(), tmp_path / "again", schema=SCORES, facts={"seed": 3})
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_files_of_before_have_no_seal_and_are_read(tmp_path):
    """Results of an earlier version stay valid."""
    table = pa.Table.from_pylist(scores(), schema=SCORES.arrow)
    pq.write_table(table, tmp_path / "old", compression="zstd")
    assert len(read_table(tmp_path / "old", schema=SCORES)) == N_ROWS
    assert (tmp_path / "old").exists()


def test_table_of_another_stage_is_not_removed(path):
    """It is sound, and somebody's; only its reader was wrong."""
    with pytest.raises(ArtifactError, match="expected a masks table"):
        read_table(path, schema=MASKS)
    assert path.exists()


def test_damaged_file_that_cannot_be_removed_is_named_all_the_same(path, monkeypatch):
    """A folder may be read-only; then its owner must help."""
    path.write_bytes(flipped(path.read_bytes(), 4000))

    def refuse(self, missing_ok=False):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    with pytest.raises(ArtifactError, match=r"damaged .*; delete it \(Permission denied\)"):
        read_frame(path)
