"""Every way in which answers can be wrong is told, all of them at once."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from realitycheck.methods.command.exchange import ExchangeError, Picture, read_answers

PICTURES = [Picture(None, "a", 6, 4)] * 3


@pytest.fixture
def folder(tmp_path):
    """What a program left, right in everything."""
    for name in ("masks", "maps"):
        (tmp_path / name).mkdir()
    for index in range(3):
        write_mask(tmp_path, index, np.full((6, 4), 255 * (index % 2), np.uint8))
        write_map(tmp_path, index, np.full((6, 4), index / 2, np.float32))
    write_csv(tmp_path, {"index": [2, 0, 1], "label": ["OK", "NOK", "OK"]})
    return tmp_path


def write_mask(folder, index, array):
    Image.fromarray(array).save(folder / "masks" / f"{index:06d}.png")


def write_map(folder, index, array):
    np.save(folder / "maps" / f"{index:06d}.npy", array)


def write_csv(folder, columns):
    pd.DataFrame(columns).to_csv(folder / "predictions.csv", index=False)


def test_right_answers_are_taken_in_the_order_of_the_images(folder):
    """Whatever the order of the rows, from CSV as from Parquet."""
    for gives in ("masks", "maps", "verdicts"):
        found = read_answers(folder, PICTURES, gives=gives)
        assert [answer.label for answer in found] == ["NOK", "OK", "OK"]
    pd.read_csv(folder / "predictions.csv").to_parquet(folder / "predictions.parquet")
    (folder / "predictions.csv").unlink()
    assert [a.label for a in read_answers(folder, PICTURES, gives="verdicts")][0] == "NOK"
    (folder / "predictions.parquet").unlink()
    assert len(read_answers(folder, PICTURES, gives="masks")) == 3, "no table is needed"


ROWS = {"index": [0, 1, 2], "label": ["OK"] * 3}
WRONG_TABLES = {
    "unknown column": ({**ROWS, "labl": ["OK"] * 3}, "found as well: labl"),
    "no label": ({"index": [0, 1, 2]}, "the column label is missing"),
    "missing image": ({"index": [0, 2], "label": ["OK"] * 2}, "no row for index 1"),
    "doubled image": ({"index": [0, 1, 1, 2], "label": ["OK"] * 4}, "more than one row.* 1"),
    "unknown image": ({"index": [0, 1, 7], "label": ["OK"] * 3}, "from 0 to 2, found 7"),
    "name for index": ({"index": ["a.png", 1, 2], "label": ["OK"] * 3}, "found 'a.png'"),
    "fraction": ({"index": [0, 1, 1.5], "label": ["OK"] * 3}, "found 1.5"),
    "other label": ({**ROWS, "label": ["OK", "good", "NOK"]}, "OK or NOK, found index 1: 'good'"),
    "empty label": ({**ROWS, "label": ["OK", None, "NOK"]}, "label must be OK or NOK.*index 1"),
    "score above 1": ({**ROWS, "score": [0.1, 0.2, 87]}, "from 0 to 1, found index 2: 87"),
    "score in words": ({**ROWS, "score": [0.1, "high", 1]}, "from 0 to 1, found index 1: 'high'"),
    "negative time": ({**ROWS, "seconds": [1, -1, 2]}, "seconds must be .* found index 1: -1"),
    "other status": ({**ROWS, "status": ["ok", None, None]}, "answered or failed.*index 0: 'ok'"),
}


@pytest.mark.parametrize("case", WRONG_TABLES)
def test_wrong_table_is_told(case, folder):
    """What was expected, and what was found."""
    columns, message = WRONG_TABLES[case]
    write_csv(folder, columns)
    with pytest.raises(ExchangeError, match=message):
        read_answers(folder, PICTURES, gives="verdicts")


def test_no_table_two_tables_and_one_that_is_none_are_told(folder):
    """None of them is guessed at."""
    (folder / "predictions.parquet").write_bytes(b"PAR1")
    with pytest.raises(ExchangeError, match="both predictions.parquet and predictions.csv"):
        read_answers(folder, PICTURES, gives="verdicts")
    (folder / "predictions.csv").unlink()
    with pytest.raises(ExchangeError, match="predictions.parquet: cannot be read"):
        read_answers(folder, PICTURES, gives="verdicts")
    (folder / "predictions.parquet").unlink()
    with pytest.raises(ExchangeError, match="expected predictions.parquet or .* found none"):
        read_answers(folder, PICTURES, gives="verdicts")


GREY = np.zeros((6, 4), np.uint8)
MAP = np.zeros((6, 4), np.float32)
WRONG_MASKS = {
    "size": (GREY.T, r"height × width: 000001.png \(4 × 6, expected 6 × 4\)"),
    "channels": (np.zeros((6, 4, 3), np.uint8), r"one channel: 000001.png \(8 bits, 3\)"),
    "depth": (GREY.astype(np.uint16), r"8 bits, one channel: 000001.png \(16 bits, 1\)"),
    "soft": (GREY + 90, r"0 and 255, or 0 and 1: 000001.png \(90 to 90\)"),
}
WRONG_MAPS = {
    "size": (MAP.T, r"height × width: 000001.npy \(4 × 6, expected 6 × 4\)"),
    "channels": (MAP[..., None], r"\(6 × 4 × 1, expected 6 × 4\)"),
    "type": (MAP.astype(np.float64), r"expected float32: 000001.npy \(float64\)"),
    "not finite": (MAP + np.nan, r"finite values: 000001.npy \(24 are not\)"),
    "range": (MAP + 3, r"values from 0 to 1: 000001.npy \(3 to 3\)"),
    "objects": (np.array([None]), "cannot be read as NumPy's .npy: 000001.npy"),
}


@pytest.mark.parametrize("case", WRONG_MASKS)
def test_wrong_mask_is_told(case, folder):
    """Values that are neither nor are a map that was taken for a mask."""
    array, message = WRONG_MASKS[case]
    write_mask(folder, 1, array)
    with pytest.raises(ExchangeError, match=message):
        read_answers(folder, PICTURES, gives="masks")


@pytest.mark.parametrize("case", WRONG_MAPS)
def test_wrong_map_is_told(case, folder):
    """A map of another size would have to be stretched by a rule that nobody named."""
    array, message = WRONG_MAPS[case]
    np.save(folder / "maps" / "000001.npy", array, allow_pickle=True)
    with pytest.raises(ExchangeError, match=message):
        read_answers(folder, PICTURES, gives="maps")


def test_all_faults_are_listed_at_once(folder):
    """A program is mended once, not once for each fault."""
    write_csv(folder, {"index": [0, 1], "score": [2, 0]})
    (folder / "masks" / "000000.png").unlink()
    (folder / "masks" / "000001.png").write_bytes(b"no picture")
    (folder / "masks" / "2.png").write_bytes(b"")
    write_mask(folder, 2, GREY[:5])
    with pytest.raises(ExchangeError) as told:
        read_answers(folder, PICTURES, gives="masks")
    for part in (
        *("no row for index 2", "score must be", "missing: 000000.png", "read as PNG: 000001.png"),
        *("height × width: 000002.png", "found as well: 2.png"),
    ):
        assert part in str(told.value)
