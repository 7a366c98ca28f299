"""CLIP: loading, preprocessing, text ensembles, mask crops and their selection."""

import gc

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco
from safetensors.torch import save_file
from torchvision import transforms

from realitycheck.models.checkpoints.read import load_state
from realitycheck.models.clip import model as clip
from realitycheck.models.clip import surgery as clip_surgery
from realitycheck.models.clip.sizes import EVERYDAY_SIZES
from training import miniature_clip
from training.miniatures import VARIANTS


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return miniature_clip.write_miniature_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def model(weights):
    return clip.load_clip(weights, variant=VARIANTS["clip"])


@pytest.fixture
def image():
    return np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def to_rle(mask):
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))


# Loading


def test_loaded_model_uses_quick_gelu_in_float32(model):
    """The released weights were trained with QuickGELU; GELU gives quietly other features."""
    for tower in (model.visual.transformer, model.transformer):
        kinds = {type(block.mlp.gelu).__name__ for block in tower.resblocks}
        assert kinds == {"QuickGELU"}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in model.parameters()) and not model.training


def test_every_container_gives_the_same_model(model, weights, image, tmp_path):
    """A state dict, safetensors and a TorchScript archive are the same weights in other wraps."""
    state = load_state(weights)
    torch.save(state, tmp_path / "state.pt")

    class Holder(torch.nn.Module):
        def forward(self, x):
            return x

    root = Holder()
    for name, value in state.items():
        node = root
        *parents, leaf = name.split(".")
        for part in parents:
            if part not in node._modules:
                node.add_module(part, Holder())
            node = node._modules[part]
        node.register_parameter(leaf, torch.nn.Parameter(value, requires_grad=False))
    for fact in ("input_resolution", "context_length", "vocab_size"):
        root.register_buffer(fact, torch.tensor(7))
    torch.jit.save(torch.jit.script(root.eval()), str(tmp_path / "archive.pt"))

    expected = clip.encode_crops(model, [image])
    for name in ("state.pt", "archive.pt"):
        found = clip.load_clip(tmp_path / name)
        np.testing.assert_array_equal(clip.encode_crops(found, [image]), expected)


def test_float32_weights_keep_their_digits(weights, tmp_path):
    """open_clip's own loader rounds them to half precision on the way."""
    state = {key: value.float() for key, value in load_state(weights).items()}
    state["visual.proj"] = state["visual.proj"] * (1 + 2**-20)
    save_file(state, tmp_path / "fine.safetensors")
    loaded = clip.load_clip(tmp_path / "fine.safetensors")
    torch.testing.assert_close(loaded.visual.proj, state["visual.proj"], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("visual.proj"), "expected a CLIP ViT .*'visual.proj' is missing"),
        (lambda s: s.pop("ln_final.bias"), "1 missing .*ln_final.bias"),
        (lambda s: s.update(extra=torch.zeros(1)), "1 unexpected .*extra"),
        (lambda s: s.update({"ln_final.bias": torch.zeros(3)}), "another shape .*ln_final.bias"),
    ],
)
def test_foreign_files_are_refused(weights, tmp_path, change, message):
    """A file that does not fit must say so before hours are spent on it."""
    state = dict(load_state(weights))
    change(state)
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(ValueError, match=message):
        clip.load_clip(tmp_path / "odd.safetensors")


def test_variant_is_checked_against_the_file(weights):
    """A wrong file under the right name is found by its sizes."""
    with pytest.raises(ValueError, match="expected embed_dim 512 of CLIP variant 'ViT-B-16', fou"):
        clip.load_clip(weights, variant="ViT-B-16")
    assert clip.load_clip(weights, variant={"vision_width": 64}).visual.output_dim == 32
    with pytest.raises(ValueError, match="unknown size 'depth'"):
        clip.load_clip(weights, variant={"depth": 3})
    with pytest.raises(ValueError, match="found 'ViT-Z'"):
        clip.known_sizes("ViT-Z")
    with pytest.raises(ValueError, match="found 'RN50'"):
        clip.known_sizes("RN50")
    with pytest.raises(ValueError, match="multiple of 64, found 100"):
        clip.build_clip({**EVERYDAY_SIZES, "vision_width": 100})


# Images


