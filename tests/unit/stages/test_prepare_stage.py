"""Raw inputs become a manifest, or one message with everything that is wrong."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from realitycheck.core.images import write_png
from realitycheck.core.provenance import bucket_of
from realitycheck.core.schemas import INVENTORY, MANIFEST
from realitycheck.core.tables import read_facts, read_table
from realitycheck.datasets.records import DatasetError
from realitycheck.stages.prepare import check_inputs, manifest_digests


def test_every_image_becomes_a_row(product):
    """Five images went in."""
    table = product.prepare().manifest
    assert list(table["image_id"]) == [
        "product/NOK/chip/0",
        "product/NOK/chip/1",
        "product/OK/0",
        "product/OK/1",
        "product/OK/2",
    ]
    assert set(table["dataset"]) == {"chips"}
    assert list(table["label"]) == ["NOK"] * 2 + ["OK"] * 3
    assert list(table["mask_path"].isna()) == [False] * 2 + [True] * 3
    assert set(table["width_px"]) == {128}
    train = read_table(product.paths["train_path"], schema=MANIFEST)
    assert train.empty


def test_record_holds_what_planning_asks_for(product):
    """The trigger it was planned under, the state it saw, and the counts."""
    product.prepare()
    record = json.loads(product.paths["digests_path"].read_text())
    assert (record["trigger"], record["signature"]) == ("before", "now")
    assert record["counts"] == {"test": 5, "train": 0}
    assert set(record["images"]) == {str(bucket_of(i)) for i in product.manifest["image_id"]}


def test_same_folder_gives_the_same_bytes(product):
    """A second check of the same images must change nothing."""
    before = {k: p.read_bytes() for k, p in product.prepare().paths.items()}
    assert {k: p.read_bytes() for k, p in product.prepare().paths.items()} == before


def test_all_faults_are_reported_at_once_and_nothing_is_written(product):
    """Whoever repairs a folder of thousands wants one list."""
    (product.root / "OK/0.png").write_bytes(b"no picture")
    (product.root / "OK/copy.png").write_bytes((product.root / "OK/1.png").read_bytes())
    write_png(np.ones((5, 5), bool), product.root / "masks/chip/1.png")
    with pytest.raises(DatasetError) as caught:
        product.prepare()
    message = str(caught.value)
    assert len(caught.value.faults) == 3
    for name in ("OK/0.png", "copy.png", "masks/chip/1.png"):
        assert name in message
    assert "chips" in message
    assert not product.results.exists()


def test_reference_is_the_good_image_most_like_the_others(product):
    """The others are shifted to either side of it."""
    row = product.prepare().references.iloc[0]
    assert (row["category"], row["image_id"]) == ("product", "product/OK/0")
    assert row["is_scored"]


def test_training_images_give_the_reference_where_there_are_some(product):
    """A reference that is itself scored would be compared with itself."""
    product.prepare(split={"kind": "all", "seed": 0, "train_fraction": 0.34})
    train = read_table(product.paths["train_path"], schema=MANIFEST)
    assert len(train) == 1
    assert len(product.manifest) == 4
    row = product.references.iloc[0]
    assert row["image_id"] == train["image_id"][0]
    assert not row["is_scored"]


def test_given_reference_is_recognised_by_its_content(product, tmp_path):
    """A copy of a scored image is that image, whatever its name."""
    golden = tmp_path / "golden.png"
    golden.write_bytes((product.root / "OK/2.png").read_bytes())
    row = product.prepare(reference=str(golden)).references.iloc[0]
    assert (row["image_id"], row["image_path"]) == ("product/OK/2", str(golden))
    assert row["is_scored"]
    write_png(np.full((96, 128, 3), 7, np.uint8), golden)
    row = product.prepare(reference={"product": str(golden)}).references.iloc[0]
    assert pd.isna(row["image_id"])
    assert not row["is_scored"]


def test_locked_part_is_no_reference(product):
    """Methods would see it before it is confirmed on; a copy elsewhere is the same part."""
    split = product.settings["split"] | {"confirm_fraction": 0.5, "seed": 1}
    table = product.prepare(split=split, reference="none").manifest
    locked = {path for path in product.root.glob("OK/*.png")} - set(map(Path, table["image_path"]))
    copy = product.root.with_name("golden.png")
    copy.write_bytes(min(locked).read_bytes())
    with pytest.raises(DatasetError, match="golden.png: .*same file among the parts that are lock"):
        product.prepare(split=split, reference={"product": str(copy)})


def test_faults_of_a_given_reference_are_faults_of_the_data_set(product, tmp_path):
    """It is looked at like an image, before anything reads it."""
    Image.fromarray(np.zeros((9, 9), np.float32)).save(tmp_path / "depth.tif")
    with pytest.raises(DatasetError, match="depth.tif: .*32-bit floating-point.*set intensity"):
        product.prepare(reference=str(tmp_path / "depth.tif"))
    with pytest.raises(DatasetError, match="nowhere.png: expected an image, found no file"):
        product.prepare(reference=str(tmp_path / "nowhere.png"))


def test_limit_of_the_settings_is_the_limit_of_the_check(product):
    """An image or mask above it is not decoded."""
    with pytest.raises(DatasetError, match="at most 0.001 MB.*raise max_decoded_mb"):
        product.prepare(max_decoded_mb=0.001)


def test_no_reference_gives_an_empty_table(product):
    """Photographs of pets have none."""
    assert product.prepare(reference="none").references.empty


def test_inventory_counts_images_masks_and_views_and_is_printed(product, capsys):
    """By folder and form, with what is not used and why."""
    (product.root / "notes.txt").write_text("x")
    (product.root / "OK/.DS_Store").write_text("x")
    rows = "image;group\nOK/0.png;A\nOK/1.png;A\n"
    (product.root / "groups.csv").write_text(rows, encoding="utf-16")
    product.prepare()
    table = read_table(product.paths["inventory_path"], schema=INVENTORY)
    found = table.set_index(["folder", "used_as"])
    assert found.loc[("OK", "image"), ["form", "n_files", "n_views"]].tolist() == [
        "png, 8 bit, RGB",
        3,
        2,
    ]
    assert found.loc[("NOK/chip", "image"), "n_files"] == 2
    assert found.loc[("masks/chip", "mask"), "n_files"] == 2
    assert found.loc[("groups.csv", "list"), "form"] == "csv, UTF-16"
    assert found.loc[("notes.txt", "not used"), "reason"] == "neither images nor masks"
    assert "hidden and system files" in found.loc[(".", "not used"), "reason"]
    said = capsys.readouterr().err
    assert "chips: 5 images, 2 of them views of a part that others show, too" in said
    assert "chips:   OK: 3 (png, 8 bit, RGB)" in said and "chips: 2 files not used" in said


def test_categories_that_only_the_settings_know_are_named(product, tmp_path):
    """With every other fault, in one list."""
    (product.root / "val/OK").mkdir(parents=True)
    write_png(np.full((96, 128, 3), 7, np.uint8), product.root / "val/OK/0.png")
    named = {"prompts.chips.plain.saa_plus": ["chip", "product"]}
    (tmp_path / "golden.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError) as caught:
        product.prepare(named_categories=named, reference=str(tmp_path / "golden.png"))
    said = [str(fault) for fault in caught.value.faults]
    assert len(said) == 3 and "val: expected no images" in said[0]
    assert "saa_plus names chip, but the categories are product; correct prompts.chips" in said[1]
    assert "golden.png: expected a whole PNG" in said[2]


def test_set_without_good_parts_has_no_reference(product):
    """Whether a method misses it is told by the audit."""
    shutil.rmtree(product.root / "OK")
    assert product.prepare().references.empty and len(product.manifest) == 2


def test_category_without_a_reference_is_named(product):
    """One forgotten category would fail only after hours of alignment."""
    with pytest.raises(DatasetError, match="reference names no image for the category product "):
        product.prepare(reference={"other": "auto"})
    assert not product.results.exists()


def changed(before, after):
    return {kind for kind in before if before[kind] != after[kind]}


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("sha256", {"images"}),
        ("mask_sha256", {"truth"}),
        ("label", {"truth", "labels"}),
        ("defect_type", {"labels"}),
        ("group", {"labels"}),
        ("category", {"images", "labels"}),
        ("image_path", set()),
        ("mask_path", set()),
    ],
)
def test_edit_shows_in_what_depends_on_it_only(product, column, expected):
    """A redrawn mask must not encode an image again, nor must a folder that was moved."""
    product.prepare()
    table, references = product.manifest, product.references
    edited = table.astype(object)
    edited.loc[0, column] = "new"
    nothing = table.iloc[:0]
    before = manifest_digests(table, nothing, references)
    after = manifest_digests(edited, nothing, references)
    assert changed(before, after) == expected
    bucket = str(bucket_of(table.loc[0, "image_id"]))
    for kind in expected:
        assert {b for b in before[kind] if before[kind][b] != after[kind][b]} == {bucket}


def test_other_reference_concerns_every_image_of_its_category(product):
    """Each was registered to the old one."""
    product.prepare()
    table, references = product.manifest, product.references
    before = manifest_digests(table, table.iloc[:0], references)
    after = manifest_digests(table, table.iloc[:0], references.assign(sha256="new"))
    assert changed(before, after) == {"images"}
    assert all(before["images"][b] != after["images"][b] for b in before["images"])


def test_training_images_count_apart(product):
    """They set thresholds; the scored images do not depend on them."""
    product.prepare()
    table, references = product.manifest, product.references
    nothing = table.iloc[:0]
    assert changed(
        manifest_digests(table, nothing, references), manifest_digests(table, table, references)
    ) == {"train_images"}


def test_facts_say_how_images_were_read(product):
    """The manifest can be traced to its settings."""
    product.prepare()
    assert "settings_digest" in read_facts(product.paths["manifest_path"])


def test_record_of_all_inputs_collects_counts_and_digests(product, tmp_path):
    """One file says that everything passed its checks."""
    product.prepare()
    (tmp_path / "sam.json").write_text('{"digest": "ab", "files": {}}')
    assert check_inputs([product.paths["digests_path"]], [tmp_path / "sam.json"]) == {
        "datasets": {"chips": {"test": 5, "train": 0}},
        "networks": {"sam": "ab"},
    }
