"""The listing of Oxford-IIIT-Pet makes dogs good parts and cats defects."""

import pytest

from realitycheck.datasets.oxford_iiit_pet import CORRUPT, list_oxford_iiit_pet

N_CATS, N_DOGS = 70, 160
COMMENTS = "#Image CLASS-ID SPECIES BREED ID\n#1:37 Class ids\n"


@pytest.fixture
def pets(tmp_path):
    """A small copy of the layout, with all of its oddities, as empty files."""
    cats = [f"Bengal_{number}" for number in range(N_CATS)]
    dogs = [f"beagle_{number}" for number in range(N_DOGS - 2)] + list(CORRUPT)
    dogs = list(dict.fromkeys(dogs + ["chihuahua_1"]))
    images, trimaps = tmp_path / "images", tmp_path / "annotations" / "trimaps"
    images.mkdir()
    trimaps.mkdir(parents=True)
    rows = [f"{name} 6 1 3" for name in cats] + [f"{name} 5 2 2" for name in dogs]
    for name in [*cats, *dogs, "Bengal_999"]:  # the last is not listed
        (images / f"{name}.jpg").touch()
        (trimaps / f"{name}.png").touch()
        (trimaps / f"._{name}.png").touch()
    (images / "Bengal_3.mat").touch()
    annotations = tmp_path / "annotations"
    (annotations / "list.txt").write_text(COMMENTS + "\n".join(rows) + "\n")
    (annotations / "trainval.txt").write_text("\n".join(rows[::2]) + "\n")
    (annotations / "test.txt").write_text("\n".join(rows[1::2]) + "\n")
    return tmp_path


def of(records, **wanted):
    return [
        record
        for record in records
        if all(getattr(record, key) == value for key, value in wanted.items())
    ]


def test_paper_split_draws_140_dogs_and_60_cats(pets):
    """The counts of the study."""
    records, faults, *_ = list_oxford_iiit_pet(pets, split="paper", seed=0)
    assert not faults
    assert len(of(records, split="test", label="OK", category="dog")) == 140
    assert len(of(records, split="test", label="NOK", category="cat")) == 60
    assert not of(records, split="train", label="NOK")
    assert of(records, split="train", label="OK")


def test_paper_draw_follows_the_seed(pets):
    """The same seed gives the same images, another one others."""

    def names(seed):
        return {r.image_id for r in of(list_oxford_iiit_pet(pets, seed=seed)[0], split="test")}

    assert names(0) == names(0)
    assert names(0) != names(1)


@pytest.mark.parametrize("split", ["official", "all"])
def test_official_split_follows_the_lists(pets, split):
    """trainval.txt is train and test.txt is test; the corrupt and unlisted are left out."""
    records, faults, *_ = list_oxford_iiit_pet(pets, split=split)
    assert not faults
    names = {record.image_path.stem for record in records}
    assert "Bengal_999" not in names and not names & set(CORRUPT)
    listed = (pets / "annotations" / "test.txt").read_text().split("\n")
    expected = {line.split()[0] for line in listed if line} - set(CORRUPT)
    assert {record.image_path.stem for record in of(records, split="test")} == expected


def test_cats_have_trimaps_and_dogs_have_none(pets):
    """A dog's trimap marks a dog, and a dog is no defect."""
    records, _, *_ = list_oxford_iiit_pet(pets, split="all")
    by_id = {record.image_id: record for record in records}
    cat, dog = by_id["cat/Bengal_12"], by_id["dog/beagle_3"]
    assert cat.mask_path == pets / "annotations" / "trimaps" / "Bengal_12.png"
    assert (cat.label, cat.defect_type) == ("NOK", "cat")
    assert (dog.label, dog.defect_type, dog.mask_path) == ("OK", None, None)


def test_all_faults_of_a_listing_are_named(pets):
    """Files that went missing, lists that were cut short, at once."""
    (pets / "images" / "Bengal_5.jpg").unlink()
    with (pets / "annotations" / "list.txt").open("a") as file:
        file.write("Bengal_200 6 3 3\nBengal_201 6\nBengal_1 6 1 3\n")
    with (pets / "annotations" / "test.txt").open("a") as file:
        file.write("Bengal_300 6 1 3\nBengal_0 6 1 3\n")
    text = "\n".join(map(str, list_oxford_iiit_pet(pets).faults))
    for part in (
        "images/Bengal_5.jpg: expected an image, because annotations/list.txt names it",
        "trimaps/Bengal_5.png: expected an image images/Bengal_5.jpg",
        "found 'Bengal_200 6 3 3'",
        "found 'Bengal_201 6'",
        "found 'Bengal_1 6 1 3'",
        "found 1 others (first: Bengal_300)",
        "expected no image of trainval.txt, found 1 (first: Bengal_0)",
    ):
        assert part in text


def test_missing_parts_are_named(pets, tmp_path):
    """One of the two archives was forgotten."""
    assert "found nothing" in str(list_oxford_iiit_pet(tmp_path / "no").faults[0])
    (tmp_path / "half" / "images").mkdir(parents=True)
    _, faults, *_ = list_oxford_iiit_pet(tmp_path / "half")
    assert [fault.path.name for fault in faults] == [
        "trimaps",
        "list.txt",
        "trainval.txt",
        "test.txt",
    ]
    with pytest.raises(ValueError, match="official, paper, all, found 'x'"):
        list_oxford_iiit_pet(pets, split="x")


def test_too_few_for_the_paper_is_a_fault(pets):
    """A smaller sample would bear the study's name wrongly."""
    rows = (pets / "annotations" / "list.txt").read_text().splitlines()
    kept = [row for row in rows if not row.startswith(("Bengal_1", "Bengal_2"))]
    (pets / "annotations" / "list.txt").write_text("\n".join(kept))
    texts = [str(fault) for fault in list_oxford_iiit_pet(pets).faults]
    assert any("at least 60 cats, found 48" in text for text in texts)
