"""Questions put together from aligned images and settings, as the workflow does it."""

import json

import numpy as np
import pandas as pd
import pytest

from realitycheck.core.files import image_file
from realitycheck.core.images import write_png
from realitycheck.core.words import object_name
from realitycheck.lvlm.backends.registry import backend_for
from realitycheck.lvlm.keys import MissingKeyError
from realitycheck.lvlm.ledger import Ledger
from realitycheck.lvlm.limiter import RateLimits
from realitycheck.lvlm.pricing import prices_of
from realitycheck.lvlm.prompts import SYSTEM_TEXT
from realitycheck.lvlm.questions import Picture
from realitycheck.methods.lvlm.classifier import NO_DEFECT_NAMED, questions_of
from realitycheck.methods.lvlm.settings import LvlmMethod
from realitycheck.planning.plan import Plan
from realitycheck.settings.run import Settings
from realitycheck.stages.lvlm import known_rows

IDS = ["die/OK/1", "die/NOK/2", "lead/OK/1"]
ASKED = {
    "lvlm": "Does this {object} have {defects}?",
    "system": None,
    "reference": True,
    "examples": [],
    "object_name": {"die": "power die"},
    "defect_names": ["a void", "a crack"],
}


def draw(seed):
    return np.random.default_rng(seed).integers(0, 256, (40, 56, 3), dtype=np.uint8)


def settings_of(**block):
    """The settings of a method, as a rule hands them to its script."""
    return LvlmMethod(kind="lvlm", **block).plain()


@pytest.fixture
def put(tmp_path):
    """Put the questions of three images in two categories together."""
    for seed, image_id in enumerate(IDS):
        write_png(draw(seed), image_file(tmp_path / "aligned", image_id))
    for category, seed in (("die", 100), ("lead", 101)):
        write_png(draw(seed), tmp_path / f"{category}.png")
    transforms = pd.DataFrame({"image_id": IDS, "category": ["die", "die", "lead"]})
    references = pd.DataFrame(
        {
            "category": ["die", "lead"],
            "image_path": [str(tmp_path / "die.png"), str(tmp_path / "lead.png")],
        }
    )

    def questions(references=references, asked=None, **block):
        return questions_of(
            transforms,
            references,
            images_folder=tmp_path / "aligned",
            asked=ASKED | (asked or {}),
            settings=settings_of(**block),
            intensity={"mapping": "identity", "low": None, "high": None},
        )

    return questions


def pixels(question):
    return [picture.pixels() for picture in question.pictures]


def test_each_image_is_asked_about_with_its_categorys_reference_first(put):
    """Reference, image, question: in this order, with these pixels and words."""
    questions = put()
    assert [q.image_id for q in questions] == IDS
    for seed, (question, reference) in enumerate(zip(questions, (100, 100, 101), strict=True)):
        shown = pixels(question)
        assert len(shown) == 2
        assert (shown[0] == draw(reference)).all() and (shown[1] == draw(seed)).all()
        assert question.system == SYSTEM_TEXT
    assert questions[0].parts[-1] == "Does this power die have a void, a crack?"
    assert questions[2].parts[-1] == "Does this lead have a void, a crack?"


def test_words_fall_back_to_the_category_and_to_any_deviation(put):
    """A new product has neither a name nor a list of defects yet."""
    question = put(asked={"object_name": None, "defect_names": []})[0]
    assert question.parts[-1] == f"Does this die have {NO_DEFECT_NAMED}?"
    assert object_name(None, "metal_nut") == "metal nut"
    assert object_name("part", "metal_nut") == "part"


def test_a_prompt_without_reference_shows_the_image_alone(put):
    """Then a data set needs no reference at all."""
    nobody = pd.DataFrame({"category": [], "image_path": []})
    for question in put(references=nobody, asked={"reference": False}):
        assert len(question.pictures) == 1


def test_a_missing_reference_is_named(put):
    """Better than a question that speaks of an image that is not there."""
    nobody = pd.DataFrame({"category": [], "image_path": []})
    with pytest.raises(ValueError, match="image die/OK/1: the prompt shows a reference image"):
        put(references=nobody)


def test_examples_stand_between_reference_and_image(put, tmp_path):
    """Each after a caption with its label."""
    write_png(draw(7), tmp_path / "bad.png")
    examples = [{"image": str(tmp_path / "bad.png"), "label": "NOK"}]
    question = put(asked={"examples": examples})[0]
    assert [type(part) for part in question.parts] == [str, Picture] * 3 + [str]
    assert (pixels(question)[1] == draw(7)).all()
    assert question.parts[2] == "Example image, labelled NOK:"


