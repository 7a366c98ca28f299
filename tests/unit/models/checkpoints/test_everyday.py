"""The shipped networks, trained on drawn everyday scenes, load like official ones and see."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch

from realitycheck.datasets.synthetic.drawn_sets import image_rng
from realitycheck.datasets.synthetic.everyday import draw_scene
from realitycheck.datasets.synthetic.pets import draw_pet
from realitycheck.methods.clip_surgery_sam import algorithm as clip_surgery_sam
from realitycheck.methods.grounded_sam import algorithm as grounded_sam
from realitycheck.models.checkpoints.known import (
    SHIPPED_FOLDER,
    network_files,
    shipped_files,
    weights_digest,
)
from realitycheck.models.checkpoints.read import load_state
from realitycheck.models.clip import model as clip
from realitycheck.models.clip import surgery as clip_surgery
from realitycheck.models.grounding_dino import model as grounding_dino
from realitycheck.models.saliency import load_saliency
from realitycheck.models.sam import inference as sam
from realitycheck.models.sam.load import load_sam
from realitycheck.report.tables.self_test import self_test, stored_bands, verdict
from training.export import save_compact

SIZE = (256, 256)


def test_shipped_files_are_those_of_the_list_and_small_enough():
    """A file that was changed by mistake must not pass for a trained one."""
    known = json.loads((SHIPPED_FOLDER / "sha256.json").read_text(encoding="utf-8"))
    for name, sha256 in known.items():
        assert weights_digest(SHIPPED_FOLDER / name) == sha256
    sizes = [path.stat().st_size for path in SHIPPED_FOLDER.rglob("*.safetensors")]
    assert len(sizes) == 4
    assert sum(sizes) <= 16_000_000


def test_weights_are_half_precision():
    """They lie in the repository: half the size, and no network needs more."""
    for path in SHIPPED_FOLDER.glob("*.safetensors"):
        kinds = {v.dtype for v in load_state(path).values() if v.is_floating_point()}
        assert kinds == {torch.float16}, path


def test_saliency_and_clip_load_through_the_products_loaders():
    """Every network comes through the same code as an official checkpoint."""
    network = load_saliency(SHIPPED_FOLDER / "resnet.safetensors", variant="everyday")
    assert len(network(torch.zeros(1, 3, 64, 64))) == 3
    model = clip.load_clip(SHIPPED_FOLDER / "clip.safetensors", variant="everyday")
    assert clip.encode_text(model, ["a cat"]).shape == (1, 64)


def test_clip_tells_cats_from_dogs():
    """With the thing cut out of a held-out scene, as SAM + CLIP asks."""
    model = clip.load_clip(SHIPPED_FOLDER / "clip.safetensors", variant="everyday")
    texts = np.stack([clip.text_ensemble(model, noun) for noun in ("cat", "dog", "car")])
    right = []
    for index in range(12):
        animal = ("cat", "dog")[index % 2]
        drawn = draw_pet(image_rng("test", str(index), seed=41), animal)
        crop = clip.crop_mask(drawn.image, drawn.mask, swap_canvas=False, inclusive_bbox=False)
        likeliest = int((clip.encode_crops(model, [crop]) @ texts.T).argmax())
        right.append(likeliest == index % 2)
    assert np.mean(right) >= 0.75


def test_sam_draws_everyday_things_from_their_boxes():
    """Mean IoU 0.8 on scenes that no training saw; a few of them suffice to see a broken file."""
    model = load_sam(SHIPPED_FOLDER / "sam.safetensors", variant="everyday")
    found = []
    for index in range(4):
        scene = draw_scene(np.random.default_rng([4000, index]))
        boxes = np.array([i.box for i in scene.instances]).reshape(-1, 4)
        masks, _, _ = sam.decode_boxes(
            model, sam.encode_image(model, scene.image), boxes, image_size_hw=SIZE
        )
        for instance, mask in zip(scene.instances, masks, strict=True):
            truth = scene.identities == instance.identity
            found.append((mask & truth).sum() / (mask | truth).sum())
    assert np.mean(found) >= 0.75


def pets_scores(model):
    """Mean IoU of two methods on a few cats, as the self-test's table has it."""
    detector = grounding_dino.load_grounding_dino(
        SHIPPED_FOLDER / "grounding_dino.safetensors",
        text_encoder=SHIPPED_FOLDER / "bert",
        variant="everyday",
    )
    reader = clip.load_clip(SHIPPED_FOLDER / "clip.safetensors", variant="everyday")
    texts, redundant = clip.text_ensemble(reader, "cat")[None], clip.text_ensemble(reader, "")
    surgery, rows = clip_surgery_sam.PUBLISHED, []
    for index in range(6):
        drawn = draw_pet(image_rng("self-test", str(index), seed=0), "cat")
        embedding = sam.encode_image(model, drawn.image)

        def decode(points, labels, embedding=embedding):
            return sam.decode_points(model, embedding, points, labels, image_size_hw=SIZE)[0][0]

        pixels = clip_surgery.surgery_input(drawn.image, double_norm=surgery.double_norm)
        found = {
            "grounded_sam": grounded_sam.segment(
                grounding_dino.detect(detector, drawn.image, ["cat"]),
                sam.box_decoder(model, embedding, image_size_hw=SIZE),
                image_size_hw=SIZE,
                box_threshold=0.25,
            ),
            "clip_surgery_sam": clip_surgery_sam.segment(
                clip_surgery.encode_tokens(reader, pixels[None])[0],
                texts,
                redundant_feature=redundant,
                decode_points=decode,
                image_size_hw=SIZE,
                norm_axis=surgery.norm_axis,
                first_prompt_only=True,
            ),
        }
        for method, each in found.items():
            union = max((each.mask | drawn.mask).sum(), 1)
            rows.append(("pets", method, "plain", (each.mask & drawn.mask).sum() / union))
    columns = ["dataset", "method", "prompt"]
    table = pd.DataFrame(rows, columns=[*columns, "mean_iou"])
    return table.groupby(columns, as_index=False)["mean_iou"].mean()