def test_preprocessing_is_torchvisions_without_a_crop(image):
    """Squash, scale, normalise: the reference is made of torchvision's own steps."""
    reference = transforms.Compose(
        [
            transforms.Resize((224, 224), transforms.InterpolationMode.BICUBIC),
            transforms.ToTensor(),
            transforms.Normalize(clip.CLIP_MEAN, clip.CLIP_STD),
        ]
    )
    expected = reference(Image.fromarray(image))
    torch.testing.assert_close(clip.preprocess_clip(image), expected, rtol=0, atol=1e-6)


def test_preprocessing_keeps_both_ends_of_a_long_image():
    """A centre crop would lose a defect at the end of a long part."""
    long = np.zeros((10, 200, 3), np.uint8)
    long[:, :20] = 255
    pixels = clip.preprocess_clip(long)
    assert pixels[0, 100, 0] > 1.9 and pixels[0, 100, 200] < -1.7


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_preprocessing_refuses_other_arrays(wrong):
    """A float image would be taken for nearly black."""
    with pytest.raises(ValueError, match="expected uint8 of shape"):
        clip.preprocess_clip(wrong)


def test_encoding_is_open_clips_and_does_not_depend_on_the_batch(model, image):
    """Batches are for speed only; 1e-5 is the rounding of other matrix shapes."""
    images = [image, image[:7], image[:, ::-1], image[5:30, 10:12], image // 2]
    stacked = torch.stack([clip.preprocess_clip(i) for i in images])
    with torch.no_grad():
        expected = torch.nn.functional.normalize(model.encode_image(stacked), dim=-1).numpy()
    for batch_size in (1, 2, 64):
        found = clip.encode_crops(model, iter(images), batch_size=batch_size)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert clip.encode_crops(model, []).shape == (0, 32)
    with pytest.raises(ValueError, match="batch_size: expected at least 1, found 0"):
        clip.encode_crops(model, images, batch_size=0)


def test_half_precision_is_close_and_unknown_precision_refused(model, image):
    """bfloat16 keeps 8 bits: cosines agree to about a hundredth."""
    exact = clip.encode_crops(model, [image])[0]
    low = clip.encode_crops(model, [image], precision="bfloat16")[0]
    assert low.dtype == np.float32 and 0.99 < exact @ low < 1
    np.testing.assert_allclose(low @ low, 1, atol=1e-6)
    with pytest.raises(ValueError, match="precision: .* found 'int8'"):
        clip.encode_crops(model, [image], precision="int8")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_features(model, weights, image):
    """Devices round differently; 1e-3 is ten times what processors differ by."""
    on_gpu = clip.load_clip(weights, device="cuda")
    expected = clip.encode_crops(model, [image])
    np.testing.assert_allclose(clip.encode_crops(on_gpu, [image]), expected, atol=1e-3)
    expected = clip.encode_text(model, ["defect"])
    np.testing.assert_allclose(clip.encode_text(on_gpu, ["defect"]), expected, atol=1e-3)
    pixels = clip_surgery.surgery_input(image, clip_input_size=320)[None]
    expected = clip_surgery.encode_tokens(model, pixels)
    np.testing.assert_allclose(clip_surgery.encode_tokens(on_gpu, pixels), expected, atol=1e-2)


# Texts


def test_there_are_85_templates_with_one_place_each():
    """80 of CLIP's authors in their order, then five of CLIP_Surgery."""
    templates = clip.surgery_templates()
    assert len(templates) == len(set(templates)) == 85
    assert all(template.count("{}") == 1 for template in templates)
    assert templates[0] == "a bad photo of a {}." and templates[79] == "a tattoo of the {}."
    assert templates[84] == "this is one {} in the scene."


def test_text_features_are_open_clips(model):
    """The bare prompt goes in, by the tokeniser that open_clip ships."""
    texts = ["defect", "", "A small Crack"]
    with torch.no_grad():
        expected = model.encode_text(open_clip.tokenize(texts), normalize=True).numpy()
    np.testing.assert_allclose(clip.encode_text(model, texts), expected, atol=1e-6)
    np.testing.assert_allclose(clip.encode_text(model, texts, batch_size=2), expected, atol=1e-5)
    assert clip.encode_text(model, []).shape == (0, 32)


def test_too_long_a_text_is_refused_instead_of_cut(model):
    """open_clip cuts silently: the end of the prompt would have no effect."""
    assert clip.encode_text(model, ["hole " * 75]).shape == (1, 32)
    with pytest.raises(ValueError, match="at most 75 tokens, found 76 in 'hole hole"):
        clip.encode_text(model, ["hole " * 76])
    with pytest.raises(ValueError, match="found the single text 'defect'"):
        clip.encode_text(model, "defect")


def test_ensemble_is_the_scaled_mean(model):
    """Each sentence counts the same, whatever the length of its feature."""
    one, two = clip.encode_text(model, ["a hole.", "no hole here"])
    found = clip.text_ensemble(model, "hole", templates=["a {}.", "no {} here"])
    np.testing.assert_allclose(found, (one + two) / np.linalg.norm(one + two), atol=1e-6)
    empty = clip.text_ensemble(model, "", templates=["a {}."])
    np.testing.assert_allclose(empty, clip.encode_text(model, ["a ."])[0], atol=1e-6)


def test_ensemble_is_computed_once_per_model(model, weights, monkeypatch):
    """85 encodings a prompt and image would cost more than the image."""
    calls = []
    encode = clip.encode_text
    monkeypatch.setattr(clip, "encode_text", lambda m, texts: calls.append(1) or encode(m, texts))
    first = clip.text_ensemble(model, "once")
    assert clip.text_ensemble(model, "once") is first and len(calls) == 1
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 0
    other = clip.load_clip(weights)
    clip.text_ensemble(other, "once")
    assert len(calls) == 2
    n_models = len(clip._ensembles)
    del other
    gc.collect()
    assert len(clip._ensembles) == n_models - 1


def test_ensemble_needs_templates_with_a_place(model):
    """A template without a place would ignore the prompt."""
    with pytest.raises(ValueError, match="1 of 2 lack it .first: 'a thing.'"):
        clip.text_ensemble(model, "x", templates=["a {}.", "a thing."])
    with pytest.raises(ValueError, match="at least one sentence"):
        clip.text_ensemble(model, "x", templates=[])


# Mask crops


def test_box_is_one_short_in_each_direction():
    """SAM's own convention, which the published crops take at face value."""
    mask = np.zeros((6, 8), bool)
    assert clip.mask_box(mask) == (0, 0, 0, 0)
    mask[2:5, 3] = True
    assert clip.mask_box(mask) == (3, 2, 0, 2)
    mask[4, 1] = True
    assert clip.mask_box(mask) == (1, 2, 2, 2)


def test_crop_by_hand(image):
    """Pixels outside the mask are black; the published crop lacks the last row and column."""
    mask = np.zeros(image.shape[:2], bool)
    mask[1:4, 5:9] = True
    mask[1, 5] = False
    repaired = clip.crop_mask(image, mask, swap_canvas=False, inclusive_bbox=False)
    expected = image[1:4, 5:9].copy()
    expected[0, 0] = 0
    np.testing.assert_array_equal(repaired, expected)
    published = clip.crop_mask(image, mask, swap_canvas=False, inclusive_bbox=True)
    np.testing.assert_array_equal(published, expected[:-1, :-1])


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (40, 40)])
@pytest.mark.parametrize("swap_canvas", [True, False])
@pytest.mark.parametrize("inclusive_bbox", [True, False])
def test_crop_equals_pasting_and_cutting_with_pillow(shape, swap_canvas, inclusive_bbox):
    """The slips were made with Pillow's calls; so is this reference."""
    rng = np.random.default_rng(3)
    image = rng.integers(1, 256, (*shape, 3), dtype=np.uint8)
    for _ in range(8):
        mask = np.zeros(shape, bool)
        (y0, y1), (x0, x1) = (np.sort(rng.choice(n, 2, replace=False)) for n in shape)
        mask[y0 : y1 + 1, x0 : x1 + 1] = rng.random((y1 - y0 + 1, x1 - x0 + 1)) < 0.7
        if not mask.any():
            continue
        size = shape if swap_canvas else shape[::-1]
        canvas = Image.new("RGB", size)
        stencil = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))
        canvas.paste(Image.fromarray(image), (0, 0), stencil)
        x, y, w, h = clip.mask_box(mask)
        extra = 0 if inclusive_bbox else 1
        expected = np.array(canvas.crop((x, y, x + w + extra, y + h + extra)))
        found = clip.crop_mask(image, mask, swap_canvas=swap_canvas, inclusive_bbox=inclusive_bbox)
        if expected.size:
            np.testing.assert_array_equal(found, expected)
        else:
            assert not found.any()


