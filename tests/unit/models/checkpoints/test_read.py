"""Loading checkpoints as data, and refusing everything else."""

import argparse
import collections
import datetime
import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from realitycheck.models.checkpoints.known import weights_digest
from realitycheck.models.checkpoints.pickled import CheckpointError
from realitycheck.models.checkpoints.read import check_keys, check_shapes, load_state
from realitycheck.models.checkpoints.state_dicts import without_prefixes
from realitycheck.models.registry import known_files

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")


@pytest.fixture
def tensors():
    return {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2)}


class _Trap:
    def __reduce__(self):
        return print, ("executed",)


def same(found, expected):
    return set(found) == set(expected) and all(
        torch.equal(found[key], expected[key]) for key in expected
    )


def test_plain_state_dict_comes_back(tmp_path, tensors):
    """The SAM files are a pickle of one flat state dict."""
    torch.save(tensors, tmp_path / "x.pth")
    assert same(load_state(tmp_path / "x.pth"), tensors)


def test_outer_dict_and_training_prefix_are_taken_off(tmp_path, tensors):
    """The GroundingDINO file is {"model": …} with "module." before every name."""
    wrapped = {"model": {f"module.{key}": value for key, value in tensors.items()}}
    torch.save(wrapped, tmp_path / "x.pth")
    assert same(load_state(tmp_path / "x.pth"), tensors)


def test_safetensors_is_told_by_content_not_by_name(tmp_path, tensors):
    """Hubs and users rename files."""
    save_file(tensors, tmp_path / "x.pth")
    assert same(load_state(tmp_path / "x.pth"), tensors)


def test_old_pickle_layout_is_read(tmp_path, tensors):
    """Files from before torch 1.6 are no zip archives."""
    torch.save(tensors, tmp_path / "x.pth", _use_new_zipfile_serialization=False)
    assert same(load_state(tmp_path / "x.pth"), tensors)


def test_torchscript_archive_gives_its_tensors(tmp_path):
    """The original CLIP file is a TorchScript archive."""
    module = torch.nn.Linear(3, 2)
    torch.jit.save(torch.jit.script(module), tmp_path / "x.pt")
    assert same(load_state(tmp_path / "x.pt"), module.state_dict())


