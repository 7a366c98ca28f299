"""Digests: what runs again after an edit, and what does not."""

import os
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realitycheck.core import provenance
from realitycheck.core.provenance import (
    N_BUCKETS,
    bucket_digests,
    bucket_of,
    buckets_of,
    digest_of,
    in_shard,
    package_version,
    read_record,
    recorded,
    shard_digest,
    shard_names,
    source_digest,
    stat_signature,
)

UTILITY = '''"""Doubles."""


def double(value):
    """Double a value."""
    return 2 * value  # no more
'''
METHOD = '''"""A method."""

from realitycheck.tools import double as twice
from realitycheck.tools.data import TABLE


class Method:
    """A class."""

    def run(self, value):
        """Run."""
        from realitycheck import late

        return late.FACTOR * twice.double(value) + TABLE
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A tiny package whose files can be edited."""
    folder = tmp_path / "realitycheck"
    files = {
        "__init__.py": "",
        "method.py": METHOD,
        "late.py": "FACTOR = 3\n",
        "unused.py": "X = 1\n",
        "core/__init__.py": "",
        "core/job.py": "def job_log():\n    return 1\n",
        "tools/__init__.py": "",
        "tools/double.py": UTILITY,
        "tools/data.py": 'TABLE = open("values.yaml")\nNOTE = "absent.yaml"\n',
        "tools/values.yaml": "1\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "run.py").write_text(
        "from realitycheck.core.job import job_log\nfrom realitycheck.method import Method\n"
    )
    monkeypatch.setattr(provenance, "_REPOSITORY", tmp_path)
    monkeypatch.setattr(provenance, "WORKFLOW", tmp_path)
    return tmp_path


def digest_after(package, name, old, new):
    path = package / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    provenance._parsed.cache_clear()
    return source_digest("scripts/run.py")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("realitycheck/tools/double.py", "  # no more", "  # and no less"),
        ("realitycheck/tools/double.py", "Double a value.", "Multiply by two."),
        ("realitycheck/tools/double.py", "Doubles.", "Other words."),
        ("realitycheck/method.py", "A class.", "A way to decide."),
        ("realitycheck/tools/double.py", "return 2 * value", "return (2 *\n        value)"),
        ("realitycheck/unused.py", "X = 1", "X = 2"),
        ("realitycheck/core/job.py", "return 1", "return 2"),
    ],
    ids=["comment", "docstring", "module docstring", "class docstring", "layout", "unused", "job"],
)
def test_edit_that_changes_no_number_keeps_the_digest(package, name, old, new):
    """A better comment must not cost a GPU night."""
    before = source_digest("scripts/run.py")
    assert digest_after(package, name, old, new) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("realitycheck/tools/double.py", "2 * value", "3 * value"),
        ("realitycheck/late.py", "3", "4"),
        ("realitycheck/tools/data.py", "TABLE =", "TABLES = TABLE ="),
        ("realitycheck/tools/values.yaml", "1", "2"),
        ("scripts/run.py", "import Method", "import Method as M"),
    ],
    ids=["module of an alias", "late import", "imported name", "data file", "entry"],
)
def test_edit_of_what_is_imported_changes_the_digest(package, name, old, new):
    """A stale result beside new code would be wrong without a sign."""
    before = source_digest("scripts/run.py")
    assert digest_after(package, name, old, new) != before


def test_modules_of_another_package_are_followed_into_their_own(tmp_path, monkeypatch):
    """A method that somebody brings along runs again when its own code is edited, and only then."""
    files = {
        "theirs/__init__.py": "",
        "theirs/method.py": "import json\nfrom . import tools\nfrom .deep.sums import total\n",
        "theirs/tools.py": "FACTOR = 2\n",
        "theirs/unused.py": "FACTOR = 2\n",
        "theirs/deep/__init__.py": "",
        "theirs/deep/sums.py": "from ..tools import FACTOR\nimport theirs_too\ntotal = sum\n",
        "theirs_too.py": "FACTOR = 2\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    digests = [source_digest("theirs.method")]
    for name in ("unused.py", "tools.py", "deep/sums.py"):
        with (tmp_path / "theirs" / name).open("a") as file:
            file.write("OTHER = 1\n")
        provenance._parsed.cache_clear()
        digests.append(source_digest("theirs.method"))
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
    with pytest.raises(FileNotFoundError, match="nowhere_at_all: expected a Python module"):
        source_digest("nowhere_at_all")


@pytest.mark.parametrize("kept", [None, "no JSON", "[]", '{"a": 1}', '{"a": ["short", [], []]}'])
def test_what_is_kept_of_sources_changes_no_digest(package, tmp_path, kept, monkeypatch):
    """A run that finds the sources looked at plans faster, and from the same digests."""
    before = source_digest("scripts/run.py")
    path = tmp_path / "kept" / "sources.json"
    monkeypatch.setattr(provenance, "_KEPT", path)
    written, parsed = [], []
    monkeypatch.setattr(provenance.atexit, "register", written.append)
    look = provenance._look_at
    monkeypatch.setattr(provenance, "_look_at", lambda tree: parsed.append(tree) or look(tree))
    if kept is not None:
        path.parent.mkdir()
        path.write_text(kept)
    for is_kept in (False, True):
        provenance._known_sources.cache_clear()
        provenance._parsed.cache_clear()
        parsed.clear()
        assert source_digest("scripts/run.py") == before
        assert bool(parsed) != is_kept
        written.pop()()
    provenance._known_sources.cache_clear()


def test_entry_that_does_not_exist_is_refused(package):
    """A misspelt rule must not get the digest of nothing."""
    with pytest.raises(FileNotFoundError, match="typo"):
        source_digest("scripts/typo.py")
    with pytest.raises(FileNotFoundError, match="typo"):
        source_digest("realitycheck.typo")


def test_same_code_has_the_same_digest_elsewhere(repository, tmp_path, monkeypatch):
    """Results may be computed in one folder and continued in another."""
    here = source_digest("realitycheck.encoders.sam_embeddings")
    for name in ("realitycheck", "scripts"):
        shutil.copytree(repository / name, tmp_path / name)
    monkeypatch.setattr(provenance, "_REPOSITORY", tmp_path)
    monkeypatch.setattr(provenance, "WORKFLOW", tmp_path)
    assert source_digest("realitycheck.encoders.sam_embeddings") == here
    path = tmp_path / "realitycheck" / "models" / "sam" / "inference.py"
    path.write_text(path.read_text().replace("MASK_THRESHOLD = 0.0", "MASK_THRESHOLD = 0.1"))
    provenance._parsed.cache_clear()
    assert source_digest("realitycheck.encoders.sam_embeddings") != here
    assert source_digest("scripts/gather.py")


def test_package_imports_by_absolute_names(repository):
    """The digest follows absolute imports only, so a relative one would be overlooked."""
    import ast

    for path in sorted((repository / "realitycheck").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), path


def test_package_initialisers_hold_no_code(repository):
    """The digest leaves the `__init__` of a package out when a module of it is imported."""
    import ast

    for path in sorted((repository / "realitycheck").rglob("__init__.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        assert all(isinstance(node, ast.Expr) for node in body), path


def test_digest_ignores_the_order_of_keys():
    """A sorted settings file is the same settings file."""
    assert digest_of({"a": 1, "b": [2, {"c": 3, "d": 4}]}) == digest_of(
        {"b": [2, {"d": 4, "c": 3}], "a": 1}
    )
    assert digest_of([1, 2]) != digest_of([2, 1])


image_ids = st.sets(st.text(min_size=1, max_size=12), max_size=40)


@given(image_ids, st.integers(1, 999))
def test_every_image_lies_in_one_shard(ids, n_shards):
    """None may be dropped and none worked on twice, however many GPUs there are."""
    names = shard_names(n_shards)
    assert len(set(names)) == n_shards
    for image_id in ids:
        assert sum(in_shard(image_id, name) for name in names) == 1


@given(st.integers(1, 999))
def test_shards_cover_all_buckets_once_and_evenly(n_shards):
    """The slowest shard sets the time of all, so sizes differ by one bucket at most."""
    ranges = [buckets_of(name) for name in shard_names(n_shards)]
    assert [bucket for span in ranges for bucket in span] == list(range(N_BUCKETS))
    sizes = {len(span) for span in ranges}
    assert max(sizes) - min(sizes) <= 1


def test_images_spread_evenly_over_shards():
    """4000 ids in 4 shards: each count has a standard deviation of 27 around 1000; 5 of them."""
    counts = [0] * 4
    for number in range(4000):
        counts[bucket_of(f"package/OK/{number:04d}") * 4 // N_BUCKETS] += 1
    assert all(abs(count - 1000) < 5 * 27.4 for count in counts)


def test_bucket_of_an_image_is_fixed_for_all_time():
    """Another answer in a later version would recompute everyone's data set. The sha256 of "a"
    begins with ca978112ca1bbdca; its last ten bits are 0x1ca."""
    assert bucket_of("a") == 0x1CA


@given(image_ids, st.text(min_size=1, max_size=12))
def test_new_image_changes_its_own_bucket_only(ids, new):
    """Ten new images must not re-run the thousand others' shards."""
    before = bucket_digests(dict.fromkeys(ids, "content"))
    after = bucket_digests(dict.fromkeys(ids | {new}, "content"))
    changed = {b for b in before.keys() | after.keys() if before.get(b) != after.get(b)}
    assert changed == (set() if new in ids else {str(bucket_of(new))})


def test_changed_content_changes_its_own_bucket_only():
    """An edited image is an edit of its shard."""
    rows = {f"image/{number}": "old" for number in range(50)}
    before, after = bucket_digests(rows), bucket_digests({**rows, "image/7": "new"})
    assert [b for b in before if before[b] != after[b]] == [str(bucket_of("image/7"))]


def test_order_of_rows_does_not_matter():
    """A file system lists its files in any order."""
    rows = {f"image/{number}": number for number in range(2000)}
    assert bucket_digests(rows) == bucket_digests(dict(reversed(rows.items())))


def test_shard_digest_is_unknown_before_the_images_are_checked(tmp_path):
    """No finished job has this digest, so everything is planned again once it is known."""
    path = tmp_path / "digests.json"
    assert shard_digest(path, "images", "0-of-2") == "unknown"
    assert shard_digest(path, "images") == "unknown"
    assert recorded(path) == {}


def test_shard_digest_sees_its_own_shard_only(tmp_path):
    """An edit in one shard leaves the jobs of the other alone."""
    import json

    path = tmp_path / "digests.json"
    ids = [f"image/{number}" for number in range(20)]
    edited = next(i for i in ids if in_shard(i, "1-of-2"))

    def digests(rows):
        path.write_text(json.dumps({"images": bucket_digests(rows), "truth": {}}))
        os.utime(path, ns=(0, digests.time))
        digests.time += 1
        return [shard_digest(path, "images", shard) for shard in ("0-of-2", "1-of-2", None)]

    digests.time = 1
    before = digests(dict.fromkeys(ids, "old"))
    after = digests({**dict.fromkeys(ids, "old"), edited: "new"})
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, False]


@pytest.mark.parametrize("content", [b"", b'{"files": {', b'{"files": "\xff"}', b"\0" * 40])
def test_damaged_record_is_named_and_made_again(content, tmp_path):
    """The next run finds it missing; a traceback of a parser would help nobody."""
    path = tmp_path / "digests.json"
    for read in (read_record, lambda path: shard_digest(path, "images"), recorded):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"digests.json: damaged .* removed: run again"):
            read(path)
        assert not path.exists()


def test_signature_notices_edits_arrivals_and_losses(tmp_path):
    """Weights that were replaced must be hashed again, and only they."""
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    weights = tmp_path / "sam.pth"
    seen = [stat_signature(folder, weights)]
    weights.write_bytes(b"abc")
    seen.append(stat_signature(folder, weights))
    assert stat_signature(folder, weights) == seen[-1]
    os.utime(weights, ns=(1, 1))
    seen.append(stat_signature(folder, weights))
    (folder / "vocab.txt").write_text("a")
    seen.append(stat_signature(folder, weights))
    (folder / "vocab.txt").unlink()
    weights.unlink()
    seen.append(stat_signature(folder, weights))
    assert len(set(seen)) == 4
    assert seen[0] == seen[-1]


def test_version_is_that_of_the_project(repository):
    """Every table carries it."""
    import tomllib

    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))
    assert package_version() == project["project"]["version"]
