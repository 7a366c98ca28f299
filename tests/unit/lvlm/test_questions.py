"""Questions: what is sent, in which order, and what the key depends on."""

import dataclasses

import cv2
import numpy as np
import pytest

from realitycheck.lvlm.assembly import Subject, questions_for
from realitycheck.lvlm.backends.registry import service_of
from realitycheck.lvlm.prompts import RESPONSE_SCHEMA, PromptTemplate
from realitycheck.lvlm.questions import Picture, picture_of

RNG = np.random.default_rng(0)
PIXELS = [RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8) for _ in range(4)]
PROMPT = PromptTemplate("1", "Is the {object} defective?")


def one(prompt=PROMPT, *, pixels=PIXELS[0], image_id="a/1", examples=(), **settings):
    subject = Subject(
        image_id, picture_of(pixels), picture_of(PIXELS[1]), examples, {"object": "nut"}
    )
    known = {"service": "gemini", "model": "gemini-2.5-pro"}
    return questions_for([subject], prompt, **{**known, **settings})[0]


def test_parts_stand_in_order_reference_examples_image_question():
    """The prompt speaks of the last image, and what is shared comes first."""
    examples = (("OK", picture_of(PIXELS[2])), ("NOK", picture_of(PIXELS[3])))
    parts = one(examples=examples).parts
    assert [p if isinstance(p, str) else p.pixels_sha256 for p in parts] == [
        "Reference image, free from defects:",
        picture_of(PIXELS[1]).pixels_sha256,
        "Example image, labelled OK:",
        picture_of(PIXELS[2]).pixels_sha256,
        "Example image, labelled NOK:",
        picture_of(PIXELS[3]).pixels_sha256,
        "Image to inspect:",
        picture_of(PIXELS[0]).pixels_sha256,
        "Is the nut defective?",
    ]


def test_encoded_images_hold_the_very_pixels():
    """PNG is lossless, and red stays red."""
    data = [part for part in one().encoded() if isinstance(part, bytes)]
    for encoded, pixels in zip(data, (PIXELS[1], PIXELS[0]), strict=True):
        decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(decoded[..., ::-1], pixels)


def test_encoding_is_deterministic():
    assert picture_of(PIXELS[0]).png() == picture_of(PIXELS[0].copy()).png()


def test_key_does_not_depend_on_the_file_name():
    """A renamed file asks nothing anew."""
    assert one(image_id="a/1").key == one(image_id="b/2").key


@pytest.mark.parametrize(
    "change",
    [
        {"pixels": PIXELS[2]},
        {"prompt": PromptTemplate("1", "Is the {object} broken?")},
        {"prompt": dataclasses.replace(PROMPT, system="Be brief.")},
        {"prompt": dataclasses.replace(PROMPT, image_caption="Look:")},
        {"prompt": dataclasses.replace(PROMPT, uses_reference=False)},
        {"model": "gemini-3.8-flash"},
        {"service": "vertex"},
        {"model_revision": "fp8"},
        {"parameters": {"temperature": 0.5}},
        {"parameters": {"max_output_tokens": 4096}},
        {"examples": (("OK", picture_of(PIXELS[3])),)},
    ],
)
def test_key_depends_on_everything_that_is_sent(change):
    """What can change the answer is another question."""
    assert one(**change).key != one().key


def test_name_of_a_wording_is_not_part_of_the_key():
    """Only words count: a version that was raised for nothing buys nothing."""
    assert one(dataclasses.replace(PROMPT, version="2")).key == one().key


def test_key_counts_pixels_with_their_shape():
    """The same bytes in another shape are another image."""
    assert (
        picture_of(PIXELS[0]).pixels_sha256
        != picture_of(PIXELS[0].reshape(30, 20, 3)).pixels_sha256
    )


def test_key_is_as_it_was():
    """Stored answers stay valid only as long as the stored form of a question does not change."""
    subject = Subject("x", picture_of(np.zeros((2, 2, 3), np.uint8)))
    question = questions_for(
        [subject],
        PromptTemplate(
            "1",
            "Please determine whether the image contains anomalies or defects. If yes, give a "
            "specific reason",
            uses_reference=False,
        ),
        service="gemini",
        model="gemini-2.5-pro",
        parameters={"temperature": 0},
    )[0]
    assert question.key == "4145008e8e7c43afd8e4d0e32d421400b0504d16d60932675ec4e56f3652a487"


