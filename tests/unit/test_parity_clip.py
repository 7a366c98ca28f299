"""SAM + CLIP and CLIP Surgery + SAM against recorded results of the published code.

The recordings were made on small real images with miniature models. Tolerances are the recordings'
own: what an independent implementation reached, times about ten.
"""

import functools
import json

import numpy as np
import pytest
import torch
from PIL import Image

from realitycheck.methods.clip_surgery_sam import algorithm as clip_surgery_sam
from realitycheck.methods.sam_clip import algorithm as sam_clip
from realitycheck.models.clip import model as clip
from realitycheck.models.clip import surgery as clip_surgery
from realitycheck.models.sam import inference as sam
from realitycheck.models.sam.load import load_sam

CASES = ("truck", "catdog", "candle", "dogsgrey")

CROP_VARIANTS = {
    "faithful": sam_clip.PUBLISHED,
    "fixed_canvas": sam_clip.SamClipVariant(swap_canvas=False, inclusive_bbox=True),
    "fixed": sam_clip.REPAIRED,
}

SURGERY_VARIANTS = {
    "plain_clip_literal": clip_surgery_sam.PLAIN_CLIP,
    "faithful": clip_surgery_sam.PUBLISHED,
    "fixed": clip_surgery_sam.REPAIRED,
    "fixed_512": clip_surgery_sam.ClipSurgeryVariant(
        double_norm=False, norm_axis="channels", first_prompt_only=False, clip_input_size=512
    ),
}


@pytest.fixture
def checkpoints(maker, known, tmp_path_factory):
    """Miniature CLIP and SAM checkpoints in the official formats, written once a session."""
    folder = tmp_path_factory.getbasetemp() / "parity_clip"
    if folder.is_dir():
        return folder
    clip_state, sam_state = maker.make_clip(known["seed"]), maker.make_sam(known["seed"])
    assert maker.content_hash(clip_state) == known["files"]["ViT-B-16-mini.pt"]
    assert maker.content_hash(sam_state) == known["files"]["sam_vit_mini.pth"]
    folder.mkdir()
    torch.save(clip_state, folder / "ViT-B-16-mini-state_dict.pt")
    maker.save_clip_torchscript(clip_state, folder / "ViT-B-16-mini.pt")
    torch.save(sam_state, folder / "sam_vit_mini.pth")
    return folder


@functools.cache
def load_clip(path):
    return clip.load_clip(path)


@functools.cache
def cached_sam(path):
    return load_sam(path)


@functools.cache
def sam_embedding(model_path, image_path):
    return sam.encode_image(cached_sam(model_path), read_image(image_path))


@functools.cache
def read_image(path):
    return np.array(Image.open(path).convert("RGB"))


def read_recording(parity, case, name):
    arrays = dict(np.load(parity / case / f"{name}.npz"))
    return json.loads((parity / case / f"{name}.json").read_text()), arrays


def iou(a, b):
    union = (a | b).sum()
    return (a & b).sum() / union if union else 1.0


def thumbnail(crop):
    return np.array(Image.fromarray(crop).resize((16, 16)))


@pytest.mark.parametrize("variant", CROP_VARIANTS)
@pytest.mark.parametrize("case", CASES)
def test_sam_clip_repeats_the_published_code(parity, checkpoints, case, variant):
    """Crops, network input, features, scores, selection and mask are those recorded."""
    text, arrays = read_recording(parity, case, f"sam_clip_{variant}")
    switches = CROP_VARIANTS[variant]
    image = read_image(parity / case / "image.png")
    model = load_clip(checkpoints / "ViT-B-16-mini.pt")
    masks = [clip.decode_mask(rle) for rle in text["masks"]]

    assert [clip.mask_box(mask) for mask in masks] == [tuple(b) for b in arrays["bbox"].astype(int)]
    crops = [
        clip.crop_mask(
            image,
            mask,
            swap_canvas=switches.swap_canvas,
            inclusive_bbox=switches.inclusive_bbox,
        )
        for mask in masks
    ]
    np.testing.assert_array_equal([thumbnail(crop) for crop in crops], arrays["crop_thumbs"])
    inputs = np.stack([clip.preprocess_clip(crop).numpy() for crop in crops])
    np.testing.assert_allclose(inputs[:, :, ::8, ::8], arrays["clip_input_sample"], atol=1e-6)

    features = clip.crop_features(
        model,
        image,
        masks=text["masks"],
        boxes=arrays["bbox"],
        swap_canvas=switches.swap_canvas,
        inclusive_bbox=switches.inclusive_bbox,
    )
    recorded = arrays["clip_feature_cls"]
    recorded = recorded / np.linalg.norm(recorded, axis=1, keepdims=True)
    np.testing.assert_allclose(features, recorded, atol=1e-4)

    prompts = clip.encode_text(model, text["prompts"])
    selected = set()
    for prompt, feature in zip(text["prompts"], prompts, strict=True):
        indices, scores = clip.select_masks(features, feature)
        np.testing.assert_allclose(scores, arrays[f"scores_{prompt}"][:, 0], atol=1e-4)
        selected |= set(indices.tolist())
    assert sorted(selected) == text["selected"]

    found = sam_clip.segment(features, prompts, masks=masks, image_size_hw=image.shape[:2])
    assert (found.status, found.n_regions) == ("ok", len(selected))
    assert iou(found.mask, clip.decode_mask(text["final_mask"])) == 1.0


