"""Everything about settings that can be known without running: behind `realitycheck check`.

A run starts with the same checks, so that nothing of this kind stops it after minutes. What the
images themselves say is found by the jobs that look at them, before anything is computed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realitycheck.core.files import unwritable
from realitycheck.core.one_run import ResultsInUse, check_owner
from realitycheck.core.settings import SettingsError
from realitycheck.core.tries_file import NOTE_NAME, TriesError, TriesFile, read_note
from realitycheck.datasets.locked import LOCKED, file_digest
from realitycheck.datasets.registry import FORMATS, list_records
from realitycheck.datasets.settings import unknown_category
from realitycheck.methods.registry import known_prompts, open_part
from realitycheck.models.checkpoints.known import network_files
from realitycheck.planning.plan import Plan
from realitycheck.planning.texts import Told, text_faults, told_texts, vocabulary_folder
from realitycheck.settings.file import read_settings_file
from realitycheck.settings.load import load_settings, unaffected
from realitycheck.settings.run import Settings

if TYPE_CHECKING:
    from realitycheck.datasets.records import Record
    from realitycheck.methods.settings import MethodBlock

#: Characters of `results_dir` that Snakemake takes for wildcards and variables.
_PATTERN_CHARACTERS = "{}<>*?"


def checked_settings(
    raw: Mapping[str, Any],
    *,
    files: Iterable[str | Path] = (),
    folder: str | Path = ".",
    counts_parts: bool = False,
) -> Settings:
    """Read settings, and find everything that is wrong with them.

    Args:
        raw: The parsed settings.
        files: The files that they come from, for what parsing does not show.
        folder: Folder that relative paths are looked up in.
        counts_parts: Whether to count the parts of each category, too; a run leaves that to the
            audit, which knows groups and splits.

    Raises:
        SettingsError: With every fault of every block at once.
        SettingsFileError: If a file cannot be read.
    """
    faults = [fault for file in files for fault in read_settings_file(file)[1]]
    left_out: Iterable[str] = ()
    settings: Settings | None
    try:
        settings = load_settings(raw, folder=folder)
    except SettingsError as error:
        settings, left_out = error.sound, error.left_out
        faults += error.faults
    if settings is not None:
        further = further_faults(settings, Path(folder))
        if counts_parts:
            further += few_parts(settings, folder)
        faults += unaffected(further, left_out)
    if faults:
        raise SettingsError(list(dict.fromkeys(faults)))
    assert settings is not None
    return settings


def further_faults(settings: Settings, folder: Path) -> list[str]:
    """Find what the types of the settings do not show.

    Args:
        settings: The settings.
        folder: Folder that relative paths are looked up in.

    Returns:
        Faults, each beginning with a key path.
    """
    categories = {name: _categories(settings, name, folder) for name in settings.datasets}
    faults = list(_results_faults(settings.results_dir, folder))
    faults += list(_owner_faults(settings.results_dir, folder)) or _tries_faults(settings, folder)
    for name in settings.datasets:
        faults += _dataset_faults(settings, name, categories[name], folder)
    for dataset, prompts in settings.prompts.items():
        for prompt in prompts:
            faults += _prompt_faults(settings, dataset, prompt, categories.get(dataset), folder)
    for method, block in settings.methods.items():
        asked = dict.fromkeys(each for each, name, _ in settings.runs() if name == method)
        datasets = {each: settings.datasets[each] for each in asked}
        own = list(block.faults(f"methods.{method}", folder, datasets))
        own += _declared_faults(f"methods.{method}", block, folder)
        faults += own or _source_faults(settings, method, datasets, folder)
    faults += _network_faults(settings, folder)
    return faults + _text_faults(settings, told_texts(settings, categories), folder)


def words_are_checked(settings: Settings, folder: str | Path = ".") -> bool:
    """Whether GroundingDINO's vocabulary, if it is used, is there to look words up in."""
    used = "grounding_dino" in settings.used_networks()
    return not used or vocabulary_folder(settings, Path(folder)) is not None


def word_faults(settings: Settings, folder: str | Path = ".") -> list[str]:
    """Those faults that show once GroundingDINO's vocabulary has been fetched."""
    categories = {name: _categories(settings, name, Path(folder)) for name in settings.datasets}
    return _text_faults(settings, told_texts(settings, categories), Path(folder))


def few_parts(settings: Settings, folder: str | Path = ".") -> list[str]:
    """Say which methods have too few parts, as far as the folders of the data sets are there."""
    import pandas as pd

    from realitycheck.methods.needs import lacking

    faults = []
    plan = Plan(settings)
    for name, block in settings.datasets.items():
        rows = _generated_rows(block) if block.generated else _record_rows(settings, name, folder)
        learners = plan.learners(name)
        if not rows or not learners:
            continue
        table = pd.DataFrame(rows, columns=["image_id", "category", "label", "group", "split"])
        scored, train = (table[table["split"] == split] for split in ("test", "train"))
        lines = lacking(scored, train, learners, keeps_back=block.keeps_back(name))
        faults += [f"datasets.{name}: too few parts for {line}" for line in lines]
    return faults


