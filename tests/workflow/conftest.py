"""A finished run of a tiny configuration, and copies of it to edit.

The run is made once a test session, under a lock that the workers of pytest-xdist share. It works
from a copy of the workflow, so that what a test plans does not depend on the working tree staying
as it is meanwhile.
"""

import collections
import copy
import functools
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from filelock import FileLock
from PIL import Image, ImageDraw

from realitycheck.core.provenance import bucket_of, buckets_of, shard_names
from training.miniatures import model_settings

REPOSITORY = Path(__file__).resolve().parents[2]
WORKFLOW = (
    "Snakefile",
    "config.yaml",
    "pyproject.toml",
    "envs",
    "profiles",
    "realitycheck",
    "rules",
    "scripts",
)
#: Rules without a job of their own.
TARGETS = ("all", "tables", "figures", "exports", "detections")
#: Python's start for jobs whose imports are noted, in the folder `imports` beside their run.
RECORDER = Path(__file__).with_name("recorder")
#: What takes long to import.
LARGE = {
    *("groundingdino", "jinja2", "matplotlib", "open_clip", "scipy.optimize", "scipy.stats"),
    *("segment_anything", "sklearn", "statsmodels", "sympy", "timm", "torch", "torchvision"),
    *("torch._dynamo", "torch.distributed.tensor", "transformers"),
}
#: Scripts that have no use for tables.
WITHOUT_TABLES = {"fetch_weights", "generate_dataset"}
#: As it is before a test adds packages of its own, which no other test is to find.
_PYTHONPATH = os.environ.get("PYTHONPATH", "")
N_SHARDS = 2
PART_SIZE = (96, 80)

#: Where the networks of a run lie in its folder.
NETWORKS = "networks"

#: Names under `models` stand for networks with random weights, see `with_networks`.
#: Two data sets: generated ones with a training split, and a folder without, in shards.
SETTINGS = {
    "datasets": {
        "sat": {
            "format": "synthetic_sat",
            "title": "Tiny scans",
            "n_ok": 6,
            "n_nok": 4,
            "n_train": 5,
            "image_size_px": 96,
            "alignment": {"method": "ecc", "motion": "similarity"},
            "published_as": "industrial_sat",
        },
        "parts": {
            "format": "folder",
            "root": "data/parts",
            "alignment": {"method": "phase", "motion": "translation"},
            "methods": ["grounded_sam"],
            "shards": N_SHARDS,
        },
    },
    "prompts": {
        "sat": {
            "plain": {"segmentation": ["defect"]},
            "types": {"segmentation": ["void", "crack"]},
        },
        "parts": {"plain": {"segmentation": ["scratch"]}},
    },
    "methods": {
        "grounded_sam": {"box_threshold": 0.35},
        "pixel_difference": {"min_area_px": 5},
    },
    "models": ["sam", "grounding_dino"],
    "compute": {"device": "cpu", "threads": 1},
    "evaluation": {"n_resamples": 200, "area_verdicts": False},
    "report": {"n_overlays": 3},
}


