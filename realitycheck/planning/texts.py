"""The texts that networks are told under the settings, and those that a network cannot read.

GroundingDINO would drop what lies beyond its limit, and read words that its vocabulary does not
hold as all the same; CLIP would stop the job that needs the text, after others have run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from realitycheck.methods.saa_plus.prompts import used_captions
from realitycheck.models.checkpoints.known import SHIPPED_FOLDER, network_files
from realitycheck.models.clip.sizes import known_sizes
from realitycheck.models.grounding_dino.captions import MAX_TOKENS, normalise_caption
from realitycheck.models.tokens import BertWords, clip_sentences, n_clip_tokens
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
        own = categories.get(dataset) or ()
        asked = settings.prompts.get(dataset, {}).get(prompt)
        place = f"prompts.{dataset}.{prompt}.{method.prompt_key}"
        if method.kind in ("grounded_sam", "sam_clip", "clip_surgery_sam"):
            for index, phrase in enumerate(asked.segmentation):
                here = f"{place}[{index}]"
                if method.kind == "grounded_sam":
                    yield Told(here, "grounding_dino", normalise_caption(phrase), name)
                elif method.kind == "sam_clip":
                    yield Told(here, "clip", phrase, name)
                else:
                    for sentence in clip_sentences(phrase):
                        yield Told(here, "clip", sentence, name)
        elif method.kind == "saa_plus":
            wanted = asked.model_dump(mode="json")["saa_plus"]
            form = method.all_switches()["object_comma"]
            for caption in used_captions(wanted, own, forms=[form]):
                yield Told(place, "grounding_dino", caption, name)
        elif method.kind in ("clip_zero_shot", "tuned_clip"):
            # A name for all categories is known before they are.
            for category in own or ([""] if isinstance(block.object_name, str) else []):
                for text in _sentences(method, block, category):
                    yield Told(f"datasets.{dataset}.object_name", "clip", text, name)


def _sentences(method, block, category: str) -> Iterator[str]:
    """What CLIP is told of an object by the methods that take no prompt set."""
    from realitycheck.core.words import object_name
    from realitycheck.methods.clip_zero_shot.algorithm import state_sentences
    from realitycheck.methods.tuned_clip.algorithm import CALLS

    shown = object_name(block.object_name, category)
    if method.kind == "tuned_clip":
        places = " ".join(["x"] * method.n_context)
        yield from (f"{places} {call.replace('{}', shown)}." for call in CALLS)
    else:
        for sentences in state_sentences(shown, defects=block.defect_names):
            yield from sentences


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