class _Inner(torch.nn.Module):
    """Half precision, a buffer with strides, a tensor that is none of the state, a tied weight."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 2).half()
        self.register_buffer("every_second", torch.arange(8.0)[::2])
        self.register_buffer("turned", torch.arange(6.0).reshape(2, 3).t())
        self.register_buffer("empty", torch.zeros(0, 4))
        self.passing = torch.ones(5)
        self.tied = self.linear.weight
        self.counts: list[int] = [1, 2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.passing.sum() + self.every_second.sum() + self.counts[0] + self.tied.sum()


def test_torchscript_archive_equals_what_torchs_own_loader_gives(tmp_path):
    """Read without its code: values, types, strides, and which names share their numbers."""
    blocks = torch.nn.Sequential(_Inner(), torch.nn.BatchNorm1d(2))
    torch.jit.save(torch.jit.script(blocks.eval()), tmp_path / "x.pt")
    found = load_state(tmp_path / "x.pt")
    expected = torch.jit.load(tmp_path / "x.pt").state_dict()
    assert same(found, expected)
    for name, tensor in expected.items():
        assert (found[name].dtype, found[name].stride()) == (tensor.dtype, tensor.stride())
    assert found["0.tied"].data_ptr() == found["0.linear.weight"].data_ptr()


KINDS = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.bool),
]


@pytest.mark.parametrize("zipped", [True, False])
def test_every_kind_of_number_is_read_as_torch_reads_it(tmp_path, zipped):
    """Both layouts; parameters, views of one storage, numbers without dimensions."""
    kinds = KINDS if zipped else set(KINDS) - {torch.float8_e4m3fn, torch.uint16}
    state = {str(kind): torch.arange(6).reshape(2, 3).to(kind) for kind in kinds}
    state |= {"view": state["torch.float32"][:, 1:], "one": torch.tensor(7)}
    state["parameter"] = torch.nn.Parameter(torch.ones(2))
    torch.save(state, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    found, expected = load_state(tmp_path / "x.pth"), torch.load(tmp_path / "x.pth")
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype and found[name].stride() == tensor.stride(), name
        assert found[name].float().tolist() == tensor.float().tolist(), name


def _training(tensors):
    """Checkpoints as training programs write them."""
    best = np.float64(0.7)
    given = argparse.Namespace(lr=1, out=Path("x"))
    momentum = {0: {"step": torch.ones(()), "exp_avg": torch.ones(2)}}
    optimiser = {"state": momentum, "param_groups": [{"lr": 1.0, "params": [0]}]}
    prefixed = {f"model.{key}": value for key, value in tensors.items()}
    doubly = {f"module._orig_mod.{key}": value for key, value in tensors.items()}
    return {
        "namespace": {"model": tensors, "args": given, "optimizer": optimiser},
        "numpy": {"model": tensors, "best": best, "curve": np.arange(3.0), "at": {2.5: best}},
        "model_state_dict": {"model_state_dict": tensors, "epoch": 3, "loss": torch.tensor(0.1)},
        "lightning": {"state_dict": prefixed, "epoch": 3, "callbacks": {"x": {1, 2}}},
        "compiled": {"net": doubly, "rng_state": torch.get_rng_state()},
        "another_name": {"generator": tensors, "step": 1},
        "nested": {"model": {"state_dict": tensors}, "day": datetime.date(2026, 1, 1)},
        "metadata": torch.nn.Linear(3, 2).state_dict(),
    }


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", _training({}))
def test_training_checkpoint_gives_the_weights_alone(tmp_path, tensors, name, protocol):
    """What is beside them is neither needed nor built."""
    saved = _training(tensors)[name]
    torch.save(saved, tmp_path / "x.pth", pickle_protocol=protocol)
    expected = saved if name == "metadata" else tensors
    assert same(load_state(tmp_path / "x.pth"), expected)


@pytest.mark.parametrize(
    ("save", "message"),
    [
        (lambda t: {"model": t, "model_ema": {"module": t | {"x": t["a.bias"]}}}, "2 sets of wei"),
        (lambda t: {"student": t, "teacher": dict(t)}, r"\['student'\] and \['teacher'\]"),
        (lambda t: {"model": t | {"n": 3}}, r"under \['model'\], 1 of 3 .*'n', a int"),
        (lambda t: t | {3: t["a.bias"]}, "1 of 3 .*first: 3, a tensor under a key that is no text"),
        (lambda t: t | {"a": np.zeros(2)}, "first: 'a', a numpy.*_reconstruct"),
        (lambda t: torch.nn.Linear(3, 2), r"whole object, 'torch.nn.*Linear'(.|\n)*state_dict\(\)"),
        (lambda t: {"model": t, "by": _Trap()}, r"\['by'\] is made by calling '.*print' \(1 such"),
        (lambda t: {"model": t, "by": [0, _Trap()]}, r"\['by'\]\[1\] is made by"),
        (lambda t: {"\x1b[31mred": 1, "w": t["a.bias"]}, r"first: '\\x1b\[31mred'"),
    ],
)
def test_what_is_in_the_way_is_named_with_a_remedy(tmp_path, tensors, save, message):
    """In words of our own: which entry, and the lines that take the weights out."""
    torch.save(save(tensors), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=message) as caught:
        load_state(tmp_path / "x.pth")
    said = str(caught.value)
    assert "\x1b" not in said and "weights_only" in said
    assert "name the new file in the settings" in said


def test_lines_of_the_remedy_give_a_file_that_loads(tmp_path, tensors, monkeypatch):
    """A remedy that does not work is worse than none."""
    monkeypatch.chdir(tmp_path)
    torch.save({"model": tensors | {"n": 3}}, "x.pth")
    with pytest.raises(CheckpointError) as caught:
        load_state("x.pth")
    exec("\n".join(line.strip() for line in str(caught.value).split("\n")[1:-1]))
    assert same(load_state("weights_of_x.pth"), tensors)


def test_prefix_of_some_names_stays_and_is_told(tensors):
    """Names of an average beside the model's own: only the maker knows which is meant."""
    state = {f"{p}.{k}": v for p in ("model", "ema") for k, v in tensors.items()}
    assert set(without_prefixes(state)) == set(state)
    with pytest.raises(CheckpointError, match="are in the file behind 'ema.' and 'model.'"):
        check_keys(tensors, state, path="f")


def test_checksum_is_asked_for_what_is_read(tmp_path, tensors):
    """A flipped bit in a decoder is told; what nobody reads is not paid for."""
    torch.save(tensors, tmp_path / "x.pth")
    content = bytearray((tmp_path / "x.pth").read_bytes())
    at = content.index(tensors["a.weight"].numpy().tobytes())
    content[at + 7] ^= 1
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="bytes of tensor 'a.weight' were changed"):
        load_state(tmp_path / "x.pth")
    assert set(load_state(tmp_path / "x.pth", unread=("a.weight",))) == set(tensors)


