"""Tables between stages keep their contract, or say who breaks it."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from realitycheck.core import schemas as artifacts
from realitycheck.core.files import image_file, write_atomically, write_text
from realitycheck.core.masks import decode_mask, encode_mask, masks_of
from realitycheck.core.parquet import ArtifactError
from realitycheck.core.provenance import package_version
from realitycheck.core.schemas import BOXES, ENCODINGS, MASKS, SCORES, TRUTH
from realitycheck.core.tables import (
    PART_ROWS,
    Schema,
    check_rows,
    gather,
    read_facts,
    read_parts,
    read_table,
    read_together,
    write_parts,
    write_table,
)

SCHEMAS = [v for v in vars(artifacts).values() if isinstance(v, Schema)]


def encoding(number, **changes):
    return {
        "dataset": "chips",
        "image_id": f"package/OK/{number:02d}",
        "key": "ab",
        "storage_error": 0.0,
        "latency_s": 0.5,
    } | changes


def score(number, **changes):
    row = dict.fromkeys(SCORES.columns)
    return (
        row
        | {
            "dataset": "chips",
            "image_id": f"package/NOK/{number:02d}",
            "method": "grounded_sam",
            "prompt": "plain",
            "label": "NOK",
            "label_predicted": "NOK",
            "iou": 0.5,
            "status": "ok",
        }
        | changes
    )


def write(rows, path, schema=ENCODINGS, **facts):
    write_table(rows, path, schema=schema, facts=facts)


def test_rows_come_back_sorted_by_their_keys(tmp_path):
    """Jobs finish in any order; tables do not show it."""
    path = tmp_path / "deep" / "table.parquet"
    write([encoding(2), encoding(1, storage_error=0.25)], path)
    found = read_table(path, schema=ENCODINGS)
    assert list(found["image_id"]) == ["package/OK/01", "package/OK/02"]
    assert list(found["storage_error"]) == [0.25, 0.0]
    assert list(found.columns) == ENCODINGS.columns


def test_lists_and_nulls_come_back(tmp_path):
    """A box keeps the score of every token; an undefined IoU stays undefined."""
    box = dict.fromkeys(BOXES.columns, 0.5) | {
        "dataset": "chips",
        "image_id": "a",
        "prompt": "plain",
        "box_id": 3,
        "text": "void",
        "token_scores": [0.1, 0.5],
        "tokens": ["[CLS]", "void"],
        "relative_box": [0.5, 0.5, 0.1, 0.1],
    }
    write([box], tmp_path / "boxes.parquet", BOXES)
    found = read_table(tmp_path / "boxes.parquet", schema=BOXES).iloc[0]
    np.testing.assert_array_equal(found["token_scores"], np.float32([0.1, 0.5]))
    assert list(found["tokens"]) == ["[CLS]", "void"]
    write([score(1), score(2, iou=None, label="OK")], tmp_path / "s.parquet", SCORES)
    found = read_table(tmp_path / "s.parquet", schema=SCORES)
    assert found["iou"].isna().tolist() == [False, True]
    assert found["truth_px"].isna().all()


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_table_without_rows_keeps_its_columns(schema, tmp_path):
    """A shard may hold no image, and a detector may find no box in any."""
    write([], tmp_path / "a.parquet", schema)
    write(pd.DataFrame(columns=schema.columns), tmp_path / "b.parquet", schema)
    for name in ("a", "b"):
        found = pq.read_schema(tmp_path / f"{name}.parquet")
        assert found.names == schema.columns
        assert found.types == [kind for _, kind in schema.fields]
    gather([tmp_path / "a.parquet", tmp_path / "b.parquet"], tmp_path / "c", schema=schema)
    assert read_table(tmp_path / "c", schema=schema).empty


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_schemas_name_their_own_columns(schema):
    """Keys come first; what is restricted exists."""
    assert schema.columns[: len(schema.keys)] == list(schema.keys) or set(schema.keys) <= set(
        schema.columns
    )
    assert set(schema.allowed or {}) <= set(schema.columns)
    assert set(schema.unit_interval) <= set(schema.columns)
    assert schema.columns[0] == "dataset"


def test_same_rows_give_the_same_bytes(tmp_path):
    """A second run must end with identical files, whatever the order its jobs finished in."""
    rows = [encoding(number) for number in range(5)]
    write(rows, tmp_path / "a", device="cpu", seed=0)
    write(rows[::-1], tmp_path / "b", seed=0, device="cpu")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_facts_travel_with_the_table(tmp_path):
    """Every number can be traced to its settings, weights and version."""
    write([encoding(1)], tmp_path / "t", device="cuda", weights={"sam": "ab"})
    assert read_facts(tmp_path / "t") == {
        "artifact": "encodings",
        "format": 1,
        "version": package_version(),
        "device": "cuda",
        "weights": {"sam": "ab"},
    }


REFUSALS = {
    "missing column": (
        [{k: v for k, v in encoding(1).items() if k != "key"}],
        ENCODINGS,
        "a encodings table has the columns dataset, image_id, key, storage_error, "
        "latency_s; missing: key; not known: none",
    ),
    "foreign column": (
        [encoding(1, extra=1)],
        ENCODINGS,
        "missing: none; not known: extra",
    ),
    "no column at all": (
        [{}, {}],
        ENCODINGS,
        "missing: dataset, image_id, key, storage_error, latency_s;",
    ),
    "foreign column without rows": (
        pd.DataFrame(columns=["dataset", "image_id", "extra"]),
        ENCODINGS,
        "missing: key, storage_error, latency_s; not known: extra",
    ),
    "empty key": (
        [encoding(1, image_id=None)],
        ENCODINGS,
        "the keys dataset, image_id must be filled everywhere",
    ),
    "repeated key": (
        [encoding(1), encoding(2), encoding(2)],
        ENCODINGS,
        "each dataset, image_id may occur once, but 1 of 3 rows repeat one "
        "(first: chips, package/OK/02)",
    ),
    "beyond 1": (
        [score(1), score(2, iou=1.84), score(3, iou=-0.1)],
        SCORES,
        "iou must be within 0 and 1, but 2 of 3 rows are not "
        "(first: chips, package/NOK/02, grounded_sam, plain: ",
    ),
    "not in the list": (
        [score(1, label="BAD")],
        SCORES,
        "label must be one of NOK, OK, but 1 of 1 rows are not (first: chips, package/NOK/01, "
        "grounded_sam, plain: 'BAD')",
    ),
    "wrong type": (
        [
            {
                "dataset": "chips",
                "image_id": "a",
                "has_truth": True,
                "truth_px": "many",
                "undecided_px": 0,
                "pixels_sha256": "ab",
                **dict.fromkeys(TRUTH.columns[6:]),
            }
        ],
        TRUTH,
        "a column of the truth table holds values of another type than its schema says",
    ),
    "half a pixel": (
        [score(1, truth_px=1.5)],
        SCORES,
        "a column of the scores table holds values of another type than its schema says",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_broken_table_is_refused_with_file_and_offender(case, tmp_path):
    """The stage that made the error must fail, not the one after it."""
    rows, schema, expected = REFUSALS[case]
    path = tmp_path / "table.parquet"
    with pytest.raises(ArtifactError) as caught:
        write(rows, path, schema)
    assert str(caught.value).startswith(f"{path}: ")
    assert expected in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_status_outside_the_closed_list_is_refused(tmp_path):
    """A new way to fail must be given a name that the report knows."""
    row = dict.fromkeys(MASKS.columns, "x") | dict.fromkeys(
        ("mask_height_px", "mask_width_px", "n_regions"), 1
    )
    row |= {"score": 1.0, "latency_s": 0.1, "status": "crashed"}
    with pytest.raises(ArtifactError, match="status must be one of .*no_box.* 'crashed'"):
        write([row], tmp_path / "m.parquet", MASKS)


def test_other_file_is_not_read_as_a_table(tmp_path):
    """A file that broke off, or of another stage, is named with what to do."""
    (tmp_path / "broken").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(ArtifactError, match="broken: not a readable Parquet .*it was removed"):
        read_table(tmp_path / "broken", schema=ENCODINGS)
    with pytest.raises(ArtifactError, match="absent: not a readable Parquet file"):
        read_table(tmp_path / "absent", schema=ENCODINGS)
    write([encoding(1)], tmp_path / "encodings")
    with pytest.raises(ArtifactError, match="expected a scores table, but the columns method, "):
        read_table(tmp_path / "encodings", schema=SCORES)


def test_some_columns_are_read_alone(tmp_path):
    """The gathering jobs need the ids only."""
    write([encoding(1)], tmp_path / "t")
    assert list(read_table(tmp_path / "t", schema=ENCODINGS, columns=["image_id"]).columns) == [
        "image_id"
    ]


def test_facts_of_a_foreign_file_are_none(tmp_path):
    """Another program's Parquet file has no facts of ours."""
    pq.write_table(pa.table({"a": [1]}), tmp_path / "t")
    assert read_facts(tmp_path / "t") == {}


