"""From settings to a backend."""

import ast
from pathlib import Path

import pytest

from realitycheck.lvlm.backends.registry import SERVICES, backend_for
from realitycheck.lvlm.keys import MissingKeyError

KEY = "AIza-a-key-that-must-appear-nowhere-0123456789"


def test_each_service_has_its_backend(monkeypatch, tmp_path):
    """With the address that is talked to known from the start."""
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    (tmp_path / "key").write_text(KEY)
    for settings, address in [
        ({"service": "gemini"}, "https://generativelanguage.googleapis.com/"),
        ({"service": "gemini", "base_url": "http://127.0.0.1:1"}, "http://127.0.0.1:1"),
        (
            {"service": "vertex", "project": "p", "location": "europe-west4"},
            "https://europe-west4-aiplatform.googleapis.com/",
        ),
        (
            {"service": "vertex", "key_file": tmp_path / "key"},
            "https://aiplatform.googleapis.com/",
        ),
        ({"service": "openai_compatible", "base_url": "http://h/v1"}, "http://h/v1"),
        ({"service": "openai_compatible", "base_url": "http://h:8/v1"}, "http://h:8/v1"),
    ]:
        backend = backend_for(settings)
        assert (backend.service, backend.endpoint.address) == (settings["service"], address)
        assert KEY not in repr(backend)


def test_replay_asks_for_no_key():
    assert backend_for({"backend": "replay", "service": "gemini"}).service == "gemini"


def test_missing_key_is_told_with_its_place():
    """So that the caller can say: not asked, no key."""
    with pytest.raises(MissingKeyError, match="environment variable GEMINI_API_KEY is empty"):
        backend_for({"service": "gemini"})
    with pytest.raises(MissingKeyError, match="environment variable MY_KEY is empty"):
        backend_for(
            {"service": "openai_compatible", "base_url": "http://h/v1", "key_env": "MY_KEY"}
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"service": "claude"}, "expected one of gemini, vertex, openai_compatible"),
        ({"service": "openai_compatible"}, "needs base_url, the server's address"),
        (
            {"service": "openai_compatible", "base_url": "http://h/v1", "project": "p"},
            "project: is not a setting of backend openai_compatible; remove it",
        ),
    ],
)
def test_missing_and_foreign_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        backend_for(settings)


def test_no_service_is_named_outside_its_module(repository):
    """Else a service from another package falls into somebody else's branch."""
    allowed = {"lvlm/backends", "methods/lvlm/settings.py"}
    package = repository / "realitycheck"
    for path in package.rglob("*.py"):
        place = path.relative_to(package).as_posix()
        if path.parent.relative_to(package).as_posix() in allowed or place in allowed:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        assert not texts & set(SERVICES.modules), place
    shared = {"base", "egress", "errors", "transport", "dialect", "parameters", "replay"}
    for name in shared:
        path = Path(package, "lvlm", "backends", f"{name}.py")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        assert not texts & set(SERVICES.modules), name
