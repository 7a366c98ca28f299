"""Verdict tables of the local classifiers, and several verdicts on one image as one."""

import numpy as np
import pandas as pd
import pytest

from realitycheck.core.schemas import SCORES, VERDICTS
from realitycheck.core.tables import read_table, write_table
from realitycheck.methods.base import Run
from realitycheck.methods.clip_zero_shot.classifier import zero_shot_verdicts
from realitycheck.methods.resnet_mlp.classifier import out_of_fold_verdicts
from realitycheck.methods.resnet_mlp.settings import ResnetMlpMethod
from realitycheck.methods.tuned_clip.classifier import tuned_verdicts
from realitycheck.methods.tuned_clip.settings import TunedClipMethod
from realitycheck.metrics.folds import assign_folds
from realitycheck.models.clip import model as clip
from realitycheck.stages.evaluate import score_labels
from training import miniature_clip
from training.miniatures import VARIANTS

pytestmark = pytest.mark.filterwarnings("ignore:lbfgs failed to converge")


@pytest.fixture
def manifest():
    """Twenty-four parts of two categories, good and bad in turn, two views each."""
    return pd.DataFrame(
        {
            "dataset": "chips",
            "image_id": [f"p/{i:02d}" for i in range(48)],
            "category": ["die", "lead"] * 24,
            "group": [f"part {i // 2}" for i in range(48)],
            "label": ["OK", "OK", "NOK", "NOK"] * 12,
            "defect_type": None,
        }
    )


def draw_maps(n):
    """Feature maps of two stages."""
    rng = np.random.default_rng(0)
    return [rng.normal(size=(n, 3, g, g)).astype(np.float16) for g in (4, 2)]


def written(table, tmp_path):
    """The table as the contract has it, through the file."""
    write_table(table, tmp_path / "labels.parquet", schema=VERDICTS, facts={})
    return read_table(tmp_path / "labels.parquet", schema=VERDICTS)


def test_every_image_gets_a_verdict_with_the_fold_it_was_held_out_in(manifest, tmp_path):
    """The settings are those of the method block, as the rule hands them over."""
    settings = ResnetMlpMethod(kind="resnet_mlp", n_folds=3, hidden_units=(4,), max_epochs=20)
    table = out_of_fold_verdicts(
        manifest,
        draw_maps(48),
        Run("chips", "baseline", "none", settings.plain()),
    )
    table = written(table, tmp_path)
    assert list(table["image_id"]) == list(manifest["image_id"])
    assert set(table["status"]) == {"answered"} and table["label_predicted"].notna().all()
    assert table["score"].between(0, 1).all()
    by_part = table["fold"].groupby(manifest["group"]).nunique()
    assert (by_part == 1).all() and set(table["fold"]) == {0, 1, 2}


