"""Pages of the site that are made and not written.

- the settings reference, and the table of settings on each method's page, from the JSON schema;
- a page for each public package, from its docstrings;
- CONTRIBUTING, ARCHITECTURE and SECURITY, which stand beside the README for readers of the code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]

#: Files beside the README that are pages of the site, too.
ROOT_PAGES = {name: f"{name.lower()}.md" for name in ("ARCHITECTURE", "CONTRIBUTING", "SECURITY")}

#: Packages that serve the workflow alone.
INNER_PACKAGES = {"planning", "stages"}

#: What a value of a simple type is called; None: a schema that accepts all.
_SIMPLE = {"boolean": "`true`, `false`", "null": "null", "string": "text", None: "anything"}

#: Stands on a page where a table of settings belongs: `<!-- settings: methods.saa_plus -->`.
MARKER = re.compile(r"<!-- settings: (\w+)\.(\w+) -->")


def public_packages(chosen: list[str] | None) -> list[str]:
    """Names of the packages with a page of their own; all of them, or those that are chosen."""
    found = sorted(path.parent.name for path in (ROOT / "realitycheck").glob("*/__init__.py"))
    public = [name for name in found if name not in INNER_PACKAGES]
    return [name for name in public if chosen is None or name in chosen]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the packages' pages in the navigation."""
    packages = public_packages(config.extra.get("api_packages"))
    reference = next(entry["Reference"] for entry in config.nav if "Reference" in entry)
    reference.append({"API": [{name: f"reference/api/{name}.md"} for name in packages]})
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    files.append(File.generated(config, "reference/settings.md", content=settings_page(_schema())))
    for package in public_packages(config.extra.get("api_packages")):
        content = f"# realitycheck.{package}\n\n::: realitycheck.{package}\n"
        path = f"reference/api/{package}.md"
        files.append(File.generated(config, path, content=content))
    for name, path in ROOT_PAGES.items():
        text = (ROOT / f"{name}.md").read_text(encoding="utf-8")
        files.append(File.generated(config, path, content=as_page(text)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put in tables of settings, and lead to the site's pages of the files beside the README."""
    to_docs = "../" * page.file.src_uri.count("/")
    for name, path in ROOT_PAGES.items():
        markdown = markdown.replace(f"](../{to_docs}{name}.md", f"]({to_docs}{path}")

    def table(match: re.Match[str]) -> str:
        block, kind = match.groups()
        return "\n".join(
            _kind_table(_schema(), block, kind, page=f"{to_docs}reference/settings.md")
        )

    return MARKER.sub(table, markdown)


def as_page(text: str) -> str:
    """A file that stands beside the README, with its links as the site has them.

    The site shows a picture in place of a mermaid one, which would need a script from elsewhere.
    """
    text = re.sub(r"```mermaid\n.*?```", "![Data flow](data_flow.svg)", text, flags=re.DOTALL)
    text = re.sub(r"\]\(docs/", "](", text)
    text = re.sub(r"\]\(README\.md\)", "](index.md)", text)
    for name, path in ROOT_PAGES.items():
        text = text.replace(f"]({name}.md", f"]({path}")
    return text


# ---------------------------------------------------------------------------------------- settings


def _schema() -> dict[str, Any]:
    return json.loads((ROOT / "configs/settings.schema.json").read_text(encoding="utf-8"))


def settings_page(schema: Mapping[str, Any]) -> str:
    """The settings reference."""
    lines = [
        "# Settings",
        "",
        "Every key of a settings file, generated from `configs/settings.schema.json`. "
        "[Settings, step by step](../product/settings.md) explains them along an example, and "
        "`config.yaml` shows most of them in use.",
        "",
        "A key without a default must be given. Where a list is meant, a single entry may stand "
        "for a list of one. Paths may begin with `~` and hold `$HOME` or another variable.",
        "",
    ]
    lines += _block("Top level", "top-level", "", _top_level(schema), schema)
    for key, title in (("datasets", "Data sets"), ("methods", "Methods")):
        kinds = _kinds(schema, key)
        tag = "format" if key == "datasets" else "kind"
        lines += [f"## {title}: `{key}` {{#{key}}}", ""]
        lines += [f"`{key}` maps a name of your own to a block; `{tag}` says what kind it is.", ""]
        shared = _shared(schema, kinds.values())
        lines += [f"Keys of every block in `{key}`:", "", *_table(shared, schema), ""]
        for kind, definition in kinds.items():
            own = _without(schema["$defs"][definition], {*shared, tag})
            lines += _block(f"`{kind}`", f"{key}-{kind}", schema["$defs"][definition], own, schema)
    prompts = "`prompts` maps the name of a data set to named prompt sets."
    lines += ["## Prompts: `prompts` {#prompts}", "", prompts, ""]
    lines += _table(schema["$defs"]["PromptSettings"]["properties"], schema) + [""]
    lines += ["## Networks: `models` {#models}", ""]
    for network, field in schema["$defs"]["ModelsSettings"]["properties"].items():
        block = _definition(schema, field)
        lines += _block(f"`models.{network}`", f"models-{network}", block, block, schema)
    for key in ("compute", "evaluation", "report", "requirements", "line", "audit"):
        block = _definition(schema, schema["properties"][key])
        lines += [f"## `{key}` {{#{key}}}", "", str(block.get("description", "")), ""]
        lines += [*_table(block["properties"], schema), ""]
    lines += ["## Blocks within blocks", ""]
    for name in _nested(schema):
        block = schema["$defs"][name]
        lines += _block(_words(name), _anchor(name), block, block, schema)
    return "\n".join(lines) + "\n"


def _top_level(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The blocks as fields, each with a link to its own section."""
    fields = {}
    for key, field in schema["properties"].items():
        if "$ref" in field or field["type"] == "object":
            about = _definition(schema, field)["description"] if "$ref" in field else "See below."
            field = {"type": "object", "description": f"[{about}](#{key})"}
        fields[key] = field
    return {"properties": fields, "required": schema["required"]}


def _kinds(schema: Mapping[str, Any], key: str) -> dict[str, str]:
    """Definition of each kind of block, by the kind's name."""
    (union,) = schema["properties"][key]["patternProperties"].values()
    mapping = union["discriminator"]["mapping"]
    return {kind: reference.rsplit("/", 1)[1] for kind, reference in mapping.items()}


def _shared(schema: Mapping[str, Any], names: Any) -> dict[str, Any]:
    """Fields that all definitions have with the same schema."""
    blocks = [schema["$defs"][name]["properties"] for name in names]
    return {
        key: field
        for key, field in blocks[0].items()
        if all(key in block and block[key] == field for block in blocks)
    }


def _without(block: Mapping[str, Any], left_out: set[str]) -> dict[str, Any]:
    fields = {key: field for key, field in block["properties"].items() if key not in left_out}
    return {**block, "properties": fields}


def _kind_table(schema: Mapping[str, Any], block: str, kind: str, *, page: str) -> Iterator[str]:
    definition = schema["$defs"][_kinds(schema, block)[kind]]
    fields = _without(definition, {"kind", "format"})["properties"]
    yield from _table(fields, schema, required=definition.get("required", ()), page=page)


def _block(
    title: str, anchor: str, about: Any, block: Mapping[str, Any], schema: Mapping[str, Any]
) -> list[str]:
    description = str(about.get("description", "")) if isinstance(about, Mapping) else ""
    fields = block["properties"]
    level = "##" if anchor == "top-level" else "###"
    head = [f"{level} {title} {{#{anchor}}}", ""]
    body = _table(fields, schema, required=block.get("required", ())) if fields else []
    nothing = [] if fields else ["It has no keys beyond those of every block."]
    return [*head, *([description, ""] if description else []), *body, *nothing, ""]


def _table(
    fields: Mapping[str, Any],
    schema: Mapping[str, Any],
    *,
    required: Any = (),
    page: str = "",
) -> list[str]:
    lines = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    for key, field in fields.items():
        default = "**must be given**" if key in required else _default(field, schema)
        about = field.get("description") or (
            _definition(schema, field).get("description", "") if "$ref" in field else ""
        )
        meaning = _cell(about)
        if page:
            meaning = meaning.replace("](#", f"]({page}#")
        value = _value(field, schema, page=page)
        lines.append(f"| `{key}` | {value} | {default} | {meaning} |")
    return lines


def _default(field: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if "default" not in field or field["default"] is None:
        return "–"
    if "$ref" in field:
        return "see there"
    text = yaml.safe_dump(field["default"], default_flow_style=True, allow_unicode=True, width=200)
    end_of_document = "...\n"
    return f"`{_cell(text.removesuffix(end_of_document).strip())}`"


def _value(field: Mapping[str, Any], schema: Mapping[str, Any], *, page: str = "") -> str:
    """What may stand there, in words."""
    if "anyOf" in field:
        members = [_value(member, schema, page=page) for member in field["anyOf"]]
        # One entry may stand for a list of one; the page says so once.
        single = {text.removeprefix("list of ") for text in members if text.startswith("list of ")}
        shown = [text for text in members if text != "null" and text not in single]
        return " or ".join(dict.fromkeys(shown))
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[1]
        words = _words(name)
        is_on_top = schema["properties"].get(words, {}).get("$ref") == field["$ref"]
        return f"[{words}]({page}#{words if is_on_top else _anchor(name)})"
    if "enum" in field:
        return ", ".join(f"`{entry}`" for entry in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    match field.get("type"):
        case "array":
            entries = field.get("prefixItems") or [field["items"]]
            return "list of " + " and ".join(_value(entry, schema, page=page) for entry in entries)
        case "object":
            entries = field.get("additionalProperties")
            is_map = isinstance(entries, Mapping)
            return f"mapping to {_value(entries, schema, page=page)}" if is_map else "mapping"
        case "integer" | "number" as kind:
            noun = "whole number" if kind == "integer" else "number"
            return noun + "".join(_limits(field))
        case kind:
            return _SIMPLE[kind]


def _limits(field: Mapping[str, Any]) -> Iterator[str]:
    for key, sign in (
        ("minimum", "≥"),
        ("exclusiveMinimum", ">"),
        ("maximum", "≤"),
        ("exclusiveMaximum", "<"),
    ):
        if key in field:
            yield f" {sign} {field[key]:g}"
    if "multipleOf" in field:
        yield f", in steps of {field['multipleOf']}"


def _nested(schema: Mapping[str, Any]) -> list[str]:
    """Definitions that stand within other blocks."""
    on_top = {
        *_kinds(schema, "datasets").values(),
        *_kinds(schema, "methods").values(),
        "PromptSettings",
        "ModelsSettings",
    }
    for field in (*schema["properties"].values(), *_models(schema)):
        if "$ref" in field:
            on_top.add(field["$ref"].rsplit("/", 1)[1])
    return [name for name in schema["$defs"] if name not in on_top]


def _models(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(schema["$defs"]["ModelsSettings"]["properties"].values())


def _definition(schema: Mapping[str, Any], field: Mapping[str, Any]) -> Mapping[str, Any]:
    return schema["$defs"][field["$ref"].rsplit("/", 1)[1]]


def _words(name: str) -> str:
    """Name of a definition for people: `SaaPlusPrompt` is "saa plus prompt"."""
    name = name.removesuffix("Settings")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def _anchor(name: str) -> str:
    return f"block-{_words(name).replace(' ', '-')}"


def _cell(text: str) -> str:
    """A text within a cell: braces would be attributes, bars end the cell."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
