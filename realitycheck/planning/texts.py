"""The texts that networks are told under the settings, and those that a network cannot read.

GroundingDINO would drop what lies beyond its limit, and read words that its vocabulary does not
hold as all the same; CLIP would stop the job that needs the text, after others have run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from realitycheck.core.words import object_name
from realitycheck.models.checkpoints.known import SHIPPED_FOLDER, network_files
from realitycheck.models.clip.sizes import known_sizes
from realitycheck.models.grounding_dino.captions import MAX_TOKENS
from realitycheck.models.tokens import BertWords, n_clip_tokens
from realitycheck.settings.run import Settings

#: Tokens of CLIP's context, where the settings do not say another; two mark start and end.
_CLIP_CONTEXT = 77


class Told(NamedTuple):
    """What a network is told.

    Attributes:
        place: Key path of the words in the settings.
        network: `grounding_dino` or `clip`.
        text: As the method composes it.
        method: The method block.
    """

    place: str
    network: str
    text: str
    method: str


def told_texts(
    settings: Settings, categories: Mapping[str, Sequence[str] | None]
) -> Iterator[Told]:
    """Every text that a network of the settings is told.

    Args:
        settings: The settings.
        categories: Of each data set; None: not known before it is fetched, and what is composed of
            their names is left out.
    """
    for dataset, name, prompt in settings.runs():
        method, block = settings.methods[name], settings.datasets[dataset]
        # A name for all categories is known before they are.
        one_name = [""] if isinstance(block.object_name, str) else []
        told = method.network_texts(
            method.told(settings.prompts.get(dataset, {}).get(prompt)),
            {
                category: object_name(block.object_name, category)
                for category in categories.get(dataset) or (() if method.prompt_key else one_name)
            },
            block.defect_names,
        )
        for place, network, text in told:
            asked = f"prompts.{dataset}.{prompt}.{method.prompt_key}{place}"
            where = f"datasets.{dataset}.object_name" if place is None else asked
            yield Told(where, network, text, name)


def vocabulary_folder(settings: Settings, folder: Path) -> Path | None:
    """Folder of the vocabulary that GroundingDINO reads by; None where it is yet to be fetched."""
    file = next(
        file
        for file in network_files("grounding_dino", settings.models.grounding_dino)
        if file.key == "text_encoder"
    )
    places = [folder / file.path] if file.path else []
    if file.shipped:
        places.append(SHIPPED_FOLDER / file.shipped)
    names = ("vocab.txt", "tokenizer.json")
    return next((at for at in places if any((at / name).is_file() for name in names)), None)


def text_faults(texts: Iterable[Told], settings: Settings, *, vocabulary: Path | None) -> list[str]:
    """Say which texts a network cannot read, one line for each place and network.

    Args:
        texts: From `told_texts`.
        settings: The settings.
        vocabulary: From `vocabulary_folder`. Without it only what is too long whatever the
            vocabulary is found.
    """
    words: BertWords | None = None
    found: dict[tuple[str, str], tuple[int, str]] = {}
    for told in texts:
        if told.network == "clip":
            limit = _clip_context(settings) - 2
            n_tokens = n_clip_tokens(told.text)
            if n_tokens > limit:
                said = (
                    f"{told.place}: {n_tokens} tokens in '{_short(told.text)}' are too many for "
                    f"{told.method}; CLIP reads {limit} of a text, so shorten it"
                )
                _keep_longest(found, (told.place, told.method), n_tokens, said)
            continue
        words = words or BertWords(vocabulary)
        n_tokens = words.n_tokens(told.text)
        if n_tokens > MAX_TOKENS:
            least = "" if words.has_vocabulary else "at least "
            said = (
                f"{told.place}: {least}{n_tokens} tokens in '{_short(told.text)}' are too many for "
                f"{told.method}; GroundingDINO reads {MAX_TOKENS} of a caption and would drop the "
                "rest, so split it into several entries"
            )
            _keep_longest(found, (told.place, told.method), n_tokens, said)
        for part in words.unreadable(told.text):
            said = (
                f"{told.place}: GroundingDINO's vocabulary holds no word of '{_short(part)}', for "
                f"which {told.method} asks; write it in plain English"
            )
            found.setdefault((told.place, part), (0, said))
    return [said for _, said in found.values()]


def _keep_longest(found: dict, key: tuple[str, str], n_tokens: int, said: str) -> None:
    if n_tokens > found.get(key, (0, ""))[0]:
        found[key] = (n_tokens, said)


def _clip_context(settings: Settings) -> int:
    variant = settings.models.clip.variant
    if variant == "ViT-B-16":  # asking open_clip would import torch
        return _CLIP_CONTEXT
    return known_sizes(variant).get("context_length", _CLIP_CONTEXT)


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"
