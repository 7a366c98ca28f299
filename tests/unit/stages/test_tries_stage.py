"""What is scored is recorded before, keyed by its parts; what judged nothing is no try."""

import shutil

import pytest

from realitycheck.core.schemas import MANIFEST, REFERENCES, SCORES, VERDICTS
from realitycheck.core.tables import read_table, write_table
from realitycheck.core.tries_file import TriesError, TriesFile
from realitycheck.stages.tries import parts_of, record_scored, tried_so_far, try_of

PARTS = {"a": "OK", "b": "OK", "x": "NOK"}


def a_run(method="asked", prompt="basic", text="Is it bent?", uses_reference=True):
    tried = {"method": "lvlm", "settings": {"n": 1}, "texts": text, "threshold": None}
    tried |= {"weights": {}}
    return {"method": method, "prompt": prompt, "tried": tried, "uses_reference": uses_reference}


def write_manifest(folder, **changes):
    """Three parts, the digests of whose images and masks are their names."""
    path = folder / "manifests" / "chips.parquet"
    rows = [
        dict.fromkeys(MANIFEST.columns)
        | {"dataset": "chips", "image_id": name, "category": "p", "label": label, "split": "test"}
        | {"image_path": name, "width_px": 3, "height_px": 2, "bit_depth": 8, "n_channels": 1}
        | {"sha256": changes.get(name, name), "mask_sha256": name if label == "NOK" else None}
        for name, label in PARTS.items()
    ]
    write_table(rows, path, schema=MANIFEST, facts={})
    return path


def write_references(folder, sha256="a"):
    path = folder / "manifests" / "chips" / "references.parquet"
    row = {"dataset": "chips", "category": "p", "image_id": "a", "image_path": "a"}
    rows = [row | {"sha256": sha256, "is_scored": False}]
    write_table(rows, path, schema=REFERENCES, facts={})
    return path


def write_verdicts(folder, label, method="asked", prompt="basic"):
    path = folder / "verdicts" / "chips" / method / prompt / "labels.parquet"
    rows = [
        dict.fromkeys(VERDICTS.columns)
        | {"dataset": "chips", "image_id": name, "method": method, "prompt": prompt, "sample": 0}
        | {"label_predicted": label, "status": "answered" if label else "not_asked"}
        for name in PARTS
    ]
    write_table(rows, path, schema=VERDICTS, facts={})
    return path


@pytest.fixture
def chips(tmp_path):
    """Manifest and references of three parts, and what a job is told of one run."""
    told = {"file": tmp_path / "ledger" / "tries.jsonl", "runs": [a_run()], "family": []}
    return write_manifest(tmp_path), write_references(tmp_path), told


def counted(folder, chips, judged=(("chips", "asked", "basic"),), **changes):
    """What a table is told."""
    manifest, references, told = chips
    settings = {
        "file": told["file"],
        "note": folder / "tries_seen.json",
        "elsewhere": {},
        "locked": {},
    }
    found = tried_so_far(
        {"chips": told["runs"]},
        {"chips": manifest},
        {"chips": references},
        judged=set(judged),
        **settings | changes,
    )
    return found["chips"].count


def test_run_counts_once_and_only_if_it_judged(tmp_path, chips):
    """A question that was never sent is no try; nor is a baseline, which is no run here."""
    manifest, references, told = chips
    silent = write_verdicts(tmp_path, None)
    floor = write_verdicts(tmp_path, "OK", "accept_everything", "none")
    assert record_scored(manifest, references, [silent, floor], **told) == 0
    assert counted(tmp_path, chips, judged=()).n_tries == 0
    answered = write_verdicts(tmp_path, "OK")
    for _ in range(2):
        assert record_scored(manifest, references, [answered, floor], **told) == 1
        assert counted(tmp_path, chips).n_tries == 1


def test_verdicts_by_area_are_tries_of_their_own(tmp_path, chips):
    """They are made from the scores of the masks."""
    manifest, references, told = chips
    path = tmp_path / "scores" / "chips" / "asked" / "basic" / "images.parquet"
    rows = [
        dict.fromkeys(SCORES.columns)
        | {"dataset": "chips", "image_id": name, "method": "asked", "prompt": "basic"}
        | {"category": "p", "label": label, "status": "ok"}
        for name, label in PARTS.items()
    ]
    write_table(rows, path, schema=SCORES, facts={})
    by_area = a_run("asked_area")
    by_area["tried"]["threshold"] = {"area": 0.05}
    record_scored(manifest, references, [path], **told)
    record_scored(manifest, references, [path], **told | {"runs": [by_area]})
    assert counted(tmp_path, chips).n_tries == 2


