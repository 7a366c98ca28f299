"""What all stages share: settings, one run at a time, wildcard constraints, input functions."""

from pathlib import Path

from filelock import FileLock, Timeout
from snakemake.exceptions import WorkflowError

from realitycheck.config import (
    DETECTION_FLOOR,
    LABEL_FLOORS,
    MASK_FLOORS,
    NO_PROMPT,
    SettingsError,
    load_settings,
)
from realitycheck.planning import Plan
from realitycheck.provenance import shard_names, source_digest

try:
    cfg = load_settings(config)
except SettingsError as error:
    raise WorkflowError(str(error)) from None

plan = Plan(cfg)

# Snakemake's own lock outlives a killed run, which would then have to be told --unlock; the default
# profile turns it off. This one is the operating system's, gone with the process that held it.
run_lock = FileLock(".snakemake/realitycheck.lock")


onstart:
    try:
        run_lock.acquire(blocking=False)
    except Timeout:
        raise WorkflowError(
            f"another run is at work in {Path.cwd()}; wait until it has ended, or end it, or work "
            "in a folder of its own with --directory"
        ) from None


wildcard_constraints:
    dataset="|".join(cfg.datasets),
    method="|".join([*cfg.methods, *MASK_FLOORS, *LABEL_FLOORS]),
    prompt="|".join({NO_PROMPT, *(name for p in cfg.prompts.values() for name in p)}),
    network="|".join(cfg.used_networks() or ["none"]),
    colour="rgb|bgr",
    shard=r"\d+-of-\d+",


def checked_inputs(wildcards):
    """The record of all checked inputs; nothing that costs anything is planned before it."""
    return checkpoints.check_inputs.get().output.record


def code_of(script):
    """Digest of the code that a script runs."""
    return source_digest(f"scripts/{script}.py")


def shards_of(pattern):
    """Input function: a path for every shard of the data set."""

    def paths(wildcards):
        names = shard_names(cfg.datasets[wildcards.dataset].shards)
        return expand(pattern, shard=names, allow_missing=True)

    return paths


def raw_record(wildcards):
    """What must have been written before a data set's folder can be read."""
    block = cfg.datasets[wildcards.dataset]
    if block.generated:
        return [f"{cfg.results_dir}/raw/{wildcards.dataset}/truth.csv"]
    if block.fetchable:
        return [ancient(f"{cfg.results_dir}/raw/{wildcards.dataset}/fetched.json")]
    return []


def calibration_transforms(wildcards):
    """Aligned images that set thresholds: training images, else the scored ones, in folds."""
    checked_inputs(wildcards)
    has_training = plan.n_images(wildcards.dataset, "train") > 0
    name = "train_transforms" if has_training else "transforms"
    return f"{cfg.results_dir}/aligned/{wildcards.dataset}/{name}.parquet"
