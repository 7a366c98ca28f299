"""What networks compute without a prompt is computed once."""

import time
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from realitycheck.core.files import image_file
from realitycheck.core.images import write_png
from realitycheck.core.schemas import ENCODINGS
from realitycheck.core.store import EncodingStore
from realitycheck.core.tables import check_table
from realitycheck.encoders.base import Lazily
from realitycheck.encoders.sam_embeddings import storage_error
from realitycheck.models.sam.inference import encode_image
from realitycheck.models.sam.load import build_parts
from realitycheck.models.sam.model import SamDimensions, SamModel
from realitycheck.stages.align import pixels_digest
from realitycheck.stages.encode import Encoding, encode_shard

SMALL = SamDimensions(16, 1, 2, (0,), image_size_px=64, window_size=2, prompt_width=16)


@pytest.fixture(scope="module")
def sam():
    """An image encoder with random weights; 64 x 64 pixels, one block."""
    torch.manual_seed(0)
    parts = build_parts(SMALL, parts=["image_encoder"])
    return SamModel(parts, SMALL, device=torch.device("cpu"), precision="float32")


@pytest.fixture
def images(tmp_path):
    """Three images, the last two of them with the same pixels."""
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 256, (2, 40, 50, 3)).astype(np.uint8)
    rows = []
    for name, image in (("a", first), ("b", second), ("c", second)):
        write_png(image, image_file(tmp_path / "aligned", name))
        rows.append({"dataset": "chips", "image_id": name, "pixels_sha256": pixels_digest(image)})
    return pd.DataFrame(rows)


def opened(images, tmp_path, model=None, **changes):
    options = {
        "settings": {},
        "network": {"dtype": "float32"},
        "weights": {"sam": "ab"},
        "colour": "rgb",
        "batch_size": 2,
    }
    return Encoding(
        "sam_embeddings",
        model,
        tmp_path / "store",
        images,
        tmp_path / "aligned",
        **(options | changes),
    )


def encode(images, sam, tmp_path, **changes):
    loads = []

    def load_model():
        loads.append(1)
        return sam

    before = sam.n_images_encoded
    rows = opened(images, tmp_path, Lazily(load_model), **changes).rows()
    table = pd.DataFrame(list(rows))
    check_table(table, ENCODINGS, where="test")
    return table, sam.n_images_encoded - before, len(loads)


def test_network_runs_once_an_image_and_never_again(images, sam, tmp_path):
    """ViT-H costs seconds an image. What is stored is not even a reason to load the network."""
    table, n_encoded, n_loads = encode(images, sam, tmp_path, batch_size=1)
    assert (n_encoded, n_loads) == (2, 1)
    again, n_encoded, n_loads = encode(images, sam, tmp_path)
    assert (n_encoded, n_loads) == (0, 0)
    pd.testing.assert_frame_equal(again, table)


def test_each_image_keeps_its_row_and_its_place(images, sam, tmp_path):
    """Equal pixels share an entry, not a row."""
    table, _, _ = encode(images, sam, tmp_path)
    assert list(table["image_id"]) == ["a", "b", "c"]
    assert table["key"][0] != table["key"][1] == table["key"][2]


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_stored_embedding_is_the_networks(images, sam, tmp_path, batch_size):
    """The batch must not mix the images up. Batches sum in another order: float32 rounding."""
    from realitycheck.core.images import read_image

    store = opened(images, tmp_path).store
    table, _, _ = encode(images, sam, tmp_path, batch_size=batch_size)
    for row in table.itertuples():
        direct = encode_image(sam, read_image(image_file(tmp_path / "aligned", row.image_id)))
        np.testing.assert_allclose(store.get(row.key)["embedding"], direct, atol=1e-5)
        assert row.storage_error == 0


def letters(text):
    """Images that nothing is read of."""
    return pd.DataFrame(
        {"dataset": "chips", "image_id": list(text), "pixels_sha256": [f"of {x}" for x in text]}
    )


def test_killed_job_goes_on_where_it_was(tmp_path):
    """What a batch has finished is in the store at the latest when the next one is computed."""
    store, computed = EncodingStore(tmp_path), []

    def compute(rows):
        if len(computed) == 3:
            raise MemoryError("killed")
        computed.extend(row.image_id for row in rows)
        return [{"x": np.array([1])} for _ in rows]

    rows = encode_shard(letters("abcde"), store, compute)
    with pytest.raises(MemoryError):
        list(rows)
    assert computed == ["a", "b", "c"]
    assert [x for x in "abcde" if store.has(store.key(f"of {x}"))] == ["a", "b", "c"]
    computed.clear()
    table = pd.DataFrame(encode_shard(letters("abcde"), store, compute))
    assert computed == ["d", "e"]
    assert list(table["image_id"]) == list("abcde")


