"""SAM's parts against the package's own predictor, on miniature weights."""

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

from realitycheck.models.sam import inference as sam
from realitycheck.models.sam.load import build_parts, load_sam
from realitycheck.models.sam.model import SAM_VARIANTS, read_dimensions
from training.miniatures import SAM_SIZE, VARIANTS, sam_state


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("sam") / "sam.pth"
    torch.save(sam_state(seed=0), path)
    return path


@pytest.fixture(scope="module")
def model(weights):
    return load_sam(weights, variant=VARIANTS["sam"])


@pytest.fixture
def predictor(model):
    """The package's own way to the same results, on the same modules."""
    parts = (model.image_encoder, model.prompt_encoder, model.mask_decoder)
    return SamPredictor(Sam(*parts, list(sam.PIXEL_MEAN), list(sam.PIXEL_STD)))


def picture(height, width, seed=0):
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    image = rng.uniform(0, 255, (height, width, 3)) * 0.3
    image[(rows - height / 3) ** 2 + (columns - width / 2) ** 2 < (height / 5) ** 2] += 150
    return image.astype(np.uint8)


BOXES = np.array([[10.0, 12, 60, 70], [-5, 20, 30, 200], [40.5, 3.25, 90, 40]])


@pytest.mark.parametrize("size", [(90, 120), (130, 70), (256, 256), (300, 280)])
def test_boxes_give_the_package_predictors_masks(model, predictor, size):
    """Landscape, portrait, the model's own size and a larger image; boxes may leave the image."""
    image = picture(*size)
    predictor.set_image(image)
    embedding = sam.encode_image(model, image)
    # Values of size 1; on a CPU another library takes float32 sums in another order.
    np.testing.assert_allclose(embedding, predictor.features[0].numpy(), atol=1e-5)
    masks, ious, low = sam.decode_boxes(model, embedding, BOXES, image_size_hw=size)
    for index, box in enumerate(BOXES):
        expected = predictor.predict(box=box, multimask_output=False)
        # Logits reach ±200, and float32 sums in another order: 5e-3 is 1/40,000 of that.
        np.testing.assert_allclose(low[index], expected[2][0], atol=5e-3)
        np.testing.assert_allclose(ious[index], expected[1][0], atol=1e-5)
        assert (masks[index] != expected[0][0]).sum() <= 2
    assert masks.any(axis=(1, 2)).all() and not masks.all(axis=(1, 2)).any()


@pytest.mark.parametrize("multimask", [False, True])
def test_points_give_the_package_predictors_masks(model, predictor, multimask):
    """All points belong to one prompt, object and background mixed."""
    image, points, labels = picture(90, 120), np.array([[30, 40], [90, 20], [60, 80]]), [1, 0, 1]
    predictor.set_image(image)
    expected = predictor.predict(points, np.array(labels), multimask_output=multimask)
    masks, ious, low = sam.decode_points(
        model,
        sam.encode_image(model, image),
        points,
        labels,
        image_size_hw=(90, 120),
        multimask=multimask,
    )
    assert masks.shape == ((3 if multimask else 1), 90, 120)
    np.testing.assert_array_equal(masks, expected[0])
    np.testing.assert_allclose(ious, expected[1], atol=1e-5)
    np.testing.assert_allclose(low, expected[2], atol=1e-3)


def test_batch_sizes_bound_memory_and_change_nothing(model):
    """Memory is the only reason for batches."""
    images = [picture(90, 120, seed) for seed in range(3)]
    one, three = (sam.encode_images(model, images, batch_size=size) for size in (1, 3))
    np.testing.assert_allclose(one, three, atol=1e-5)
    results = [
        sam.decode_boxes(model, one[0], BOXES, image_size_hw=(90, 120), batch_size=size)
        for size in (1, 2, 16)
    ]
    for masks, ious, low in results[1:]:
        np.testing.assert_allclose(low, results[0][2], atol=1e-3)
        np.testing.assert_allclose(ious, results[0][1], atol=1e-5)
        assert (masks != results[0][0]).mean() < 1e-4


def test_no_box_gives_no_mask(model):
    """A detector that finds nothing is no special case for the decoder."""
    embedding = sam.encode_image(model, picture(20, 30))
    masks, ious, low = sam.decode_boxes(model, embedding, np.zeros((0, 4)), image_size_hw=(20, 30))
    assert masks.shape == (0, 20, 30) and len(ious) == len(low) == 0


def test_preprocessing_rounds_half_up_and_pads_with_zero_after_normalisation():
    """341 rows of a 512 wide image become 682 of 1024: worked out by hand."""
    assert sam.resized_shape((341, 512)) == (682, 1024)
    assert sam.resized_shape((3, 2), image_size_px=5) == (5, 3)  # 3.33 down
    assert sam.resized_shape((4, 3), image_size_px=6) == (6, 5)  # 4.5 up
    square, shape = sam.preprocess(np.full((2, 4, 3), 255, np.uint8), image_size_px=8)
    assert shape == (4, 8) and square.shape == (3, 8, 8)
    white = (255 - np.array(sam.PIXEL_MEAN)) / np.array(sam.PIXEL_STD)
    np.testing.assert_allclose(square[:, 3, 7], white, rtol=1e-6)
    assert not square[:, 4:].any()


def test_swapped_colours_are_another_embedding(model):
    """The published SAA+ shows SAM swapped channels; the two must never be mixed up."""
    image = picture(60, 60)
    image[..., 0] //= 3
    swapped = sam.encode_image(model, image, colour_order="bgr")
    assert np.array_equal(swapped, sam.encode_image(model, image[..., ::-1]))
    assert np.abs(swapped - sam.encode_image(model, image)).max() > 0.1
    with pytest.raises(ValueError, match="colour_order.*'grb'"):
        sam.encode_image(model, image, colour_order="grb")