def pytest_collection_modifyitems(items):
    """Mark every test of this folder."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.workflow)


@dataclass
class WorkflowRun:
    """A folder that the workflow works in, with its settings and the code it runs.

    Attributes:
        folder: Working directory; results lie in `results`.
        code: Copy of the workflow.
        settings: What `settings.yaml` holds; edit, and it is written before the next call.
    """

    folder: Path
    code: Path
    settings: dict

    def copy_to(self, folder, code=None):
        """Copy everything, dates too, so that the copy is as up to date as this."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return WorkflowRun(folder, code or self.code, copy.deepcopy(self.settings))

    def command(self, *arguments, cores=1):
        return [sys.executable, "-m", "snakemake", *self.arguments(*arguments, cores=cores)]

    def arguments(self, *arguments, cores=1):
        """Write the settings, and return the arguments of a run with them."""
        text = yaml.safe_dump(self.settings, sort_keys=False)
        (self.folder / "settings.yaml").write_text(text, encoding="utf-8")
        pace = [] if cores is None else ["--cores", str(cores)]
        snakefile = ["--snakefile", str(self.code / "Snakefile")]
        return [*snakefile, "--configfile", "settings.yaml", *pace, *arguments]

    def snakemake(self, *arguments, cores=1, **environment):
        """Run Snakemake, whatever comes of it; its stderr ends up in stdout."""
        given = self.arguments(*arguments, cores=cores)
        return start_snakemake(given, self.folder, {**_environment(), **environment})

    def finish(self, *arguments, cores=1):
        """Run to the end and return what was said."""
        done = self.snakemake(*arguments, cores=cores)
        assert done.returncode == 0, done.stdout[-6000:]
        return done.stdout

    def fail(self, *arguments):
        """Run, expect failure, and return what was said."""
        done = self.snakemake(*arguments)
        assert done.returncode != 0, "expected a failure:\n" + done.stdout[-6000:]
        return done.stdout

    def planned_jobs(self, *arguments):
        """Number of jobs by rule in a dry run, targets left out."""
        text = self.finish("--dry-run", *arguments)
        rows = re.findall(r"^(\w+) +(\d+)$", text.partition("Job stats:")[2], re.MULTILINE)
        return {name: int(n) for name, n in rows if name not in (*TARGETS, "total")}

    def planned_files(self):
        """Outputs by rule that a run would write anew, as paths below results."""
        text = self.finish("--summary")
        table = text[text.index("output_file\t") :].splitlines()
        names = table[0].split("\t")
        planned = collections.defaultdict(set)
        for line in table[1:]:
            row = dict(zip(names, line.split("\t"), strict=False))
            if row.get("plan", "").startswith("update"):
                planned[row["rule"]].add(row["output_file"].removeprefix("results/"))
        return dict(planned)

    @property
    def results(self):
        return self.folder / "results"

    def written(self):
        """Time of change of every file below results, by its path there."""
        return {
            str(path.relative_to(self.results)): path.stat().st_mtime_ns
            for path in sorted(self.results.rglob("*"))
            if path.is_file()
        }

    def renewed(self, *arguments, cores=1):
        """Finish a run; return the paths that it wrote, those it left alone not among them."""
        before = self.written()
        self.finish(*arguments, cores=cores)
        return {path for path, time in self.written().items() if before.get(path) != time}

    def record(self):
        """The whole log of the last run, of which the terminal shows a part."""
        logs = sorted((self.folder / ".snakemake" / "log").glob("*.snakemake.log"))
        return logs[-1].read_text() if logs else ""

    def rules_run(self, *arguments):
        """Finish a run; return how often each rule's jobs ran, targets left out."""
        self.finish(*arguments)
        text = self.record()
        found = re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)$", text, re.MULTILINE)
        return dict(collections.Counter(name for name in found if name not in TARGETS))

    def surplus_imports(self, may_import):
        """Large packages that the jobs of a run made once imported beside those they may.

        Args:
            may_import: Sets of packages by a job's name: the beginning of its script's, and its
                encoder or method where they differ. All other jobs may import none of them.

        Returns:
            Script, encoder or method, and packages of each job with a surplus; names of all jobs.
        """
        surplus, seen = [], set()
        for path in (self.folder.parent / "imports").glob("*.json"):
            job = json.loads(path.read_text(encoding="utf-8"))
            script, of = job["script"], job["of"]
            named = (name.split() for name in may_import)
            fitting = (f for f in named if script.startswith(f[0]) and f[1:] in ([], [of]))
            name = " ".join(next(fitting, [script]))
            seen.add(name)
            imported = {*job["modules"], *(each.partition(".")[0] for each in job["modules"])}
            large = LARGE | ({"pandas"} if script in WITHOUT_TABLES else set())
            if found := imported & large - may_import.get(name, set()):
                surplus.append((script, of, sorted(found)))
        return surplus, seen

    def encodings(self):
        """Entries of the store of a run, by path, with their time of change."""
        return {p: t for p, t in self.written().items() if p.endswith(".safetensors")}

    def read(self, pattern):
        """Read all tables whose path below results fits a pattern, as one."""
        paths = sorted(self.results.glob(pattern))
        assert paths, f"no {pattern} in {self.results}"
        return pd.concat([pq.read_table(path).to_pandas() for path in paths], ignore_index=True)

    def add_part(self, label, name):
        """Draw one more image into the folder data set; return its file and its image id."""
        path = add_part(self.folder / "data" / "parts", label, name)
        return path, f"product/{label}/{name}"

    def part(self, label, name):
        """File of an image of the folder data set."""
        return self.folder / "data" / "parts" / label / f"{name}.png"

    def shard_of(self, image_id):
        """Shard of the folder data set that an image falls in."""
        names = shard_names(self.settings["datasets"]["parts"]["shards"])
        return next(name for name in names if bucket_of(image_id) in buckets_of(name))

    def kill_when(self, n_finished, *targets, delay_s, jobs_too, cores=2):
        """Start a run and kill it by SIGKILL.

        Args:
            n_finished: Jobs of this start that are to have ended before.
            targets: Of the run.
            delay_s: Seconds from then on.
            jobs_too: Whether its jobs are killed with it; else they go on by themselves.
            cores: Of the run.

        Returns:
            The number of jobs that had ended, and the process group, in which jobs may go on; None
            where the run ended before.
        """
        before = self.record()

        def n_ended():
            text = self.record()
            return 0 if text == before else text.count("Finished jobid")

        process = subprocess.Popen(
            self.command(*targets, cores=cores),
            cwd=self.folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while process.poll() is None and n_ended() < n_finished:
            time.sleep(0.02)
        try:
            process.wait(delay_s)
        except subprocess.TimeoutExpired:
            (os.killpg if jobs_too else os.kill)(process.pid, signal.SIGKILL)
            process.wait()
            return n_ended(), process.pid
        return None


def start_snakemake(arguments, folder, environment):
    """Run Snakemake in a folder, whatever comes of it; its stderr ends up in stdout."""
    said = folder.parent / f"{folder.name}-said.txt"
    order = {"arguments": arguments, "folder": str(folder), "environment": environment}
    starter = _starter()
    print(json.dumps({**order, "said": str(said)}), file=starter.stdin, flush=True)
    returncode = int(starter.stdout.readline())
    text = said.read_text(encoding="utf-8", errors="replace")
    return subprocess.CompletedProcess(arguments, returncode, text)


@functools.cache
def _starter():
    """Process of this worker that has Snakemake imported; ends with it, as its stdin does."""
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("starter.py"))],
        env={**_environment(), "PYTHONPATH": _PYTHONPATH},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _environment(variables=os.environ):
    kept = {k: v for k, v in variables.items() if not k.startswith(("SNAKEMAKE", "PYTEST"))}
    return {**kept, "MPLBACKEND": "Agg", "HF_HUB_OFFLINE": "1"}