def test_no_more_is_read_ahead_than_two_batches(tmp_path):
    """Else a data set would fill the memory while the network works."""
    n_read, most = [], []

    def read(row):
        n_read.append(row.image_id)
        return row.image_id

    def compute(names):
        time.sleep(0.05)  # readers go as far as they may
        most.append(len(n_read) - "abcdefghijkl".index(names[0]))
        return [{"x": np.array([ord(name)])} for name in names]

    store = EncodingStore(tmp_path)
    rows = list(encode_shard(letters("abcdefghijkl"), store, compute, read=read, batch_size=2))
    assert [store.get(row["key"])["x"][0] for row in rows] == [ord(x) for x in "abcdefghijkl"]
    assert sorted(n_read) == list("abcdefghijkl")
    assert max(most) <= 2 + 2 * 2 + 1


def test_image_that_cannot_be_read_stops_the_job_and_what_is_finished_stays(tmp_path):
    """The message is the reader's own."""

    def read(row):
        if row.image_id == "c":
            raise ValueError("c.png is no picture")
        return row

    store = EncodingStore(tmp_path)
    rows = encode_shard(
        letters("abcd"), store, lambda rows: [{"x": np.array([1])} for _ in rows], read=read
    )
    with pytest.raises(ValueError, match="c.png is no picture"):
        list(rows)
    assert [store.has(store.key(f"of {x}")) for x in "abcd"] == [True, True, False, False]


def test_full_disk_stops_the_job(tmp_path, monkeypatch):
    """An entry that cannot be written is not passed over, though another thread writes it."""

    def put(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(EncodingStore, "put", put)
    rows = encode_shard(
        letters("ab"), EncodingStore(tmp_path), lambda rows: [{"x": np.array([1])} for _ in rows]
    )
    with pytest.raises(OSError, match="No space left"):
        list(rows)


def test_damaged_entry_is_computed_again(images, sam, tmp_path):
    """One broken file must not stop a data set, nor count."""
    store = opened(images, tmp_path).store
    table, _, _ = encode(images, sam, tmp_path)
    path = store.path(table["key"][0])
    path.write_bytes(path.read_bytes()[:-9])
    again, n_encoded, _ = encode(images, sam, tmp_path)
    assert n_encoded == 1
    pd.testing.assert_frame_equal(*(each.drop(columns="latency_s") for each in (again, table)))


@pytest.mark.parametrize(
    "change", [{"weights": {"sam": "cd"}}, {"network": {"dtype": "float16"}}, {"colour": "bgr"}]
)
def test_other_weights_settings_or_colours_have_entries_of_their_own(images, sam, tmp_path, change):
    """An old embedding under new weights would be wrong without a sign."""
    first, _, _ = encode(images, sam, tmp_path)
    second, n_encoded, _ = encode(images, sam, tmp_path, **change)
    assert n_encoded > 0
    assert not set(first["key"]) & set(second["key"])


def test_other_code_has_entries_of_its_own(tmp_path, monkeypatch):
    """An edited encoder runs its rule again, and the rule must not find the old entries."""
    before = opened(None, tmp_path).store.key("image")
    monkeypatch.setattr("realitycheck.encoders.base.source_digest", lambda *entries: "edited")
    assert opened(None, tmp_path).store.key("image") != before


def test_half_precision_says_what_it_costs(images, sam, tmp_path):
    """float16 keeps 11 bits, so rounding errs by up to 2^-12 of a value's own size; values lie
    within about 5 spreads."""
    half = {"network": {"dtype": "float16"}}
    table, _, _ = encode(images, sam, tmp_path, **half)
    assert (
        opened(images, tmp_path, **half).store.get(table["key"][0])["embedding"].dtype == np.float16
    )
    assert (table["storage_error"] > 0).all()
    assert (table["storage_error"] < 5 * 2**-11).all()


def test_storage_error_by_hand():
    """1 and 3 have a spread (standard deviation) of 1; the loss of 0.5 is half of it."""
    exact = np.array([1.0, 3.0])
    assert storage_error(exact, np.array([1.0, 2.5])) == 0.5
    assert storage_error(exact, exact) == 0
    assert storage_error(np.array([2.0, 2.0]), np.array([2.0, 1.5])) == 0.5


def test_shard_without_images_yields_nothing(images, sam, tmp_path):
    """More shards than images is a waste, not an error."""
    rows = encode_shard(
        images.iloc[:0],
        opened(images, tmp_path).store,
        lambda rows: pytest.fail("the network was asked for nothing"),
        batch_size=2,
    )
    assert list(rows) == []


def test_batch_that_is_too_large_is_halved_and_the_rest_goes_on_so(tmp_path):
    """The device's memory is not known beforehand; at one image there is no less to try."""
    images = letters("abcdefg")
    sizes = []

    def compute(rows, largest=2):
        sizes.append(len(rows))
        if len(rows) > largest:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [{"x": np.array([ord(row.image_id)])} for row in rows]

    store = EncodingStore(tmp_path)
    rows = list(encode_shard(images, store, compute, batch_size=5))
    assert [row["image_id"] for row in rows] == list("abcdefg")
    assert sizes == [5, 2, 2, 1, 2]
    assert store.get(rows[6]["key"])["x"] == ord("g")
    with pytest.raises(torch.OutOfMemoryError):
        list(encode_shard(images, EncodingStore(tmp_path / "b"), partial(compute, largest=0)))
