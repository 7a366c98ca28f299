"""The official checkpoints fit our loaders: counts, prefixes, sizes and sources, without the files.

Models of the official sizes are built on the meta device, where a tensor has a shape and no memory.
Files of the official layout are written with small sizes.
"""

from pathlib import Path

import pytest
import torch
import yaml

from realitycheck.models import saliency
from realitycheck.models.checkpoints.known import network_files
from realitycheck.models.checkpoints.read import load_state
from realitycheck.models.clip import model as clip
from realitycheck.models.grounding_dino import model as grounding_dino
from realitycheck.models.registry import known_files
from realitycheck.models.sam.load import build_parts, load_sam
from realitycheck.models.sam.model import PARTS, SAM_VARIANTS, read_dimensions
from realitycheck.models.settings import ModelsSettings
from training import miniatures
from training.miniature_clip import write_miniature_clip, write_miniature_saliency
from training.miniatures import VARIANTS


def n_values(state):
    """Number of floating values of a state dict."""
    return sum(tensor.numel() for tensor in state.values() if tensor.is_floating_point())


# ------------------------------------------------------------------------------------ real sizes


@pytest.fixture(scope="module")
def official_detector(tmp_path_factory):
    """GroundingDINO of the official size with BERT-base, on the meta device.

    The package computes with small tensors while it builds, which the meta device forbids; so only
    parameters go there, each as soon as it is registered and before it is initialised.
    """
    folder = miniatures.write_text_encoder(tmp_path_factory.mktemp("detector") / "bert")
    # The defaults of BERT's configuration are those of bert-base-uncased.
    (folder / "config.json").write_text('{"model_type": "bert", "pad_token_id": 0}')
    register = torch.nn.Module.register_parameter

    def register_on_meta(module, name, parameter):
        if parameter is not None:
            parameter = torch.nn.Parameter(parameter.to("meta"), requires_grad=False)
        register(module, name, parameter)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.Module, "register_parameter", register_on_meta)
        return grounding_dino.build_network(
            grounding_dino.GROUNDING_DINO_VARIANTS["swint_ogc"], text_encoder=folder
        )


def test_sam_vit_h_has_the_official_tensors():
    """The official file: 594 tensors, 641,090,864 values, three prefixes, no pixel statistics."""
    with torch.device("meta"):
        parts = build_parts(SAM_VARIANTS["vit_h"])
    state = {f"{part}.{k}": v for part, m in parts.items() for k, v in m.state_dict().items()}
    assert len(state) == 594
    assert n_values(state) == 641_090_864
    assert {name.split(".")[0] for name in state} == set(PARTS)
    assert read_dimensions(state, path="x") == SAM_VARIANTS["vit_h"]


@pytest.mark.parametrize(
    ("name", "n_bytes"), [("vit_l", 1_249_524_607), ("vit_b", 375_042_383)], ids=["vit_l", "vit_b"]
)
def test_smaller_sams_fill_their_files(name, n_bytes):
    """Four bytes a value explain the published size up to the container's own few kilobytes."""
    with torch.device("meta"):
        parts = build_parts(SAM_VARIANTS[name])
    values = sum(n_values(module.state_dict()) for module in parts.values())
    assert 0 < n_bytes - 4 * values < 300_000


def test_clip_vit_b_16_has_the_official_tensors():
    """302 tensors under OpenAI's own names, with the shapes that open_clip's class expects."""
    with torch.device("meta"):
        state = clip.build_clip(clip.known_sizes("ViT-B-16")).state_dict()
    assert len(state) == 302
    assert clip.sizes_of(state, path="x") == clip.known_sizes("ViT-B-16")
    expected = {
        "visual.conv1.weight": (768, 3, 16, 16),
        "visual.class_embedding": (768,),
        "visual.positional_embedding": (197, 768),
        "visual.transformer.resblocks.11.attn.in_proj_weight": (2304, 768),
        "visual.transformer.resblocks.11.mlp.c_proj.bias": (768,),
        "visual.ln_post.weight": (768,),
        "visual.proj": (768, 512),
        "transformer.resblocks.11.ln_2.weight": (512,),
        "token_embedding.weight": (49408, 512),
        "positional_embedding": (77, 512),
        "text_projection": (512, 512),
        "ln_final.bias": (512,),
        "logit_scale": (),
    }
    assert {name: tuple(state[name].shape) for name in expected} == expected