class _Dangerous(torch.nn.Module):
    """A module whose archive runs a function of its own on loading."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    @torch.jit.export
    def __getstate__(self):
        return torch.zeros(1), self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        self.training = state[1]


def test_torchscript_with_code_on_loading_is_refused(tmp_path):
    """A weights file must not decide what runs."""
    torch.jit.save(torch.jit.script(_Dangerous()), tmp_path / "x.pt")
    with pytest.raises(ValueError, match="runs code of its own while it is loaded"):
        load_state(tmp_path / "x.pt")


@pytest.mark.parametrize("zipped", [True, False])
def test_pickle_that_needs_code_is_refused_and_not_run(tmp_path, capsys, zipped):
    """An unrestricted pickle can do anything to the user's machine."""
    torch.save({"a": _Trap()}, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match="would run code from inside it.*safetensors"):
        load_state(tmp_path / "x.pth")
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>", "broken download or an error page"),
        (b"", "an empty file"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{not json at all", "broken safetensors"),
        (b"\x80\x02}q\x00.", "broken checkpoint|run code|empty"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, content, message):
    """The usual accident is an error page saved under the file's name."""
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_state(tmp_path / "x.pth")


def test_cut_off_download_is_refused(tmp_path, tensors):
    """A download that stopped half way has the right beginning."""
    torch.save(tensors, tmp_path / "x.pth")
    whole = (tmp_path / "x.pth").read_bytes()
    (tmp_path / "x.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="x.pth"):
        load_state(tmp_path / "x.pth")


def test_zip_without_tensors_is_refused(tmp_path):
    """Archives are handed out as zip files too."""
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("readme.txt", "unpack me")
    with pytest.raises(ValueError, match="zip file without tensors"):
        load_state(tmp_path / "x.pth")


def test_foreign_entries_and_missing_file_are_refused(tmp_path):
    """A training checkpoint holds more than weights."""
    torch.save({"epoch": 3, "w": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="1 of 2 entries are not.*'epoch'"):
        load_state(tmp_path / "x.pth")
    torch.save([torch.zeros(1)], tmp_path / "y.pth")
    with pytest.raises(ValueError, match="found a list"):
        load_state(tmp_path / "y.pth")
    torch.save(collections.OrderedDict(), tmp_path / "z.pth")
    with pytest.raises(ValueError, match="an empty one"):
        load_state(tmp_path / "z.pth")
    with pytest.raises(FileNotFoundError, match="fetch the weights first"):
        load_state(tmp_path / "none.pth")


def test_digest_of_a_file_is_its_sha256(tmp_path):
    """So it can be compared with what the authors publish."""
    (tmp_path / "x").write_bytes(b"abc" * 1000)
    assert weights_digest(tmp_path / "x") == hashlib.sha256(b"abc" * 1000).hexdigest()


def test_digest_of_a_folder_sees_names_and_contents_only(tmp_path):
    """A text encoder is a folder; a system's hidden files must not change its digest."""
    for name in ("one", "two"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "a").write_text("1")
        (tmp_path / name / "deep" / "b").write_text("2")
    (tmp_path / "two" / ".cache").write_text("noise")
    first = weights_digest(tmp_path / "one")
    assert first == weights_digest(tmp_path / "two")
    (tmp_path / "two" / "a").write_text("3")
    changed = weights_digest(tmp_path / "two")
    (tmp_path / "one" / "a").rename(tmp_path / "one" / "c")
    assert len({first, changed, weights_digest(tmp_path / "one")}) == 3
    with pytest.raises(FileNotFoundError, match="found nothing"):
        weights_digest(tmp_path / "none")


def test_key_check_names_first_offenders_and_counts():
    """With hundreds of names, the first few and the counts say what is wrong."""
    check_keys([], ["x.position_ids"], path="f", allowed_unexpected=("position_ids",))
    with pytest.raises(ValueError, match=r"f: .*4 missing \(first: a, b, c\); 1 unexpected \(fir"):
        check_keys(
            ["d", "c", "b", "a"],
            ["z", "x.position_ids"],
            path="f",
            allowed_unexpected=("position_ids",),
        )


def test_shape_check_names_both_shapes(tensors):
    """A file of another size of the same model has the same names."""
    check_shapes(tensors, tensors, path="f")
    other = tensors | {"a.bias": torch.zeros(3)}
    with pytest.raises(ValueError, match=r"1 of 2 .*a.bias, expected \(2,\), found \(3,\)"):
        check_shapes(other, tensors, path="f")


@pytest.mark.parametrize("name", known_files())
def test_known_files_are_pinned(name):
    """Whatever is fetched is checked against a full sha256 and comes over https."""
    known = known_files()[name]
    assert len(known.sha256) == 64 and set(known.sha256) <= set("0123456789abcdef")
    assert all(url.startswith("https://") for url in (known.url, *known.mirrors))
    assert known.licence and (known.size_bytes is None or known.size_bytes > 0)
    assert "/" not in known.name
