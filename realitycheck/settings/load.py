"""Reading settings: every fault at once, with its key path and a remedy; and their JSON schema."""

from __future__ import annotations

import contextlib
import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from realitycheck.core.constants import AREA_SUFFIX, LABEL_FLOORS, MASK_FLOORS, NO_PROMPT
from realitycheck.core.settings import NAME_PATTERN, SettingsError, plain, without
from realitycheck.methods.registry import METHODS
from realitycheck.models.checkpoints.known import network_files
from realitycheck.settings.run import Settings

_REMEDIES = {
    "missing": "add the key",
    "union_tag_not_found": "add the key that names the kind",
    "too_short": "give at least one entry",
    "string_type": "put it in quotes if it is meant as a text",
    "float_parsing": "write a number such as 0.35, with a point",
    "int_parsing": "write a whole number such as 4",
    "tuple_type": "write a list in brackets, such as [a, b]",
}


def load_settings(raw: Mapping[str, Any], *, folder: str | Path = ".") -> Settings:
    """Check a parsed settings file and return it typed.

    Args:
        raw: The parsed YAML.
        folder: Folder that relative paths are looked up in, to see that files exist.

    Raises:
        SettingsError: With every fault at once: key path, what was found, what to do.
    """
    if not isinstance(raw, Mapping):
        found = _shorten(raw)
        raise SettingsError([f"(top level): expected keys such as 'datasets', found {found}"])
    data = _with_method_kinds(json.loads(json.dumps(plain(raw), default=str)))
    faults: list[str] = []
    left_out: set[str] = set()
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        faults = _describe(error, data)
        rest, left_out = without(data, [item["loc"] for item in error.errors()])
        with contextlib.suppress(ValidationError):
            settings = Settings.model_validate(rest)
    if settings is not None:
        found = [*_cross_faults(settings), *_file_faults(settings, Path(folder))]
        faults += unaffected(found, left_out)
    if faults:
        raise SettingsError(faults, sound=settings, left_out=left_out)
    return settings


def unaffected(faults: Iterable[str], left_out: Iterable[str]) -> list[str]:
    """Those faults that do not follow from entries having been left out."""
    blocks = {".".join(path.split(".")[:2]) for path in left_out}
    return [fault for fault in faults if not any(block in fault for block in blocks)]


def _with_method_kinds(data: dict[str, Any]) -> dict[str, Any]:
    """Fill `kind` of method blocks that are named after their kind."""
    methods = data.get("methods")
    if not isinstance(methods, dict):
        return data
    filled = {}
    for name, block in methods.items():
        block = {} if block is None else block
        if isinstance(block, dict) and "kind" not in block and name in METHODS:
            block = {"kind": name, **block}
        filled[name] = block
    return {**data, "methods": filled}


def _describe(error: ValidationError, data: Mapping[str, Any]) -> list[str]:
    faults = []
    for item in error.errors():
        kind = item["type"]
        path = _key_path(item["loc"], data, is_absent=kind == "missing")
        found = item.get("input")
        if kind == "extra_forbidden":
            known = _known_keys(item["loc"], data)
            close = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(known)}"
            faults.append(f"{path}: unknown key; {hint}")
        elif kind == "union_tag_invalid":
            key, tag, tags = (item["ctx"][n] for n in ("discriminator", "tag", "expected_tags"))
            faults.append(f"{path}: {key} is {tag!r}; use one of {tags}")
        elif kind == "union_tag_not_found":
            key = item["ctx"]["discriminator"].strip("'")
            faults.append(
                f"{path}: the key '{key}' is missing; add it to say what kind this block is"
            )
        elif kind == "missing":
            faults.append(f"{path}: the key is missing; add it")
        elif kind == "string_pattern_mismatch":
            pattern = item["ctx"]["pattern"]
            form = "lower-case letters, digits and underscores only"
            form = form if pattern == NAME_PATTERN else f"the form {pattern}"
            faults.append(f"{path}: found {found!r}; use {form}")
        else:
            message = item["msg"].removeprefix("Value error, ")
            shown = "" if kind == "value_error" else f" (found {_shorten(found)})"
            remedy = f"; {_REMEDIES[kind]}" if kind in _REMEDIES else ""
            faults.append(f"{path}: {message}{shown}{remedy}")
    return list(dict.fromkeys(faults))


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _key_path(location: tuple[Any, ...], data: Mapping[str, Any], *, is_absent: bool) -> str:
    """Write a pydantic location as the user's own key path.

    What does not stand in the settings is the name of a union's member and left out, save the last
    step where just that key is absent.
    """
    parts: list[str] = []
    node: Any = data
    for place, step in enumerate(location):
        if isinstance(node, dict) and step in node:
            node = node[step]
            parts.append(str(step))
        elif isinstance(node, list) and isinstance(step, int) and step < len(node):
            node = node[step]
            parts.append(f"[{step}]")
        elif is_absent and place == len(location) - 1:
            parts.append(str(step))
    return re.sub(r"\.\[", "[", ".".join(parts)) or "(top level)"