def test_wide_resnet_has_the_official_parameters():
    """68,883,240 parameters, under the names that timm and torchvision share."""
    with torch.device("meta"):
        whole = saliency.build_saliency("wide_resnet50_2", features_only=False)
    assert sum(p.numel() for p in whole.parameters()) == 68_883_240
    names = set(whole.state_dict())
    assert {"conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "fc.bias"} <= names


def test_saliency_uses_all_but_the_last_stage_of_the_file():
    """What is left over of the official file belongs to the fourth stage and the classifier."""
    with torch.device("meta"):
        whole = saliency.build_saliency("wide_resnet50_2", features_only=False).state_dict()
        used = saliency.build_saliency("wide_resnet50_2", features_only=True).state_dict()
    assert set(used) <= set(whole)
    assert {name.split(".")[0] for name in set(whole) - set(used)} == {"layer4", "fc"}
    assert all(used[name].shape == whole[name].shape for name in used)


def test_grounding_dino_has_the_official_parameters(official_detector):
    """172.8 million: Swin-T 27.5, BERT 109.5, the rest 35.8."""

    def millions(module):
        return sum(p.numel() for p in module.parameters()) / 1e6

    assert millions(official_detector) == pytest.approx(172.8, abs=0.05)
    assert millions(official_detector.backbone[0]) == pytest.approx(27.5, abs=0.05)
    assert millions(official_detector.bert) == pytest.approx(109.5, abs=0.05)


def test_grounding_dino_fills_its_file(official_detector):
    """Four bytes a value, each tensor once, explain the published size within one per mille.

    The file has one stale buffer of 512 integers more, and long names.
    """
    stored = 4 * sum(p.numel() for p in official_detector.parameters())
    size = known_files()["grounding_dino_swint_ogc"].size_bytes
    assert stored < size < 1.005 * stored
    assert not any(name.endswith("position_ids") for name in official_detector.state_dict())


# ---------------------------------------------------------------------------------------- sources


@pytest.mark.parametrize(
    ("network", "key", "file_name", "url", "sha256"),
    [
        (
            "sam",
            "weights",
            "sam_vit_h_4b8939.pth",
            "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth",
            "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        ),
        (
            "grounding_dino",
            "weights",
            "groundingdino_swint_ogc.pth",
            "https://github.com/IDEA-Research/GroundingDINO/releases/download/v0.1.0-alpha/"
            "groundingdino_swint_ogc.pth",
            "3b3ca2563c77c69f651d7bd133e97139c186df06231157a64c507099c52bc799",
        ),
        (
            "clip",
            "weights",
            "ViT-B-16.pt",
            "https://openaipublic.azureedge.net/clip/models/"
            "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f/ViT-B-16.pt",
            "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
        ),
    ],
    ids=["sam", "grounding_dino", "clip"],
)
def test_study_uses_the_official_files(repository, network, key, file_name, url, sha256):
    """configs/paper.yaml resolves to the authors' own files, pinned by digest."""
    files = {file.key: file for file in study_files(repository, network)}
    assert files[key].path == f"resources/weights/{file_name}"
    (name,) = files[key].official
    assert known_files()[name].url == url
    assert known_files()[name].sha256 == sha256


def test_study_uses_the_saliency_weights_that_saa_plus_means(repository):
    """timm's tag racm_in1k, not torchvision's weights of the same architecture."""
    (file,) = study_files(repository, "saliency")
    known = known_files()[file.official[0]]
    assert "timm/wide_resnet50_2.racm_in1k/resolve/" in known.url
    assert known.url.endswith("/model.safetensors")
    assert "/main/" not in known.url
    assert file.path == "resources/weights/wide_resnet50_2.racm_in1k.safetensors"
    # 68,883,240 parameters and the buffers of the norms, four bytes each, and a header.
    assert known.size_bytes == pytest.approx(4 * 68_883_240, rel=0.003)


def test_study_needs_no_bert_weights(repository):
    """BERT's weights come with the detector's file; of BERT only two small files are fetched."""
    files = {file.key: file for file in study_files(repository, "grounding_dino")}
    names = files["text_encoder"].official
    assert files["text_encoder"].path == "resources/weights/bert-base-uncased"
    assert [known_files()[name].name for name in names] == ["config.json", "vocab.txt"]
    assert sum(known_files()[name].size_bytes for name in names) < 1_000_000


def study_files(repository: Path, network: str):
    """Files of a network under the study's settings."""
    text = (repository / "configs" / "paper.yaml").read_text(encoding="utf-8")
    models = ModelsSettings.model_validate(yaml.safe_load(text)["models"])
    return network_files(network, getattr(models, network))


# ------------------------------------------------------------------------------ files, key by key


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files of the official layouts with small sizes, and what loads each."""
    folder = tmp_path_factory.mktemp("official")
    written = miniatures.write_miniatures(folder)
    # The released file still carries this buffer of an older BERT.
    whole = torch.load(written["grounding_dino"], weights_only=True)
    whole["model"]["module.bert.embeddings.position_ids"] = torch.arange(512)[None]
    torch.save(whole, written["grounding_dino"])
    return {
        "sam": (written["sam"], lambda path: load_sam(path, variant=VARIANTS["sam"])),
        "grounding_dino": (
            written["grounding_dino"],
            lambda path: grounding_dino.load_grounding_dino(
                path, text_encoder=written["text_encoder"], variant=VARIANTS["grounding_dino"]
            ),
        ),
        "clip": (
            write_miniature_clip(folder),
            lambda path: clip.load_clip(path, variant=VARIANTS["clip"]),
        ),
        "saliency": (
            write_miniature_saliency(folder),
            lambda path: saliency.load_saliency(path, variant=VARIANTS["saliency"]),
        ),
    }


def test_prefix_and_stale_buffer_of_the_detector_are_tolerated(files):
    """The official file prefixes every name, and has one buffer that no BERT knows any more."""
    path, load = files["grounding_dino"]
    inner = torch.load(path, weights_only=True)["model"]
    assert all(name.startswith("module.") for name in inner)
    state = load_state(path)
    assert "bert.embeddings.position_ids" in state
    loaded = load(path).network.state_dict()
    assert set(state) - set(loaded) == {"bert.embeddings.position_ids"}
    assert all(torch.equal(loaded[name], state[name]) for name in loaded)


def test_integers_of_the_clip_archive_are_dropped(files, tmp_path):
    """OpenAI's archive has input_resolution, context_length and vocab_size beside the weights."""
    path, load = files["clip"]
    facts = {"input_resolution": 224, "context_length": 77, "vocab_size": 49408}
    torch.save(
        load_state(path) | {name: torch.tensor(value) for name, value in facts.items()},
        tmp_path / "clip.pt",
    )
    one, other = load(path).state_dict(), load(tmp_path / "clip.pt").state_dict()
    assert one.keys() == other.keys()
    assert not facts.keys() & other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


MISSING = {
    "sam": "image_encoder.blocks.0.mlp.lin1.weight",
    "grounding_dino": "transformer.decoder.norm.bias",
    "clip": "visual.transformer.resblocks.3.ln_1.weight",
    "saliency": "layer2.0.bn2.running_mean",
}


@pytest.mark.parametrize("network", MISSING)
def test_missing_tensor_is_named(files, tmp_path, network):
    """A model that is loaded in part would run on noise and say nothing."""
    path, load = files[network]
    state = load_state(path)
    del state[MISSING[network]]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(ValueError, match=rf"cut\.pth.*1 missing \(first: {MISSING[network]}\)"):
        load(tmp_path / "cut.pth")


@pytest.mark.parametrize("network", MISSING)
def test_left_over_tensor_is_named(files, tmp_path, network):
    """What the model does not know is a sign of another model."""
    path, load = files[network]
    name = MISSING[network].rsplit(".", 1)[0] + ".lora_weight"
    torch.save(load_state(path) | {name: torch.zeros(2)}, tmp_path / "more.pth")
    with pytest.raises(ValueError, match=rf"more\.pth.*1 unexpected \(first: {name}\)"):
        load(tmp_path / "more.pth")
