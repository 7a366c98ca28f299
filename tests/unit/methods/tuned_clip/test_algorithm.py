"""CLIP with a learned prompt: it learns, out of fold, and CLIP stays as it is."""

import numpy as np
import pytest
import torch

from realitycheck.methods.clip_zero_shot import algorithm as clip_zero_shot
from realitycheck.methods.tuned_clip import algorithm as tuned_clip
from realitycheck.metrics.folds import assign_folds
from realitycheck.models.clip import model as clip
from training import miniature_clip
from training.miniatures import VARIANTS


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = miniature_clip.write_miniature_clip(tmp_path_factory.mktemp("tuned"))
    return clip.load_clip(path, variant=VARIANTS["clip"])


def pictures(model, n_each, *, seed=0, spread=0.02):
    """Features of good and bad parts: near two texts that the untuned prompt does not contain."""
    rng = np.random.default_rng(seed)
    ends = clip.encode_text(model, ["green", "zebra crossing"])
    features = np.repeat(ends, n_each, axis=0)
    features = features + spread * rng.standard_normal(features.shape).astype(np.float32)
    labels = np.repeat(["OK", "NOK"], n_each)
    return features / np.linalg.norm(features, axis=1, keepdims=True), labels


def loss(features, is_nok, states):
    scores = clip_zero_shot.classify(features, states)[1]
    return -np.log(np.clip(np.where(is_nok, scores, 1 - scores), 1e-12, None)).mean()


def test_before_the_first_step_it_is_the_text_as_written(model):
    """The vectors begin as words, so that the tuned text is compared with what it came from."""
    features, labels = pictures(model, 3)
    context = tuned_clip.learn_context(
        model, features, labels == "NOK", ["tile"] * 6, n_steps=1, learning_rate=1e-12
    )
    states = tuned_clip.encode_states(model, context, ["tile"])["tile"]
    written = clip.encode_text(
        model, ["a photo of a flawless tile.", "a photo of a defective tile."]
    )
    np.testing.assert_allclose(states, written, atol=1e-5)


def test_it_learns_and_clip_does_not(model):
    """The training loss falls well below that of the text it came from; no weight moves."""
    features, labels = pictures(model, 8)
    is_nok = labels == "NOK"
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    options = {"objects": ["tile"] * 16, "learning_rate": 0.02}
    losses = []
    for n_steps in (1, 60):
        context = tuned_clip.learn_context(model, features, is_nok, n_steps=n_steps, **options)
        assert context.shape == (4, 64) and not context.requires_grad
        states = tuned_clip.encode_states(model, context, ["tile"])["tile"]
        losses.append(loss(features, is_nok, states))
    assert losses[1] < 0.5 * losses[0]
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())
    again = tuned_clip.learn_context(model, features, is_nok, n_steps=60, **options)
    assert torch.equal(context, again)


def test_no_image_is_judged_by_a_prompt_that_saw_it(model, monkeypatch):
    """The folds are the supervised baseline's, and what learns gets the others only."""
    features, labels = pictures(model, 6)
    groups = np.array([f"part {index // 2}" for index in range(12)])
    seen = []
    learn = tuned_clip.learn_context

    def watched(model, features, is_nok, objects, **options):
        seen.append(features)
        return learn(model, features, is_nok, objects, **options)

    monkeypatch.setattr(tuned_clip, "learn_context", watched)
    found = tuned_clip.classify_out_of_fold(
        model,
        features,
        labels,
        categories=["a", "b"] * 6,
        groups=groups,
        objects={"a": "tile", "b": "carpet"},
        n_folds=3,
        n_steps=2,
    )
    expected = assign_folds(labels, groups, n_folds=3, seed=0)
    np.testing.assert_array_equal(found.folds, expected)
    for fold, learned in enumerate(seen):
        np.testing.assert_array_equal(learned, features[expected != fold])
    assert len(found.labels) == 12 and set(found.labels) <= {"OK", "NOK"}
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert ((found.scores > 0.5) == (found.labels == "NOK")).all()


def test_held_out_images_are_told_apart(model):
    """What is learned on some carries over to others of the same kind."""
    features, labels = pictures(model, 12)
    found = tuned_clip.classify_out_of_fold(
        model,
        features,
        labels,
        categories=["a"] * 24,
        groups=[str(index) for index in range(24)],
        objects={"a": "tile"},
        n_folds=3,
        n_steps=60,
        learning_rate=0.02,
    )
    assert (found.labels == labels).mean() >= 0.9


def test_one_label_alone_teaches_nothing(model):
    features, _ = pictures(model, 2)
    with pytest.raises(ValueError, match=r"good and bad parts.*\[4, 0\]"):
        tuned_clip.learn_context(model, features, np.zeros(4, bool), ["tile"] * 4)
