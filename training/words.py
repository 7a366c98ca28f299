"""The words that scenes are described with: phrases, captions, and what each is true of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from realitycheck.datasets.synthetic.everyday import COAT_FINISHES, COLOURS, FINISHES, Instance
from realitycheck.datasets.synthetic.everyday_parts import ANIMALS, NOUNS, SHAPES, THINGS

#: More general words, and the nouns that they are true of.
GENERAL: dict[str, frozenset[str]] = {
    "animal": frozenset(ANIMALS),
    "pet": frozenset({"cat", "dog", "rabbit"}),
    "shape": frozenset(SHAPES),
    "thing": frozenset(THINGS),
    "object": frozenset(NOUNS),
}
ADJECTIVES = frozenset({*COLOURS, *FINISHES, *COAT_FINISHES} - {"plain"})


def vocabulary() -> tuple[str, ...]:
    """List every word that the phrases use."""
    return tuple(sorted({*NOUNS, *GENERAL, *ADJECTIVES, "a", "the", "and", "on", "with", "of"}))


def is_true_of(phrase: str, instance: Instance) -> bool:
    """Whether a phrase (adjectives, then a noun) describes a thing."""
    *adjectives, noun = phrase.split()
    if noun != instance.noun and instance.noun not in GENERAL.get(noun, ()):
        return False
    return all(word in (instance.colour, instance.finish) for word in adjectives)


def phrase_for(rng: np.random.Generator, instance: Instance, *, general: float = 0.08) -> str:
    """Describe a thing: mostly by its noun, with none, one or all of its adjectives."""
    roll = rng.random()
    noun = instance.noun
    if roll < general:
        noun = str(rng.choice([word for word, nouns in GENERAL.items() if noun in nouns]))
    roll = rng.random()
    if roll < 0.6:
        return noun
    if roll < 0.85 or instance.finish == "plain":
        return f"{instance.colour} {noun}"
    return f"{instance.colour} {instance.finish} {noun}"


def absent_phrase(rng: np.random.Generator, instances: Sequence[Instance]) -> str | None:
    """Name something that is not to be seen; None if chance finds nothing."""
    for _ in range(6):
        if instances and rng.random() < 0.3:  # nearly right: the thing, but of another colour
            noun = instances[rng.integers(len(instances))].noun
            phrase = f"{rng.choice(list(COLOURS))} {noun}"
        else:
            # Cats and dogs are asked for more often: they are the hardest to tell apart.
            nouns = ["cat", "dog"] if rng.random() < 0.3 else list(NOUNS)
            phrase = str(rng.choice(nouns))
        if not any(is_true_of(phrase, instance) for instance in instances):
            return phrase
    return None
