"""Who is trained on what: folds, examples, and the decoder that draws an image."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from realitycheck.core.images import write_png
from realitycheck.methods.adapted_sam import segmenter as adapted_sam
from realitycheck.methods.adapted_sam.segmenter import (
    AdaptedSamSegmenter,
    adapt_out_of_fold,
    fold_rows,
    labelled_folds,
    read_examples,
)
from realitycheck.metrics.folds import assign_folds
from realitycheck.models.sam.load import load_sam
from realitycheck.report.tables.audit import groups_in_two_folds
from training.miniatures import SAM_SIZE, VARIANTS, write_miniature_sam

SETTINGS = {"n_folds": 3, "seed": 0, "n_steps": 2, "batch_size": 2, "learning_rate": 1e-3}
DIMENSIONS = SAM_SIZE


def tables(labels, *, without_truth=(), groups=None):
    ids = [f"p/{number}" for number in range(len(labels))]
    manifest = pd.DataFrame(
        {"dataset": "chips", "image_id": ids, "label": labels, "group": groups or [None] * len(ids)}
    )
    has_truth = [image_id not in without_truth for image_id in ids]
    truth_px = [12 * (labels[i] == "NOK" and has_truth[i]) for i in range(len(ids))]
    truth = pd.DataFrame({"image_id": ids, "has_truth": has_truth, "truth_px": truth_px})
    truth["lost_px"] = 0
    transforms = pd.DataFrame({"image_id": ids, "height_px": 96, "width_px": 128})
    return manifest, truth, transforms


def folds_of(manifest, truth):
    return labelled_folds(manifest, truth, settings=SETTINGS, dataset="chips")


def examples_in(folder, manifest, truth, transforms, *, ignore_border="ignore"):
    return read_examples(
        manifest,
        truth,
        transforms,
        truth_folder=folder,
        ignore_border=ignore_border,
        dimensions=DIMENSIONS,
    )


@pytest.fixture
def truth_folder(tmp_path):
    """Truth masks of ten images: a defect of 2 x 6 px, and below it two undecided rows."""
    pixels = np.zeros((96, 128), np.uint8)
    pixels[0:2, 0:6], pixels[2:4, 0:6] = 255, 128
    for number in range(10):
        write_png(pixels, tmp_path / f"p/{number}.png")
    return tmp_path


def test_folds_are_those_of_the_supervised_baseline_and_views_stay_together():
    """So that both are judged alike; the audit finds no part on both sides."""
    labels = ["OK", "OK", "OK", "OK", "NOK", "NOK", "NOK", "NOK", "NOK", "NOK"]
    groups = ["a", "a", None, None, "b", "b", None, None, "c", "c"]
    manifest, truth, _ = tables(labels, groups=groups)
    folds = folds_of(manifest, truth)
    own = manifest["group"].fillna(manifest["image_id"])
    assert np.array_equal(folds, assign_folds(labels, own, n_folds=3, seed=0))
    table = pd.DataFrame(fold_rows(manifest, folds))
    assert groups_in_two_folds(table, manifest).n_affected == 0
    assert table["fold"].tolist() == folds.tolist()
    assert set(table["threshold"]) == {0.5}


def test_no_decoder_is_trained_on_an_image_that_it_draws(truth_folder, tmp_path, monkeypatch):
    """Whatever the training reads, it is of other folds: checked where it is read."""
    manifest, truth, transforms = tables(["OK"] * 4 + ["NOK"] * 6)
    folds = folds_of(manifest, truth)
    fold_of = dict(zip(manifest["image_id"], folds, strict=True))
    read, drawn = {}, []

    def embedding_of(image_id):
        read.setdefault(current[0], set()).add(image_id)
        return np.zeros((64, 16, 16), np.float32)

    sam = load_sam(
        write_miniature_sam(tmp_path),
        variant=VARIANTS["sam"],
        parts=("prompt_encoder", "mask_decoder"),
    )
    current, decoders = [0], {}
    steps = []
    for fold, decoder in adapt_out_of_fold(
        sam,
        examples_in(truth_folder, manifest, truth, transforms),
        fold_of,
        embedding_of,
        settings=SETTINGS | {"n_steps": 6},
        count=lambda done, total: steps.append((done, total)),
    ):
        decoders[fold] = decoder
        current[0] = fold + 1
    assert steps[0] == (1, 18) and steps[-1] == (18, 18)
    assert set(read) == {0, 1, 2}
    for fold, images in read.items():
        assert images == {image_id for image_id, own in fold_of.items() if own != fold}

    def spy(decoder, embedding, *, image_size_hw):
        drawn.append(decoder)
        return np.zeros(image_size_hw, np.float32)

    monkeypatch.setattr(adapted_sam, "defect_map", spy)
    about = pd.DataFrame(fold_rows(manifest, folds)).set_index("image_id")
    stored = SimpleNamespace(of=lambda _: {"embedding": None})
    segmenter = AdaptedSamSegmenter(decoders, about, stored, settings=SETTINGS)
    for row in transforms.itertuples():
        segmenter.score_map(row)
    assert [id(each) for each in drawn] == [id(decoders[fold]) for fold in folds]


def test_examples_are_good_parts_and_drawn_defects(truth_folder):
    """A defect that nobody drew would teach that it is good."""
    manifest, truth, transforms = tables(["OK", "OK", "NOK", "NOK"], without_truth=["p/3"])
    found = examples_in(truth_folder, manifest, truth, transforms)
    assert set(found) == {"p/0", "p/1", "p/2"}
    assert not found["p/0"].target.any() and found["p/0"].is_known[:48].all()
    assert found["p/2"].target.sum() == 3
    assert found["p/2"].is_known[:48].sum() == 48 * 64 - 3
    for rule, area in (("foreground", 6), ("background", 3)):
        found = examples_in(truth_folder, manifest, truth, transforms, ignore_border=rule)
        assert found["p/2"].target.sum() == area and found["p/2"].is_known[:48].all()


def test_regions_of_the_map_become_the_mask_and_dust_does_not(monkeypatch):
    """SAM's logit 0 is one half; a lone pixel is no defect."""
    values = np.full((8, 8), 0.4, np.float32)
    values[0, 0] = values[4:7, 4:7] = 0.9
    maps = {"a": values, "b": values * 0.1}
    monkeypatch.setattr(AdaptedSamSegmenter, "score_map", lambda self, row: maps[row.image_id])
    segmenter = AdaptedSamSegmenter({}, pd.DataFrame(), None, settings={"min_area_px": 4})
    found = segmenter.segment(SimpleNamespace(image_id="a"))
    assert found.mask.sum() == 9 and not found.mask[0, 0]
    assert (found.status, found.n_regions) == ("ok", 1)
    assert found.score == pytest.approx(0.9)
    empty = segmenter.segment(SimpleNamespace(image_id="b"))
    assert empty.status == "empty" and not empty.mask.any()


def test_too_few_labelled_parts_are_told_with_a_remedy():
    """Before anything is trained: where, what was expected, what was found, what to do."""
    manifest, truth, _ = tables(["OK"] * 5 + ["NOK"] * 2)
    with pytest.raises(
        ValueError, match="chips: adapted_sam .* at least 3 independent NOK parts, found 2; collect"
    ):
        folds_of(manifest, truth)
    undrawn = ["p/5", "p/6", "p/7", "p/8"]
    manifest, truth, _ = tables(["OK"] * 5 + ["NOK"] * 5, without_truth=undrawn)
    with pytest.raises(
        ValueError,
        match=r"chips, fold \d: adapted_sam needs at least 2 defective images with a truth mask in "
        r"the other folds, found \d \(1 of 5 defective images have one\); draw masks",
    ):
        folds_of(manifest, truth)
