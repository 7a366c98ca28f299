"""The documentation builds, loads nothing from elsewhere, and names only what exists."""

import json
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import pytest
import yaml
from markdown.extensions.toc import slugify
from snakemake.cli import get_argument_parser

from realitycheck.__main__ import main
from realitycheck.commands.run import split

REPOSITORY = Path(__file__).resolve().parents[2]
BESIDE_README = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"]
DOCUMENTS = [
    *BESIDE_README,
    *sorted(str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "docs").rglob("*.md")),
    "training/README.md",
]
#: Documents on the layout of the package, whose examples name files that nobody has written.
LAYOUT = {"ARCHITECTURE.md", "CONTRIBUTING.md", "docs/extending.md"}
#: Pages that the build makes and no file holds.
MADE = {REPOSITORY / "docs/reference/settings.md"}

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
#: Programs whose commands are looked up.
PROGRAMS = ("make", "python", "realitycheck", "snakemake")


def read(name):
    return (REPOSITORY / name).read_text(encoding="utf-8")


def blocks(name, language):
    """Fenced blocks of a language, without what they are indented by."""
    for indent, found, body in FENCE.findall(read(name)):
        if found == language:
            yield re.sub(f"^{indent}", "", body, flags=re.MULTILINE)


# --------------------------------------------------------------------------------------- the site