def copy_workflow(folder):
    """Copy Snakefile, rules, scripts and package into an empty folder."""
    folder.mkdir(parents=True)
    for name in WORKFLOW:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    return folder


def draw_part(name, *, is_defective):
    """Draw a part, uint8 RGB, and the mask of its scratch, None on a good one."""
    rng = np.random.default_rng([ord(letter) for letter in name])
    width, height = PART_SIZE
    part = Image.new("RGB", PART_SIZE, (60, 70, 80))
    pen = ImageDraw.Draw(part)
    pen.rectangle((18, 14, width - 20, height - 16), fill=(170, 165, 150))
    pen.ellipse((30, 26, 46, 42), fill=(40, 40, 45))
    pen.line((56, 24, 70, 52), fill=(220, 215, 90), width=4)
    mask = None
    if is_defective:
        mask = Image.new("L", PART_SIZE, 0)
        x, y = (int(v) for v in rng.integers((24, 20), (60, 46)))
        for canvas, colour in ((part, (230, 30, 30)), (mask, 255)):
            ImageDraw.Draw(canvas).line((x, y, x + 12, y + 9), fill=colour, width=4)
    noise = rng.normal(0, 4, (height, width, 3))
    pixels = np.clip(np.asarray(part, dtype=float) + noise, 0, 255).astype(np.uint8)
    return pixels, None if mask is None else np.asarray(mask)


def add_part(root, label, name):
    """Draw a part into a folder data set, a defective one with its mask."""
    pixels, mask = draw_part(name, is_defective=label == "NOK")
    for folder, array in ((label, pixels), ("masks", mask)):
        if array is not None:
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(root / folder / f"{name}.png")
    return root / label / f"{name}.png"


