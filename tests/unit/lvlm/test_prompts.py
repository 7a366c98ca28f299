"""Prompts: their words, and how they are filled in."""

import pytest
import yaml

from realitycheck.lvlm.prompts import RESPONSE_SCHEMA, PromptTemplate, fill

BASIC = (
    "Please determine whether the image contains anomalies or defects. If yes, give a specific "
    "reason"
)
REFINED = (
    "Please determine whether the last image given about carpet contains anomalies or defects. If "
    "so, please provide a specific reason. Normally, the image given should depict a clear and "
    "identifiable carpet. It may have defects such as broken/bent parts, contaminations, threads, "
    "color stains, cuts, holes, scratches, liquids, glue, folds, pokes, oil or glue strips."
)


@pytest.fixture
def study(repository):
    """The prompt sets of the study's settings, by data set."""
    return yaml.safe_load((repository / "configs/paper.yaml").read_text(encoding="utf-8"))[
        "prompts"
    ]


def test_study_prompts_have_the_published_words(study):
    """A changed word is another experiment, so it must show in review."""
    sets = study["mvtec_ad"]
    assert sets["basic"]["lvlm"].strip() == BASIC
    assert fill(sets["refined"]["lvlm"].strip(), {"object": "carpet"}) == REFINED
    assert all(asked.get("reference", True) for asked in sets.values())


def test_reasoning_is_written_before_the_label():
    """A model that has labelled first only defends its label."""
    assert list(RESPONSE_SCHEMA["properties"]) == ["reasoning", "label", "score"]
    assert RESPONSE_SCHEMA["required"] == ["reasoning", "label", "score"]


def test_unknown_placeholder_is_refused_with_the_known_ones():
    """Else a misspelt placeholder would be sent as it stands."""
    with pytest.raises(ValueError, match=r"text: \{part\} is not known; .*\{object\}, \{defects\}"):
        PromptTemplate("1", "Look at {part}.")


def test_single_brace_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match="write a brace that is meant as such twice"):
        PromptTemplate("1", "Look at {object.")


def test_doubled_braces_are_sent_as_one():
    assert fill(PromptTemplate("1", "Write {{x}} about {object}").text, {"object": "nuts"}) == (
        "Write {x} about nuts"
    )


def test_missing_words_are_named():
    with pytest.raises(ValueError, match=r"uses \{object\}.*give the words for object"):
        fill("Is the {object} free of {defects}?", {"defects": "cracks"})


def test_empty_question_is_refused():
    with pytest.raises(ValueError, match="must ask something"):
        PromptTemplate("1", "  ")


def test_values_with_braces_are_not_filled_again():
    """A product's name is text, not a template."""
    assert fill("About {object}", {"object": "{defects}"}) == "About {defects}"