@pytest.mark.parametrize("variant", SURGERY_VARIANTS)
@pytest.mark.parametrize("case", CASES)
def test_clip_surgery_sam_repeats_the_published_code(parity, checkpoints, case, variant):
    """Input, tokens, text features, similarity, points and mask are those recorded."""
    text, arrays = read_recording(parity, case, f"clipsurgery_sam_{variant}")
    switches = SURGERY_VARIANTS[variant]
    assert text["clip_input_size"] == switches.clip_input_size
    image = read_image(parity / case / "image.png")
    model = load_clip(checkpoints / "ViT-B-16-mini.pt")

    pixels = clip_surgery.surgery_input(
        image,
        double_norm=switches.double_norm,
        antialias=switches.antialias,
        clip_input_size=switches.clip_input_size,
    )[None]
    np.testing.assert_allclose(
        pixels.numpy()[:, :, ::8, ::8], arrays["clip_input_sample"], atol=1e-6
    )
    tokens = clip_surgery.encode_tokens(model, pixels, surgery=switches.surgery)[0]
    step = 8 if variant == "fixed_512" else 1
    np.testing.assert_allclose(tokens[::step], arrays["image_tokens"], atol=1e-4)

    (prompt,) = text["prompts"]
    feature = clip.text_ensemble(model, prompt)
    redundant = clip.text_ensemble(model, "")
    np.testing.assert_allclose(feature[None], arrays["text_features"], atol=1e-4)
    np.testing.assert_allclose(redundant[None], arrays["redundant_features"], atol=1e-4)
    similarity = clip_surgery.similarity_map(
        tokens, feature[None], redundant_feature=redundant, norm_axis=switches.norm_axis
    )
    np.testing.assert_allclose(similarity[None], arrays["similarity"], atol=1e-5)

    height, width = image.shape[:2]
    points, labels = clip_surgery.points_from_map(
        similarity[1:, 0], height_px=height, width_px=width
    )
    np.testing.assert_array_equal(points, arrays["points"])
    np.testing.assert_array_equal(labels, arrays["labels"])

    decoder = cached_sam(checkpoints / "sam_vit_mini.pth")
    embedding = sam_embedding(checkpoints / "sam_vit_mini.pth", parity / case / "image.png")
    decoded = []

    def decode_points(points, labels):
        decoded.append(
            sam.decode_points(decoder, embedding, points, labels, image_size_hw=(height, width))
        )
        return decoded[-1][0][0]

    found = clip_surgery_sam.segment(
        tokens,
        feature[None],
        redundant_feature=redundant,
        decode_points=decode_points,
        image_size_hw=(height, width),
        norm_axis=switches.norm_axis,
        first_prompt_only=switches.first_prompt_only,
    )
    ((_, predicted_iou, low_res),) = decoded
    np.testing.assert_allclose(predicted_iou, arrays["sam_iou"].ravel(), atol=1e-4)
    np.testing.assert_allclose(low_res[0, ::4, ::4], arrays["sam_low_res"], atol=0.05)
    assert found.status == "ok"
    assert iou(found.mask, clip.decode_mask(text["final_mask"])) >= 0.999


@pytest.mark.parametrize("name", ["ViT-B-16-mini.pt", "ViT-B-16-mini-state_dict.pt"])
def test_archive_and_state_dict_hold_the_same_model(checkpoints, name):
    """The half-precision archive and the float32 state dict give the same features."""
    image = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    expected = clip.encode_crops(load_clip(checkpoints / "ViT-B-16-mini-state_dict.pt"), [image])
    found = clip.encode_crops(load_clip(checkpoints / name), [image])
    np.testing.assert_array_equal(found, expected)
