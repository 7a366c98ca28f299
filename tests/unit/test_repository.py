"""What must hold between files: versions, pins, and the form of rules and scripts."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import PurePath

import pytest
import yaml

#: Loads the workflow without running it and prints what its rules consist of.
INSPECTOR = """
import json, sys
from pathlib import Path
from snakemake.api import OutputSettings, ResourceSettings, SnakemakeApi
from snakemake.settings.enums import Quietness

with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
    resources = ResourceSettings(cores=1)
    loaded = api.workflow(resource_settings=resources, snakefile=Path(sys.argv[1]))
    workflow = loaded._workflow
    if not list(workflow.rules):
        workflow.include(workflow.main_snakefile, overwrite_default_target=True)
    rules = []
    for rule in workflow.rules:
        rules.append({
            "name": rule.name,
            "script": rule.script,
            "docstring": rule.docstring,
            "log": [str(path) for path in rule.log],
            "benchmark": str(rule.benchmark or ""),
            "conda": str(rule.conda_env or ""),
            "message": rule.message,
            "resources": sorted(rule.resources),
            "is_local": rule.name in workflow._localrules,
        })
    print("RULES" + json.dumps(rules))
"""


@pytest.fixture(scope="module")
def rules(repository, tmp_path_factory):
    """Every rule of the workflow, as Snakemake understood it."""
    run = subprocess.run(
        [sys.executable, "-c", INSPECTOR, str(repository / "Snakefile")],
        cwd=tmp_path_factory.mktemp("workflow"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    (line,) = [line for line in run.stdout.splitlines() if line.startswith("RULES")]
    return json.loads(line.removeprefix("RULES"))


@pytest.fixture(scope="module")
def jobs(rules):
    """The rules that run a script."""
    found = [rule for rule in rules if rule["script"]]
    assert len(found) > 10
    return found


@pytest.fixture(scope="module")
def tracked(repository):
    """Text files under version control, by path."""
    command = ["git", "ls-files", "-z"]
    run = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    if run.returncode:
        pytest.skip("this is no git checkout")
    texts = {}
    for name in filter(None, run.stdout.split("\0")):
        path = repository / name
        try:
            texts[name] = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
    return texts


#: Environments of programs that `kind: command` runs, and such programs.
PROGRAMS = {"anomalib": "configs/drivers/anomalib_driver.py"}


def parse_pins(lines):
    pins = {}
    for line in lines:
        match = re.fullmatch(r"([A-Za-z0-9_.-]+)==(\S+)", line.strip())
        if match:
            pins[re.sub(r"[-_.]+", "-", match[1]).lower()] = match[2]
    return pins


def test_environments_pin_what_the_constraints_pin(repository):
    """`--sdm conda` and `make` must compute with the same versions."""
    constraints = parse_pins((repository / "constraints.txt").read_text().splitlines())
    files = sorted((repository / "envs").glob("*.yaml"))
    assert files
    for file in files:
        packages = yaml.safe_load(file.read_text())["dependencies"]
        ((listed,),) = [
            [entry["pip"] for entry in packages if isinstance(entry, dict) and "pip" in entry]
        ]
        pins = parse_pins(listed)
        assert len(pins) == len(listed), f"{file.name}: every package is pinned with =="
        # A program that runs beside the workflow has packages that the workflow does not know.
        known = pins.keys() & constraints.keys() if file.stem in PROGRAMS else pins
        wrong = {name: pins[name] for name in known if constraints.get(name) != pins[name]}
        assert wrong == {}, f"{file.name} differs from constraints.txt"


def normalized(requirement):
    """The name of a distribution as indexes compare it."""
    return re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9_.-]+", requirement)[0]).lower()


@pytest.fixture(scope="module")
def declared(repository):
    """Distributions that the project names, those of its tests included."""
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]
    return {normalized(requirement) for requirement in wanted}


def test_every_dependency_is_pinned(repository, declared):
    """An unpinned package would change results by itself one day."""
    constraints = parse_pins((repository / "constraints.txt").read_text().splitlines())
    assert declared - set(constraints) == set()


def test_everything_imported_is_declared(tracked, declared):
    """What stands in a developer's environment by chance is missing in a fresh one."""
    sources = {PurePath(name): text for name, text in tracked.items() if name.endswith(".py")}
    # They run in environments of their own, which their first lines describe.
    for name in ("setup.py", "benchmarks/read_exports.py", *PROGRAMS.values()):
        del sources[PurePath(name)]
    ours = {path.stem for path in sources} | {part for path in sources for part in path.parts}
    distributions = packages_distributions()
    undeclared = {
        (str(path), top)
        for path, text in sources.items()
        for node in ast.walk(ast.parse(text))
        for top in _tops(node)
        if top not in sys.stdlib_module_names
        and top not in ours
        and declared.isdisjoint(map(normalized, distributions.get(top, ())))
    }
    assert undeclared == set()


