"""Tokens are counted as the networks' own tokenisers count them, without torch."""

import subprocess
import sys
import unicodedata

import numpy as np
import pytest

from realitycheck.models.checkpoints.known import SHIPPED_FOLDER
from realitycheck.models.clip.model import surgery_templates
from realitycheck.models.tokens import BertWords, clip_sentences, n_clip_tokens

FIXED = [
    *("", "  ", "a long and thin scratch", "don't it's we'LL", "&amp;lt; x &quot;", "_foo--bar"),
    *("ﬁne Ünïcode ß", "缺陷 scratch", "µ-crack 12.5 mm!!", "x " * 90, "a\u200bb", "y" * 120),
]


def texts():
    """Fixed texts, and seeded ones of letters from several scripts."""
    rng = np.random.default_rng(0)
    ranges = ((32, 127), (32, 127), (160, 0x250), (0x391, 0x3C9), (0x410, 0x450), (0x4E00, 0x4F00))
    drawn = []
    for _ in range(300):
        points = [rng.integers(*ranges[rng.integers(len(ranges))]) for _ in range(rng.integers(40))]
        drawn.append("".join(chr(p) for p in points if unicodedata.category(chr(p)) != "Cn"))
    return FIXED + drawn


def test_clip_tokens_are_those_of_open_clip():
    from open_clip.tokenizer import SimpleTokenizer

    theirs = SimpleTokenizer()
    assert [n_clip_tokens(text) for text in texts()] == [len(theirs.encode(t)) for t in texts()]


def test_bert_tokens_are_those_of_transformers():
    from transformers import AutoTokenizer

    folder = SHIPPED_FOLDER / "bert"
    theirs, ours = AutoTokenizer.from_pretrained(folder), BertWords(folder)
    assert [ours.n_tokens(t) for t in texts()] == [len(theirs(t)["input_ids"]) for t in texts()]


def test_tokenizer_file_is_read_where_there_is_one(tmp_path):
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(SHIPPED_FOLDER / "bert").save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").unlink()
    ours, plain = BertWords(tmp_path), BertWords(SHIPPED_FOLDER / "bert")
    assert [ours.n_tokens(t) for t in FIXED] == [plain.n_tokens(t) for t in FIXED]
    assert ours.unreadable("缺陷.") == ["缺陷"]


def test_without_a_vocabulary_tokens_are_a_lower_bound():
    known, unknown = BertWords(SHIPPED_FOLDER / "bert"), BertWords(None)
    assert all(unknown.n_tokens(text) <= known.n_tokens(text) for text in texts())
    assert unknown.n_tokens("a b. c.") == 7
    assert unknown.unreadable("缺陷") == []


@pytest.mark.parametrize(
    ("caption", "parts"),
    [
        ("缺陷.", ["缺陷"]),
        ("scratch . 缺陷 . dent.", ["缺陷"]),
        ("缺陷 scratch.", []),
        ("царапина.", ["царапина"]),
        ("rißig.", []),
        ("\u200b.", ["\u200b"]),
        ("scratch.", []),
    ],
)
def test_parts_of_which_no_word_is_known_are_found(caption, parts):
    """The detector would look for `[UNK]`, the same for all of them."""
    assert BertWords(SHIPPED_FOLDER / "bert").unreadable(caption) == parts


def test_sentences_are_those_that_clip_surgery_uses():
    assert list(clip_sentences("dent")) == [t.replace("{}", "dent") for t in surgery_templates()]


def test_counting_needs_no_torch():
    """It runs whenever a run starts, and torch would take seconds each time."""
    code = (
        "import sys; from realitycheck.models.tokens import *; n_clip_tokens('a'); "
        "list(clip_sentences('a')); BertWords(None).n_tokens('a'); "
        "import realitycheck.planning.checking; "
        "assert not {'torch', 'open_clip', 'transformers', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