def with_networks(settings, folder):
    """Copy settings, with files of random weights in a folder for the networks named there."""
    settings = copy.deepcopy(settings)
    if isinstance(settings.get("models"), list):
        blocks = model_settings(folder / NETWORKS, *settings["models"])
        for block in blocks.values():
            for key in block.keys() - {"variant"}:
                block[key] = str(Path(block[key]).relative_to(folder))
        settings["models"] = blocks
    return settings


@pytest.fixture(scope="session")
def shared_base(tmp_path_factory):
    """Folder of all workers of this session."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def code(shared_base):
    """The copy of the workflow that all workers run and none changes."""
    with FileLock(shared_base / "code.lock"):
        copy = shared_base / "code"
        return copy if copy.exists() else copy_workflow(copy)


@pytest.fixture(scope="session")
def new_run(code):
    """Give an empty folder, settings of a test's own, and the workflow to run there."""

    def make(folder, settings):
        (folder / "run").mkdir(parents=True)
        return WorkflowRun(folder / "run", code, with_networks(settings, folder / "run"))

    return make


@pytest.fixture(scope="session")
def made_once(shared_base, code):
    """Make a run that all workers share, and that none is to change."""

    def make(name, settings, *targets, prepare=lambda folder: None):
        folder, outcome = shared_base / name / "run", shared_base / name / "outcome.txt"
        with FileLock(shared_base / f"{name}.lock"):
            if not outcome.exists():
                run = WorkflowRun(folder, code, with_networks(settings, folder))
                prepare(folder)
                noted = folder.parent / "imports"
                noted.mkdir(exist_ok=True)
                path = [str(RECORDER), *filter(None, [os.environ.get("PYTHONPATH")])]
                done = run.snakemake(
                    *targets,
                    cores=2,
                    REALITYCHECK_IMPORTS=str(noted),
                    PYTHONPATH=os.pathsep.join(path),
                )
                said = "" if done.returncode == 0 else done.stdout
                outcome.write_text(said, encoding="utf-8")
            failure = outcome.read_text(encoding="utf-8")
        if failure:
            pytest.fail(f"{name} did not finish:\n{failure[-6000:]}", pytrace=False)
        written = (folder / "settings.yaml").read_text(encoding="utf-8")
        return WorkflowRun(folder, code, yaml.safe_load(written))

    return make


def _draw_parts(folder):
    for label, names in {"OK": "abcd", "NOK": "xyz"}.items():
        for name in names:
            add_part(folder / "data" / "parts", label, name)


@pytest.fixture(scope="session")
def finished_run(made_once):
    """A finished run, shared by all workers; not to be changed: see `run`."""
    return made_once("workflow", SETTINGS, prepare=_draw_parts)


@pytest.fixture
def run(finished_run, tmp_path):
    """A copy of the finished run, to edit."""
    return finished_run.copy_to(tmp_path / "run")


@pytest.fixture
def unstarted_run(finished_run, tmp_path):
    """The raw data, the settings and the networks of the finished run, and no results."""
    folder = tmp_path / "run"
    for name in ("data", NETWORKS):
        shutil.copytree(finished_run.folder / name, folder / name)
    return WorkflowRun(folder, finished_run.code, copy.deepcopy(finished_run.settings))


@pytest.fixture
def run_with_own_code(finished_run, tmp_path):
    """A copy of the finished run and of the code behind it, to edit both."""
    code = shutil.copytree(finished_run.code, tmp_path / "code")
    return finished_run.copy_to(tmp_path / "run", code)


@pytest.fixture
def benchmark_output(monkeypatch, capsys):
    """Run a benchmark that runs the workflow, on one core, and return what it printed."""

    def snakemake(command, *, cwd, env, check):
        assert command[:3] == [sys.executable, "-m", "snakemake"] and check
        done = start_snakemake(command[3:], cwd, _environment(env))
        assert done.returncode == 0, done.stdout[-3000:]

    def run(name, folder, *options):
        monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
        benchmark = importlib.import_module(name)
        monkeypatch.setattr(benchmark.subprocess, "run", snakemake)
        monkeypatch.setattr(sys, "argv", [name, str(folder), "--cores", "1", *options])
        benchmark.main()
        return capsys.readouterr().out

    return run