def _known_keys(location: tuple[Any, ...], data: Mapping[str, Any]) -> list[str]:
    """Keys that the block around a location accepts."""
    annotation: Any = Settings
    node: Any = data
    for step in location[:-1]:
        is_key = isinstance(node, dict) and step in node
        node = node[step] if is_key else node
        annotation = _step_into(annotation, step, is_key=is_key)
    return sorted(getattr(annotation, "model_fields", {}))


def _step_into(annotation: Any, step: Any, *, is_key: bool) -> Any:
    """Type of what lies one step below a type: a field, an entry, or a union's member."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if not is_key:
        return next((m for m in _models_within(annotation) if _is_called(m, step)), annotation)
    if get_origin(annotation) is dict:
        return get_args(annotation)[1]
    fields = getattr(annotation, "model_fields", {})
    return fields[step].annotation if step in fields else annotation


def _is_called(model: type[BaseModel], tag: Any) -> bool:
    """Whether a union's member goes by a tag: its `format` or `kind`."""
    fields = [model.model_fields[n] for n in ("format", "kind") if n in model.model_fields]
    return any(tag in get_args(field.annotation) for field in fields)


def _models_within(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for member in get_args(annotation) for model in _models_within(member)]


_PROMPT_EXAMPLES = {
    "segmentation": "segmentation: [defect]",
    "saa_plus": "saa_plus: auto",
    "lvlm": "lvlm: Does the image show a defect?",
}


def _cross_faults(settings: Settings) -> list[str]:
    """Faults between blocks."""
    faults = [*_method_faults(settings), *_prompt_faults(settings)]
    for name in settings.datasets:
        faults += _dataset_faults(settings, name)
    return faults


def _method_faults(settings: Settings) -> Iterator[str]:
    floors = {*MASK_FLOORS, *LABEL_FLOORS, "coin_at_prevalence"}
    for name, block in settings.methods.items():
        if name in floors:
            yield f"methods.{name}: this name belongs to a floor; choose another"
        of = name.removesuffix(AREA_SUFFIX)
        if of != name and of in settings.methods:
            yield (
                f"methods.{name}: this name stands for the verdicts of '{of}' by area; choose "
                "another"
            )
        use = block.test_truth
        if use and settings.audit.threshold_on_scored == "stop":
            yield (
                f"methods.{name}.{use.key}: '{use.value}' looks at the images that are scored, and "
                f"audit.threshold_on_scored is stop; {use.remedy}, or audit: "
                "{threshold_on_scored: flag}"
            )


def _prompt_faults(settings: Settings) -> Iterator[str]:
    for dataset, prompts in settings.prompts.items():
        if dataset not in settings.datasets:
            known = ", ".join(settings.datasets)
            yield f"prompts.{dataset}: there is no such data set; data sets: {known}"
        if NO_PROMPT in prompts:
            yield f"prompts.{dataset}.{NO_PROMPT}: this name stands for 'no prompt'; choose another"


