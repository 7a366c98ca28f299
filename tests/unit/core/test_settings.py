"""Values are read as their author meant them, where only one thing can be meant."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from realitycheck.core.settings import as_meant, expanded, without
from realitycheck.settings.load import load_settings

WORDS = tuple[Annotated[str, Field(min_length=1)], ...]


@pytest.mark.parametrize(
    ("annotation", "value", "meant"),
    [
        (WORDS, "defect", ["defect"]),
        (WORDS | None, "defect", ["defect"]),
        (WORDS | None, None, None),
        (WORDS, ["a", "b"], ["a", "b"]),
        (WORDS, "scratch, dent", "scratch, dent"),
        (tuple[int, ...], 128, [128]),
        (tuple[Any, ...], {"image": "a"}, [{"image": "a"}]),
        (tuple[tuple[str, str], ...], "a", "a"),
        (Literal["native", "400"], 400, "400"),
        (Literal[8, 16], "16", 16),
        (float, True, "true"),
        (int | None, False, "false"),
        (Literal["auto"] | Annotated[int, Field(ge=1)], True, "true"),
        (bool | Literal["auto"], True, True),
        (dict[str, bool | str], {"a": True}, {"a": True}),
        (Any, True, True),
        (str, "0,35", "0,35"),
    ],
)
def test_values_as_meant(annotation, value, meant):
    assert as_meant(annotation, value) == meant
    assert type(as_meant(annotation, value)) is type(meant)


def test_home_and_variables_are_put_into_paths(monkeypatch):
    monkeypatch.setenv("HOME", "/people/anna")
    monkeypatch.setenv("DATA", "/big")
    assert expanded("~/parts") == "/people/anna/parts"
    assert expanded("$HOME/parts") == "/people/anna/parts"
    assert expanded("${DATA}/a/$DATA") == "/big/a//big"
    assert expanded("data/a~b") == "data/a~b"


def test_file_whose_name_holds_a_sign_stays_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "$a").touch()
    assert expanded("$a") == "$a"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("$NOWHERE_SET/a", "environment variable NOWHERE_SET, which is not set"),
        ("a/${NOWHERE_SET}", "environment variable NOWHERE_SET, which is not set"),
        ("$EMPTY/a", "environment variable EMPTY, which is not set"),
        ("~no_such_user/a", "names a home folder that is not known"),
    ],
)
def test_unknown_variables_and_homes_are_faults(monkeypatch, path, message):
    """An unset variable would make `$DATA/parts` into `/parts`."""
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("NOWHERE_SET", raising=False)
    with pytest.raises(ValueError, match=message):
        expanded(path)


def test_what_has_faults_is_left_out_with_what_hangs_on_it():
    data = {
        "datasets": {"a": {"root": 1, "methods": ["x", "y"]}, "b": {"shards": 0}},
        "prompts": {"a": {"p": {"segmentation": ["", "void"]}}, "b": {}},
        "methods": {"x": {"kind": "?"}, "y": {"threshold": 5, "z": 6}},
    }
    locations = [
        ("methods", "x"),
        ("methods", "y", "few_shot", "threshold"),
        ("methods", "y", "few_shot", "z"),
        ("datasets", "b", "folder", "root"),
        ("prompts", "a", "p", "segmentation", 0),
    ]
    rest, left_out = without(data, locations)
    assert rest == {
        "datasets": {"a": {"root": 1, "methods": ["y"]}},
        "prompts": {"a": {"p": {}}},
        "methods": {"y": {}},
    }
    assert left_out == {
        *("methods.x", "methods.y.threshold", "methods.y.z", "datasets.b"),
        "prompts.a.p.segmentation",
    }
    assert data["methods"]["y"] == {"threshold": 5, "z": 6}


def test_categories_are_composed_as_those_of_the_data_are():
    """A file written on a Mac names a category that the disk spells in another way, or the same."""
    raw = {"format": "mvtec_ad", "object_name": {"Geha\u0308use": "housing"}}
    prompt = {"p": {"saa_plus": {"Geha\u0308use": "sat"}}}
    found = load_settings({"datasets": {"d": raw}, "prompts": {"d": prompt}})
    assert found.datasets["d"].object_name == {"Geh\u00e4use": "housing"}
    assert list(found.prompts["d"]["p"].saa_plus) == ["Geh\u00e4use"]
