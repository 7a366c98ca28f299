"""What all stages share: settings, one run at a time, wildcard constraints, input functions."""

import sys
from pathlib import Path

from filelock import FileLock, Timeout
from snakemake.exceptions import WorkflowError

from realitycheck.planning.checking import (
    checked_settings,
    word_faults,
    words_are_checked,
)
from realitycheck.models.settings import DETECTION_FLOOR
from realitycheck.core.settings import SettingsError
from realitycheck.settings.load import load_settings
from realitycheck.core.constants import (
    AREA_SUFFIX,
    LABEL_FLOORS,
    MASK_FLOORS,
    NO_PROMPT,
)
from realitycheck.core import snakemake_patch
from realitycheck.core.one_run import NoLocksError, ResultsInUse, check_owner, claim
from realitycheck.planning.plan import Plan
from realitycheck.core.provenance import is_training, shard_names, source_digest
from realitycheck.core.room import NoRoomError, check_folder, check_free
from realitycheck.settings.file import SettingsFileError
from realitycheck.core.files import sweep

# A job on another machine, where keys and folders of this one may be missing, looks at types only.
try:
    if workflow.is_main_process:
        cfg = checked_settings(config, files=workflow.configfiles)
    else:
        cfg = load_settings(config)
except (SettingsError, SettingsFileError) as error:
    raise WorkflowError(str(error)) from None

plan = Plan(cfg)
words_checked = words_are_checked(cfg) or not workflow.is_main_process

if workflow.is_main_process:
    try:
        check_folder(".")
        check_folder(cfg.results_dir)
        check_owner(cfg.results_dir, Path.cwd())
    except (NoRoomError, ResultsInUse) as error:
        raise WorkflowError(str(error)) from None

# Snakemake's own lock outlives a killed run, which would then have to be told --unlock; the default
# profile turns it off. This one is the operating system's, gone with the process that held it.
run_lock = FileLock(".snakemake/realitycheck.lock")
held_locks = []


onstart:
    try:
        check_free(".")
        check_free(cfg.results_dir)
        run_lock.acquire(blocking=False)
        held_locks.append(claim(cfg.results_dir, Path.cwd()))
    except (NoRoomError, ResultsInUse) as error:
        raise WorkflowError(str(error)) from None
    except Timeout:
        raise WorkflowError(
            f"another run is at work in {Path.cwd()}; wait until it has ended, or end it, or work "
            "in a folder of its own with --directory"
        ) from None
    except NoLocksError:
        # A file system without locks, as on some clusters; then whoever starts two runs must know.
        logger.warning(
            f"{Path.cwd()}: no locks here; let no second run work in this folder"
        )
    for left in sweep(cfg.results_dir):
        logger.info(f"{left}: removed, a killed job left it unfinished")


if workflow.is_main_process:
    snakemake_patch.install()


wildcard_constraints:
    dataset="|".join(cfg.datasets),
    method="|".join([*cfg.methods, *MASK_FLOORS, *LABEL_FLOORS]),
    prompt="|".join({NO_PROMPT, *(name for p in cfg.prompts.values() for name in p)}),
    network="|".join(cfg.used_networks() or ["none"]),
    colour="rgb|bgr",
    size=r"\d+",
    shard=r"(train-)?\d+-of-\d+",


def checked_inputs(wildcards):
    """The record of all checked inputs; nothing that costs anything is planned before it.

    Each rule with a digest of images or weights among its params takes this as an input, too; after
    the check it is planned anew, with today's digests. Words are looked up here where the vocabulary
    was fetched just now.
    """
    global words_checked
    record = checkpoints.check_inputs.get().output.record
    if not words_checked and (faults := word_faults(cfg)):
        raise WorkflowError(str(SettingsError(faults)))
    words_checked = True
    return record


def code_of(script):
    """Digest of the code that a script runs."""
    return source_digest(f"scripts/{script}.py")


def shown(path, *, caption, category, **labels):
    """Mark a result for Snakemake's own report: what it is, where it is listed, under which names."""
    return report(
        path, caption=f"captions/{caption}.rst", category=category, labels=labels
    )


def more_each_time(first):
    """Resource function: twice as much on every attempt as on the one before."""

    def wanted(wildcards, attempt):
        return first * 2 ** (attempt - 1)

    return wanted


def number_of_attempt(wildcards, attempt):
    """Which attempt of a job this is, by which it halves its batches; the first is 1."""
    return attempt


def shards_of(pattern):
    """Input function: a path for every shard of scored images."""

    def paths(wildcards):
        names = shard_names(cfg.datasets[wildcards.dataset].shards)
        return expand(pattern, shard=names, allow_missing=True)

    return paths


def calibration_shards_of(pattern):
    """Input function: a path for every shard that sets thresholds.

    These are the training images, or, where there are none, the scored ones, in folds. A rule with
    this input also takes `checked_inputs`, after which it is asked again.
    """

    def paths(wildcards):
        training = plan.n_images(wildcards.dataset, "train") > 0
        names = shard_names(cfg.datasets[wildcards.dataset].shards, training=training)
        return expand(pattern, shard=names, allow_missing=True)

    return paths


def training_shards_of(pattern):
    """Input function: a path for every shard of training images."""

    def paths(wildcards):
        names = shard_names(cfg.datasets[wildcards.dataset].shards, training=True)
        return expand(pattern, shard=names, allow_missing=True)

    return paths


