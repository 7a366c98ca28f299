"""Questions about small drawn images, and the project's servers on this machine."""

import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from realitycheck.lvlm.assembly import Subject, questions_for
from realitycheck.lvlm.backends.registry import service_of
from realitycheck.lvlm.limiter import RateLimits
from realitycheck.lvlm.pricing import read_prices
from realitycheck.lvlm.prompts import PromptTemplate
from realitycheck.lvlm.questions import picture_of
from realitycheck.lvlm.runner import ask

sys.path.insert(0, str(Path(__file__).parents[2] / "servers"))

KEY = "AIza-a-key-that-must-appear-nowhere-0123456789"
MODELS = {"gemini": "gemini-2.5-pro", "vertex": "gemini-2.5-pro", "openai_compatible": "qwen-vl"}


@pytest.fixture(autouse=True)
def no_account_in_the_environment(monkeypatch):
    """Tests neither use nor see keys, addresses or accounts of whoever runs them."""
    import os

    for name in list(os.environ):
        if name.startswith(("GOOGLE_", "GEMINI_", "OPENAI_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def draw(seed: int, size: int = 24) -> np.ndarray:
    """A small picture of its own, uint8 (H, W, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (size, size + 8, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def servers():
    """The two protocol servers and how their answers are written."""
    import gemini_server
    import openai_server
    from scripted import Served

    return SimpleNamespace(gemini=gemini_server, openai=openai_server, Served=Served)


@pytest.fixture(scope="session")
def prices():
    """The price table that comes with the package, as it was on a day, and will be for ever."""
    table = read_prices()
    models = {
        name: tuple(
            replace(row, valid_from=None, valid_until=None)
            for row in rows
            if row.holds_on(date(2026, 11, 22))
        )
        for name, rows in table.models.items()
    }
    return replace(table, models=models)


@pytest.fixture(scope="session")
def make_questions():
    """Put together `n` questions with a common reference image."""

    def make(n=3, *, service="gemini", model=None, text="Is it defective?", first=0, **settings):
        reference = picture_of(draw(10_000))
        subjects = [
            Subject(f"part/{i:04d}", picture_of(draw(i)), reference)
            for i in range(first, first + n)
        ]
        prompt = PromptTemplate("test-1", text)
        return questions_for(
            subjects, prompt, service=service, model=model or MODELS[service], **settings
        )

    return make


@pytest.fixture
def make_backend():
    """A backend that talks to a server of the test."""

    def make(service, url, **settings):
        address = f"{url}/v1" if service == "openai_compatible" else url
        return service_of(service)({"base_url": address, **settings}, api_key=KEY)

    return make


@pytest.fixture
def put(tmp_path, prices, make_backend):
    """Ask questions of a server, with a ledger in the test's folder and short pauses."""

    def run(questions, url, *, ledger="ledger.sqlite", backend=None, rate_limits=None, **settings):
        service = questions[0].service
        known = {"in_flight": 1, "requests_per_minute": None, "timeout_s": 20, "backoff_s": 0.02}
        return ask(
            questions,
            tmp_path / ledger,
            backend=backend or make_backend(service, url),
            dataset="cookies",
            method="lvlm",
            prompt="plain",
            **{"prices": prices, "may_leave_site": True, **settings},
            rate_limits=RateLimits(**{**known, **(rate_limits or {})}),
            rng=np.random.default_rng(0),
        )

    return run