def _generated_rows(block: Any) -> list[tuple[str, str, str, None, str]]:
    """A row for each image that will be drawn."""
    kinds = (
        ("OK", block.n_ok, "test"),
        ("NOK", block.n_nok, "test"),
        ("OK", block.n_train, "train"),
    )
    return [
        (f"{category}/{split}/{label}/{number}", category, label, None, split)
        for category in block.category_names()
        for label, n, split in kinds
        for number in range(n)
    ]


def _record_rows(settings: Settings, name: str, folder: str | Path) -> list[tuple]:
    return [
        (each.image_id, each.category, each.label, each.group, each.split)
        for each in _records(settings, name, Path(folder))
    ]


def _records(settings: Settings, name: str, folder: Path) -> list[Record]:
    """Images of a data set by their names; none where the folder is not there or has faults."""
    known = settings.preparation_settings(name)
    root = folder / known["root"]
    if not root.is_dir():
        return []
    try:
        listing = list_records({**known, "root": str(root)})
    except (OSError, ValueError):
        return []  # told by the job that prepares the data set, with everything else of it
    return [] if listing.faults else listing.records


def _categories(settings: Settings, name: str, folder: Path) -> list[str] | None:
    """Categories of a data set; None where they are not known before it is there."""
    if (named := settings.datasets[name].category_names()) is not None:
        return named
    return sorted({each.category for each in _records(settings, name, folder)}) or None


# ------------------------------------------------------------------------------------- of a folder


def _results_faults(results_dir: str, folder: Path) -> Iterator[str]:
    found = sorted(set(results_dir) & set(_PATTERN_CHARACTERS))
    if found or "://" in results_dir:
        what = f"holds {' '.join(found)}" if found else "is an address"
        yield f"results_dir: {results_dir!r} {what}, expected a plain folder; name another"
    elif why := unwritable(folder / results_dir):
        yield f"results_dir: {why}; name a folder that can be written"


def _owner_faults(results_dir: str, folder: Path) -> Iterator[str]:
    try:
        check_owner(folder / results_dir, folder)
    except ResultsInUse as error:
        yield f"results_dir: {error}"


def _tries_faults(settings: Settings, folder: Path) -> Iterator[str]:
    """What is wrong with the file of tries before anything is added to it."""
    name, key = settings.evaluation.tries_file, "evaluation.tries_file"
    path, results = folder / name, folder / settings.results_dir
    if path.is_dir():
        yield f"{key}: {name} is a folder, expected a file; name a file in it"
    elif path.resolve().is_relative_to(results.resolve()):
        yield (
            f"{key}: {name} lies inside results_dir, with which it would be deleted and its tries "
            "no longer count; name a file beside it"
        )
    elif not path.exists() and (why := unwritable(path.parent)):
        yield f"{key}: {why}; name a file in a folder that can be written"
    else:
        try:
            TriesFile(path).read(*read_note(results / NOTE_NAME))
        except TriesError as error:
            yield f"{key}: {error}"


def _dataset_faults(
    settings: Settings, name: str, categories: Sequence[str] | None, folder: Path
) -> Iterator[str]:
    block, key = settings.datasets[name], f"datasets.{name}"
    root = None if block.generated else folder / block.root
    if block.fetchable and root.exists() and not root.is_dir():
        yield f"{key}.root: {block.root} is a file, expected a folder; name the folder"
    if block.split.train_fraction and not block.draws_train:
        instead = "n_train" if block.generated else "the data set's own training images"
        drawing = [each for each in FORMATS.modules if FORMATS.open(each).Settings.draws_train]
        yield (
            f"{key}.split.train_fraction: means something with format {' or '.join(drawing)} only; "
            f"remove it, {instead} takes its place"
        )
    if block.split.train_fraction and block.split.kind == "official":
        yield (
            f"{key}.split: kind official takes train/ and test/ as they are; remove "
            "train_fraction, or set kind: all"
        )
    if block.generated and block.split.kind == "paper":
        yield (f"{key}.split.kind: 'paper' is defined for the study's data sets only; use official")
    if root is not None:
        yield from block.folder_faults(key, root)
    names = {"reference": block.reference, "object_name": block.object_name}
    for field, by_category in names.items():
        if isinstance(by_category, dict) and categories is not None:
            for category in by_category:
                yield from unknown_category(f"{key}.{field}", category, categories)
    if isinstance(block.reference, dict) and categories is not None:
        for category in sorted(set(categories) - set(block.reference)):
            yield (
                f"{key}.reference: names no image for the category {category}; name one for each "
                "category, or set reference: auto"
            )
    blank = [each for each in block.defect_names if not each.strip()]
    named = block.object_name
    blank += [
        each
        for each in ([named] if isinstance(named, str) else (named or {}).values())
        if not each.strip()
    ]
    if blank:
        yield f"{key}: object_name and defect_names must be words, found {blank[0]!r}"


