"""What all stages share: settings, one run at a time, wildcard constraints, input functions."""

import re
from pathlib import Path

from filelock import FileLock, Timeout
from snakemake.exceptions import WorkflowError

from realitycheck.planning.checking import (
    checked_settings,
    word_faults,
    words_are_checked,
)
from realitycheck.core.settings import SettingsError
from realitycheck.datasets.registry import FORMATS
from realitycheck.methods.registry import (
    block_of,
    classifiers,
    code_of_part,
    segmenters,
)
from realitycheck.settings.load import load_settings
from realitycheck.face.handler import show_run
from realitycheck.core.constants import (
    AREA_SUFFIX,
    LABEL_FLOORS,
    MASK_FLOORS,
    NO_PROMPT,
)
from realitycheck.core import snakemake_patch
from realitycheck.core.one_run import NoLocksError, ResultsInUse, claim
from realitycheck.planning.plan import Plan
from realitycheck.planning.tries import locked_of, tries_of, tries_settings
from realitycheck.report.figures.registry import FIGURES
from realitycheck.report.tables.registry import TABLES, table_files
from realitycheck.core.provenance import is_training, shard_names, source_digest
from realitycheck.core.room import NoRoomError, check_folder, check_free
from realitycheck.settings.file import SettingsFileError
from realitycheck.planning.slow_precision import precision_warnings
from realitycheck.core.files import sweep

# Who asks Snakemake for more, or for less, gets Snakemake's own words.
if workflow.is_main_process and not (
    workflow.output_settings.verbose
    or workflow.output_settings.quiet
    or workflow.output_settings.printshellcmds
    or workflow.output_settings.debug_dag
):
    show_run(logger, dry_run=workflow.output_settings.dryrun)

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
    for warning in precision_warnings(cfg):
        logger.warning(warning)
    try:
        check_folder(".")
        check_folder(cfg.results_dir)
    except NoRoomError as error:
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
    prompt="|".join(
        map(re.escape, sorted({NO_PROMPT, *(prompt for _, _, prompt in cfg.runs())}))
    ),
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


def results_folder(wildcards, output):
    """Folder of the results, two levels above a table or a figure."""
    return str(Path(output[0]).parents[1])


def code_of(script, *modules):
    """Digest of the code that a script runs, with that of modules it opens by their names."""
    return source_digest(f"scripts/{script}.py", *modules)


def caption_code():
    """Modules that make captions for the detector, of the kinds that do so."""
    kinds = {
        block.kind
        for block in cfg.methods.values()
        if block.caption_settings() is not None
    }
    return [entry for kind in sorted(kinds) for entry in code_of_part(kind, "prompts")]


def of_dataset(ask):
    """Function of the wildcards: what `cfg` or `plan` answer for a job's data set."""

    def answer(wildcards):
        return ask(wildcards.dataset)

    return answer


def format_of(dataset):
    """Format of a data set."""
    return cfg.datasets[dataset].format


def root_of(dataset):
    """Folder of a data set."""
    return cfg.datasets[dataset].root


def intensity_of(dataset):
    """How the grey values of a data set become 8-bit."""
    return cfg.alignment_settings(dataset)["intensity"]


def code_of_drawing(dataset):
    """Digest of the code that draws a data set."""
    return code_of("generate_dataset", FORMATS.module_of(format_of(dataset)))


def code_of_listing(dataset):
    """Digest of the code that lists and checks a data set."""
    listed_as = cfg.preparation_settings(dataset)["format"]
    return code_of("prepare_dataset", FORMATS.module_of(listed_as))


def code_of_audit(dataset):
    """Digest of the code that audits a data set, and what methods bring along."""
    return code_of("audit_dataset", *plan.source_code(dataset))


def threads_of_shard(wildcards):
    """Threads that align the images of a shard."""
    return plan.resources.image_threads(wildcards.dataset, wildcards.shard)


def images_of_shard(wildcards):
    """Digest of the images of a shard, and of their references."""
    return plan.images_digest(wildcards.dataset, "images", wildcards.shard)


def truth_of(dataset):
    """Digest of the truth masks of a data set."""
    return plan.images_digest(dataset, "truth")


def shown(path, *, caption, category, **labels):
    """Mark a result for Snakemake's own report: where it is listed, and its caption if it has one."""
    has_caption = Path(
        workflow.basedir, "rules", "captions", f"{caption}.rst"
    ).is_file()
    words = {"caption": f"captions/{caption}.rst"} if has_caption else {}
    return report(path, category=category, labels=labels, **words)


def shown_table(name):
    """Files of a table, those that people read marked for Snakemake's own report."""
    for file, form in table_files(name).items():
        path = f"{cfg.results_dir}/tables/{file}"
        if form == "Parquet":
            yield path
        else:
            words = {"table": TABLES[name].title, "form": form}
            yield shown(path, caption=f"tables/{name}", category="Tables", **words)


def shown_figure(stem, name, dataset):
    """Files of a figure, marked for Snakemake's own report."""
    title = FIGURES[name].title + (f", {dataset}" if dataset else "")
    for form in ("PNG", "SVG"):
        path = f"{cfg.results_dir}/figures/{stem}.{form.lower()}"
        yield shown(path, caption=name, category="Figures", figure=title, form=form)


def of_runs(pattern, dataset, runs):
    """Paths of the runs of a data set, whose name stays a wildcard."""
    own = [("{dataset}", method, prompt) for d, method, prompt in runs if d == dataset]
    return plan.paths(pattern, own)