def _tops(node):
    """Top-level packages that a statement imports."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and not node.level:
        return {node.module.partition(".")[0]}
    return set()


def test_citation_and_project_carry_one_version(repository):
    """Who cites the software cites the version that ran."""
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((repository / "CITATION.cff").read_text())
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]


@pytest.mark.parametrize("part", ["docstring", "log", "benchmark", "conda", "message"])
def test_every_rule_with_a_script_has(part, jobs):
    """The docstring is its help, the message its line in the terminal; log and benchmark are where
    a person looks afterwards; conda pins what it runs with."""
    assert [rule["name"] for rule in jobs if not rule[part]] == []


def test_every_rule_with_a_script_asks_for_memory_and_time(jobs):
    """A cluster kills what asks for nothing."""
    lacking = [rule["name"] for rule in jobs if not {"mem_mb", "runtime"} <= set(rule["resources"])]
    assert lacking == []


def test_every_rule_of_a_network_asks_for_a_gpu_and_may_ask_for_less_at_once(jobs):
    """GPU jobs queue on the GPUs; one that ran out of memory comes back with smaller batches."""
    on_device = [rule for rule in jobs if "device" in rule["resources"]]
    assert len(on_device) > 10
    assert [rule["name"] for rule in on_device if "gpu" not in rule["resources"]] == []
    batched = [rule for rule in jobs if "batch_size" in rule["resources"]]
    assert [rule["name"] for rule in batched if "attempt" not in rule["resources"]] == []


def test_rules_with_network_run_where_snakemake_does(jobs):
    """The nodes of a cluster have no network; the login node has, and is shared by many."""
    networked = {rule["name"] for rule in jobs if "api_calls" in rule["resources"]}
    assert networked == {"ask_lvlm", "fetch_dataset", "fetch_weights"}
    assert networked <= {rule["name"] for rule in jobs if rule["is_local"]}


@pytest.fixture(scope="module")
def profiles(repository):
    """Content of every profile by its name."""
    return {
        path.parent.name: yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in sorted((repository / "profiles").glob("*/profile.yaml"))
    }


def test_default_profile_holds_nothing_that_another_names(profiles):
    """It is taken in addition to any other and wins, key by key."""
    assert set(profiles) == {"default", "workstation", "slurm", "haicore"}
    default = set(profiles.pop("default"))
    for name, profile in profiles.items():
        assert default & set(profile) == set(), name


def test_typed_gpus_are_asked_for_by_every_rule_that_needs_one(profiles, jobs):
    """A rule left out would land on a slice of a GPU; one with both forms would be refused."""
    wanted = {rule["name"] for rule in jobs if "gpu" in rule["resources"]}
    asked = profiles["haicore"]["set-resources"]
    assert set(asked) == wanted
    assert all(each == {"gpu": 0, "gres": "gpu:full:1"} for each in asked.values())


def test_cluster_profiles_differ_in_names_only(profiles):
    """What was learnt about the executor holds on every cluster."""
    slurm, haicore = dict(profiles["slurm"]), dict(profiles["haicore"])
    del haicore["set-resources"]
    assert slurm == haicore
    assert slurm["slurm-status-command"] == "squeue"
    assert not {"group", "groups", "slurm-array-jobs", "keep-incomplete"} & set(slurm)


def test_rules_scripts_and_logs_are_called_alike(jobs, repository):
    """Who knows one name finds all; rules of a family begin with the name of their script.

    Methods fit in words of their own: some calibrate, some train.
    """
    scripts = {path.stem for path in (repository / "scripts").glob("*.py")}
    used = {rule["script"].rsplit("/", 1)[-1].removesuffix(".py") for rule in jobs}
    assert used == scripts
    verbs = {rule["name"].partition("_")[0] for rule in jobs}
    assert scripts <= {rule["name"] for rule in jobs} | verbs | {"fit"}
    for rule in jobs:
        _, folder, *_ = rule["log"][0].split("/")
        # A rule for each data set has the data set in its name, and in the file's.
        assert f"{rule['name']}_".startswith(f"{folder}_"), rule["name"]
        assert rule["benchmark"].startswith(f"benchmarks/{folder}/"), rule["name"]


def test_rules_without_a_script_are_targets(rules):
    """They gather files under a plural noun and run on the spot."""
    targets = [rule for rule in rules if not rule["script"]]
    assert {"all", "tables", "figures"} <= {rule["name"] for rule in targets}
    for rule in targets:
        assert rule["docstring"], rule["name"]
        assert rule["is_local"], rule["name"]


def test_scripts_are_thin(repository):
    """What deserves a test lives in the package."""
    for path in sorted((repository / "scripts").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) < 80, path.name
        assert text.startswith('"""'), path.name
        assert "with job_log(" in text or "job_log(snakemake.log[0])," in text, path.name
        assert "snakemake.config" not in text, path.name
        assert "def " not in text, path.name


