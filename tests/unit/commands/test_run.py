"""`realitycheck run`: from any folder, in a checkout and as an installed package."""

import os
import subprocess
import sys

import pytest

from realitycheck.commands.run import split

SETTINGS = """
datasets:
  chips: {format: synthetic_sat, n_ok: 2, n_nok: 2, n_train: 2, image_size_px: 96}
methods:
  pixel_difference: {}
"""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], [None, "--cores", "all"]),
        (["-n"], [None, "--cores", "all", "-n"]),
        (["my.yaml"], ["my.yaml", "--cores", "all"]),
        (["my.yaml", "a/target", "-c4"], ["my.yaml", "a/target", "-c4"]),
        (["my.yaml", "--cores=2"], ["my.yaml", "--cores=2"]),
        (["my.yaml", "--profile", "slurm"], ["my.yaml", "--profile", "slurm"]),
        (["my.yaml", "--config", "x=-j"], ["my.yaml", "--cores", "all", "--config", "x=-j"]),
    ],
)
def test_all_but_the_file_is_for_snakemake(given, expected):
    """All cores are taken where nothing says how many."""
    assert split(given) == expected


@pytest.fixture(scope="module")
def installed(repository, tmp_path_factory):
    """Folder with the package as an installation has it, the workflow within."""
    folder = tmp_path_factory.mktemp("installed")
    build = ["build", "--build-base", folder / "build", "build_py", "--build-lib", folder / "lib"]
    egg_info = ["egg_info", "--egg-base", folder]
    command = [sys.executable, "setup.py", "--quiet", *egg_info, *build]
    subprocess.run([str(part) for part in command], cwd=repository, check=True)
    return folder / "lib"


def test_installed_package_runs_its_own_workflow_in_an_empty_folder(installed, tmp_path):
    """Rules, scripts, profile and environments are found inside it, and the results lie here."""
    (tmp_path / "my.yaml").write_text(SETTINGS)
    target = "results/manifests/chips.parquet"
    run = subprocess.run(
        [sys.executable, "-m", "realitycheck", "run", "my.yaml", target, "--cores", "1"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert (tmp_path / target).is_file()
    assert not (tmp_path / "Snakefile").exists()
