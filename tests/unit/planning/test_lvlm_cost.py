"""Quotes before a run: what is counted, what is missing."""

import json
from datetime import date

import numpy as np
import pytest
import yaml

from realitycheck.__main__ import main
from realitycheck.core.files import image_file
from realitycheck.core.images import write_png
from realitycheck.core.schemas import REFERENCES, TRANSFORMS
from realitycheck.core.tables import read_table, write_table
from realitycheck.lvlm.ledger import Ledger
from realitycheck.methods.lvlm.classifier import questions_of
from realitycheck.planning.lvlm_cost import estimates
from realitycheck.planning.plan import Plan
from realitycheck.settings.load import load_settings

N_IMAGES = 4


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Two models and two prompts on one data set; the working directory is the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    return {
        "datasets": {"chips": {"format": "synthetic_sat"}},
        "prompts": {
            "chips": {
                "basic": {"lvlm": "Is it defective?"},
                "refined": {"lvlm": "Is it defective? Look closely at its edges."},
            }
        },
        "methods": {
            "gemini": {
                "kind": "lvlm",
                "model": "gemini-2.5-pro",
                "max_cost_usd": 5,
                "price": {"input": 1.25, "output": 10},
            },
            "own": {
                "kind": "lvlm",
                "backend": "openai_compatible",
                "base_url": "http://127.0.0.1:9/v1",
                "model": "qwen",
            },
        },
    }