def test_decoding_job_needs_no_encoder(weights, model):
    """The segment stage decodes stored embeddings; it must not load or run the encoder."""
    decoder = load_sam(weights, variant=VARIANTS["sam"], parts={"prompt_encoder", "mask_decoder"})
    assert decoder.image_encoder is None
    before = model.n_images_encoded
    embedding = sam.encode_image(model, picture(60, 60))
    assert model.n_images_encoded == before + 1
    whole = sam.decode_boxes(model, embedding, BOXES, image_size_hw=(60, 60))
    part = sam.decode_boxes(decoder, embedding, BOXES, image_size_hw=(60, 60))
    assert all(np.array_equal(a, b) for a, b in zip(whole, part, strict=True))
    assert model.n_images_encoded == before + 1
    with pytest.raises(ValueError, match="needs the part 'image_encoder'"):
        sam.encode_image(decoder, picture(60, 60))


def test_dimensions_are_read_off_the_tensors():
    """Only the decoder's number of heads leaves no trace in a checkpoint."""
    read = read_dimensions(sam_state(seed=1), path="f")
    assert read == SAM_SIZE


@pytest.mark.parametrize("variant", ["vit_b", "vit_l", "vit_h"])
def test_official_sizes_have_the_official_tensors(variant):
    """Names and shapes must be those of the package's own builders; no weight is allocated."""
    from segment_anything import sam_model_registry

    with torch.device("meta"):
        built = build_parts(SAM_VARIANTS[variant])
        official = sam_model_registry[variant]().state_dict()
    ours = {
        f"{part}.{n}": t for part, module in built.items() for n, t in module.state_dict().items()
    }
    assert {name: t.shape for name, t in ours.items()} == {n: t.shape for n, t in official.items()}
    assert read_dimensions(official, path="f") == SAM_VARIANTS[variant]


def test_mapping_of_dimensions_loads_the_same_model(weights, model):
    """A user's own model comes as a mapping, from YAML: lists instead of tuples."""
    mapping = {"encoder_width": 64, "global_attention_blocks": [1], "image_size_px": 256}
    other = load_sam(weights, variant=mapping)
    assert other.dimensions == model.dimensions


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("vit_b", "does not belong to the SAM variant 'vit_b': encoder_width is 64, expected 768"),
        ("vit_x", "expected auto, one of vit_h"),
        ({"encoder_width": 64, "depth": 2}, "unknown dimension 'depth'"),
        ({"encoder_depth": 3}, "encoder_depth is 2, expected 3"),
    ],
)
def test_wrong_variant_is_refused(weights, variant, message):
    """A wrong variant must say what differs before a GPU minute is spent."""
    with pytest.raises(ValueError, match=message):
        load_sam(weights, variant=variant)


def test_incomplete_or_foreign_checkpoints_are_refused(tmp_path, weights):
    """A missing tensor would otherwise stay random."""
    state = sam_state(seed=0)
    state.pop("mask_decoder.iou_token.weight")
    torch.save(state | {"surplus.weight": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="1 missing .*iou_token.*1 unexpected .*surplus"):
        load_sam(tmp_path / "x.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "y.pth")
    with pytest.raises(ValueError, match="expected the checkpoint of a SAM model"):
        load_sam(tmp_path / "y.pth")
    with pytest.raises(ValueError, match="expected some of image_encoder.*'encoder'"):
        load_sam(weights, parts={"encoder"})
    with pytest.raises(
        ValueError, match="expected one of float32, bfloat16, float16, found 'int8'"
    ):
        load_sam(weights, precision="int8")


def test_reduced_precision_stays_close(weights, model):
    """Under autocast the embedding is near, and float32 again on the way out."""
    image = picture(60, 60)
    low = load_sam(weights, precision="bfloat16")
    found, exact = sam.encode_image(low, image), sam.encode_image(model, image)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - exact).mean() < 0.05


def test_bad_inputs_are_refused(model):
    """Each message says what was expected and what was found."""
    embedding = sam.encode_image(model, picture(20, 20))
    with pytest.raises(ValueError, match=r"expected uint8 of shape \(H, W, 3\), found float64"):
        sam.encode_image(model, np.zeros((5, 5, 3)))
    with pytest.raises(ValueError, match=r"found shape \(5, 5, 4\)"):
        sam.encode_image(model, np.zeros((5, 5, 4), np.uint8))
    with pytest.raises(ValueError, match=r"boxes: expected shape \(N, 4\), found \(4,\)"):
        sam.decode_boxes(model, embedding, np.zeros(4), image_size_hw=(20, 20))
    with pytest.raises(ValueError, match=r"embedding: expected shape \(64, 16, 16\)"):
        sam.decode_boxes(model, embedding[:5], BOXES, image_size_hw=(20, 20))
    with pytest.raises(ValueError, match=r"P at least 1, found \(0, 2\)"):
        sam.decode_points(model, embedding, np.zeros((0, 2)), [], image_size_hw=(20, 20))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_draws_the_same_masks(weights, model):
    """Digits differ between devices; decisions must not, but for pixels at an edge."""
    image = picture(90, 120)
    other = load_sam(weights, device="cuda")
    masks = [
        sam.decode_boxes(each, sam.encode_image(each, image), BOXES, image_size_hw=(90, 120))[0]
        for each in (model, other)
    ]
    assert (masks[0] != masks[1]).mean() < 1e-3
