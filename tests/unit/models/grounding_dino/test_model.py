"""The detector against the package's own model class, on miniature weights."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from realitycheck.models.grounding_dino import model as gd
from training.miniatures import (
    DETECTOR_SIZE,
    vocabulary,
    write_miniatures,
    write_text_encoder,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_miniatures(tmp_path_factory.mktemp("miniatures"), seed=0)


@pytest.fixture(scope="module")
def model(files):
    return gd.load_grounding_dino(
        files["grounding_dino"],
        text_encoder=files["text_encoder"],
        variant=DETECTOR_SIZE,
    )


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    from transformers import BertTokenizerFast

    return BertTokenizerFast.from_pretrained(
        str(write_text_encoder(tmp_path_factory.mktemp("bert")))
    )


def picture(height=96, width=128, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.uniform(40, 90, (height, width, 3))
    image[20:50, 30:80] += rng.uniform(0, 150, 3)
    return image.astype(np.uint8)


CAPTIONS = ["defect", "Dark spot. scratch", "a cat?"]


def test_backbone_runs_once_for_all_captions(model):
    """It is the part that no caption changes, so it must not be paid for per caption."""
    before = model.n_backbone_passes
    passes = []
    hook = model.network.backbone[0].register_forward_hook(lambda *_: passes.append(1))
    together = gd.detect(model, picture(), CAPTIONS)
    hook.remove()
    assert len(passes) == 1 and model.n_backbone_passes == before + 1
    alone = [gd.detect(model, picture(), [caption])[0] for caption in CAPTIONS]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.token_scores, other.token_scores)


def test_captions_of_equal_length_may_go_together(model):
    """In any order and beside longer ones; each gets the boxes that it gets alone."""
    captions = ["defect", "dark spot. scratch", "cat", "dog", "defect"]
    passes = []
    hook = model.network.transformer.register_forward_hook(lambda *_: passes.append(1))
    alone = gd.detect(model, picture(), captions)
    assert len(passes) == 5
    together = gd.detect(model, picture(), captions, captions_per_pass=3)
    hook.remove()
    assert len(passes) < 10
    for one, other in zip(alone, together, strict=True):
        assert (one.caption, one.tokens) == (other.caption, other.tokens)
        np.testing.assert_array_equal(one.queries, other.queries)
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-4)
        np.testing.assert_allclose(one.token_scores, other.token_scores, atol=1e-4)


def test_projections_of_the_backbones_features_are_made_once(model):
    """No caption changes them either."""
    passes = []
    hooks = [
        convolution.register_forward_hook(lambda *_: passes.append(1))
        for convolution, _ in model.network.input_proj
    ]
    gd.detect(model, picture(), CAPTIONS)
    for hook in hooks:
        hook.remove()
    assert len(passes) == len(model.network.input_proj)
    assert all("forward" not in vars(each) for each in model.network.input_proj)


def test_text_encoder_is_asked_once_about_a_caption(files, model):
    """What a caption means does not depend on the image, nor on the captions beside it."""
    own = gd.load_grounding_dino(
        files["grounding_dino"],
        text_encoder=files["text_encoder"],
        variant=DETECTOR_SIZE,
    )
    passes = []
    hook = own.network.bert.encoder.register_forward_hook(lambda *_: passes.append(1))
    images = [picture(seed=seed) for seed in range(3)]
    found = [gd.detect(own, image, CAPTIONS) for image in images]
    assert len(passes) == len(CAPTIONS)
    gd.detect(own, images[0], [CAPTIONS[0], "another"])
    hook.remove()
    assert len(passes) == len(CAPTIONS) + 1
    for image, detections in zip(images, found, strict=True):
        model.known_texts.clear()
        for one, other in zip(detections, gd.detect(model, image, CAPTIONS), strict=True):
            np.testing.assert_array_equal(one.token_scores, other.token_scores)


def test_reduced_precision_changes_scores_slightly(files, model):
    """Scores keep about two digits; what is stored is float32 as ever."""
    low = gd.load_grounding_dino(
        files["grounding_dino"],
        text_encoder=files["text_encoder"],
        variant=DETECTOR_SIZE,
        precision="bfloat16",
    )
    for near, exact in zip(
        gd.detect(low, picture(), CAPTIONS), gd.detect(model, picture(), CAPTIONS), strict=True
    ):
        assert near.boxes.dtype == near.scores.dtype == np.float32
        difference = np.abs(np.sort(near.scores) - np.sort(exact.scores))
        assert 0 < difference.mean() < 0.01
    with pytest.raises(ValueError, match="precision: expected one of float32"):
        gd.load_grounding_dino(
            files["grounding_dino"], text_encoder=files["text_encoder"], precision="int8"
        )


@pytest.mark.parametrize("size", [(96, 128), (150, 70)])
def test_detections_equal_the_package_models_forward(model, size):
    """Columns beyond the caption's tokens are -inf in the package's output: score 0."""
    image = picture(*size)
    inputs = gd.preprocess(image, short_side_px=192, long_side_limit_px=320)
    for caption, found in zip(CAPTIONS, gd.detect(model, image, CAPTIONS), strict=True):
        text = caption.lower() if caption.endswith(".") else caption.lower() + "."
        with torch.no_grad():
            output = model.network(inputs[None], captions=[text])
        scores = output["pred_logits"].sigmoid()[0].numpy()
        n_tokens = len(found.tokens)
        assert found.caption == text
        assert not scores[:, n_tokens:].any()
        np.testing.assert_allclose(found.token_scores, scores[:, :n_tokens], atol=1e-6)
        np.testing.assert_allclose(found.boxes, output["pred_boxes"][0].numpy(), atol=1e-6)
        np.testing.assert_allclose(found.scores, scores.max(axis=1), atol=1e-6)
        assert found.queries.tolist() == list(range(40))


def test_floor_and_threshold_are_strict_and_keep_the_order_of_queries(model):
    """What is stored down to a floor must serve every threshold above it."""
    everything = gd.detect(model, picture(), ["defect"])[0]
    floor = float(np.sort(everything.scores)[-10])
    stored = gd.detect(model, picture(), ["defect"], floor=floor)[0]
    assert stored.queries.tolist() == np.flatnonzero(everything.scores > floor).tolist()
    assert len(stored.queries) == 9
    threshold = float(np.sort(everything.scores)[-4])
    chosen = gd.select_boxes(stored, box_threshold=threshold)
    np.testing.assert_array_equal(
        chosen.boxes, gd.select_boxes(everything, box_threshold=threshold).boxes
    )
    assert len(chosen.boxes) == 3 and (chosen.scores > threshold).all()
    with pytest.raises(ValueError, match="lower the detection floor"):
        gd.select_boxes(stored, box_threshold=floor / 2)


@pytest.mark.parametrize(
    ("size_hw", "expected"),
    [
        ((1024, 1024), (800, 800)),
        ((375, 500), (800, 1066)),
        ((500, 375), (1066, 800)),
        ((800, 900), (800, 900)),  # the short side is right already
        ((600, 1800), (444, 1332)),  # long side limited: round(1333 / 3) = 444
        ((341, 512), (800, 1201)),
    ],
)
def test_input_size_follows_the_published_rule(size_hw, expected):
    """Worked out by hand; truncation, not rounding, of the long side."""
    assert gd.resized_shape(size_hw) == expected


def test_preprocessing_is_pillow_bilinear_and_imagenet_constants():
    """Written out a second time with the package's own constants."""
    image = picture(60, 90)
    expected = np.asarray(Image.fromarray(image).resize((1200, 800), Image.Resampling.BILINEAR))
    expected = (expected / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    found = gd.preprocess(image)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.permute(1, 2, 0).numpy(), expected, atol=1e-5)