def test_package_knows_nothing_of_the_workflow(repository):
    """It can be used in a notebook, and tested without Snakemake."""
    for path in sorted((repository / "realitycheck").rglob("*.py")):
        if path.name == "snakemake_patch.py":  # for the rules alone
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            assert not re.match(r"\s*(import|from) snakemake\b", line), path
    package = (repository / "realitycheck/__init__.py").read_text(encoding="utf-8")
    assert not re.search(r"^(import|from) ", package, re.M)


# The words are put together here, so that this file does not hold them itself.
LEFTOVERS = {
    "unfinished work": re.compile("|".join(("TO" + "DO", "FIX" + "ME", r"\bX" + "XX\\b"))),
    "a stub": re.compile("raise NotImplemented" + "Error"),
    "a machine's path": re.compile(r"(?<![\w.])/" + r"(work|home|Users|mnt|scratch)/\w"),
    "a package index": re.compile(
        "index" + r"[-_]url|pypi" + r"\.org|files\.python" + r"hosted|artifact" + "ory"
    ),
}
#: Files in which a pattern means something else.
EXEMPT = {
    "a machine's path": {"tests/unit/lvlm/test_ledger.py"},  # made-up tables of mounts
    # Names of pip's options, which are handed on to uv.
    "a package index": {"envs/set_up.py", "tests/unit/test_set_up.py", "docs/installation.md"},
}


@pytest.mark.parametrize("what", LEFTOVERS)
def test_no_file_holds(what, tracked):
    """It would mean nothing, or something wrong, on another person's machine."""
    found = [
        f"{name}:{number}: {line.strip()}"
        for name, text in tracked.items()
        if name not in EXEMPT.get(what, ())
        for number, line in enumerate(text.splitlines(), start=1)
        if LEFTOVERS[what].search(line)
    ]
    assert found == []


def test_results_stay_out_of_version_control(tracked):
    """What is fetched or computed is not source."""
    kept_out = ("results/", "resources/", "logs/", ".snakemake/", ".venv/")
    is_computed = [n.startswith(kept_out) or n.endswith((".tsv", ".pth", ".log")) for n in tracked]
    assert not any(is_computed)
