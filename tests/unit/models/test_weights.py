"""Loading checkpoints as data, and refusing everything else."""

import collections
import hashlib
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from realitycheck.models.weights import (
    KNOWN_WEIGHTS,
    check_keys,
    check_shapes,
    load_state,
    weights_digest,
)

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")


@pytest.fixture
def tensors():
    return {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2)}


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


class _Trap:
    def __reduce__(self):
        return print, ("executed",)


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


@pytest.mark.parametrize("name", KNOWN_WEIGHTS)
def test_known_files_are_pinned(name):
    """Whatever is fetched is checked against a full sha256 and comes over https."""
    known = KNOWN_WEIGHTS[name]
    assert len(known.sha256) == 64 and set(known.sha256) <= set("0123456789abcdef")
    assert all(url.startswith("https://") for url in (known.url, *known.mirrors))
    assert known.licence and (known.size_bytes is None or known.size_bytes > 0)
    assert "/" not in known.file_name