def test_shuffled_head_fails_the_self_test():
    """A broken file gives masks all the same: only the easy data set tells."""
    model = load_sam(SHIPPED_FOLDER / "sam.safetensors", variant="everyday")
    kinds = {kind: kind for kind in stored_bands()}
    whole = self_test(pets_scores(model), datasets=["pets"], kinds=kinds)
    assert whole["passed"].all() and len(whole) == 2, whole
    head = model.mask_decoder.output_hypernetworks_mlps[0].layers[-1]
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(head.weight)))
    head.weight.data, head.bias.data = head.weight.data[order], head.bias.data[order]
    broken = self_test(pets_scores(model), datasets=["pets"], kinds=kinds)
    assert not broken["passed"].all(), broken
    assert "the set-up is broken, not the model" in verdict(broken)


@pytest.mark.parametrize("network", ["sam", "grounding_dino", "clip", "saliency", "resnet"])
def test_variant_everyday_names_shipped_files(network):
    """Nothing need be fetched or given."""
    block = type("Block", (), {"variant": "everyday", "weights": None, "text_encoder": None})
    files = network_files(network, block)
    assert all(file.is_obtainable and file.path.startswith("resources/") for file in files)
    assert all(shipped_files(dataclasses.asdict(file)["shipped"]) for file in files)


def test_compact_file_gives_back_every_tensor(tmp_path):
    """Rows that were left out come back as zeros, and one tensor under two names as both."""
    table = torch.zeros(50, 4, dtype=torch.float16)
    table[[3, 7]] = torch.arange(8, dtype=torch.float16).reshape(2, 4)
    shared = torch.randn(9, 9).half()
    state = {"table": table, "a.weight": shared, "b.weight": shared.clone(), "n": torch.tensor(4)}
    path = save_compact(state, tmp_path / "small.safetensors", rows={"table": [3, 7]})
    found = load_state(path)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    assert path.stat().st_size < 1000


def test_row_with_values_is_not_left_out(tmp_path):
    """A compact file must never lose what was trained."""
    with pytest.raises(ValueError, match="table has values in rows"):
        save_compact({"table": torch.ones(3, 2)}, tmp_path / "x", rows={"table": [0]})
