"""The files of a network are fetched, copied or accepted, and always checked."""

import dataclasses
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from realitycheck.core.provenance import stat_signature
from realitycheck.models.base import Network
from realitycheck.models.checkpoints.known import (
    NetworkFile,
    network_files,
    weights_digest,
)
from realitycheck.models.registry import NETWORKS, known_files
from realitycheck.models.sam.network import SamModel
from realitycheck.models.settings import ModelsSettings
from realitycheck.stages.page import _network_row
from realitycheck.stages.weights import load_network, obtain, weights_path


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Collect what would be fetched; no test of this file touches the network."""
    asked = []

    def fetch(file, destination):
        asked.append((file.url, str(destination), file.sha256))
        Path(destination).parent.mkdir(parents=True, exist_ok=True)
        Path(destination).write_text(file.url)

    monkeypatch.setattr("realitycheck.datasets.download.fetch", fetch)
    return asked


def plain(*files):
    return [dataclasses.asdict(file) for file in files]


def test_own_file_is_accepted_and_hashed(tmp_path, no_network):
    """It is not fetched, and later stages see its content in the digest."""
    path = tmp_path / "own.pth"
    path.write_bytes(b"one")
    files = plain(NetworkFile("weights", str(path)))
    record = obtain("sam", files, trigger="planned")
    assert record["files"]["weights"] == {"path": str(path), "sha256": weights_digest(path)}
    assert (record["trigger"], record["signature"]) == ("planned", stat_signature(path))
    assert record["licences"] == []
    assert (record["own"], no_network) == (["weights"], [])
    path.write_bytes(b"two")
    assert obtain("sam", files, trigger="planned")["digest"] != record["digest"]


def test_digest_is_of_the_content_not_of_the_place(tmp_path):
    """Weights that were moved encode nothing anew."""
    digests = set()
    for name in ("a.pth", "b.pth"):
        (tmp_path / name).write_bytes(b"same")
        file = NetworkFile("weights", str(tmp_path / name))
        digests.add(obtain("sam", plain(file), trigger="t")["digest"])
    assert len(digests) == 1


def test_official_files_are_fetched_under_their_pinned_digests(tmp_path, no_network):
    """One name is a file, several are a folder of files."""
    names = ("bert_base_uncased/config", "bert_base_uncased/vocab")
    record = obtain(
        "grounding_dino",
        plain(
            NetworkFile("weights", str(tmp_path / "g.pth"), official=("grounding_dino_swint_ogc",)),
            NetworkFile("text_encoder", str(tmp_path / "bert"), official=names),
        ),
        trigger="t",
    )
    known = [known_files()[n] for n in ("grounding_dino_swint_ogc", *names)]
    places = [tmp_path / "g.pth"] + [tmp_path / "bert" / file.name for file in known[1:]]
    assert no_network == [
        (file.url, str(place), file.sha256) for file, place in zip(known, places, strict=True)
    ]
    assert record["licences"] == sorted({file.licence for file in known})
    assert set(record["files"]) == {"weights", "text_encoder"}


OWN = {
    "sam": "vit_b",
    "clip": "ViT-B-16",
    "saliency": "wide_resnet50_2",
    "resnet": "wide_resnet50_2",
}


@pytest.mark.parametrize("network", OWN)
def test_file_named_in_the_settings_is_used_as_it_is(network, tmp_path, monkeypatch, no_network):
    """A fine-tuned checkpoint of a known variant has another hash, and is no broken download."""
    monkeypatch.chdir(tmp_path)
    path = Path("weights/own.pth")
    path.parent.mkdir()
    path.write_bytes(b"fine-tuned")
    models = ModelsSettings(**{network: {"variant": OWN[network], "weights": str(path)}})
    record = obtain(network, plain(*network_files(network, getattr(models, network))), trigger="t")
    assert record["files"]["weights"] == {"path": str(path), "sha256": weights_digest(path)}
    assert (record["own"], record["licences"], no_network) == (["weights"], [], [])
    assert [p.name for p in path.parent.iterdir()] == ["own.pth"]


def test_page_names_the_users_file(tmp_path):
    """Beside the digest; a record of an earlier version has no list of own files."""
    (tmp_path / "weights").mkdir()
    record = {"files": {"weights": {"path": "w/own.pth"}}, "digest": "ab"}
    for more, licence in (
        ({"own": ["weights"], "licences": []}, "your own file own.pth"),
        ({"own": [], "licences": ["Apache-2.0"]}, "Apache-2.0"),
        ({"licences": []}, "your own file"),
    ):
        (tmp_path / "weights" / "sam.json").write_text(json.dumps(record | more))
        row = _network_row("sam", "vit_b", tmp_path)
        assert row == ["SAM", "vit_b", "own.pth", "ab", licence]


def test_other_file_at_the_published_place_is_told_and_left_alone(tmp_path, no_network):
    """It may be somebody's training under the familiar name."""
    path = tmp_path / "sam_vit_b_01ec64.pth"
    path.write_bytes(b"mine")
    files = plain(NetworkFile("weights", str(path), official=("sam_vit_b",)))
    with pytest.raises(OSError, match="move it to another place and name that in the settings"):
        obtain("sam", files, trigger="t")
    assert (path.read_bytes(), no_network) == (b"mine", [])