def write_aligned(folder):
    """What the stages before would have written: four images of 64 px and a reference."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(N_IMAGES):
        image_id = f"product/OK/{number}"
        pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        write_png(pixels, image_file(folder / "results/aligned/chips", image_id))
        known = {"dataset": "chips", "image_id": image_id, "category": "product"}
        rows.append(dict.fromkeys(TRANSFORMS.columns) | known | {"status": "aligned"})
    write_table(
        rows, folder / "results/aligned/chips/transforms.parquet", schema=TRANSFORMS, facts={}
    )
    write_png(np.zeros((64, 64, 3), np.uint8), folder / "reference.png")
    row = {"dataset": "chips", "category": "product", "image_path": str(folder / "reference.png")}
    write_table(
        [dict.fromkeys(REFERENCES.columns) | row | {"is_scored": False}],
        folder / "results/manifests/chips/references.parquet",
        schema=REFERENCES,
        facts={},
    )


def said(settings, tmp_path, capsys):
    """Exit status, output and errors of the command."""
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    status = main(["quote", "mine.yaml"])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def test_every_run_has_its_estimate_and_all_have_a_sum(settings, tmp_path, capsys):
    """Text of a few tokens, two images of 258 tokens each, and an assumed answer.

    Output: 1,150 tokens at 10 USD per million are 0.0115 USD a question, 0.05 USD for four.
    """
    write_aligned(tmp_path)
    del settings["methods"]["own"]
    status, out, err = said(settings, tmp_path, capsys)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(
        "chips, gemini, prompt basic: 4 questions, 0 answered already, 4 to ask: about 0.05 USD"
    )
    assert "4,600 out; budget gemini: 0.00 USD spent so far, limit 5.00 USD" in lines[1]
    assert lines[2].startswith("chips, gemini, prompt refined: 4 questions")
    assert lines[4].startswith("in total: 8 questions, 0 answered already, 8 to ask: about 0.10")


def test_answers_in_the_ledger_cost_nothing_more(settings, tmp_path, capsys):
    """One question is answered; its measured length then replaces the assumed one."""
    write_aligned(tmp_path)
    del settings["methods"]["own"]
    loaded = load_settings(settings)
    plan = Plan(loaded)
    block = loaded.method_settings("gemini")
    question = questions_of(
        read_table("results/aligned/chips/transforms.parquet", schema=TRANSFORMS),
        read_table("results/manifests/chips/references.parquet", schema=REFERENCES),
        images_folder="results/aligned/chips",
        asked=plan.lvlm_prompt("chips", "basic"),
        settings=block,
        intensity=loaded.alignment_settings("chips")["intensity"],
    )[0]
    answer = json.dumps({"reasoning": "Clean.", "label": "OK", "score": 3})
    body = {
        "candidates": [{"content": {"parts": [{"text": answer}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 600, "candidatesTokenCount": 50},
        "modelVersion": "gemini-2.5-pro",
    }
    with Ledger(block["ledger"]) as ledger:
        claim = ledger.claim(
            question.key, question.canonical, run="r", run_began=0, budget="gemini"
        )
        ledger.finish(claim.attempt_id, outcome="answered", state="answered", body=json.dumps(body))
        ledger.settle(claim.attempt_id, 0.25)
    found = {run.prompt: run for run in estimates(loaded)}
    assert found["basic"].estimate.n_answered == 1 and found["basic"].estimate.n_to_ask == 3
    assert found["basic"].estimate.tokens_in == 1800 and found["basic"].estimate.tokens_out == 150
    assert found["basic"].spent_usd == 0.25
    assert found["refined"].estimate.n_to_ask == 4


def test_a_model_without_price_is_counted_in_tokens(settings, tmp_path, capsys):
    """And with the price that its block gives, in money."""
    write_aligned(tmp_path)
    del settings["methods"]["gemini"]
    status, out, _ = said(settings, tmp_path, capsys)
    assert status == 0
    assert "4 to ask; qwen has no price in the table of" in out
    assert out.splitlines()[-1].endswith("8 to ask; some models have no price")
    assert "no limit is set (max_cost_usd)" in out
    settings["methods"]["own"]["price"] = {"input": 0, "output": 100}
    _, out, _ = said(settings, tmp_path, capsys)
    # 150 assumed tokens of eight answers at 100 USD per million
    assert "8 to ask: about 0.12 USD" in out


def test_before_the_images_are_aligned_it_says_what_to_do(settings, tmp_path, capsys):
    """The command that writes what is missing asks nothing itself."""
    status, out, err = said(settings, tmp_path, capsys)
    assert status == 1
    assert out.count("no estimate yet; results/aligned/chips/transforms.parquet") == 4
    assert "--configfile mine.yaml results/aligned/chips/transforms.parquet" in err


def test_without_a_model_to_ask_there_is_nothing_to_quote(settings, tmp_path, capsys):
    """Said in words, not as an empty answer."""
    settings["methods"] = {"pixel_difference": {}}
    status, out, _ = said(settings, tmp_path, capsys)
    assert status == 0 and "no method asks a vision language model" in out


def test_faults_of_the_settings_are_told_as_by_check(tmp_path, capsys):
    """One way to word them."""
    (tmp_path / "mine.yaml").write_text("datasets: {}", encoding="utf-8")
    assert main(["quote", str(tmp_path / "mine.yaml")]) == 1
    assert "datasets" in capsys.readouterr().err


def test_a_model_whose_price_has_ended_gets_no_estimate(settings, tmp_path, capsys, monkeypatch):
    """Money would be spent and no one can say how much: a failing status, and what to do."""
    monkeypatch.setattr("realitycheck.lvlm.pricing.today", lambda: date(2027, 6, 1))
    write_aligned(tmp_path)
    del settings["methods"]["gemini"]["price"]
    status, out, _ = said(settings, tmp_path, capsys)
    assert status == 1
    assert (
        "chips, gemini, prompt basic: no estimate: 4 questions, 0 answered already, 4 to ask; the "
        in out
    )
    assert "the price of gemini-2.5-pro ended on 2026-11-30" in out
    assert "methods.gemini.price: {input, output}" in out and "a model that is served" in out
    settings["methods"]["gemini"]["price"] = {"input": 1, "output": 1}
    assert said(settings, tmp_path, capsys)[0] == 0
