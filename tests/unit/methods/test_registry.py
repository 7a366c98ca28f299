"""Each kind of method is known by its folder alone."""

import ast
import re
from typing import ClassVar, Literal

import pytest

from realitycheck.core.registry import RegistryError
from realitycheck.methods import registry
from realitycheck.methods.registry import METHODS, block_of, classifiers, open_part, segmenters
from realitycheck.methods.settings import MethodBlock, PromptSettings

KINDS = set(METHODS)
#: Keys of a prompt set that are called as the only kind that takes them.
PROMPT_KEYS = KINDS & set(PromptSettings.model_fields)


def test_every_kind_gives_what_the_contract_asks_for():
    """Whoever adds one reads it there."""
    for _, kind, block, _ in segmenters({}):
        part = open_part(kind, "segmenter")
        assert callable(part.open) and block.label, kind
        assert (block.fits is not None) == hasattr(part, "fit"), kind
        if kind in KINDS:
            assert callable(open_part(kind, "views").views), kind
    for _, kind, block, _ in classifiers({}):
        assert callable(open_part(kind, "classifier").verdicts) and block.label, kind
    labels = [block_of(kind).label for kind in (*KINDS, "whole_image")]
    assert len(set(labels)) == len(labels)


def test_block_with_facts_of_its_own_has_rules_of_its_own(monkeypatch):
    """One kind may give masks by one block and verdicts by another."""

    class Either(MethodBlock):
        label: ClassVar[str] = "Either"
        gives_either: ClassVar[bool] = True
        kind: Literal["either"] = "either"
        verdicts: bool = False

        @property
        def gives_masks(self):
            return not self.verdicts

    monkeypatch.setattr(registry, "blocks", lambda: {"either": Either})
    methods = {"a": Either(), "b": Either(verdicts=True)}
    (masks,) = (each for each in segmenters(methods) if each.kind == "either")
    assert masks == ("either_a", "either", methods["a"], ("a",))
    assert classifiers(methods) == [("either_b", "either", methods["b"], ("b",))]


def test_kind_that_is_not_known_is_refused_with_the_known_ones():
    """No kind is another's default."""
    with pytest.raises(RegistryError, match="method: expected one of grounded_sam, .*'winclip'"):
        open_part("winclip", "segmenter")


def test_no_kind_is_named_outside_its_folder(repository):
    """Else the next one falls into a branch that is not its own, or into none."""
    package = repository / "realitycheck"
    found = []
    for path in sorted([*package.rglob("*.py"), *(repository / "scripts").glob("*.py")]):
        place = path.relative_to(repository)
        owner = place.parts[2] if place.parts[:2] == ("realitycheck", "methods") else ""
        if owner in KINDS or path.name == "registry.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value in KINDS - PROMPT_KEYS:
                found.append(f"{place}:{node.lineno} {node.value!r}")
            elif isinstance(node, ast.ImportFrom):
                parts = (node.module or "").split(".")
                if parts[:2] == ["realitycheck", "methods"] and set(parts[2:3]) & KINDS:
                    found.append(f"{place}:{node.lineno} imports {node.module}")
    assert found == []


def test_rules_name_only_kinds_with_a_rule_of_their_own(repository):
    """Rules of a family are made for every kind that there is."""
    named = {
        (path.name, word)
        for path in (repository / "rules").glob("*.smk")
        for word in re.findall(r'"(\w+)"', path.read_text(encoding="utf-8"))
        if word in KINDS
    }
    assert named == {("4_segment.smk", "saa_plus"), ("5_classify.smk", "lvlm")}