def test_gathering_joins_rows_and_facts(tmp_path):
    """Shards may run on different machines; the whole table says so."""
    write([encoding(1)], tmp_path / "a", device="cuda", seed=0, captions=["x"])
    write([encoding(3)], tmp_path / "b", device="cpu", seed=0, captions=["x"])
    write([encoding(2)], tmp_path / "c", device="cuda", seed=0, captions=["x"])
    paths = [tmp_path / name for name in "abc"]
    gather(paths, tmp_path / "all", schema=ENCODINGS)
    found = read_table(tmp_path / "all", schema=ENCODINGS)
    assert [i[-1] for i in found["image_id"]] == ["1", "2", "3"]
    facts = read_facts(tmp_path / "all")
    assert facts["device"] == ["cuda", "cpu"]
    assert facts["seed"] == 0
    assert facts["captions"] == ["x"]


def test_gathering_keeps_types_where_a_shard_is_empty(tmp_path):
    """An empty shard must not turn counts into fractions or texts into numbers."""
    write([], tmp_path / "a", SCORES)
    write([score(1, truth_px=3)], tmp_path / "b", SCORES)
    gather([tmp_path / "a", tmp_path / "b"], tmp_path / "c", schema=SCORES)
    found = read_table(tmp_path / "c", schema=SCORES).iloc[0]
    assert (found["truth_px"], found["iou"], found["label"]) == (3, 0.5, "NOK")