# ------------------------------------------------------------------------------------ of a prompt


def _prompt_faults(
    settings: Settings,
    dataset: str,
    prompt: str,
    categories: Sequence[str] | None,
    folder: Path,
) -> Iterator[str]:
    block, key = settings.prompts[dataset][prompt], f"prompts.{dataset}.{prompt}"
    for number, example in enumerate(block.examples):
        if not (folder / example.image).is_file():
            yield (
                f"{key}.examples[{number}].image: there is no file {example.image}; give an image "
                "that is there"
            )
        elif dataset in settings.datasets and _is_locked(
            settings, dataset, folder / example.image, folder
        ):
            yield (
                f"{key}.examples[{number}].image: {example.image} is one of the parts that are "
                "locked until a method is confirmed on them; give an image of another part"
            )
    for category, asked in (block.saa_plus if isinstance(block.saa_plus, dict) else {}).items():
        if category != "default" and categories is not None:
            yield from unknown_category(f"{key}.saa_plus", category, categories)
        if isinstance(asked, str) and asked != "auto" and asked not in known_prompts():
            close = difflib.get_close_matches(asked, known_prompts(), n=1)
            hint = f"did you mean '{close[0]}'? " if close else ""
            yield (
                f"{key}.saa_plus.{category}: SAA+ has no prompts named '{asked}'; {hint}"
                f"There are {', '.join(known_prompts())}; for another product write "
                f"{{class_name: {asked}}}"
            )
    asks = (
        dataset in settings.datasets
        and block.lvlm
        and any(settings.methods[name].asks_service for name in settings.methods_of(dataset))
    )
    if asks and block.reference and settings.datasets[dataset].reference == "none":
        yield (
            f"{key}.reference: the question shows a reference image, but datasets.{dataset}."
            "reference is none; set reference: false here, or name an image there"
        )


def _is_locked(settings: Settings, dataset: str, image: Path, folder: Path) -> bool:
    """Whether an image, whatever its name, is one of a data set's locked parts."""
    split = settings.datasets[dataset].split
    if not split.confirm_fraction or split.opened:
        return False
    size, digest = image.stat().st_size, file_digest(image)
    return any(
        record.split == LOCKED
        and record.image_path.stat().st_size == size
        and file_digest(record.image_path) == digest
        for record in _records(settings, dataset, folder)
    )


# ------------------------------------------------------------------------------------ of a method


def _declared_faults(key: str, block: MethodBlock, folder: Path) -> Iterator[str]:
    for path in block.training_images or ():
        if not (folder / path).exists():
            yield f"{key}.training_images: there is no file or folder {path}; correct the path"


def _source_faults(
    settings: Settings, method: str, datasets: Iterable[str], folder: Path
) -> list[str]:
    """What the files of a method hold of images that have no such names, and the like."""
    block = settings.methods[method]
    faults = []
    for dataset in datasets:
        if not block.sources(dataset):
            continue
        images = _records(settings, dataset, folder)
        if images:
            told = block.plain()
            found = open_part(block.kind, "source").name_faults(dataset, told, images, folder)
            faults += [f"methods.{method}: {dataset}: {fault}" for fault in found]
    return faults


# ------------------------------------------------------------------------------------ of a network


def _network_faults(settings: Settings, folder: Path) -> Iterator[str]:
    for network in settings.used_networks():
        for file in network_files(network, getattr(settings.models, network)):
            if file.path is None or not (folder / file.path).exists():
                continue  # missing ones are told with the settings, or fetched
            key = f"models.{network}.{file.key}"
            path = folder / file.path
            if file.key == "text_encoder" and path.is_dir():
                needed = [("config.json",), ("vocab.txt", "tokenizer.json")]
                missing = [
                    " or ".join(names)
                    for names in needed
                    if not any((path / each).is_file() for each in names)
                ]
                if missing and not file.is_obtainable:
                    yield f"{key}: {file.path} holds no {' and no '.join(missing)}; put them there"


def _text_faults(settings: Settings, texts: Iterable[Told], folder: Path) -> list[str]:
    try:
        return text_faults(texts, settings, vocabulary=vocabulary_folder(settings, folder))
    except ValueError as error:
        return [f"prompts: {error}"]
