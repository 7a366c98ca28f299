"""Digests that say what a number was computed from: source, settings, weights, inputs.

Free of numpy, torch and pandas, because the Snakefile asks for these digests when it plans.
"""

from __future__ import annotations

import ast
import atexit
import contextlib
import functools
import hashlib
import importlib.util
import json
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from realitycheck.core.files import write_text

#: Written into every table; raise it when the meaning of a column changes.
ARTIFACT_FORMAT = 1

_PACKAGE = Path(__file__).parents[1]
_REPOSITORY = _PACKAGE.parent
#: Folder of Snakefile, rules, scripts and envs: in an installed package its own, else the checkout.
WORKFLOW = _PACKAGE / "workflow" if (_PACKAGE / "workflow").is_dir() else _REPOSITORY

#: Modules that move data and change no number: an edit of theirs re-runs nothing.
_PLUMBING = frozenset(
    {
        *("realitycheck.core.tables", "realitycheck.core.schemas", "realitycheck.core.parquet"),
        *("realitycheck.core.tensors", "realitycheck.core.files", "realitycheck.core.one_run"),
        *("realitycheck.core.job", "realitycheck.core.provenance", "realitycheck.core.registry"),
        *("realitycheck.core.settings", "realitycheck.core.remote", "realitycheck.methods.paths"),
        *("realitycheck.settings.run", "realitycheck.settings.load"),
    }
)
#: Nor do modules of these names: a setting is among a job's params, a registry holds names.
_PLUMBING_NAMES = ("settings", "registry")


def digest_of(value: Any) -> str:
    """Digest a plain value (nested mappings, lists, numbers, strings), independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: str | Path) -> str:
    """sha256 of a file's bytes, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def source_digest(*entries: str) -> str:
    """Digest the code that entry files or modules run, comments and docstrings left out.

    Follows every import of this package from the entries on, and from modules of other packages
    every import of their own, so an edited algorithm re-runs the rules that use it and an edited
    comment re-runs nothing.

    Args:
        entries: Module names (`realitycheck.models.sam.inference`, also of another package) or
            files (`scripts/encode_images.py`).

    Returns:
        16 hexadecimal digits.

    Raises:
        FileNotFoundError: If an entry does not exist, or has no source.
    """
    combined = json.dumps([ARTIFACT_FORMAT, sorted(sources(*entries).items())])
    return hashlib.sha256(combined.encode()).hexdigest()[:16]


def sources(*entries: str) -> dict[str, str]:
    """Every module that entry files or modules run, with the digest of its code; see above."""
    pending = list(entries)
    seen: dict[str, str] = {}
    while pending:
        entry = pending.pop()
        is_plumbing = entry in _PLUMBING or entry.rpartition(".")[2] in _PLUMBING_NAMES
        if entry in seen or is_plumbing:
            continue
        shape, imports = _parsed(_source_file(entry), "" if entry.endswith(".py") else entry)
        seen[entry] = shape
        pending.extend(imports)
    return seen


def _source_file(entry: str) -> Path:
    if entry.endswith(".py"):
        return WORKFLOW / entry
    if entry.partition(".")[0] != "realitycheck":
        found = importlib.util.find_spec(entry)
        if found is None or not (found.origin or "").endswith(".py"):
            raise FileNotFoundError(f"{entry}: expected a Python module with its source")
        return Path(str(found.origin))
    relative = Path(*entry.split("."))
    module = _REPOSITORY / relative.with_suffix(".py")
    return module if module.is_file() else _REPOSITORY / relative / "__init__.py"


@functools.cache
def _parsed(path: Path, module: str) -> tuple[str, tuple[str, ...]]:
    """Return the digest of a file's syntax tree, and the modules it imports.

    Those are the modules of this package, and of the package of `module`. A data file that lies
    beside the module and is named in it counts as part of its code.
    """
    tree_digest, imported, named = _looked_at(path.read_bytes(), path)
    followed = {"realitycheck", module.partition(".")[0]}
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    imports = set()
    for source, name in imported:
        if source.startswith("."):
            source = importlib.util.resolve_name(source, package)
        if source.partition(".")[0] in followed:
            imports.add(f"{source}.{name}" if name and _is_module(source, name) else source)
    data = {
        name: hashlib.sha256((path.parent / name).read_bytes()).hexdigest()
        for name in named
        if (path.parent / name).is_file()
    }
    return digest_of([tree_digest, data]), tuple(sorted(imports))


def _looked_at(source: bytes, path: Path) -> list[Any]:
    """Parse a source file, or take what was found in a file of the same bytes before.

    Returns:
        Digest of the syntax tree; pairs of module and imported name (None: the module itself);
        texts that end like a data file.
    """
    key = hashlib.sha256(source).hexdigest()
    known = _known_sources()
    if key not in known:
        known[key] = _look_at(ast.parse(source, filename=str(path)))
    return known[key]