def test_gathering_refuses_an_image_in_two_shards(tmp_path):
    """It would be counted twice in every score."""
    write([encoding(1)], tmp_path / "a")
    write([encoding(1)], tmp_path / "b")
    with pytest.raises(ArtifactError, match="1 of 2 rows repeat one"):
        gather([tmp_path / "a", tmp_path / "b"], tmp_path / "c", schema=ENCODINGS)


def test_rows_written_as_they_come_are_the_same_table(tmp_path):
    """Whoever reads it need not know how it was written."""
    rows = [score(n) for n in range(1, 8)]
    write(rows, tmp_path / "whole", SCORES, seed=3)
    write_parts(iter(rows), tmp_path / "parts", schema=SCORES, facts={"seed": 3}, part_rows=2)
    whole, parts = (read_table(tmp_path / name, schema=SCORES) for name in ("whole", "parts"))
    pd.testing.assert_frame_equal(whole, parts)
    assert read_facts(tmp_path / "whole") == read_facts(tmp_path / "parts")
    sizes = [len(p) for p in read_parts(tmp_path / "parts", schema=SCORES, part_rows=3)]
    assert sizes == [3, 3, 1]
    assert pq.ParquetFile(tmp_path / "parts").num_row_groups == 4
    write_parts([], tmp_path / "none", schema=SCORES, facts={})
    assert read_table(tmp_path / "none", schema=SCORES).empty


