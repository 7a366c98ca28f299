"""Keys: read from where they belong, removed from everything else."""

import base64
import io
import logging

import pytest

from realitycheck.lvlm.keys import REMOVED, MissingKeyError, Redactor, hidden, read_key

KEY = "sk-12+34/56==abcdef"


def test_key_comes_from_the_file_before_the_environment(tmp_path, monkeypatch):
    (tmp_path / "key").write_text(f"{KEY}\n")
    monkeypatch.setenv("MY_KEY", "another-key-altogether")
    assert read_key(env="MY_KEY", file=tmp_path / "key") == KEY
    assert read_key(env="MY_KEY") == "another-key-altogether"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "the environment variable MY_KEY is empty"),
        ("abc", "MY_KEY does not hold a key: expected at least 8 characters"),
        ("two words here", "without white space"),
    ],
)
def test_what_is_no_key_is_refused_without_being_shown(monkeypatch, value, message):
    monkeypatch.setenv("MY_KEY", value)
    with pytest.raises(MissingKeyError, match=message) as caught:
        read_key(env="MY_KEY")
    assert not value or value not in str(caught.value)


def test_missing_places_are_named(tmp_path, monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(MissingKeyError, match="MY_KEY is empty; put the key there"):
        read_key(env="MY_KEY")
    with pytest.raises(MissingKeyError, match="key file .*nothing cannot be read"):
        read_key(file=tmp_path / "nothing")
    with pytest.raises(MissingKeyError, match="neither an environment variable nor a file"):
        read_key()


def test_key_is_removed_in_all_its_forms():
    """Addresses and headers write it otherwise."""
    encoded = base64.b64encode(KEY.encode()).decode()
    text = f"{KEY} ?key=sk-12%2B34%2F56%3D%3Dabcdef Basic {encoded}"
    assert Redactor(KEY)(text).count(REMOVED) == 3
    assert "sk-12" not in Redactor(KEY)(text)


def test_redactor_does_not_show_its_key():
    assert KEY not in repr(Redactor(KEY))


def test_key_does_not_reach_the_log():
    """Not by a message, not by an argument, not by a traceback."""
    stream = io.StringIO()
    logger = logging.getLogger("a.library")
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    try:
        with hidden(Redactor(KEY)):
            logger.error("sent %s", KEY)
            logger.error("headers: %(headers)s", {"headers": {"key": KEY}})
            logger.error("%d " + KEY, "not a number")
            try:
                raise ValueError(f"bad {KEY}")
            except ValueError:
                logger.exception("failed")
        logger.error("afterwards %s", "all as before")
    finally:
        logger.removeHandler(handler)
    written = stream.getvalue()
    assert KEY not in written
    assert written.count(REMOVED) == 4
    assert "Traceback" in written
    assert "all as before" in written


def test_overlapping_runs_hide_both_keys_and_leave_logging_as_it_was():
    """Two runs in two threads need not end in the order in which they began."""
    before = logging.getLogRecordFactory()
    first, second = hidden(Redactor(KEY)), hidden(Redactor("another-key-altogether"))
    first.__enter__()
    second.__enter__()
    record = logging.getLogRecordFactory()(
        "n", 20, "f", 1, f"{KEY} another-key-altogether", (), None
    )
    assert record.getMessage() == f"{REMOVED} {REMOVED}"
    first.__exit__(None, None, None)
    record = logging.getLogRecordFactory()("n", 20, "f", 1, "another-key-altogether", (), None)
    assert record.getMessage() == REMOVED
    second.__exit__(None, None, None)
    assert logging.getLogRecordFactory() is before
