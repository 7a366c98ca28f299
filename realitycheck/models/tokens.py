"""What the text networks read of a text, counted without loading a network, and without torch.

GroundingDINO cuts a caption off behind its 256th token and reads `[UNK]` for a word that BERT's
vocabulary does not hold; CLIP's code refuses more tokens than its context holds. All of that can be
told before a job runs.

Sources: the tokenisers of transformers (BERT) and open_clip (CLIP), with which tests compare.
"""

from __future__ import annotations

import gzip
import html
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realitycheck.models.clip.sizes import SCENE_TEMPLATES

if TYPE_CHECKING:
    from tokenizers import Tokenizer


_UNKNOWN = "[UNK]"


class BertWords:
    """BERT's tokeniser.

    Args:
        folder: Holds `tokenizer.json` or `vocab.txt`; None: no vocabulary is at hand, and each word
            counts as one token, which is the least that it can be.
    """

    def __init__(self, folder: Path | None):
        self.has_vocabulary = folder is not None
        self._tokenizer = _bert(folder)

    def n_tokens(self, caption: str) -> int:
        """Tokens of a caption, with the marks of start and end; without a vocabulary at least."""
        return len(self._tokenizer.encode(caption, add_special_tokens=False).tokens) + 2

    def unreadable(self, caption: str) -> list[str]:
        """Parts of a caption, between full stops, of which the vocabulary holds no word at all."""
        if not self.has_vocabulary:
            return []
        parts = [part.strip() for part in caption.split(".")]
        read = {
            part: self._tokenizer.encode(part, add_special_tokens=False).tokens for part in parts
        }
        words = {
            part: {token for token in tokens if any(letter.isalnum() for letter in token)}
            for part, tokens in read.items()
        }
        return [part for part, known in words.items() if part and known <= {_UNKNOWN}]


def _bert(folder: Path | None) -> Tokenizer:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    if folder is not None and (folder / "tokenizer.json").is_file():
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    vocabulary = {_UNKNOWN: 0}
    if folder is not None:
        lines = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
        vocabulary = {line: index for index, line in enumerate(lines) if line}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=_UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def n_clip_tokens(text: str) -> int:
    """Tokens of a text, without the two marks of start and end, as CLIP counts them."""
    import ftfy

    cleaned = html.unescape(html.unescape(ftfy.fix_text(text)))
    return len(_clip().encode(" ".join(cleaned.split()).lower()).tokens)


@cache
def _clip() -> Tokenizer:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    with gzip.open(_open_clip() / "bpe_simple_vocab_16e6.txt.gz", "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")[1 : 49_152 - 256 - 2 + 1]
    merges = [tuple(line.split()) for line in lines]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*letters, *(f"{each}</w>" for each in letters), *("".join(pair) for pair in merges)]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix="</w>"))
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return tokenizer


def clip_sentences(phrase: str) -> Iterator[str]:
    """Every sentence that CLIP Surgery puts a phrase into."""
    for template in _clip_templates():
        yield template.replace("{}", phrase)


@cache
def _clip_templates() -> tuple[str, ...]:
    # open_clip as a whole would import torch; this module of it holds sentences only.
    path = _open_clip() / "zero_shot_metadata.py"
    spec = importlib.util.spec_from_file_location("open_clip_sentences", path)
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return (*(each("{}") for each in module.OPENAI_IMAGENET_TEMPLATES), *SCENE_TEMPLATES)


def _open_clip() -> Path:
    spec = importlib.util.find_spec("open_clip")
    return Path(next(iter(spec.submodule_search_locations)))
