"""The command line."""

import json

import pytest

from realitycheck.__main__ import main
from realitycheck.config import json_schema

GOOD = """
datasets:
  chips: {format: synthetic_sat}
  pets: {format: oxford_iiit_pet}
methods: {pixel_difference: {}}
"""


def test_check_says_how_much_will_run(tmp_path, capsys):
    """Pets have no reference, so one data set of two runs the method."""
    file = tmp_path / "config.yaml"
    file.write_text(GOOD)
    assert main(["check", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: no fault; data sets: 2, runs of methods: 1\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("datasets: {chips: {format: synthetic_sat, shards: 0}}", "datasets.chips.shards: "),
        ("", "datasets: the key is missing; add it"),
        ("- a\n- b\n", "(top level): expected keys such as 'datasets', found ['a', 'b']"),
        ("datasets: [", "while parsing"),
    ],
)
def test_check_shows_faults_and_fails(tmp_path, capsys, text, expected):
    """A script that calls it must notice, and a person must see no traceback."""
    file = tmp_path / "config.yaml"
    file.write_text(text)
    assert main(["check", str(file)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"{file}: ")
    assert expected in shown.err


def test_check_of_a_file_that_is_not_there_fails(tmp_path, capsys):
    """The most usual slip is the path."""
    assert main(["check", str(tmp_path / "none.yaml")]) == 1
    assert "No such file" in capsys.readouterr().err


def test_schema_is_printed_as_json(capsys):
    """`make schema` writes it to the file that editors read."""
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()


def test_no_command_shows_the_usage(capsys):
    """A call without arguments explains itself."""
    with pytest.raises(SystemExit):
        main([])
    assert "check" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["gemini_api", "vertex_ai", "local_vllm"])
def test_examples_lack_nothing_but_the_images(name, tmp_path, monkeypatch, capsys, repository):
    """Whoever copies one has one thing to do: put the images there."""
    file = repository / "configs" / f"{name}.yaml"
    monkeypatch.chdir(tmp_path)
    assert main(["check", str(file)]) == 1
    faults = [line for line in capsys.readouterr().err.splitlines() if line.startswith("  - ")]
    assert faults == [
        "  - datasets.my_product.root: there is no folder data/my_product; give the folder that "
        "holds OK/ and NOK/"
    ]
    (tmp_path / "data" / "my_product").mkdir(parents=True)
    assert main(["check", str(file)]) == 0
    assert main(["quote", str(file)]) == 1
    assert "results/aligned/my_product/transforms.parquet" in capsys.readouterr().err