def exported_masks(pattern, dataset, caption):
    """What is written of the masks of each method and prompt, in one form."""
    return [
        shown(
            path,
            caption=caption,
            category="Exports",
            data=f"{Path(path).parts[-3]}, {Path(path).parts[-2]}, {{dataset}}",
            form="COCO JSON",
        )
        for path in of_runs(pattern, dataset, cfg.mask_runs())
    ]


def update_each(paths):
    """Mark outputs that a job finds as the job before has left them."""
    return [update(path) for path in paths]


def labels_digest(wildcards):
    """Digest of a data set's labels, for a rule that reads its manifest."""
    return plan.images_digest(wildcards.dataset, "labels")


def tries_of_all(wildcards):
    """What each data set's table adds to what was tried."""
    return {name: tries_of(plan, name) for name in cfg.datasets}


def locked_of_all(wildcards):
    """Numbers and digests of locked parts, by data set."""
    return locked_of(plan)


def tries_among(runs):
    """Params function: what a job needs to record those of some runs that it scores."""

    def tries(wildcards):
        return tries_settings(plan, wildcards.dataset, runs)

    return tries


def images_digests(wildcards):
    """Digest of the images of each data set."""
    return {dataset: plan.images_digest(dataset, "images") for dataset in cfg.datasets}


def domain_gap_min(wildcards, attempt):
    """Minutes of the job that measures the domain gap of all data sets."""
    settings = {"seconds_per_image": 2, "attempt": attempt}
    return sum(
        plan.resources.network_min("resnet", name, None, **settings)
        for name in cfg.datasets
    )


def table_mb(runs):
    """Resource function: memory of a job that holds the scores of runs at once."""

    def wanted(wildcards, attempt):
        return plan.resources.table_mb(runs, attempt=attempt)

    return wanted


def report_files(wildcards):
    """Files that tables, figures and the page read; those that digests stand for are ancient."""
    files = plan.report_files()
    digested = ("manifests", "references", "findings")
    return files | {name: ancient(files[name]) for name in digested}


def more_each_time(first):
    """Resource function: twice as much on every attempt as on the one before."""

    def wanted(wildcards, attempt):
        return first * 2 ** (attempt - 1)

    return wanted


def minutes(seconds_per_image):
    """Resource function: time for the images of a job's shard, or of its data set."""

    def wanted(wildcards, attempt):
        shard = getattr(wildcards, "shard", None)
        return plan.resources.runtime_min(
            wildcards.dataset,
            shard,
            seconds_per_image=seconds_per_image,
            attempt=attempt,
        )

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


def files_of(inputs, job=None, *, is_later=False):
    """Input function: files of a method by name, and the records of networks that its job opens.

    Args:
        inputs: Method of the block that names them: `inputs`, `fit_inputs` or `map_inputs`.
        job: What the job asks for; None: as the one that makes the masks.
        is_later: Whether the masks are made.
    """

    def files(wildcards):
        block = plan.block(wildcards.method)
        paths = plan.paths_of(
            wildcards.dataset,
            wildcards.method,
            wildcards.prompt,
            shard=wildcards.get("shard"),
            is_later=is_later,
        )
        found = dict(getattr(block, inputs)(paths))
        for network in (job or block.job).opens:
            found[f"{network}_weights"] = f"{cfg.results_dir}/weights/{network}.json"
        checked = (f"{cfg.results_dir}/manifests/", f"{cfg.results_dir}/weights/")
        return {
            name: (
                ancient(path)
                if isinstance(path, str) and path.startswith(checked)
                else path
            )
            for name, path in found.items()
        }

    return files


def run_of(job=None):
    """Params function: what a job is told of a run; `job` as for `files_of`."""

    def run(wildcards):
        asks = job or plan.block(wildcards.method).job
        return plan.run_of(wildcards.dataset, wildcards.method, wildcards.prompt, asks)

    return run


def digest_of_images(kind):
    """Params function: digest of the checked images of a data set; see `Plan.images_digest`."""

    def digest(wildcards):
        return plan.images_digest(wildcards.dataset, kind)

    return digest


def kind_of_method(wildcards):
    """Kind of a method."""
    return cfg.methods[wildcards.method].kind


def code_of_method(script, part):
    """Params function: digest of a script's code and of a part of the kind of the method."""

    def code(wildcards):
        return code_of(script, *code_of_part(kind_of_method(wildcards), part))

    return code


def memory_of(job):
    """Resource function: memory of the job of a method."""

    def memory(wildcards, attempt):
        return plan.resources.job_mb(
            job, wildcards.dataset, wildcards.get("shard"), attempt=attempt
        )

    return memory


def minutes_of(job):
    """Resource function: time of the job of a method."""

    def minutes(wildcards, attempt):
        return plan.resources.job_min(
            job, wildcards.dataset, wildcards.get("shard"), attempt=attempt
        )

    return minutes


def environment_of(job):
    """Environment of the job of a method."""
    return "../envs/models.yaml" if job.network or job.opens else "../envs/base.yaml"


def device_of(job):
    """Resources of the job of a method that runs a network; none without one."""
    return {"gpu": 1, "device": cfg.compute.device} if job.network else {}


def scores_of_shown(wildcards):
    """The scores by which the images of the overlay figure are chosen, where panels follow it."""
    if cfg.report.panels != "chosen":
        return []
    return plan.paths(
        f"{cfg.results_dir}/scores/{{dataset}}/{{method}}/{{prompt}}/images.parquet",
        plan.runs_of(wildcards.dataset),
    )


def say_what_was_found():
    """Say at the end of a run where the report lies, and in a few lines what it says."""
    from realitycheck.face.closing import closing_lines

    for line in closing_lines(cfg.results_dir, self_tested=plan.self_tested()):
        logger.info(line)