@given(st.lists(st.sampled_from(vocabulary()), max_size=12))
def test_joined_tokens_equal_the_tokenizers_decoding(tokenizer, tokens):
    """Labels are made from stored tokens without a tokeniser, and filters search in them."""
    ids = tokenizer.convert_tokens_to_ids(tokens)
    assert gd.join_tokens(tokens) == tokenizer.decode(ids)


@given(st.text(max_size=40))
def test_every_text_survives_the_tokenizer(tokenizer, text):
    """Prompts are free text."""
    ids = tokenizer(gd.normalise_caption(text))["input_ids"]
    assert gd.join_tokens(tokenizer.convert_ids_to_tokens(ids)) == tokenizer.decode(ids)


TOKENS = ("[CLS]", "dark", "spot", ".", "cr", "##ack", ".", "[SEP]")


def test_phrase_variants_differ_in_special_tokens_and_full_stops():
    """Worked out by hand for the two code bases and the corrected form."""
    scores = np.array([0.9, 0.3, 0.1, 0.3, 0.26, 0.25, 0.2, 0.4], np.float32)
    assert gd.phrase(TOKENS, scores, 0.25) == "[CLS] dark. cr [SEP]"
    assert gd.phrase(TOKENS, scores, 0.25, variant="text2seg") == "dark cr [SEP]"
    assert gd.phrase(TOKENS, scores, 0.25, strip_special=True) == "dark. cr"
    assert gd.phrase(TOKENS, scores, 0.95) == ""
    assert gd.phrase(TOKENS, scores, 0.1) == "[CLS] dark. crack. [SEP]"  # 0.1 itself fails


def test_phrase_refuses_what_does_not_fit():
    """A score per token, and a known variant."""
    with pytest.raises(ValueError, match="expected 8 scores, one per token, found shape"):
        gd.phrase(TOKENS, np.zeros(5), 0.2)
    with pytest.raises(ValueError, match="one of groundingdino_py, text2seg, found 'x'"):
        gd.phrase(TOKENS, np.zeros(8), 0.2, variant="x")


