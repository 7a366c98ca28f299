"""Snakemake's record of a file counts only for that file; what that takes is in Snakemake."""

import asyncio
import inspect
import os
from types import SimpleNamespace

import pytest
from snakemake import persistence as snakemake_persistence
from snakemake.persistence import RECORD_FORMAT_VERSION, MetadataRecord, PersistenceBase
from snakemake.persistence.file import FilePersistence

from realitycheck.core import snakemake_patch


def test_snakemake_still_has_what_is_replaced_and_relied_on():
    """Its class for records is private: another release may change it without notice.

    If this fails, compare `realitycheck.core.snakemake_patch` with the new class.
    """
    methods = {
        "metadata": ["self", "target"],
        "finished": ["self", "job"],
        "deactivate_cache": ["self"],
        "_read_record": ["self", "key"],
        "_write_record": ["self", "key", "record"],
    }
    replaced = {"metadata": snakemake_patch._recorded_metadata} | {
        "finished": snakemake_patch._recorded_end
    }
    for name, parameters in methods.items():
        method = replaced.get(name) or getattr(FilePersistence, name)
        assert list(inspect.signature(method).parameters) == parameters, name
    assert inspect.iscoroutinefunction(snakemake_patch._recorded_end)
    fields = {"record_format_version", "params", "endtime", "input_checksums"}
    assert fields <= set(MetadataRecord.model_fields)
    assert isinstance(RECORD_FORMAT_VERSION, int)
    # Every question about a file's record, that of changed params too, goes through `metadata`.
    source = inspect.getsource(snakemake_persistence)
    assert "self._read_record(self._get_key(target))" in source
    assert "def params(self, path" in source and "self.metadata(path)" in source
    assert not {"metadata", "finished"} & set(vars(FilePersistence)), "else it would come first"


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A file with a record of it, and Snakemake's class with its methods replaced."""
    monkeypatch.setattr(PersistenceBase, "metadata", PersistenceBase.metadata)
    monkeypatch.setattr(PersistenceBase, "finished", PersistenceBase.finished)
    path = tmp_path / "made.txt"
    path.write_text("made")
    records = {}
    record = MetadataRecord(
        record_format_version=RECORD_FORMAT_VERSION, params=["a"], endtime=path.stat().st_mtime
    )

    async def end(persistence, job):
        records[str(path)] = record

    persistence = SimpleNamespace(
        _read_record=records.get,
        _write_record=records.__setitem__,
        deactivate_cache=lambda: None,
    )
    monkeypatch.setattr(snakemake_patch, "_recorded_end", end)
    monkeypatch.setattr(
        snakemake_patch, "_recorded_metadata", lambda _, target: records.get(str(target))
    )
    snakemake_patch.install()
    asyncio.run(PersistenceBase.finished(persistence, SimpleNamespace(output=[path])))
    return path, lambda: PersistenceBase.metadata(persistence, path).params


def test_record_counts_for_the_file_it_is_of_and_for_its_copies(kept):
    """A copy without its date has the content that was noted."""
    path, params = kept
    assert params() == ["a"]
    os.utime(path, (0, 0))
    assert params() == ["a"]


def test_file_that_a_job_of_a_killed_run_wrote_later_has_no_record(kept):
    """It may be of settings before an edit, and must be made again."""
    path, params = kept
    path.write_text("made by another")
    os.utime(path, (0, 0))
    assert params() == ["no record of this file"]