@pytest.mark.parametrize("rows", [slice(3, 4), slice(3, 9)])
def test_a_thin_mask_is_scored_as_a_black_crop_when_published(image, rows):
    """Pillow turns the empty crop black; repaired, the thin mask keeps its pixels."""
    mask = np.zeros(image.shape[:2], bool)
    mask[rows, 7] = True
    published = clip.crop_mask(image, mask, swap_canvas=False, inclusive_bbox=True)
    black = clip.preprocess_clip(np.zeros((9, 9, 3), np.uint8))
    torch.testing.assert_close(clip.preprocess_clip(published), black)
    repaired = clip.crop_mask(image, mask, swap_canvas=False, inclusive_bbox=False)
    np.testing.assert_array_equal(repaired, image[rows, 7:8])


def test_run_lengths_and_given_boxes_change_nothing(model, image):
    """Stored proposals hold run lengths and SAM's boxes."""
    masks = np.zeros((3, *image.shape[:2]), bool)
    masks[0, 2:20, 3:30], masks[1, 10:40], masks[2, 5, 5] = True, True, True
    switches = {"swap_canvas": True, "inclusive_bbox": True}
    expected = clip.crop_features(model, image, masks=masks, **switches)
    packed = [to_rle(mask) for mask in masks]
    packed[1] = {"size": packed[1]["size"], "counts": packed[1]["counts"].decode()}
    boxes = np.array([clip.mask_box(mask) for mask in masks], np.float32)
    found = clip.crop_features(model, image, masks=packed, boxes=boxes, batch_size=2, **switches)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert clip.crop_features(model, image, masks=[], **switches).shape == (0, 32)
    with pytest.raises(ValueError, match="found 2 for 3 masks"):
        clip.crop_features(model, image, masks=masks, boxes=boxes[:2], **switches)
    with pytest.raises(ValueError, match=r"expected bool of shape \(39, 60\)"):
        clip.crop_features(model, image[1:], masks=masks, **switches)