def _look_at(tree: ast.Module) -> list[Any]:
    imports: set[tuple[str, str | None]] = set()
    named: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports.update((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            imports.update((source, alias.name) for alias in node.names)
        elif isinstance(node, ast.Constant) and _is_data_name(node.value):
            named.add(node.value)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return [digest, sorted(imports, key=repr), sorted(named)]


#: What was found in source files by their digest, kept beside Python's compiled files: parsing all
#: of them takes seconds at the start of each run.
_KEPT = _PACKAGE / "__pycache__" / f"sources-{sys.implementation.cache_tag}.json"
_MOST_KEPT = 5_000


@functools.cache
def _known_sources() -> dict[str, list[Any]]:
    """What is kept, to be added to; written when the process ends, where that is possible."""
    try:
        known = json.loads(_KEPT.read_text(encoding="utf-8"))
        if not all(len(tree) == 64 and len(rest) == 2 for tree, *rest in known.values()):
            raise ValueError(f"{_KEPT}: entries of another form")
    except (OSError, ValueError, TypeError, AttributeError):
        known = {}
    before = len(known)

    def keep() -> None:
        if before < len(known) <= _MOST_KEPT:
            with contextlib.suppress(OSError):
                write_text(json.dumps(known), _KEPT)
        elif len(known) > _MOST_KEPT:
            _KEPT.unlink(missing_ok=True)

    atexit.register(keep)
    return known


def _is_data_name(name: Any) -> bool:
    suffixes = (".yaml", ".json", ".csv", ".txt", ".html", ".css", ".js")
    return isinstance(name, str) and name.endswith(suffixes)


def _is_module(package: str, name: str) -> bool:
    """Whether a name that is imported from a package is a module, and not something in it."""
    file = _source_file(package)
    inside = (file.parent / f"{name}.py", file.parent / name / "__init__.py")
    return file.name == "__init__.py" and any(map(Path.is_file, inside))


#: Images are sorted into this many buckets by their id; a shard is a range of buckets. So new
#: images leave the others where they are, and another number of shards needs no new look at them.
N_BUCKETS = 1024


def bucket_of(image_id: str) -> int:
    """Bucket of an image, from its id alone."""
    digest = hashlib.sha256(image_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") % N_BUCKETS


#: Before the name of a shard of training images.
TRAINING_PREFIX = "train-"


def shard_names(n_shards: int, *, training: bool = False) -> list[str]:
    """Names of the shards, as they stand in paths: `0-of-4`, of training images `train-0-of-4`."""
    prefix = TRAINING_PREFIX if training else ""
    return [f"{prefix}{index}-of-{n_shards}" for index in range(n_shards)]


def is_training(shard: str) -> bool:
    """Whether a shard holds training images."""
    return shard.startswith(TRAINING_PREFIX)


def buckets_of(shard: str) -> range:
    """Buckets that a shard, named like `0-of-4` or `train-0-of-4`, covers."""
    index, count = map(int, shard.removeprefix(TRAINING_PREFIX).split("-of-"))
    return range(index * N_BUCKETS // count, (index + 1) * N_BUCKETS // count)


def in_shard(image_id: str, shard: str) -> bool:
    """Whether an image belongs to a shard."""
    return bucket_of(image_id) in buckets_of(shard)


def bucket_digests(rows: Mapping[str, Any]) -> dict[str, str]:
    """Digest the rows of a data set bucket by bucket.

    Args:
        rows: What there is to know of each image, by image id.

    Returns:
        One digest per bucket that holds an image, by the bucket's number as text.
    """
    buckets: dict[int, list[Any]] = {}
    for image_id in sorted(rows):
        buckets.setdefault(bucket_of(image_id), []).append([image_id, rows[image_id]])
    return {str(number): digest_of(members)[:16] for number, members in sorted(buckets.items())}


def shard_digest(path: str | Path, kind: str, shard: str | None = None) -> str:
    """Digest of the images of one shard, or of all, out of a data set's file of bucket digests.

    Used while planning: the file is written by a checkpoint. Before that has run the answer is
    `"unknown"`, which no finished job has.

    Args:
        path: `manifests/{dataset}/digests.json`.
        kind: Which facts count: `images`, `train_images`, `truth`, `labels`.
        shard: Name of the shard; None for the whole data set.
    """
    if not (record := recorded(path)):
        return "unknown"
    buckets = range(N_BUCKETS) if shard is None else buckets_of(shard)
    return digest_of([record[kind].get(str(number)) for number in buckets])[:16]


def recorded(path: str | Path) -> dict[str, Any]:
    """Read a JSON file that a job wrote down, each version of it once; empty if it is not there."""
    try:
        return _read_json(str(path), Path(path).stat().st_mtime_ns)
    except FileNotFoundError:
        return {}


@functools.lru_cache(maxsize=256)
def _read_json(path: str, _mtime_ns: int) -> Any:
    return read_record(path)


def read_record(path: str | Path) -> Any:
    """Read a JSON file that a job wrote down.

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If it is damaged. It is removed, so that the next run makes it again.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        Path(path).unlink(missing_ok=True)
        raise ValueError(
            f"{path}: damaged ({error}); it was removed: run again, which makes it anew"
        ) from error


def stat_signature(*paths: str | Path) -> str:
    """Digest of name, size and time of files, or of everything below folders; absent ones count."""
    rows = []
    for path in map(Path, paths):
        members = sorted(path.rglob("*")) if path.is_dir() else [path]
        for member in members:
            if member.is_file():
                stat = member.stat()
                rows.append((str(member), stat.st_size, stat.st_mtime_ns))
            elif not member.exists():
                rows.append((str(member), -1, 0))
    return digest_of(rows)[:16]


def versions(*distributions: str) -> dict[str, str]:
    """Installed versions of the named distributions."""
    return {name: metadata.version(name) for name in distributions}


@functools.cache
def package_version() -> str:
    """Version of this package, read where it is written: `pyproject.toml`, or the installed one."""
    file = _REPOSITORY / "pyproject.toml"
    if file.is_file():
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith("version = "):
                return line.split('"')[1]
    return metadata.version("realitycheck")
