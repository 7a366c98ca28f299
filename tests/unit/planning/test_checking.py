"""What `realitycheck check` knows without running: every fault at once, none invented."""

from datetime import date

import numpy as np
import pytest
import yaml

from realitycheck.core.images import write_png
from realitycheck.core.settings import SettingsError
from realitycheck.datasets.folder import list_folder
from realitycheck.datasets.locked import LOCKED
from realitycheck.planning.checking import checked_settings, words_are_checked


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder of one's own: two categories, ten and three good parts; and no key."""
    monkeypatch.chdir(tmp_path)
    for name in ("GEMINI_API_KEY", "KEY_OF_THE_TEST"):
        monkeypatch.delenv(name, raising=False)
    for category, n_ok in (("big", 10), ("small", 3)):
        for number in range(n_ok + 2):
            label = "OK" if number < n_ok else "NOK"
            picture = np.full((8, 8, 3), number, np.uint8)
            write_png(picture, tmp_path / "data" / "images" / label / category / f"{number}.png")
    (tmp_path / "key").write_text("a-key-of-some-length")
    (tmp_path / "short").write_text("x")
    return tmp_path


def with_(*changes, **top):
    """Sound settings with changes: pairs of a key path and a value."""
    settings = {
        "datasets": {
            "p": {
                "format": "folder",
                "root": "data",
                "split": {"kind": "all", "train_fraction": 0.34},
                "may_leave_site": True,
                "methods": ["grounded_sam"],
            }
        },
        "prompts": {"p": {"plain": {"segmentation": ["defect"], "saa_plus": "auto"}}},
        "methods": {
            "grounded_sam": {},
            "sam_clip": {},
            "clip_surgery_sam": {},
            "saa_plus": {},
            "clip_zero_shot": {},
            "tuned_clip": {},
            "few_shot": {},
            "ask": {"kind": "lvlm"},
        },
        "models": {
            name: {"variant": "everyday"}
            for name in ("sam", "grounding_dino", "clip", "saliency", "resnet")
        },
        **top,
    }
    for path, value in changes:
        *steps, last = path.split(".")
        node = settings
        for step in steps:
            node = node.setdefault(step, {})
        node[last] = value
    return settings


def faults_of(*changes, **options):
    try:
        checked_settings(with_(*changes), counts_parts=True, **options)
    except SettingsError as error:
        return error.faults
    return []


LONG = "a long and thin scratch " * 20
CHINESE = "缺陷"
ASK = ("datasets.p.methods", ["ask"])
QUESTION = ("prompts.p.plain.lvlm", "Is it defective?")
VERTEX = {"kind": "lvlm", "backend": "vertex", "project": "p", "location": "europe-west4"}
SERVER = {"kind": "lvlm", "backend": "openai_compatible", "model": "own"}


def method(name, **keys):
    """A method block that data set p runs."""
    return ("datasets.p.methods", [name]), (f"methods.{name}", keys)


def asked(**keys):
    """A vision language model that data set p asks."""
    return (*method("ask", **{"kind": "lvlm", **keys}), QUESTION)


