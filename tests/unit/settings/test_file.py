"""Reading a settings file: nothing that a person wrote is lost without a word."""

import pytest

from realitycheck.settings.file import SettingsFileError, read_settings_file


@pytest.fixture
def read(tmp_path):
    """Write a file, and read it."""

    def reading(content):
        path = tmp_path / "own.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_settings_file(path)

    return reading


def test_plain_file_is_read_without_faults(read):
    text = "a: &x {b: 1}\nc: {<<: *x, d: [1, {e: 2}]}\n1: yes\n"
    assert read(text) == ({"a": {"b": 1}, "c": {"b": 1, "d": [1, {"e": 2}]}, 1: True}, [])


@pytest.mark.parametrize("content", ["", "# nothing\n", "---\n"])
def test_empty_file_is_an_empty_mapping(read, content):
    assert read(content) == ({}, [])


def test_keys_that_stand_twice_are_named_with_every_line(read):
    """YAML keeps the last of them; a copied block would replace the one it was copied from."""
    _, faults = read(
        "methods:\n  a: {}\n  b: {x: 1, x: 2}\n  'a': {}\n  a: {}\n"
        "list:\n  - {k: 1}\n  - {k: 1, k: 2}\nmethods: {}\n"
    )
    assert [fault.partition(", and only")[0] for fault in faults] == [
        "methods: this key stands twice, in lines 1 and 9",
        "methods.a: this key stands 3 times, in lines 2, 4 and 5",
        "methods.b.x: this key stands twice, in lines 3 and 3",
        "list[1].k: this key stands twice, in lines 8 and 8",
    ]


def test_keys_that_stand_twice_in_json_are_named(read):
    _, faults = read('{"a": {"b": 1,\n\t"b": 2}}')
    assert faults == ["b: this key stands twice in one block; rename or remove one"]


@pytest.mark.parametrize(
    ("key", "kind"), [("no", "true or false"), ("001", "a number"), ("~", "nothing")]
)
def test_keys_that_are_read_as_something_else_are_named(read, key, kind):
    """A category `001` would become 1, a prompt set `no` false."""
    _, faults = read(f"a:\n  {key}: b\n")
    assert faults == [f"a.{key}: YAML reads this key (line 2) as {kind}; put it in quotes"]


def test_byte_order_mark_is_no_part_of_the_first_key(read):
    assert read(b"\xef\xbb\xbfa: 1\n") == ({"a": 1}, [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "a: 1\ntitle: Gehäuse\n".encode("cp1252"),
            "line 2, column 11: byte 0xe4 is not UTF-8, in ",
        ),
        ("a: Prüf\nü".encode("cp1252"), "in Windows-1252 the letter ü; save the file as UTF-8"),
        ("a: 1\n".encode("utf-16"), "is in UTF-16 or UTF-32 .* save it as UTF-8"),
        ("a: 1\n".encode("utf-16-be"), "is in UTF-16"),
        ("a: 1\n".encode("utf-32"), "is in UTF-16 or UTF-32"),
        ("a: [\n", "line 2, column 1: .*while parsing a flow node.*; expected YAML"),
        ("a:\n\tb: 1\n", r"line 2, column 1: found character '\\t' that cannot start any token"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: but found another document"),
        ("a: \x07\n", "special characters are not allowed .*; expected YAML"),
        ("? [a, b]\n: 1\n", "line 1, column 3: found unhashable key"),
        ("a: &x {b: *x}\n", r"an alias \(\*name\) stands within the block that it repeats"),
    ],
)
def test_what_cannot_be_read_is_told_with_file_and_place(read, content, message):
    """One line, which names the file, also where only the last line of a message is seen."""
    with pytest.raises(SettingsFileError, match=rf"own\.yaml: .*{message}") as caught:
        read(content)
    assert "\n" not in str(caught.value)