@pytest.mark.parametrize("order", [(1, 3, 2), (1, 2, 2), (2, 3, 1)])
def test_rows_that_come_unsorted_are_refused(order, tmp_path):
    """Only in order is it seen, without holding all of them, that none comes twice."""
    rows = (score(n) for n in order)
    with pytest.raises(ArtifactError, match="expected rows sorted by .*, each once, found"):
        write_parts(rows, tmp_path / "t", schema=SCORES, facts={}, part_rows=1)
    assert not (tmp_path / "t").exists()


def test_tables_are_read_side_by_side(tmp_path):
    """The same images meet in every part; a table of other images is noticed."""
    n_rows = PART_ROWS + 5
    for name in "ab":
        write([encoding(n) for n in range(n_rows)], tmp_path / name)
    parts = list(read_together((tmp_path / "a", ENCODINGS), (tmp_path / "b", ENCODINGS)))
    assert [len(first) for first, _ in parts] == [PART_ROWS, 5]
    assert all(first["image_id"].equals(second["image_id"]) for first, second in parts)
    write([encoding(1)], tmp_path / "c")
    with pytest.raises(ArtifactError, match=f"found: .*a {n_rows}, .*c 1"):
        list(read_together((tmp_path / "a", ENCODINGS), (tmp_path / "c", ENCODINGS)))


def test_rows_must_be_those_of_the_manifest():
    """Nothing is dropped, nothing is added, and the message counts both."""
    table = pd.DataFrame({"image_id": ["a", "b", "x"]})
    check_rows(table, ["x", "b", "a"], where="t")
    with pytest.raises(
        ArtifactError,
        match=r"t: expected one row for each of 4 images; 2 are missing \(first: \['c'\]\), "
        r"1 are not in the manifest \(first: \['x'\]\)",
    ):
        check_rows(table, ["a", "b", "c", "d"], where="t")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_interrupted_writing_leaves_the_old_file_and_nothing_else(tmp_path, error):
    """A killed job must not leave half a table under its final name."""
    path = tmp_path / "table.txt"
    write_text("old", path)

    def fail(temporary):
        with open(temporary, "w") as file:
            file.write("half")
        raise error

    with pytest.raises(error):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_written_files_can_be_read_by_others(tmp_path):
    """Results are shared in a group; temporary files are private by default."""
    write_text("text", tmp_path / "a" / "b.txt")
    assert (tmp_path / "a" / "b.txt").stat().st_mode & 0o777 == 0o644


@given(arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=30)))
def test_masks_survive_compression(mask):
    """Any mask, also an empty, full or one pixel wide one."""
    height, width = mask.shape
    back = decode_mask(encode_mask(mask), height_px=height, width_px=width)
    assert back.dtype == bool
    np.testing.assert_array_equal(back, mask)


def test_mask_counts_are_those_of_the_public_format():
    """3 x 2, the middle row set: down each column 1 empty, 1 set, 1 empty; empties join, so the
    runs are 1 1 2 1 1. Users decode them with their own tools; COCO writes small runs as ASCII from
    48 on, from the fourth run on as the difference to the run two before: 1 1 2 0 -1 (31)."""
    mask = np.zeros((3, 2), bool)
    mask[1] = True
    assert encode_mask(mask) == "1120" + chr(48 + 31)


def test_masks_come_back_with_their_image_and_shape():
    """The table holds the size, for the counts do not."""
    mask = np.zeros((4, 7), bool)
    mask[1, 5] = True
    table = pd.DataFrame(
        {
            "image_id": ["a"],
            "mask_rle": [encode_mask(mask)],
            "mask_height_px": [4],
            "mask_width_px": [7],
        }
    )
    ((image_id, found),) = masks_of(table)
    assert image_id == "a"
    np.testing.assert_array_equal(found, mask)


def test_image_files_keep_dots_of_their_names(tmp_path):
    """`part.v2` must not lose its `.v2`."""
    assert image_file(tmp_path, "a/OK/part.v2") == tmp_path / "a" / "OK" / "part.v2.png"