def test_published_file_at_another_place_keeps_its_licence(tmp_path, monkeypatch):
    """Many keep one copy for all projects; its digest says what it is."""
    path = tmp_path / "shared.pth"
    path.write_bytes(b"published")
    known = dataclasses.replace(known_files()["sam_vit_b"], sha256=weights_digest(path))
    monkeypatch.setitem(known_files(), "sam_vit_b", known)
    record = obtain("sam", plain(NetworkFile("weights", str(path))), trigger="t")
    assert (record["own"], record["licences"]) == ([], ["Apache-2.0"])


def test_unknown_network_is_told_with_those_that_are_known():
    """No network is taken for another."""
    with pytest.raises(ValueError, match="one of sam, grounding_dino, .*, found 'sam3'"):
        network_files("sam3", SimpleNamespace(variant="x"))


class OwnNetwork(SamModel):
    """A network without shipped files and without published ones."""

    variant: str = "one"
    tokens: str | None = None


def test_network_needs_nothing_but_its_settings_and_a_loader(tmp_path, monkeypatch):
    """Whoever adds one may have no small version of it, and a file that others do not have."""
    own = Network(settings=OwnNetwork, load=lambda files, settings, device: (files, settings))
    monkeypatch.setitem(sys.modules, "own_network", SimpleNamespace(OWN=own))
    monkeypatch.setitem(NETWORKS.modules, "own", "own_network:OWN")
    paths = {key: tmp_path / key for key in ("weights", "tokens")}
    for path in paths.values():
        path.write_bytes(b"own")
    block = OwnNetwork(**{key: str(path) for key, path in paths.items()})
    record = tmp_path / "own.json"
    record.write_text(json.dumps(obtain("own", plain(*network_files("own", block)), trigger="t")))
    assert load_network(record, {"variant": "one"}, device="cpu") == (paths, {"variant": "one"})


def test_path_comes_from_the_checked_record(tmp_path):
    """A job opens what was checked, not what the settings say now."""
    record = tmp_path / "sam.json"
    record.write_text(json.dumps({"files": {"weights": {"path": "a/b.pth", "sha256": "x"}}}))
    assert weights_path(record) == Path("a/b.pth")
    with pytest.raises(KeyError):
        weights_path(record, "text_encoder")


def test_shipped_files_are_copied_and_checked(tmp_path, no_network):
    """The everyday networks come with the package; an altered copy is told, not used."""
    target = tmp_path / "everyday" / "sam.safetensors"
    files = plain(NetworkFile("weights", str(target), shipped="sam.safetensors"))
    record = obtain("sam", files, trigger="t")
    assert record["licences"] == ["Apache-2.0"]
    assert no_network == []
    target.write_bytes(b"altered")
    with pytest.raises(OSError, match="expected the file that ships with the package"):
        obtain("sam", files, trigger="t")