def _dataset_faults(settings: Settings, dataset: str) -> Iterator[str]:
    """Faults between a data set and the methods that run on it."""
    block, key = settings.datasets[dataset], f"datasets.{dataset}"
    listed = block.methods or ()
    for method in sorted({m for m in listed if listed.count(m) > 1}):
        yield f"{key}.methods: '{method}' stands here twice; keep one"
    if unknown := [m for m in listed if m not in settings.methods]:
        known = ", ".join(settings.methods) or "none"
        for method in unknown:
            yield f"{key}.methods: there is no method block '{method}'; blocks: {known}"
        return
    for method in settings.methods_of(dataset):
        if not settings.prompts_of(dataset, method):
            example = _PROMPT_EXAMPLES[settings.methods[method].prompt_key]
            yield (
                f"prompts.{dataset}: method '{method}' needs a text prompt here; add for "
                f"example prompts: {{{dataset}: {{plain: {{{example}}}}}}}, "
                f"or list the methods to run under {key}.methods"
            )
    has_training = getattr(block, "n_train", block.split.train_fraction)
    for method in settings.methods_of(dataset):
        kept_none = block.split.kind == "all" or block.generated
        learned = settings.methods[method].learns_from or {}
        needs_training = learned.get("parts") == "good training"
        if needs_training and kept_none and not has_training:
            remedy = (
                f"set {key}.n_train"
                if block.generated
                else f"set {key}.split: {{kind: all, train_fraction: 0.2}}"
            )
            yield (
                f"methods.{method}: {settings.methods[method].kind} learns from good training "
                f"images, and data set '{dataset}' keeps none back; {remedy}, or list the methods "
                f"to run under {key}.methods"
            )
    for method in listed:
        if settings.methods[method].needs_reference and block.reference == "none":
            yield (
                f"{key}.methods: '{method}' needs a reference image, but {key}.reference is none; "
                "set reference: auto"
            )


def _file_faults(settings: Settings, folder: Path) -> Iterator[str]:
    """Files and folders that must exist before the first job and cannot be fetched."""
    for name, block in settings.datasets.items():
        is_own = not (block.generated or block.fetchable)
        if is_own and not (folder / block.root).is_dir():
            yield (
                f"datasets.{name}.root: there is no folder {block.root}; give the folder that "
                f"holds {block.layout}"
            )
        key = f"datasets.{name}.reference"
        if isinstance(block.reference, dict):
            for category, path in block.reference.items():
                if path != "auto" and not (folder / path).is_file():
                    yield f"{key}.{category}: there is no file {path}; give an image or auto"
        elif block.reference not in ("auto", "none") and not (folder / block.reference).is_file():
            yield f"{key}: there is no file {block.reference}; give an image, auto or none"
    for network in settings.used_networks():
        for file in network_files(network, getattr(settings.models, network)):
            key = f"models.{network}.{file.key}"
            wanted = "a folder" if file.key == "text_encoder" else "a file"
            if file.path is None:
                yield f"{key}: this variant has no file of its own; give a path"
            elif not (path := folder / file.path).exists():
                if not file.is_obtainable:
                    yield f"{key}: there is no file {file.path}; put it there"
            elif path.is_dir() != (file.key == "text_encoder"):
                yield f"{key}: {file.path} is not {wanted}; give {wanted}"


def json_schema() -> dict[str, Any]:
    """JSON schema of the settings file, for editors."""
    schema = Settings.model_json_schema(mode="validation")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "RealityCheck settings"
    for definition in schema["$defs"].values():
        for name, field in definition.get("properties", {}).items():
            definition["properties"][name] = _allow_one_for_list(field)
    _allow_kind_by_name(schema["properties"]["methods"], schema["$defs"])
    return schema


def _allow_one_for_list(field: dict[str, Any]) -> dict[str, Any]:
    """Let the schema accept one entry where a list is meant, as `as_meant` does."""
    notes: dict[str, Any] = {
        key: field[key] for key in ("title", "description", "default") if key in field
    }
    members = field.get("anyOf", [{k: v for k, v in field.items() if k not in notes}])
    single = [
        member["items"]
        for member in members
        if member.get("type") == "array" and member.get("items", {}).get("type") != "array"
    ]
    single = [entry for entry in single if entry]
    return {**notes, "anyOf": [*members, *single]} if single else field


def _allow_kind_by_name(methods: dict[str, Any], definitions: Mapping[str, Any]) -> None:
    """Let the schema accept a block that is named after its kind, as `_with_method_kinds` does."""
    ((names, of_any_kind),) = methods["patternProperties"].items()
    methods["properties"] = {}
    for kind, reference in of_any_kind["discriminator"]["mapping"].items():
        full = definitions[reference.rsplit("/", 1)[1]]
        bare = full | {
            "properties": {k: v for k, v in full["properties"].items() if k != "kind"},
            "required": [key for key in full["required"] if key != "kind"],
        }
        methods["properties"][kind] = {"anyOf": [bare, {"type": "null"}, of_any_kind]}
    others = f"^(?!({'|'.join(methods['properties'])})$)" + names.removeprefix("^")
    methods["patternProperties"] = {others: of_any_kind}
    methods["additionalProperties"] = False