STORED_KEYS = {
    "616b70a95c1d5070ba50d75419be5524d6f922f12c999ee03bad7e52dcffafd1": {
        "service": "gemini",
        "model": "gemini-2.5-pro",
        "parameters": {"temperature": 0, "thinking_budget": 1024, "media_resolution": "high"},
    },
    "de9551b98c0441431435af440a07c99f546b02b7b92b2a44b02859e95cfc3888": {
        "service": "vertex",
        "model": "gemini-3.8-flash",
        "parameters": {
            "thinking_level": "low",
            "seed": 7,
            "top_p": 0.95,
            "safety_threshold": "off",
        },
    },
    "9a742e09823850a6b1aee139324f2a130dfa5ed4aafd0ab785d1d43ab7126224": {
        "service": "openai_compatible",
        "model": "qwen-vl",
        "model_revision": "fp8",
        "parameters": {"max_output_tokens": 4096, "extra_body": {"top_k": 1}},
    },
}


@pytest.mark.parametrize("key", STORED_KEYS)
def test_stored_keys_of_every_service_are_as_they_were(key):
    """Another key would ask and pay for every stored answer once more."""
    shown = [
        picture_of((np.arange(1800).reshape(20, 30, 3) * n).astype(np.uint8)) for n in (1, 2, 3, 4)
    ]
    subject = Subject(
        "a/1",
        shown[0],
        shown[1],
        (("OK", shown[2]), ("NOK", shown[3])),
        {"object": "nut", "defects": "crack, burr"},
    )
    prompt = PromptTemplate("1", "Is the {object} free of {defects}?")
    assert questions_for([subject], prompt, n_samples=2, **STORED_KEYS[key])[1].key == key


def test_samples_are_questions_of_their_own():
    """More samples ask only the further ones."""
    settings = {"service": "gemini", "model": "m"}
    subject = Subject("a", picture_of(PIXELS[0]), picture_of(PIXELS[1]), (), {"object": "nut"})
    one_sample = questions_for([subject], PROMPT, **settings)
    three = questions_for([subject], PROMPT, n_samples=3, **settings)
    assert [q.sample for q in three] == [0, 1, 2]
    assert three[0].key == one_sample[0].key
    assert len({q.key for q in three}) == 3


def test_large_image_is_shrunk_to_the_longer_side():
    picture = picture_of(PIXELS[0], max_side_px=16)
    assert (picture.width_px, picture.height_px) == (16, 11)
    assert picture.pixels().shape == (11, 16, 3)
    assert picture_of(PIXELS[0], max_side_px=30) == picture_of(PIXELS[0])


def test_images_are_read_when_they_are_needed():
    """Hundreds of images need not be in memory at once."""
    reads = []

    def read():
        reads.append(1)
        return PIXELS[0]

    picture = picture_of(read)
    assert len(reads) == 1
    picture.png()
    assert len(reads) == 2


def test_image_that_has_changed_meanwhile_is_refused():
    """Its answer would be stored under another image's key."""
    pixels = PIXELS[0].copy()
    picture = picture_of(lambda: pixels)
    pixels[0, 0] += 1
    with pytest.raises(ValueError, match="has changed since the questions were put together"):
        picture.png()


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_other_arrays_than_images_are_refused(pixels):
    with pytest.raises(ValueError, match=r"must be uint8 with shape \(H, W, 3\), got"):
        picture_of(pixels)


def test_missing_reference_names_image_and_remedy():
    with pytest.raises(ValueError, match="image a: the prompt shows a reference image, but"):
        questions_for([Subject("a", picture_of(PIXELS[0]))], PROMPT, service="gemini", model="m")


def test_image_given_twice_is_refused():
    subject = Subject("a", picture_of(PIXELS[0]), picture_of(PIXELS[1]), (), {"object": "nut"})
    with pytest.raises(ValueError, match="image a is given twice"):
        questions_for([subject, subject], PROMPT, service="gemini", model="m")


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="n_samples: expected at least 1, got 0"):
        questions_for([], PROMPT, service="gemini", model="m", n_samples=0)


def test_example_without_a_label_is_refused():
    with pytest.raises(ValueError, match="labelled OK or NOK, got 'good'"):
        one(examples=(("good", picture_of(PIXELS[2])),))


def test_schema_speaks_the_dialect_of_the_service():
    """Google orders by an extension; OpenAI's strict mode forbids further properties."""
    google, openai = (
        service_of(name).schema(RESPONSE_SCHEMA) for name in ("gemini", "openai_compatible")
    )
    assert google["propertyOrdering"] == ["reasoning", "label", "score"]
    assert "additionalProperties" not in google
    assert openai["additionalProperties"] is False
    assert "propertyOrdering" not in openai


def test_picture_shows_no_pixels():
    """An error message that holds a question stays readable."""
    assert len(repr(Picture("ab", 1, 1, PIXELS[0]))) < 100
