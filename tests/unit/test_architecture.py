"""The house rules: who may import whom, how large a module may be, and that kinds have one place.

Imports inside functions count as well; what is imported for types only does, too.
"""

import ast
import functools
import re
from collections import defaultdict

import pytest

from realitycheck.datasets.registry import FORMATS

#: Places of the package from the bottom to the top; each imports from lower ones and its own only.
LAYERS = (
    {"core"},
    {"lvlm", "alignment"},
    {"models", "datasets", "metrics"},
    {"encoders", "report"},
    {"methods"},
    {"settings", "stages"},
    {"planning"},
    {"face"},
    {"commands"},
    {"__main__"},
)
RANK = {place: rank for rank, layer in enumerate(LAYERS) for place in layer}
#: Longer modules: networks as they were published, drawing code, and registration.
MAY_BE_LONG = ("models/", "datasets/synthetic/", "alignment.py")
MOST_LINES = 600
#: Numbers that only get less: a new rule joins a family, a new function gets a name.
MOST_SCRIPTS = 27
MOST_LAMBDAS = 22


@pytest.fixture(scope="module")
def trees(repository):
    """Syntax tree of every module of the package, by its name."""
    found = {}
    for path in sorted((repository / "realitycheck").rglob("*.py")):
        name = ".".join(path.relative_to(repository).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = ast.parse(path.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def imports(trees):
    """Names of the modules of the package that each module imports."""
    found = defaultdict(set)
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                inner = {f"{node.module}.{alias.name}": node.module for alias in node.names}
                names = {full if full in trees else module for full, module in inner.items()}
            else:
                continue
            found[module] |= names & set(trees)
    return found


def place_of(module):
    """Folder or module right below the package; None for the package itself."""
    return next(iter(module.split(".")[1:]), None)


def test_every_place_has_a_layer(trees):
    """A new folder joins the layers before it is imported from."""
    assert {place_of(module) for module in trees} - {None} == set(RANK)


def test_nothing_is_imported_from_above_or_beside(imports):
    """So each layer can be read, tested and reused without what stands on it."""
    wrong = [
        f"{module} imports {other}"
        for module, others in imports.items()
        for other in sorted(others)
        if (here := place_of(module)) != (there := place_of(other))
        and there is not None
        and RANK[there] >= RANK[here]
    ]
    assert wrong == []


def test_the_core_imports_nothing_of_the_project(imports):
    """It knows no method, network or data set."""
    outside = {
        other
        for module, others in imports.items()
        if place_of(module) == "core"
        for other in others
        if place_of(other) not in ("core", None)
    }
    assert outside == set()


def test_report_and_methods_do_not_import_each_other(imports):
    """A method is no matter of how it is shown, nor the other way round."""
    pair = {"report", "methods"}
    wrong = [
        f"{module} imports {other}"
        for module, others in imports.items()
        for other in sorted(others)
        if {place_of(module), place_of(other)} == pair
    ]
    assert wrong == []


def test_no_module_imports_itself_in_a_circle(imports):
    """What imports each other is one module in two files."""
    done = set()

    def follow(module, above):
        assert module not in above, " → ".join([*above[above.index(module) :], module])
        if module not in done:
            for other in sorted(imports[module]):
                follow(other, [*above, module])
            done.add(module)

    for module in list(imports):
        follow(module, [])


def test_private_names_stay_in_their_module(trees):
    """What another module uses is public, and is called so."""
    found = [
        f"{module}: {alias.name} of {node.module}"
        for module, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("realitycheck")
        for alias in node.names
        if re.match("_[^_]", alias.name)
    ]
    assert found == []


def test_no_module_is_too_long_to_be_read_at_once(repository):
    """A new concern gets a module of its own."""
    package = repository / "realitycheck"
    lines = {
        path.relative_to(package).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in package.rglob("*.py")
    }
    long = {name for name, n in lines.items() if n > MOST_LINES}
    assert {name for name in long if not name.startswith(MAY_BE_LONG)} == set()


def test_scripts_serve_families_of_rules(repository):
    """A script holds no logic, so rules of one family share it."""
    assert len(list((repository / "scripts").glob("*.py"))) <= MOST_SCRIPTS


def test_functions_of_the_rules_have_names(repository):
    """A named function says what it gives; a lambda is for one short expression."""
    texts = [path.read_text(encoding="utf-8") for path in (repository / "rules").glob("*.smk")]
    assert sum(len(re.findall(r"\blambda\b", text)) for text in texts) <= MOST_LAMBDAS


@functools.cache
def method_kinds(folder):
    """Kinds of methods, as their folders are called."""
    return {path.parent.name for path in folder.glob("*/settings.py")}


@pytest.mark.parametrize("what", ["formats", "methods"])
def test_no_kind_is_compared_outside_its_place(what, trees, repository):
    """What differs between kinds stands with each kind; a forgotten branch would be a default."""
    kinds, home = {
        "formats": (set(FORMATS.modules), "datasets"),
        "methods": (method_kinds(repository / "realitycheck" / "methods"), "methods"),
    }[what]
    found = []
    for module, tree in trees.items():
        if place_of(module) == home:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare | ast.match_case):
                parts = ast.walk(node.pattern if isinstance(node, ast.match_case) else node)
                named = {each.value for each in parts if isinstance(each, ast.Constant)}
                found += [f"{module}: {kind}" for kind in sorted(named & kinds, key=str)]
    assert found == []
