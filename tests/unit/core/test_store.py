"""The store of encodings: never stale, never half written, never trusted when damaged."""

import logging

import numpy as np
import pandas as pd
import pytest

from realitycheck.core.store import EncodingStore, FinishedRows


@pytest.fixture
def store(tmp_path):
    return EncodingStore(tmp_path / "store", facts={"encoder": "sam", "weights": {"sam": "ab"}})


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {
        "embedding": rng.normal(size=(2, 3)).astype(np.float16),
        "storage_error": np.array([0.5]),
        "none": np.zeros((0, 4), np.float32),
    }


def files_of(store):
    return [p for p in store.folder.rglob("*") if p.is_file()]


def test_arrays_come_back_as_they_were(store, arrays):
    """Value, type and shape, also of half precision and of nothing."""
    key = store.key("image")
    assert not store.has(key)
    store.put(key, arrays)
    assert store.has(key)
    found = store.get(key)
    assert found.keys() == arrays.keys()
    for name, value in arrays.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value)


def test_strided_arrays_are_stored_by_value(store):
    """A transposed view has the same numbers in another order of memory."""
    view = np.arange(6.0).reshape(2, 3).T
    store.put("ab" * 20, {"x": view})
    np.testing.assert_array_equal(store.get("ab" * 20)["x"], view)


def test_key_follows_everything_an_entry_depends_on(tmp_path):
    """Other weights, settings or pixels must never find an old entry."""

    def key(image="i", **facts):
        return EncodingStore(tmp_path, facts={"weights": "ab", "dtype": "float32"} | facts).key(
            image
        )

    keys = {key(), key("j"), key(weights="cd"), key(dtype="float16"), key(colour="bgr")}
    assert len(keys) == 5
    assert key() == key(dtype="float32", weights="ab")
    assert all(len(k) == 40 for k in keys)


def test_missing_entry_is_made_again_by_another_run(store, arrays):
    """The table that lists it goes, so its job runs again; tables of other entries stay."""
    store.put(store.key("kept"), arrays)
    lists = {}
    for name, image in (("0-of-2", "lost"), ("own/1-of-2", "lost"), ("own/0-of-2", "kept")):
        lists[name] = store.folder / f"{name}.parquet"
        lists[name].parent.mkdir(exist_ok=True)
        pd.DataFrame({"key": [store.key(image)]}).to_parquet(lists[name])
    with pytest.raises(FileNotFoundError, match="missing or damaged; run again, which computes"):
        store.get(store.key("lost"))
    assert [name for name, path in lists.items() if path.exists()] == ["own/0-of-2"]


def test_every_flipped_byte_is_noticed(store, arrays, caplog):
    """A disk fault must not become a number in a table: all bytes, one after another."""
    key = store.key("image")
    store.put(key, arrays)
    path = store.path(key)
    sound = path.read_bytes()
    caplog.set_level(logging.CRITICAL)
    for place in range(len(sound)):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0x41]) + sound[place + 1 :])
        assert not store.has(key), f"byte {place} of {len(sound)}"
        assert not path.exists()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_file_that_broke_off_counts_as_absent(store, arrays, share, caplog):
    """A full disk or a killed copy leaves such files; the entry is computed again."""
    key = store.key("image")
    store.put(key, arrays)
    path = store.path(key)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(FileNotFoundError, match="missing or damaged"):
        store.get(key)
    assert "damaged" in caplog.text
    assert not path.exists()
    store.put(key, arrays)
    assert store.has(key)


def test_changed_values_are_reported_in_the_log(store, arrays, caplog):
    """Whoever sees it twice should look at the disk."""
    key = store.key("image")
    store.put(key, arrays)
    data = bytearray(store.path(key).read_bytes())
    data[-1] ^= 1
    store.path(key).write_bytes(data)
    assert not store.has(key)
    assert "its content has changed); it will be computed again" in caplog.text


def test_failed_writing_leaves_no_file(store, arrays, monkeypatch):
    """Half an entry under its final name would be found by the next run."""

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr("realitycheck.core.files.os.replace", fail)
    with pytest.raises(OSError, match="no space left"):
        store.put(store.key("image"), arrays)
    assert files_of(store) == []


def test_writing_twice_leaves_one_file(store, arrays):
    """Two jobs may compute one image at once; both are right."""
    key = store.key("image")
    store.put(key, arrays)
    store.put(key, arrays)
    assert files_of(store) == [store.path(key)]


def test_seconds_are_kept_and_guarded(store, arrays):
    """What a part costs in time counts the encoding, whenever it was made; a fault is noticed."""
    key = store.key("image")
    store.put(key, arrays, seconds=1.25)
    assert store.seconds(key) == 1.25
    path = store.path(key)
    sound = path.read_bytes()
    place = sound.index(b'"1.25"') + 1
    path.write_bytes(sound[:place] + b"9" + sound[place + 1 :])
    assert not store.has(key)
    store.put(key, arrays)
    assert store.seconds(key) is None


# ------------------------------------------------------------------------------------ finished rows

ROWS = [
    {"score": np.float32(0.1), "box": np.arange(2.0), "text": "void", "n": np.int64(3), "x": None}
]


def test_finished_rows_come_back_as_plain_values(tmp_path):
    """A number that went through the file must not differ in its last digit."""
    finished = FinishedRows(tmp_path, facts={"threshold": 0.3})
    assert finished.get(["image", "ab"]) is None
    finished.put(["image", "ab"], ROWS)
    (row,) = finished.get(["image", "ab"])
    assert row == {
        "score": float(np.float32(0.1)),
        "box": [0, 1],
        "text": "void",
        "n": 3,
        "x": None,
    }
    finished.put(["image", "cd"], [])
    assert finished.get(["image", "cd"]) == [], "nothing was found, and that is finished, too"


def test_finished_rows_are_found_under_their_own_settings_only(tmp_path):
    """After an edit the rows of before would be wrong."""
    FinishedRows(tmp_path, facts={"threshold": 0.3, "code": "a"}).put("image", ROWS)
    for facts in ({"threshold": 0.4, "code": "a"}, {"threshold": 0.3, "code": "b"}):
        assert FinishedRows(tmp_path, facts=facts).get("image") is None
    assert FinishedRows(tmp_path, facts={"code": "a", "threshold": 0.3}).get("other") is None
    assert FinishedRows(tmp_path, facts={"code": "a", "threshold": 0.3}).get("image")


def test_damaged_finished_rows_count_as_absent(tmp_path, caplog):
    """Every flipped byte and every broken end is noticed."""
    finished = FinishedRows(tmp_path, facts={})
    finished.put("image", ROWS)
    path = finished.path("image")
    sound = path.read_bytes()
    caplog.set_level(logging.CRITICAL)
    damaged = [sound[:n] for n in (0, 5, len(sound) - 1)]
    damaged += [sound[:n] + bytes([sound[n] ^ 0x81]) + sound[n + 1 :] for n in range(len(sound))]
    for content in damaged:
        path.write_bytes(content)
        assert finished.get("image") is None
        assert not path.exists()


def test_rows_of_unknown_things_are_refused(tmp_path):
    """What does not come back as it was must not be kept."""
    with pytest.raises(TypeError, match="rows must hold plain values, found object"):
        FinishedRows(tmp_path, facts={}).put("image", [{"x": object()}])