FAULTS = {
    "results in braces": (
        [("results_dir", "results/{dataset}")],
        "results_dir: 'results/{dataset}' holds { }, expected a plain folder",
    ),
    "results at an address": ([("results_dir", "s3://a/b")], "results_dir: 's3://a/b' is an addr"),
    "tries inside the results": (
        [("evaluation", {"tries_file": "results/tries.jsonl"})],
        "evaluation.tries_file: results/tries.jsonl lies inside results_dir, with which it would",
    ),
    "tries are a folder": (
        [("evaluation", {"tries_file": "."})],
        "evaluation.tries_file: . is a folder, expected a file",
    ),
    "tries are another file": (
        [("evaluation", {"tries_file": "key"})],
        "evaluation.tries_file: ",
    ),
    "results in a file": ([("results_dir", "key/results")], "results_dir: "),
    "results are a file": ([("results_dir", "key")], "results_dir: key is a file"),
    "root that is not there": ([("datasets.p.root", "dat")], "datasets.p.root: there is no folder"),
    "root of a fetched set is a file": (
        [("datasets.p", {"format": "mvtec_ad", "root": "key", "methods": []})],
        "datasets.p.root: key is a file, expected a folder",
    ),
    "unknown category of MVTec": (
        [("datasets.p", {"format": "mvtec_ad", "categories": ["carpt"], "methods": []})],
        "datasets.p.categories: there is no category 'carpt'; did you mean 'carpet'?",
    ),
    "category of MVTec that is not in the folder": (
        [
            (
                "datasets.p",
                {
                    "format": "mvtec_ad",
                    "root": "data/images/OK",
                    "categories": ["bug"],
                    "methods": [],
                },
            )
        ],
        "datasets.p.categories: there is no category 'bug'; did you mean 'big'?",
    ),
    "unknown category of a reference": (
        [
            (
                "datasets.p.reference",
                {"bigg": "auto", "big": "auto", "small": "auto"},
            )
        ],
        "datasets.p.reference: there is no category 'bigg'; did you mean 'big'?",
    ),
    "category without a reference": (
        [("datasets.p.reference", {"big": "auto"})],
        "datasets.p.reference: names no image for the category small",
    ),
    "unknown category of object names": (
        [("datasets.p.object_name", {"huge": "valve"})],
        "datasets.p.object_name: there is no category 'huge'; categories: big, small",
    ),
    "blank object name": (
        [("datasets.p.object_name", " ")],
        "datasets.p: object_name and defect_names must be words, found ' '",
    ),
    "blank defect": (
        [("datasets.p.defect_names", ["a void", ""])],
        "datasets.p: object_name and defect_names must be words, found ''",
    ),
    "fraction of an official split": (
        [("datasets.p.split", {"kind": "official", "train_fraction": 0.2})],
        "datasets.p.split: kind official takes train/ and test/ as they are",
    ),
    "fraction of a drawn set": (
        [
            (
                "datasets.p",
                {"format": "synthetic_sat", "split": {"train_fraction": 0.2}, "methods": []},
            )
        ],
        "datasets.p.split.train_fraction: means something with format folder only; remove it, n_tr",
    ),
    "study's draw of a drawn set": (
        [("datasets.p", {"format": "synthetic_sat", "split": {"kind": "paper"}, "methods": []})],
        "datasets.p.split.kind: 'paper' is defined for the study's data sets only",
    ),
    "example that is not there": (
        [("prompts.p.plain.examples", [{"image": "good.png", "label": "OK"}])],
        "prompts.p.plain.examples[0].image: there is no file good.png",
    ),
    "unknown prompts of SAA+": (
        [("prompts.p.plain.saa_plus", {"default": "leathr"})],
        "prompts.p.plain.saa_plus.default: SAA+ has no prompts named 'leathr'; did you mean 'lea",
    ),
    "unknown category of SAA+": (
        [("prompts.p.plain.saa_plus", {"smal": "auto"})],
        "prompts.p.plain.saa_plus: there is no category 'smal'; did you mean 'small'?",
    ),
    "question with a reference where there is none": (
        [*asked(), ("datasets.p.reference", "none")],
        "prompts.p.plain.reference: the question shows a reference image, but datasets.p.reference",
    ),
    "replay without a ledger": (
        asked(backend="replay"),
        "methods.ask.ledger: backend replay answers out of the ledger, but there is no file",
    ),
    "ledger is a folder": (asked(ledger="data"), "methods.ask.ledger: data is a folder"),
    "ledger below a file": (asked(ledger="key/a.sqlite"), "methods.ask.ledger: key is a file"),
    "address that is none": (
        asked(base_url="http://[half"),
        "methods.ask.base_url: the address is none",
    ),
    "address without a scheme": (
        asked(**SERVER, base_url="127.0.0.1:8000/v1"),
        "methods.ask.base_url: ",
    ),
    "address with a blank": (
        asked(**SERVER, base_url="http://my server/v1"),
        "methods.ask.base_url: ",
    ),
    "address with a port that is none": (
        asked(**SERVER, base_url="http://server:99999/v1"),
        "methods.ask.base_url: the address is none",
    ),
    "cloud's address said to be on site": (
        asked(**SERVER, base_url="https://api.openai.com/v1", on_site=True),
        "methods.ask.on_site: true, but api.openai.com is a cloud's address",
    ),
    "address of another scheme": (
        asked(**SERVER, base_url="ftp://a/v1"),
        "methods.ask.base_url: expected an address like https://host:port/path, got 'ftp://a/v1'",
    ),
    "address with a password": (
        asked(**SERVER, base_url="http://anna:secret@gpu-01/v1"),
        "methods.ask.base_url: an address with a user name, a password or a query may hold a key",
    ),
    "password in an address without a scheme": (
        asked(**SERVER, base_url="anna:secret@gpu-01/v1"),
        "methods.ask.base_url: an address with a user name, a password or a query may hold a key",
    ),
    "address with a key": (
        asked(base_url="https://a/?key=secret"),
        "methods.ask.base_url: an address with a user name, a password or a query may hold a key",
    ),
    "key in place of its variable": (
        asked(key_env="AIza-secret"),
        "methods.ask.key_env: expected the name of an environment variable",
    ),
    "key file that is not there": (asked(key_file="kee"), "methods.ask.key_file: the key file kee"),
    "key file without a key": (
        asked(key_file="short"),
        "methods.ask.key_file: the file short does",
    ),
    "credentials that are not there": (
        asked(**VERTEX, credentials_file="account.json"),
        "methods.ask.credentials_file: there is no file account.json",
    ),
    "Vertex without a project": (
        asked(**VERTEX | {"project": None}),
        "methods.ask.project: Vertex AI with an account needs it",
    ),
    "Vertex without a place": (
        asked(**VERTEX | {"location": " "}),
        "methods.ask.location: Vertex AI with an account needs it",
    ),
    "project of a key": (
        asked(project="p"),
        "methods.ask.project: is not a setting of backend gemini; remove it",
    ),
    "limit without a price": (
        asked(model="gemini-4-por", max_cost_usd=1),
        "methods.ask.max_cost_usd: gemini-4-por has no price in the table of",
    ),
    "images that may not leave": (
        [
            *asked(key_file="key"),
            ("datasets.p.may_leave_site", False),
        ],
        "datasets.p.may_leave_site: data set p: its images would be sent to",
    ),
    "weights that are not there": (
        [("models.sam", {"variant": {"encoder_depth": 2}, "weights": "sam.pth"})],
        "models.sam.weights: there is no file sam.pth",
    ),
    "size of a network that is no number": (
        [("models.sam", {"variant": {"encoder_width": "0,35"}, "weights": "key"})],
        "models.sam.variant: encoder_width: expected a number, found '0,35'",
    ),
    "size of the detector that is no number": (
        [
            (
                "models.grounding_dino",
                {
                    "variant": {"swin_depths": [1, "two", 1, 1]},
                    "weights": "key",
                    "text_encoder": ".",
                },
            )
        ],
        "models.grounding_dino.variant: swin_depths: expected a number, found 'two'",
    ),
    "rule that is none": (
        [("methods.saa_plus.binarise", "good:0.5")],
        "methods.saa_plus.binarise: found 'good:0.5'; use the form ^(union|f1max|good|fixed:",
    ),
    "weights are a folder": (
        [("models.sam", {"variant": "everyday", "weights": "data"})],
        "models.sam.weights: data is not a file; give a file",
    ),
    "text encoder without its files": (
        [("models.grounding_dino", {"variant": {}, "weights": "key", "text_encoder": "data"})],
        "models.grounding_dino.text_encoder: data holds no config.json",
    ),
    "caption too long for the detector": (
        [("prompts.p.plain.segmentation", [" . ".join(f"hole {i}" for i in range(200))])],
        "prompts.p.plain.segmentation[0]: ",
    ),
    "caption of SAA+ too long for the detector": (
        [
            *method("saa_plus"),
            (
                "prompts.p.plain.saa_plus",
                {"default": {"class_name": "part", "class_prompts": [["crack. " * 200, "part"]]}},
            ),
        ],
        "prompts.p.plain.saa_plus: ",
    ),
    "phrase too long for CLIP": (
        [*method("sam_clip"), ("prompts.p.plain.segmentation", ["void", LONG])],
        "prompts.p.plain.segmentation[1]: 100 tokens in 'a long and thin scratch",
    ),
    "phrase too long for CLIP's sentences": (
        [*method("clip_surgery_sam"), ("prompts.p.plain.segmentation", "crack " * 70)],
        "prompts.p.plain.segmentation[0]: 79 tokens in 'a jpeg corrupted photo of",
    ),
    "object too long for CLIP": (
        [*method("clip_zero_shot"), ("datasets.p.object_name", LONG)],
        "datasets.p.object_name: ",
    ),
    "object too long behind learned words": (
        [*method("tuned_clip", n_context=32, n_folds=2), ("datasets.p.object_name", "crack " * 45)],
        "datasets.p.object_name: 80 tokens in 'x x x",
    ),
    "words that the detector does not know": (
        [("prompts.p.plain.segmentation", ["scratch . " + CHINESE])],
        f"prompts.p.plain.segmentation[0]: GroundingDINO's vocabulary holds no word of '{CHINESE}'",
    ),
    "words of SAA+ that the detector does not know": (
        [*method("saa_plus"), ("prompts.p.plain.saa_plus", {"big": {"class_name": CHINESE}})],
        "prompts.p.plain.saa_plus: GroundingDINO's vocabulary holds no word of",
    ),
    "too few parts to remember": (
        [*method("few_shot"), ("datasets.p.split.train_fraction", 0.2)],
        "datasets.p: too few parts for few_shot: category small: needs at least 2 independent good "
        "training parts, found 1 (of 3 good ones); set datasets.p.split.train_fraction to 0.67",
    ),
    "too few drawn parts to remember": (
        [
            *method("few_shot"),
            ("datasets.p", {"format": "synthetic_sat", "n_train": 1, "methods": ["few_shot"]}),
        ],
        "datasets.p: too few parts for few_shot: category product: needs at least 2 independent "
        "good training parts, found 1 (of 232 good ones); set datasets.p.n_train to 2 or more",
    ),
    "too few parts for folds": (
        method("tuned_clip", n_folds=9),
        "datasets.p: too few parts for tuned_clip: 9 folds need at least 9 independent",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_fault_is_told_by_check(case):
    """Found before anything runs, with its key path; no key or password is repeated."""
    changes, expected = FAULTS[case]
    found = faults_of(*changes)
    assert len(found) == 1, found
    assert found[0].startswith(expected), found[0]
    assert "secret" not in found[0]


SOUND = {
    "as it is": [],
    "SAA+": method("saa_plus"),
    "CLIP": method("clip_surgery_sam"),
    "both classifiers": [("datasets.p.methods", ["clip_zero_shot"])],
    "remembered parts": [*method("few_shot"), ("datasets.p.split.train_fraction", 0.67)],
    "no key yet": asked(max_cost_usd=1),
    "the study's model, which nobody asks": asked(model="gemini-2.5-pro", max_cost_usd=1),
    "a key in a file": asked(key_file="key"),
    "a server of one's own without a price": asked(**SERVER, base_url="http://127.0.0.1:8000/v1"),
    "Vertex": asked(**VERTEX),
    "official networks, to be fetched": [("models", {})],
}


@pytest.mark.parametrize("case", SOUND)
def test_sound_settings_have_no_fault(case):
    assert faults_of(*SOUND[case]) == []


def test_everything_is_told_at_once(folder):
    """Of every block, with what parsing alone would lose, and with faults of the types."""
    changes = [
        ("results_dir", "a{b}"),
        ("compute", {"device": "gpu"}),
        ("datasets.p.reference", "golden.png"),
        ("prompts.p.plain.segmentation", [CHINESE]),
        ("methods.ask.base_url", "nowhere"),
    ]
    (folder / "own.yaml").write_text(yaml.safe_dump(with_(*changes)) + "models: {}\n")
    found = faults_of(*changes, files=["own.yaml"])
    assert [fault.split(": ")[0] for fault in found] == [
        "models",
        "compute.device",
        "datasets.p.reference",
        "results_dir",
        "methods.ask.base_url",
        "prompts.p.plain.segmentation[0]",
    ]


def test_expired_price_is_a_fault_where_a_key_is_there(monkeypatch):
    """Without a key nothing is asked, and the rest of the study runs."""
    monkeypatch.setattr("realitycheck.lvlm.pricing.today", lambda: date(2027, 6, 1))
    changes = asked(model="gemini-2.5-pro", max_cost_usd=1, key_env="KEY_OF_THE_TEST")
    assert faults_of(*changes) == []
    monkeypatch.setenv("KEY_OF_THE_TEST", "a-key-of-some-length")
    (fault,) = faults_of(*changes)
    assert "the price of gemini-2.5-pro ended on 2026-11-30" in fault
    assert "a model that is served" in fault


def test_unwritable_folders_are_a_fault(folder, monkeypatch):
    """As on a disk that is mounted for reading; a folder that is yet to be made is none."""

    def refuse(dir):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    changes = [("results_dir", "deep/er"), ("methods.ask.ledger", "deep/a.sqlite")]
    why = f"{folder} cannot be written (Read-only file system); name a f"
    results, tries, ledger = faults_of(*changes)
    assert results.startswith(f"results_dir: {why}")
    assert tries.startswith(f"evaluation.tries_file: {why}")
    assert ledger.startswith(f"methods.ask.ledger: {why}")


def test_words_wait_for_the_vocabulary_and_length_does_not(folder):
    """The official one is fetched; what is too long whatever it holds is told at once."""
    official = ("models", {})
    assert not words_are_checked(checked_settings(with_(official)))
    assert faults_of(official, ("prompts.p.plain.segmentation", [CHINESE])) == []
    (fault,) = faults_of(official, ("prompts.p.plain.segmentation", ["hole . " * 130]))
    assert "at least 262 tokens" in fault
    place = folder / "resources" / "weights" / "bert-base-uncased"
    place.mkdir(parents=True)
    (place / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\ndefect\n.\n")
    assert words_are_checked(checked_settings(with_(official)))
    (fault,) = faults_of(official, ("prompts.p.plain.segmentation", [CHINESE]))
    assert "vocabulary holds no word" in fault


def test_locked_part_is_no_example(folder):
    """A model that has seen one would be confirmed on it, under whatever name it was shown."""
    listed = list_folder(folder / "data", confirm_fraction=0.5).records
    locked = next(each for each in listed if each.split == LOCKED)
    (folder / "shown.png").write_bytes(locked.image_path.read_bytes())
    write_png(np.full((8, 8, 3), 200, np.uint8), folder / "other.png")
    split = {"kind": "all", "confirm_fraction": 0.5}
    for name, expected in (("shown.png", 1), ("other.png", 0)):
        example = {"image": name, "label": "OK"}
        found = faults_of(("datasets.p.split", split), ("prompts.p.plain.examples", [example]))
        told = [each for each in found if "locked until a method is confirmed" in each]
        assert len(told) == expected, found