def test_tuned_prompt_has_the_baselines_folds_and_each_categorys_object(manifest, tmp_path):
    """So that the two supervised classifiers are compared on the same held-out images."""
    model = clip.load_clip(miniature_clip.write_miniature_clip(tmp_path), variant=VARIANTS["clip"])
    features = np.random.default_rng(0).normal(size=(48, 32)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    settings = TunedClipMethod(kind="tuned_clip", n_folds=3, n_steps=2)
    objects = {"die": "die", "lead": "lead of a chip"}
    tables = [
        tuned_verdicts(
            manifest, features, model, named, Run("chips", "tuned", "none", settings.plain())
        )
        for named in (objects, objects | {"lead": "cat"})
    ]
    table = written(tables[0], tmp_path)
    expected = assign_folds(manifest["label"], manifest["group"], n_folds=3, seed=0)
    assert list(table["fold"]) == list(expected)
    assert set(table["status"]) == {"answered"} and table["score"].between(0, 1).all()
    moved = (tables[0]["score"] - tables[1]["score"]).abs().groupby(manifest["category"]).max()
    assert moved["lead"] > 10 * moved["die"]


def test_images_without_a_group_are_parts_of_their_own(manifest):
    """A missing group must not make one group of all images."""
    settings = {"kind": "resnet_mlp", "input_size_px": 64, "n_folds": 6, "hidden_units": (4,)}
    table = out_of_fold_verdicts(
        manifest.assign(group=None),
        draw_maps(48),
        Run("chips", "baseline", "none", settings | {"max_epochs": 10}),
    )
    assert set(table["fold"]) == set(range(6))


def test_zero_shot_takes_the_texts_of_each_images_category(manifest, tmp_path):
    """Axis 0 is a good die or a bad lead, axis 1 the other way round."""
    features = np.eye(2)[[0, 0, 1, 1] * 12]
    states = {"die": np.eye(2), "lead": np.eye(2)[::-1]}
    order = manifest.sample(frac=1, random_state=0)
    run = Run("chips", "clip", "none", {"threshold": 0.5})
    table = zero_shot_verdicts(order, features[order.index], states, run)
    table = written(table, tmp_path).set_index("image_id")
    for row in manifest.itertuples():
        is_axis_1 = row.label == "NOK"
        expected = "NOK" if is_axis_1 == (row.category == "die") else "OK"
        assert table.loc[row.image_id, "label_predicted"] == expected, row


# --------------------------------------------------------------------------- samples of one image


def samples(**labels):
    """Verdicts by image: a letter a sample, N for NOK, O for OK, a dot for no answer."""
    label = {"N": "NOK", "O": "OK", ".": None}
    score = {"N": 0.9, "O": 0.2, ".": None}
    rows = [
        {
            "dataset": "chips",
            "image_id": image_id,
            "method": "ask",
            "prompt": "basic",
            "sample": sample,
            "label_predicted": label[letter],
            "score": score[letter],
            "status": "refused" if letter == "." else "answered",
        }
        for image_id, letters in labels.items()
        for sample, letter in enumerate(letters)
    ]
    return pd.DataFrame(rows).reindex(columns=VERDICTS.columns)


def of_images(*image_ids):
    return pd.DataFrame(
        {
            "dataset": "chips",
            "image_id": image_ids,
            "category": "die",
            "group": None,
            "label": "OK",
            "defect_type": None,
        }
    )


@pytest.mark.parametrize(
    ("letters", "label", "status"),
    [
        ("NNO", "NOK", "answered"),
        ("NOO", "OK", "answered"),
        ("NO", "NOK", "answered"),  # split evenly: a part in doubt is checked again
        ("NNOO", "NOK", "answered"),
        ("O..", "OK", "answered"),  # only answers vote
        (".N.O", "NOK", "answered"),
        ("...", None, "refused"),  # nothing is guessed
    ],
)
def test_samples_become_the_verdict_of_most_answers(letters, label, status):
    """NOK where they are split evenly."""
    (row,) = score_labels(of_images("a"), samples(a=letters))
    assert row["label_predicted"] == label
    assert row["status"] == status


def test_the_score_of_samples_is_the_mean_of_the_answers():
    """Two of 0.9 and one of 0.2; the one without an answer does not count as 0."""
    (row,) = score_labels(of_images("a"), samples(a="NN.O"))
    assert row["score"] == pytest.approx(2.0 / 3)
    (row,) = score_labels(of_images("a"), samples(a=".."))
    assert row["score"] is None


def test_as_many_rows_come_out_as_images_went_in(tmp_path):
    """Five samples of three images are three rows, and they keep the contract."""
    rows = list(score_labels(of_images("a", "b", "c"), samples(a="NNNNN", b="OO.O.", c=".....")))
    write_table(rows, tmp_path / "images.parquet", schema=SCORES, facts={})
    table = read_table(tmp_path / "images.parquet", schema=SCORES)
    assert list(table["image_id"]) == ["a", "b", "c"]
    assert list(table["label_predicted"].fillna("none")) == ["NOK", "OK", "none"]
