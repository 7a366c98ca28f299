"""What the tests against recorded results share: the recordings, and the weights behind them."""

import importlib.util
import json
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def parity(shared):
    """The folder of recordings."""
    return Path(shared) / "fixtures" / "parity"


@pytest.fixture(scope="session")
def maker(shared):
    """The module that writes the checkpoints the recordings were made with."""
    path = Path(shared) / "fixtures" / "make_checkpoints.py"
    spec = importlib.util.spec_from_file_location("maker", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def known(parity):
    """Seed and content digests of the checkpoints behind the recordings."""
    return json.loads((parity / "manifest.json").read_text())["checkpoints"]


@pytest.fixture(scope="session")
def text_encoder(maker, known, tmp_path_factory):
    """Folder of the detector's text encoder."""
    folder = tmp_path_factory.mktemp("recorded_text_encoder")
    maker.make_bert_dir(folder, known["seed"])
    return folder


@pytest.fixture(scope="session")
def recorded_detector(maker, known, text_encoder, tmp_path_factory):
    """The detector behind the recordings, known by its digest, through the product's loader.

    The recordings were made before two rules of the maker changed: the decoder's queries were not
    all the same, and its cross-attention was weaker.
    """
    import torch

    from realitycheck.models.grounding_dino.model import load_grounding_dino

    folder = tmp_path_factory.mktemp("recorded_detector")
    (folder / "config.py").write_text(maker.GDINO_CFG)
    state = maker.make_groundingdino(known["seed"], folder / "config.py", text_encoder)
    streams = maker.Streams(known["seed"], "groundingdino")
    queries = "transformer.tgt_embed.weight"
    shape = tuple(state[queries].shape)
    common = streams.normal(f"{queries}.common", (1, shape[1]), 0.3)
    state[queries] = common + streams.normal(queries, shape, 0.9)
    for key, tensor in state.items():
        decodes = key.startswith("transformer.decoder.layers.")
        if decodes and key.endswith("cross_attn.output_proj.weight"):
            shape = tuple(tensor.shape)
            state[key] = streams.normal(key, shape, 3.0 / shape[1] ** 0.5)
    assert maker.content_hash(state) == known["files"]["groundingdino_mini.pth"]
    path = folder / "groundingdino_mini.pth"
    torch.save({"model": {f"module.{k}": v for k, v in state.items()}}, path)
    variant = {
        "swin_width": 24,
        "swin_depths": (2, 1, 1, 1),
        "swin_heads": (1, 1, 2, 2),
        "enc_layers": 1,
        "dec_layers": 2,
        "dim_feedforward": 256,
        "num_queries": 60,
    }
    return load_grounding_dino(path, text_encoder=text_encoder, variant=variant)