@pytest.fixture(scope="module")
def schema():
    return json.loads(read("configs/settings.schema.json"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built strictly; of the API one package only, as all take a quarter of a minute."""
    folder = tmp_path_factory.mktemp("site")
    config = {
        "INHERIT": str(REPOSITORY / "mkdocs.yml"),
        "docs_dir": str(REPOSITORY / "docs"),
        "site_dir": str(folder / "site"),
        "hooks": [str(REPOSITORY / "docs/hooks.py")],
        "extra": {"api_packages": ["metrics"]},
    }
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(folder / "mkdocs.yml")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return folder / "site"


class _Loads(HTMLParser):
    """Addresses that a browser fetches with a page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.found += [attributes[name] for name in ("src", "srcset") if attributes.get(name)]
        if tag == "link" and attributes.get("rel") != "canonical":
            self.found.append(attributes["href"])


def test_site_loads_nothing_from_elsewhere(site):
    """It must work behind a firewall, and tell nobody who reads it."""
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loads = _Loads()
        loads.feed(text)
        assert [address for address in loads.found if re.match(r"(https?:)?//", address)] == []
        assert 'class="mermaid"' not in text, page  # the theme would fetch its script


def test_every_kind_of_method_has_a_page_with_its_settings(site, schema):
    (union,) = schema["properties"]["methods"]["patternProperties"].values()
    for kind, reference in union["discriminator"]["mapping"].items():
        page = (site / f"methods/{kind}.html").read_text(encoding="utf-8")
        keys = set(schema["$defs"][reference.rsplit("/", 1)[1]]["properties"]) - {"kind"}
        assert {key for key in keys if f"<td><code>{key}</code></td>" not in page} == set(), kind


def test_settings_reference_has_every_key(site, schema):
    page = (site / "reference/settings.html").read_text(encoding="utf-8")
    blocks = [schema, *schema["$defs"].values()]
    keys = {key for block in blocks for key in block["properties"]} - {"format", "kind"}
    assert len(keys) > 100
    networks = set(schema["$defs"]["ModelsSettings"]["properties"])
    assert {k for k in keys - networks if f"<td><code>{k}</code></td>" not in page} == set()
    assert {k for k in networks if f'id="models-{k}"' not in page} == set()


def test_api_has_functions_with_their_units(site):
    page = (site / "reference/api/metrics.html").read_text(encoding="utf-8")
    assert 'id="realitycheck.metrics.iou.score_mask"' in page


# ------------------------------------------------------------------------------------- the sources


def anchors_of(path):
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    return {slugify(title, "-") for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    """Also where the files are read as they are, and not on the site."""
    text = FENCE.sub("", read(name))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        path = (REPOSITORY / name).parent / file if file else REPOSITORY / name
        if path.resolve() in MADE:
            continue
        assert path.exists(), f"{name}: {target}"
        assert not anchor or anchor in anchors_of(path), f"{name}: {target}"


def commands():
    """Document and words of every command in it: of blocks of shell lines, and in the text."""
    for name in DOCUMENTS:
        lines = [
            line for block in blocks(name, "sh") for line in block.replace("\\\n", " ").splitlines()
        ]
        spans = re.findall(r"`([^`\n]+)`", FENCE.sub("", read(name)))
        for line in [*lines, *spans]:
            for command in line.split("&&"):
                words = shlex.split(command.split(" # ")[0].replace("'", '"'), comments=True)
                if len(words) > 1 and words[0] in PROGRAMS:
                    yield name, words


COMMANDS = {tuple(words): name for name, words in commands()}


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    """Names of the workflow's rules."""
    run = subprocess.run(
        [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")]
        + ["--list-rules", "--quiet"],
        cwd=tmp_path_factory.mktemp("workflow"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    names = set(re.findall(r"^(\w+)(?: \(|$)", run.stdout, re.MULTILINE))
    assert "check_inputs" in names
    return names


def check_make(words):
    targets = set(re.findall(r"^([\w-]+):", read("Makefile"), re.MULTILINE))
    assert {word for word in words if "=" not in word} <= targets


def check_python(words):
    if words[0] != "-m":
        assert (REPOSITORY / words[0]).is_file()
    elif words[1].partition(".")[0] in ("realitycheck", "training"):
        path = REPOSITORY / words[1].replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file()


def check_realitycheck(words, capsys):
    command = words[: 2 if words[0] == "ledger" else 1]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    options = set(re.findall(r"--[\w-]+", capsys.readouterr().out))
    assert {word for word in words if word.startswith("--")} <= options


def check_snakemake(words, rules):
    asked = get_argument_parser().parse_args(words)
    named = {*(asked.until or ()), *(t for t in asked.targets if re.fullmatch(r"[a-z_]+", t))}
    # A rule for each data set is named by its beginning.
    starts = {name for name in named if name.endswith("_")}
    assert named - starts <= rules
    assert all(any(rule.startswith(start) for rule in rules) for start in starts)
    files = [f"{folder}/profile.yaml" for folder in asked.profile or ()]
    files += [str(file) for file in asked.configfile or () if str(file).startswith("configs/")]
    assert [file for file in files if not (REPOSITORY / file).is_file()] == []


@pytest.mark.parametrize(
    "words", COMMANDS, ids=[f"{n}: {' '.join(w)}" for w, n in COMMANDS.items()]
)
def test_commands_exist(words, rules, capsys):
    """With their targets, sub-commands, options, profiles and rules."""
    program, *rest = words
    match program:
        case "make":
            check_make(rest)
        case "python":
            check_python(rest)
        case "realitycheck" if rest[0] == "run":
            file, *its = split(rest[1:])
            check_snakemake([*(["--configfile", file, "-n"] if file else []), *its], rules)
        case "realitycheck":
            check_realitycheck(rest, capsys)
        case "snakemake":
            check_snakemake(rest, rules)


def test_commands_are_found():
    """The reading of the documents sees what a person sees there."""
    assert ("make", "demo") in COMMANDS
    assert ("snakemake", "--list-rules") in COMMANDS
    assert ("realitycheck", "plan", "--max-slip", "0.02") in COMMANDS
    assert ("python", "benchmarks/coverage.py") in COMMANDS


def test_rules_of_the_stages_are_named(rules):
    """The table of the stages is complete, and names no rule that is gone."""
    table = read("docs/run.md").split("| stage |")[1].split("\n\n")[0]
    named = set(re.findall(r"`(\w+)`", table))
    # A rule for each data set is named by its beginning.
    starts = {name for name in named if name.endswith("_")}
    assert named - starts <= rules
    assert all(any(rule.startswith(start) for rule in rules) for start in starts)
    verbs = r"(fetch|generate|prepare|audit|check|align|encode|propose|detect|segment|map|calibrate"
    verbs += r"|train|ask|classify|score)_"
    found = {rule for rule in rules if re.match(verbs, rule)}
    each = {rule for rule in found if any(rule.startswith(start) for start in starts)}
    each |= {rule for rule in found if rule.startswith(("score_labels_", "score_areas_"))}
    assert found - each == {name for name in named - starts if re.match(verbs, name)}


EXAMPLES = [(name, text) for name in DOCUMENTS for text in blocks(name, "yaml")]


@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_examples_are_settings(name, text, schema):
    """An example may leave out other blocks; what it shows must be accepted."""
    partial = {key: value for key, value in schema.items() if key != "required"}
    faults = jsonschema.Draft202012Validator(partial).iter_errors(yaml.safe_load(text))
    assert [fault.message for fault in faults] == []


def test_readme_is_one_screen_and_a_half():
    assert len(read("README.md").splitlines()) <= 150


@pytest.mark.parametrize("name", sorted({*DOCUMENTS} - LAYOUT))
def test_named_files_exist(name):
    """Whoever follows a path finds something."""
    folders = r"(?:benchmarks|configs|envs|profiles|realitycheck|rules|scripts|training)"
    for path in re.findall(rf"`({folders}/[\w./]+)`", FENCE.sub("", read(name))):
        assert (REPOSITORY / path).exists(), f"{name}: {path}"