def test_settings_of_the_method_reach_the_questions(put):
    """Repeats, size, model and parameters are part of what is asked."""
    questions = put(
        n_samples=2,
        max_side_px=64,
        model="gemini-2.5-pro",
        parameters={"temperature": 0, "thinking_budget": 512},
    )
    assert [(q.image_id, q.sample) for q in questions] == [(i, s) for i in IDS for s in (0, 1)]
    assert len({q.key for q in questions}) == 6
    assert questions[0].parameters["thinking_budget"] == 512
    assert put()[0].key != questions[0].key


def test_a_renamed_image_is_the_same_question(put):
    """Only content counts, so a rename costs nothing."""
    assert put()[0].key == put()[0].key
    assert put(asked={"lvlm": "Does this {object} have flaws?"})[0].key != put()[0].key


def test_rate_limits_and_backend_follow_the_settings(monkeypatch):
    """A server of one's own needs no key; Gemini does, and says which variable is looked at."""
    settings = settings_of(
        backend="openai_compatible",
        base_url="http://127.0.0.1:9/v1",
        model="own",
        in_flight=7,
        requests_per_minute=None,
        timeout_s=12,
    )
    assert backend_for(settings).endpoint.address == "http://127.0.0.1:9/v1"
    limits = RateLimits.of(settings)
    assert (limits.in_flight, limits.requests_per_minute, limits.timeout_s) == (7, None, 12)
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(MissingKeyError, match="MY_KEY"):
        backend_for(settings_of(key_env="MY_KEY"))
    assert backend_for(settings_of(backend="replay")).client == "replay"


def test_a_price_of_ones_own_joins_the_price_file():
    """A server costs money too, and a limit needs a price."""
    own = settings_of(
        backend="openai_compatible",
        base_url="http://127.0.0.1:9/v1",
        model="own",
        price={"input": 0.1, "output": 0.4},
        max_cost_usd=1,
    )
    prices = prices_of(own)
    assert prices.price("own", tokens_in=1e6, tokens_out=1e6) == pytest.approx(0.5)
    assert prices.knows("gemini-3.8-flash") and not prices_of(settings_of()).knows("own")


def test_without_a_key_what_is_in_the_ledger_still_counts(put, tmp_path):
    """A shell without the key must not take paid answers out of the table; nothing is sent."""
    keys = {"dataset": "chips", "method": "ask", "prompt": "basic"}
    questions = put()
    settings = settings_of(ledger=str(tmp_path / "replies.sqlite"))
    nothing = known_rows(questions, keys, settings=settings)
    assert list(nothing["image_id"]) == IDS
    assert set(nothing["status"]) == {"not_asked"} and set(nothing["finish_reason"]) == {"no_key"}
    assert not (tmp_path / "replies.sqlite").exists()

    answer = json.dumps({"reasoning": "Burnt.", "label": "NOK", "score": 90})
    body = {
        "candidates": [{"content": {"parts": [{"text": answer}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 600, "candidatesTokenCount": 50},
        "modelVersion": "gemini-3.8-flash",
    }
    with Ledger(settings["ledger"]) as ledger:
        asked = questions[1]
        claim = ledger.claim(asked.key, asked.canonical, run="r", run_began=0)
        ledger.finish(claim.attempt_id, outcome="answered", state="answered", body=json.dumps(body))
    rows = known_rows(questions, keys, settings=settings).set_index("image_id")
    assert rows.loc[IDS[1], ["label_predicted", "status"]].tolist() == ["NOK", "answered"]
    others = rows.drop(IDS[1])
    assert set(others["status"]) == {"not_asked"} and set(others["finish_reason"]) == {"no_key"}


@pytest.mark.parametrize(
    ("block", "environment", "has_key"),
    [
        ({}, {}, False),
        ({}, {"GEMINI_API_KEY": "k"}, True),
        ({"key_env": "MINE"}, {"GEMINI_API_KEY": "k"}, False),
        ({"key_env": "MINE"}, {"MINE": "k"}, True),
        ({"key_file": "no/such/file"}, {"GEMINI_API_KEY": "k"}, False),
        ({"backend": "replay"}, {}, True),
        ({"backend": "openai_compatible", "base_url": "http://127.0.0.1:9/v1"}, {}, True),
    ],
)
def test_whether_a_model_can_be_asked_is_known_while_planning(
    monkeypatch, block, environment, has_key
):
    """Without a key its rows say so, and nothing fails."""
    for name in ("GEMINI_API_KEY", "MINE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = Settings.model_validate(
        {
            "datasets": {"chips": {"format": "synthetic_sat"}},
            "prompts": {"chips": {"basic": {"lvlm": "Is it defective?"}}},
            "methods": {"ask": {"kind": "lvlm", **block}},
        }
    )
    assert Plan(settings).has_key("ask") is has_key
