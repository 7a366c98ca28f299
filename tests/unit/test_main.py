"""The command line."""

import json

import pytest

from realitycheck.__main__ import main
from realitycheck.settings.load import json_schema

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


PLAN = ["plan", "--max-slip", "0.02"]


def test_plan_names_the_parts_before_anyone_collects_them(capsys):
    """149 without a miss for 2 %, 59 good ones for 5 %; with misses allowed for, more."""
    assert main([*PLAN, "--misses", "1"]) == 0
    shown = capsys.readouterr().out
    assert "slip rate at most 2 %\n        149 defective parts, none" in shown
    assert "236 defective parts, at most 1 of them judged wrongly" in shown
    assert "59 good parts, none of them judged wrongly" in shown


def test_plan_says_what_the_parts_at_hand_prove(capsys):
    """32 without a miss prove 8.94 %, and 117 more are needed."""
    assert main([*PLAN, "--nok", "32", "--ok", "231"]) == 0
    shown = capsys.readouterr().out
    assert "with none missed they prove a slip rate of at most 8.94 %; 117 more are needed" in shown
    assert "an overkill rate of at most 1.29 %; 5 % holds with up to 5 rejected" in shown


def test_plan_knows_of_many_tries(capsys):
    """297 parts for each of twenty; how to lock some of 300 away; too few are told."""
    assert main([*PLAN, "--tries", "20", "--nok", "300"]) == 0
    shown = capsys.readouterr().out
    for n_parts, tries in ((228, 5), (297, 20), (377, 100)):
        assert f"{n_parts} defective parts, none of them, for each of {tries} tried" in shown
    assert "they prove for each of 20 tried a slip rate of at most 1.98 %; 2 % holds" in shown
    assert (
        "of 20 tried: in 55 % of cases with all parts used for all, in 69 % with confirm_fraction: "
        "0.5 (150 defective parts) locked away until one is chosen"
    ) in shown
    assert main([*PLAN, "--tries", "4", "--nok", "100"]) == 0
    assert "of 4 tried: in 0 % of cases with all parts used for all, and no better with" in (
        capsys.readouterr().out
    )


def test_plan_reads_limits_and_parts_of_a_settings_file(tmp_path, capsys, monkeypatch):
    """Views of one part count once; a data set that nobody prepared is left out."""
    import pandas as pd

    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(GOOD + "requirements: {max_slip_rate: 0.1}\n")
    assert main(["plan", "config.yaml"]) == 0
    shown = capsys.readouterr().out
    assert "slip rate at most 10 %\n         29 defective parts, none" in shown
    assert "chips:\n  32 defective parts" in shown
    assert "pets" not in shown
    (tmp_path / "results" / "manifests").mkdir(parents=True)
    pd.DataFrame(
        {"image_id": list("abcd"), "label": ["NOK"] * 3 + ["OK"], "group": ["1", "1", None, None]}
    ).to_parquet("results/manifests/pets.parquet")
    assert main(["plan", "config.yaml"]) == 0
    assert "pets:\n  2 defective parts" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--max-slip", "2"], "--max-slip is a share such as 0.02, but is 2.0"),
        (["--max-slip", "0"], "--max-slip is a share"),
        (["--nok", "-1"], "cannot be negative"),
        (["--tries", "0"], "the number of tries must be 1 or more, but is 0"),
        (["--confidence", "1"], "confidence must lie inside"),
    ],
)
def test_plan_refuses_what_is_no_plan(capsys, arguments, words):
    """A message and a failing status, no traceback."""
    assert main(["plan", *arguments]) == 1
    assert words in capsys.readouterr().err