# Selection


def test_a_single_mask_is_always_selected():
    """The published rule shares 1 among the masks, even if the only one fits badly."""
    indices, scores = clip.select_masks(np.array([[1.0, 0.0]]), np.array([-1.0, 0.0]))
    assert indices.tolist() == [0] and scores.tolist() == [1.0]


@pytest.mark.parametrize(("n", "n_selected"), [(19, 19), (20, 0), (21, 0)])
def test_equal_masks_are_selected_below_twenty(n, n_selected):
    """A share of 1/20 = 0.05 does not lie above the threshold."""
    features = np.tile([0.6, 0.8], (n, 1)).astype(np.float32)
    indices, scores = clip.select_masks(features, np.array([0.6, 0.8], np.float32))
    assert len(indices) == n_selected
    np.testing.assert_allclose(scores, 1 / n)


def test_shares_by_hand():
    """Cosines 0.03, 0.02 and -0.9 at scale 100: shares e/(e + 1), 1/(e + 1) and nothing."""
    cosines = np.array([0.03, 0.02, -0.9])
    features = np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1)
    indices, scores = clip.select_masks(features, np.array([1.0, 0.0]))
    assert indices.tolist() == [0, 1]
    np.testing.assert_allclose(scores, [np.e / (np.e + 1), 1 / (np.e + 1), 0], atol=1e-12)
    indices, _ = clip.select_masks(features, np.array([1.0, 0.0]), threshold=0.5)
    assert indices.tolist() == [0]


def test_no_masks_give_no_selection_and_foreign_shapes_are_refused():
    """An image without proposals is an outcome, features of another CLIP an error."""
    indices, scores = clip.select_masks(np.zeros((0, 4)), np.zeros(4))
    assert len(indices) == len(scores) == 0
    with pytest.raises(ValueError, match=r"found \(2, 4\) and \(3,\)"):
        clip.select_masks(np.zeros((2, 4)), np.zeros(3))
