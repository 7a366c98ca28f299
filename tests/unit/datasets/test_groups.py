"""groups.csv is read however a spreadsheet saved it, or the place is named."""

import unicodedata

import pytest

from realitycheck.datasets.folder import list_folder

NAME = "Prüfling 7.png"
ROWS = f"image,group\nOK/{NAME},Los 1\nNOK/3.png,Los ä\n"


@pytest.fixture
def product(tmp_path):
    for name in (f"OK/{NAME}", "OK/2.png", "NOK/3.png"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).touch()
    return tmp_path


def groups(root):
    listing = list_folder(root)
    assert not listing.faults, "\n".join(map(str, listing.faults))
    return {record.image_path.name: record.group for record in listing.records}


@pytest.mark.parametrize(
    ("encoding", "named"),
    [
        ("utf-8", "UTF-8"),
        ("utf-8-sig", "UTF-8"),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", "UTF-16"),
        ("cp1252", "Windows-1252"),
        ("cp850", "DOS 850"),
        ("mac_roman", "Mac Roman"),
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_table_is_read_in_any_encoding_that_the_files_prove(product, encoding, named, delimiter):
    """An umlaut stands in a name that is on the disk, so that one encoding alone fits."""
    text = ROWS.replace(",", delimiter).replace("\n", "\r\n")
    (product / "groups.csv").write_bytes(text.encode(encoding))
    assert groups(product) == {NAME: "Los 1", "2.png": None, "3.png": "Los ä"}
    assert list_folder(product).read == {product / "groups.csv": named}


def test_bytes_that_no_name_explains_are_a_fault_with_their_place(product):
    """A guess would file a part under a wrong name."""
    (product / "groups.csv").write_bytes("image,group\nOK/2.png,Los ä\n".encode("cp1252"))
    (fault,) = list_folder(product).faults
    assert "groups.csv: line 2: expected UTF-8, found the byte 0xe4" in str(fault)
    assert "save it as UTF-8" in str(fault)


def test_decomposed_names_and_groups_are_the_same_names(product):
    """A Mac writes u and a diaeresis where Windows writes one letter."""
    text = unicodedata.normalize("NFD", ROWS + "OK/2.png,Los ä\n")
    (product / "groups.csv").write_text(text, encoding="utf-8")
    assert groups(product) == {NAME: "Los 1", "2.png": "Los ä", "3.png": "Los ä"}


def test_excels_first_line_capitals_and_blank_rows_are_understood(product):
    """Line numbers stay those of the file."""
    path = product / "Groups.CSV"
    path.write_text("sep=;\nImage ; GROUP\n;\nOK/2.png;a\n")
    assert groups(product)["2.png"] == "a"
    path.write_text("sep=;\nImage;Group\n;\nOK/9.png;a\n")
    assert "line 4: expected the path of an image" in str(list_folder(product).faults[0])
