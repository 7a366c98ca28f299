"""CLIP zero-shot: two text ensembles and a softmax."""

import numpy as np
import pytest

from realitycheck.methods.clip_zero_shot import algorithm as clip_zero_shot
from realitycheck.models.clip import model as clip
from training import miniature_clip
from training.miniatures import VARIANTS


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = miniature_clip.write_miniature_clip(tmp_path_factory.mktemp("zero_shot"))
    return clip.load_clip(path, variant=VARIANTS["clip"])


def test_sentences_name_the_object_and_every_defect():
    """Both sides get the same templates, so that only the state differs."""
    ok, nok = clip_zero_shot.state_sentences("tile", defects=["a crack", "an oil stain"])
    n_templates = len(clip_zero_shot.PHOTO_TEMPLATES)
    assert len(ok) == n_templates * len(clip_zero_shot.OK_STATES)
    assert len(nok) == n_templates * (len(clip_zero_shot.NOK_STATES) + 4)
    assert "a photo of a flawless tile." in ok
    assert "a photo of a tile with a crack." in nok
    assert "a grey-scale image of a tile showing an oil stain." in nok
    assert all("tile" in sentence and "{" not in sentence for sentence in ok + nok)
    assert len(set(ok + nok)) == len(ok + nok)


def test_words_are_those_of_their_version():
    """A changed word changes every score: it must show in review and raise the version."""
    assert clip_zero_shot.SENTENCES_VERSION == 1
    assert clip_zero_shot.OK_STATES == (
        "flawless {}",
        "intact {}",
        "undamaged {}",
        "{} in perfect condition",
        "{} as it left the factory",
        "{} that passed inspection",
        "{} without any defect",
        "{} with a clean and regular surface",
    )
    assert clip_zero_shot.NOK_STATES == (
        "defective {}",
        "damaged {}",
        "faulty {}",
        "{} in bad condition",
        "{} that failed inspection",
        "{} with a defect",
        "{} with a flaw",
        "{} with visible damage",
    )


@pytest.mark.parametrize(("name", "defects"), [("", ()), (" ", ()), ("tile", ["crack", ""])])
def test_blank_words_are_refused(name, defects):
    """'a photo of a flawless .' compares nothing."""
    with pytest.raises(ValueError, match="found a blank one"):
        clip_zero_shot.state_sentences(name, defects=defects)


def test_states_are_the_scaled_means_of_their_sentences(model):
    """Good first, bad second."""
    found = clip_zero_shot.encode_states(model, "tile", defects=["a crack"])
    for feature, sentences in zip(
        found, clip_zero_shot.state_sentences("tile", defects=["a crack"]), strict=True
    ):
        mean = clip.encode_text(model, sentences).mean(0)
        np.testing.assert_allclose(feature, mean / np.linalg.norm(mean), atol=1e-6)


def test_score_is_the_softmax_by_hand():
    """Cosines differ by 0.01 at scale 100: the logistic of 1 and of -1."""
    states = np.array([[1.0, 0.0], [0.0, 1.0]])
    images = np.array([[0.60, 0.61], [0.61, 0.60], [0.5, 0.5]])
    labels, scores = clip_zero_shot.classify(images, states)
    logistic = 1 / (1 + np.exp(-1))
    np.testing.assert_allclose(scores, [logistic, 1 - logistic, 0.5], atol=1e-12)
    assert labels.tolist() == ["NOK", "OK", "OK"]  # a tie does not lie above the threshold
    labels, _ = clip_zero_shot.classify(images, states, threshold=0.2)
    assert labels.tolist() == ["NOK", "NOK", "NOK"]


def test_whole_images_run_through(model):
    """From pixels to verdicts with the miniature."""
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    features = clip.encode_crops(model, images)
    labels, scores = clip_zero_shot.classify(
        features, clip_zero_shot.encode_states(model, "package")
    )
    assert set(labels) <= {"OK", "NOK"} and ((scores > 0) & (scores < 1)).all()
    none, no_scores = clip_zero_shot.classify(np.zeros((0, 32)), np.zeros((2, 32)))
    assert len(none) == len(no_scores) == 0


@pytest.mark.parametrize(
    ("states", "threshold"), [(np.ones((3, 2)), 0.5), (np.ones((2, 3)), 0.5), (np.ones((2, 2)), 2)]
)
def test_wrong_arguments_are_refused(states, threshold):
    """A third text, another CLIP, a threshold in percent."""
    with pytest.raises(ValueError, match=r"state features \(2, D\) and a threshold of 0 to 1"):
        clip_zero_shot.classify(np.ones((4, 2)), states, threshold=threshold)