def test_boxes_become_pixel_corners_without_clipping():
    """A box may leave the image; SAM gets it as it is."""
    boxes = np.array([[0.5, 0.5, 0.5, 1.0], [0.1, 0.9, 0.4, 0.4]])
    found = gd.boxes_to_pixels(boxes, image_size_hw=(100, 200))
    np.testing.assert_allclose(found, [[50, 0, 150, 100], [-20, 70, 60, 110]], rtol=1e-5)
    assert gd.boxes_to_pixels(np.zeros((0, 4)), image_size_hw=(1, 1)).shape == (0, 4)


def test_text_encoder_needs_configuration_and_vocabulary_only(tmp_path, files):
    """BERT's weights come with the detector; a folder without them is enough."""
    folder = write_text_encoder(tmp_path / "bert")
    assert sorted(file.name for file in folder.iterdir()) == [
        "config.json",
        "tokenizer_config.json",
        "vocab.txt",
    ]
    (folder / "vocab.txt").unlink()
    with pytest.raises(FileNotFoundError, match="vocab.txt and tokenizer.json is missing"):
        gd.load_grounding_dino(files["grounding_dino"], text_encoder=folder, variant=DETECTOR_SIZE)


def test_stale_position_ids_are_tolerated_and_nothing_else(tmp_path, files):
    """The released file carries one unused buffer of an older BERT."""
    saved = torch.load(files["grounding_dino"], weights_only=True)["model"]
    options = {"text_encoder": files["text_encoder"], "variant": DETECTOR_SIZE}
    stale = saved | {"module.bert.embeddings.position_ids": torch.arange(512)[None]}
    torch.save({"model": stale}, tmp_path / "stale.pth")
    gd.load_grounding_dino(tmp_path / "stale.pth", **options)
    torch.save({"model": saved | {"module.extra": torch.zeros(1)}}, tmp_path / "extra.pth")
    with pytest.raises(ValueError, match="1 unexpected .*extra"):
        gd.load_grounding_dino(tmp_path / "extra.pth", **options)
    saved.pop("module.feat_map.bias")
    torch.save({"model": saved}, tmp_path / "less.pth")
    with pytest.raises(ValueError, match="1 missing .*feat_map.bias"):
        gd.load_grounding_dino(tmp_path / "less.pth", **options)


def test_wrong_variants_are_refused(files):
    """A wrong size must be named, not loaded in part."""
    options = {"text_encoder": files["text_encoder"]}
    path = files["grounding_dino"]
    with pytest.raises(ValueError, match="one of swint_ogc, everyday .* found 'swin_b'"):
        gd.load_grounding_dino(path, variant="swin_b", **options)
    with pytest.raises(ValueError, match="unknown dimension 'layers'"):
        gd.load_grounding_dino(path, variant={"layers": 1}, **options)
    dimensions = DETECTOR_SIZE.__dict__ | {"num_queries": 41}
    with pytest.raises(ValueError, match=r"tgt_embed.*expected \(41, 256\), found \(40, 256\)"):
        gd.load_grounding_dino(path, variant=dimensions, **options)


def test_official_sizes_are_those_of_the_packages_config():
    """Read as data from the package's own file, not executed."""
    import ast
    from importlib.util import find_spec
    from pathlib import Path

    root = Path(find_spec("groundingdino").origin).parent
    source = (root / "config" / "GroundingDINO_SwinT_OGC.py").read_text()
    config = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign)
    }
    size = gd.GROUNDING_DINO_VARIANTS["swint_ogc"]
    for name in ("enc_layers", "dec_layers", "dim_feedforward", "num_queries"):
        assert getattr(size, name) == config[name]
    assert config["hidden_dim"] == 256 and config["max_text_len"] == gd.MAX_TOKENS


def test_a_bare_text_is_refused_and_no_caption_gives_nothing(model):
    """The published demo passes a flat text, and single letters become prompts (oddity D11)."""
    with pytest.raises(ValueError, match="expected a list of texts, found the single text 'cat'"):
        gd.detect(model, picture(), "cat")
    assert gd.detect(model, picture(), []) == []


def test_loading_and_detecting_print_nothing(files, capsys, recwarn):
    """Logs are read by people; the package prints and warns about training only."""
    loaded = gd.load_grounding_dino(
        files["grounding_dino"],
        text_encoder=files["text_encoder"],
        variant=DETECTOR_SIZE,
    )
    gd.detect(loaded, picture(), ["cat"])
    assert capsys.readouterr().out == ""
    assert not [w for w in recwarn if "groundingdino" in str(w.filename)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_finds_the_same_boxes(files, model):
    """Near-tied proposals may swap places, so the likeliest boxes are looked for among all."""
    other = gd.load_grounding_dino(
        files["grounding_dino"],
        text_encoder=files["text_encoder"],
        variant=DETECTOR_SIZE,
        device="cuda",
    )
    here, there = (gd.detect(each, picture(), ["defect"])[0] for each in (model, other))
    best = np.argsort(-here.scores)[:5]
    assert len(best) == 5
    likeliest = np.sort(there.scores)[::-1][:5]
    np.testing.assert_allclose(likeliest, here.scores[best], atol=1e-3)
    distances = np.abs(here.boxes[best][:, None] - there.boxes[None]).max(axis=2)
    assert (distances.min(axis=1) < 1e-3).all()