def test_another_reference_is_another_try_for_what_is_shown_one(tmp_path, chips):
    """And no other one."""
    manifest, references, told = chips
    answered = [write_verdicts(tmp_path, "OK")]
    for sha256 in ("a", "b"):
        references = write_references(tmp_path, sha256)
        record_scored(manifest, references, answered, **told)
        blind = [a_run(text="blind", uses_reference=False)]
        record_scored(manifest, references, answered, **told | {"runs": blind})
    assert len([r for r in TriesFile(told["file"]).read() if r.kind == "try"]) == 3


def test_edited_image_or_mask_reading_begins_a_new_count(tmp_path, chips):
    """The order of the rows and the names of the images do not."""
    manifest = read_table(chips[0], schema=MANIFEST)
    parts = parts_of(manifest)
    renamed = manifest.iloc[::-1].assign(image_id=["1", "2", "3"], image_path="elsewhere")
    assert parts_of(renamed) == parts
    assert parts_of(manifest.assign(mask_reading="dark")) != parts
    record_scored(*chips[:2], [write_verdicts(tmp_path, "OK")], **chips[2])
    edited = (write_manifest(tmp_path, x="edited"), *chips[1:])
    found = counted(tmp_path, edited)
    assert (found.n_tries, found.n_before) == (1, 1)


def test_results_older_than_the_file_are_counted_with_their_table(tmp_path, chips):
    """And tries that were made elsewhere, of each reason the largest number."""
    for n_tries in (12, 5):
        found = counted(tmp_path, chips, elsewhere={"chips": {"a pilot": n_tries}})
        assert (found.n_scored, found.n_elsewhere) == (1, 12)


def test_results_notice_a_file_that_is_gone(tmp_path, chips):
    """With its own witness deleted, too."""
    counted(tmp_path, chips)
    shutil.rmtree(tmp_path / "ledger")
    with pytest.raises(TriesError, match="the record of tries is missing, but 2 were there"):
        counted(tmp_path, chips)
    (tmp_path / "tries_seen.json").unlink()
    assert counted(tmp_path, chips).n_tries == 1


def test_family_is_fixed_by_the_first_job_that_scores(tmp_path, chips):
    """Later ones leave it as it is; after a try it is refused, and nothing is recorded."""
    manifest, references, told = chips
    answered = [write_verdicts(tmp_path, "OK")]
    family = [a_run(), a_run(prompt="other", text="Is it wet?")]
    for runs in (family, [*family[:1], a_run(prompt="other", text="Is it dry?")]):
        record_scored(manifest, references, answered, **told | {"family": runs})
        assert len(counted(tmp_path, chips).family) == 2
    late = told | {"file": tmp_path / "late.jsonl"}
    record_scored(manifest, references, answered, **late)
    with pytest.raises(TriesError, match="cannot be named as fixed before any was scored"):
        record_scored(manifest, references, answered, **late | {"family": family})


def test_locked_parts_count_who_opened_them(tmp_path, chips):
    """Scored or not; the other parts say that they are there, and when they were opened."""
    locked = {"n_ok": 30, "n_nok": 20, "parts": "digest", "is_opened": False}
    said = counted(tmp_path, chips, locked={"chips": locked}).words()
    assert said.endswith("50 more parts are locked; nothing was scored on them.")
    file = TriesFile(chips[2]["file"])
    for text in ("one", "another", "one"):
        of = try_of(*chips[:2], a_run(text=text))
        file.open_locked("chips", "digest", of=of, by=f"by {text}")
    said = counted(tmp_path, chips, locked={"chips": locked}).words()
    assert "50 more parts were locked, and opened on 20" in said and "settings by another" in said
    found = counted(tmp_path, chips, locked={"chips": locked | {"is_opened": True}})
    assert found.n_tries == 2
    assert "These 50 parts were locked, and opened on 20" in found.words()
