"""A service from a package of its own, found by its entry point."""

import runpy
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from realitycheck.core import provenance
from realitycheck.core.files import image_file
from realitycheck.core.images import write_png
from realitycheck.core.schemas import REFERENCES, TRANSFORMS, VERDICTS
from realitycheck.core.tables import read_table, write_table
from realitycheck.lvlm.backends.registry import SERVICES, service_of
from realitycheck.planning.checking import further_faults
from realitycheck.planning.plan import Plan
from realitycheck.settings.load import json_schema, load_settings

MODULE = '''
"""A service that answers at once."""

import json

from realitycheck.lvlm.backends.base import Backend, Reply
from realitycheck.lvlm.backends.parameters import COMMON, Parameter
from realitycheck.lvlm.verdict import Verdict, name_of, verdict_of_texts


class DummyBackend(Backend):
    service = "dummy"
    parameters = {**COMMON, "mood": Parameter(str, choices=("MILD", "STRICT"))}
    key_env = "DUMMY_KEY"
    members = ("said",)
    library = "dummy 1"

    @classmethod
    def own_address(cls, settings):
        return "https://dummy.example/"

    @classmethod
    def parse(cls, body):
        facts = {"model_returned": name_of(body.get("model")), "tokens_in": 10, "tokens_out": 5}
        return verdict_of_texts([body["said"]], "end", facts)

    async def send(self, question, *, timeout_s):
        label = "NOK" if question.parameters["mood"] == "STRICT" else "OK"
        said = json.dumps({"reasoning": "Dummy.", "label": label, "score": 90})
        return Reply(200, json.dumps({"model": question.model, "said": said}))


BACKENDS = (DummyBackend,)
'''


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """Put a package with a service on the path, as an installer would, in a folder of its own."""
    folder = tmp_path / "site"
    info = folder / "dummy_service-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "dummy_service.py").write_text(MODULE, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dummy-service\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[realitycheck.services]\ndummy = dummy_service\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("DUMMY_KEY", "a-key-for-the-dummy")
    monkeypatch.chdir(tmp_path)
    SERVICES.__dict__.pop("modules", None)
    yield folder
    SERVICES.__dict__.pop("modules", None)
    sys.modules.pop("dummy_service", None)


def settings_of(**block):
    method = {"kind": "lvlm", "backend": "dummy", "model": "d-1", **block}
    return load_settings(
        {
            "datasets": {"chips": {"format": "synthetic_sat", "may_leave_site": True}},
            "prompts": {"chips": {"basic": {"lvlm": "Is the {object} defective?"}}},
            "methods": {"ask": {"parameters": {"mood": "strict"}, **method}},
        }
    )


def write_aligned(folder):
    """One image and its reference, as the jobs before would have written them."""
    rng = np.random.default_rng(0)
    aligned = folder / "aligned"
    write_png(rng.integers(0, 256, (24, 32, 3), np.uint8), image_file(aligned, "die/NOK/1"))
    write_png(rng.integers(0, 256, (24, 32, 3), np.uint8), folder / "reference.png")
    transforms = pd.DataFrame([dict.fromkeys(TRANSFORMS.columns)]).assign(
        dataset="chips", image_id="die/NOK/1", category="die", status="not_requested"
    )
    references = pd.DataFrame([dict.fromkeys(REFERENCES.columns)]).assign(
        dataset="chips", category="die", image_path=str(folder / "reference.png")
    )
    for rows, name, schema in [
        (transforms, "transforms", TRANSFORMS),
        (references, "references", REFERENCES),
    ]:
        write_table(rows, aligned / f"{name}.parquet", schema=schema, facts={})
    return aligned


def test_service_of_another_package_is_asked_like_any_other(outside, tmp_path, repository):
    """Settings, checks, price, question, answer and row need no line of this package."""
    settings = settings_of(price={"input": 1, "output": 1})
    assert further_faults(settings, tmp_path) == []
    aligned, plan = write_aligned(tmp_path), Plan(settings)
    job = SimpleNamespace(
        log=[str(tmp_path / "log")],
        input=SimpleNamespace(
            transforms=str(aligned / "transforms.parquet"),
            references=str(aligned / "references.parquet"),
        ),
        output=SimpleNamespace(labels=str(tmp_path / "labels.parquet")),
        wildcards={"dataset": "chips", "method": "ask", "prompt": "basic"},
        params=SimpleNamespace(
            settings=settings.method_settings("ask"),
            asked=plan.lvlm_prompt("chips", "basic"),
            intensity=settings.alignment_settings("chips")["intensity"],
            may_leave_site=True,
            has_key=plan.has_key("ask"),
            code=plan.service_code("ask"),
        ),
    )
    runpy.run_path(str(repository / "scripts/ask_lvlm.py"), init_globals={"snakemake": job})
    row = read_table(job.output.labels, schema=VERDICTS).iloc[0]
    assert (row["status"], row["label_predicted"], row["score"]) == ("answered", "NOK", 0.9)
    assert (row["model_returned"], row["cost_usd"]) == ("d-1", pytest.approx(15e-6))


def test_edited_service_asks_its_jobs_again_and_no_other(outside):
    """What is stored is read anew; nothing is sent twice."""
    before = Plan(settings_of()).service_code("ask")
    other = Plan(settings_of(backend="gemini", parameters={})).service_code("ask")
    (outside / "dummy_service.py").write_text(MODULE.replace('"end"', '"stop"'), encoding="utf-8")
    provenance._parsed.cache_clear()
    assert Plan(settings_of()).service_code("ask") != before
    assert Plan(settings_of(backend="gemini", parameters={})).service_code("ask") == other


def test_services_of_other_packages_stand_in_the_schema(outside):
    """So that an editor knows them too."""
    found = json_schema()["$defs"]["LvlmMethod"]["properties"]["backend"]["enum"]
    assert found == [*SERVICES.modules, "replay"] and "dummy" in found


def test_unknown_service_is_refused_with_the_known_ones():
    with pytest.raises(
        ValueError,
        match=r"service: expected one of gemini, vertex, .*, found 'dummy'; .*entry point",
    ):
        settings_of()


def test_module_that_does_not_list_its_service_is_named(outside):
    text = MODULE.replace("BACKENDS = (DummyBackend,)", "BACKENDS = ()")
    (outside / "dummy_service.py").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="the module dummy_service does not list it"):
        service_of("dummy")