def few_shot_training_features(wildcards):
    """Features of every training image, for the memory bank."""
    size = cfg.methods[wildcards.method].input_size_px
    return training_shards_of(
        f"{cfg.results_dir}/encodings/{wildcards.dataset}/resnet_features_{size}/{{shard}}.parquet"
    )(wildcards)


def manifest_of_shard(wildcards):
    """Manifest that a shard's images stand in."""
    name = "{dataset}/train" if is_training(wildcards.shard) else "{dataset}"
    return f"{cfg.results_dir}/manifests/{name}.parquet"


def encoding_of(folder, part):
    """Input function: the shard's encodings of a part, under the block that owns them."""

    def path(wildcards):
        owner = plan.encoding_owner(wildcards.method, part)
        return (
            f"{cfg.results_dir}/encodings/{wildcards.dataset}/{folder}/{owner}/"
            f"{wildcards.shard}.parquet"
        )

    return path


def raw_record(wildcards):
    """What must have been written before a data set's folder can be read."""
    block = cfg.datasets[wildcards.dataset]
    if block.generated:
        return [f"{cfg.results_dir}/raw/{wildcards.dataset}/truth.csv"]
    if block.fetchable:
        return [ancient(f"{cfg.results_dir}/raw/{wildcards.dataset}/fetched.json")]
    return []


def saa_plus_encoding(encoder):
    """Input function: the shard's encodings in the colour order that a block of SAA+ sees."""

    def path(wildcards):
        colour = plan.saa_plus_colour(wildcards.method)
        return (
            f"{cfg.results_dir}/encodings/{wildcards.dataset}/{encoder}_{colour}/"
            f"{wildcards.shard}.parquet"
        )

    return path


def anomaly_maps_of_shard(wildcards):
    """SAA+'s maps of a shard, under the first block that makes the same ones."""
    owner = plan.encoding_owner(wildcards.method, "maps")
    return (
        f"{cfg.results_dir}/predictions/{wildcards.dataset}/{owner}/{wildcards.prompt}/maps/"
        f"{wildcards.shard}.parquet"
    )


def anomaly_maps(wildcards):
    """SAA+'s maps of every scored image."""
    owner = plan.encoding_owner(wildcards.method, "maps")
    return shards_of(
        f"{cfg.results_dir}/predictions/{wildcards.dataset}/{owner}/{wildcards.prompt}/maps/"
        "{shard}.parquet"
    )(wildcards)


def calibration_maps(wildcards):
    """SAA+'s maps of the images that set a threshold by `binarise: good`; none for other rules."""
    if cfg.methods[wildcards.method].binarise != "good":
        return []
    owner = plan.encoding_owner(wildcards.method, "maps")
    return calibration_shards_of(
        f"{cfg.results_dir}/predictions/{wildcards.dataset}/{owner}/{wildcards.prompt}/maps/"
        "{shard}.parquet"
    )(wildcards)


def truth_of_rule(wildcards):
    """The truth, for the rule that looks at it."""
    if cfg.methods[wildcards.method].binarise != "f1max":
        return []
    return f"{cfg.results_dir}/truth/{wildcards.dataset}/truth.parquet"


def resnet_features(wildcards):
    """Features of every scored image for the supervised baseline."""
    size = cfg.methods[wildcards.method].input_size_px
    return shards_of(
        f"{cfg.results_dir}/encodings/{wildcards.dataset}/resnet_features_{size}/{{shard}}.parquet"
    )(wildcards)


def panel_evidence(wildcards):
    """What a method left on its way to its masks, for its panels; texts need CLIP if they are gone."""
    files = plan.panel_files(wildcards.dataset, wildcards.method, wildcards.prompt)
    for name in ("manifest", "references"):
        if name in files:
            files[name] = ancient(files[name])
    if "clip" in cfg.methods[wildcards.method].networks:
        files["clip"] = ancient(f"{cfg.results_dir}/weights/clip.json")
    return files


def score_map_files(wildcards):
    """What a method's score maps are made again from; texts need CLIP if they are gone."""
    files = plan.map_files(wildcards.dataset, wildcards.method, wildcards.prompt)
    if "references" in files:
        files["references"] = ancient(files["references"])
    if "clip" in cfg.methods[wildcards.method].networks:
        files["clip"] = ancient(f"{cfg.results_dir}/weights/clip.json")
        # The job that makes the masks stores the texts; beside it, CLIP would be loaded for them.
        files["after"] = ancient(
            plan.paths(
                f"{cfg.results_dir}/predictions/{{dataset}}/{{method}}/{{prompt}}/masks.parquet",
                [(wildcards.dataset, wildcards.method, wildcards.prompt)],
            )
        )
    return files


def scores_of_shown(wildcards):
    """The scores by which the images of the overlay figure are chosen, where panels follow it."""
    if cfg.report.panels != "chosen":
        return []
    return plan.paths(
        f"{cfg.results_dir}/scores/{{dataset}}/{{method}}/{{prompt}}/images.parquet",
        plan.runs_of(wildcards.dataset),
    )


def say_self_test():
    """Say at the end of a run what its self-test found, where there is one."""
    table = Path(cfg.results_dir, "tables", "self_test.parquet")
    if plan.self_tested() and table.is_file():
        from realitycheck.core.schemas import SELF_TEST, read_table
        from realitycheck.report.tables.self_test import verdict

        print(verdict(read_table(table, schema=SELF_TEST)), file=sys.stderr)
