"""The forms a relation can take: "a above b", "a hovers over b", "over b hovers a", "b is carried by a", ..."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from itm_harness.datasets.demo import words
from itm_harness.datasets.demo.scenes import Item, Kind, pick
from itm_harness.datasets.demo.syntax import Phrase, leaves, prepositional

Clause = tuple[Phrase, str]  # the root, and the relation in words as a scene graph holds it


def favour(rng: np.random.Generator, options: Sequence[Item]) -> Item:
    """One of the options, the earlier the more often: of three, the first in 58 % of all cases, the last in 18 %."""
    return options[int(len(options) * rng.random() ** 2)]


def under_preposition(rng: np.random.Generator, kind: Kind, noun: Phrase) -> Clause:
    """`noun` under a preposition of the relation, and that preposition."""
    marker = favour(rng, words.PREPOSITIONS[kind])
    return prepositional(marker, noun), marker.replace("*", "")


def _fragment(rng: np.random.Generator, a: Phrase, kind: Kind, b: Phrase) -> Clause:
    where, said = under_preposition(rng, kind, b)
    a.after.append(where)
    return a, said


def _participle(rng: np.random.Generator, a: Phrase, kind: Kind, b: Phrase) -> Clause:
    where, said = under_preposition(rng, kind, b)
    lemma, _, participle = pick(rng, words.POSTURES[kind])
    a.after.append(Phrase(participle, [], [where]))
    return a, f"{lemma} {said}"


def _finite(rng: np.random.Generator, a: Phrase, kind: Kind, b: Phrase) -> Clause:
    where, said = under_preposition(rng, kind, b)
    lemma, finite, _ = pick(rng, words.POSTURES[kind])
    return Phrase(finite, [a], [where]), f"{lemma} {said}"


def _copula(rng: np.random.Generator, a: Phrase, kind: Kind, b: Phrase) -> Clause:
    where, said = under_preposition(rng, kind, b)
    where.before[:0] = [a, Phrase("is")]
    return where, f"be {said}"


def _placed(rng: np.random.Generator, a: Phrase, kind: Kind, b: Phrase) -> Clause:
    where, said = under_preposition(rng, kind, b)
    verb = favour(rng, words.PLACED)
    return Phrase(verb, [a, Phrase("is")], [where]), f"{verb} {said}"


def _fronted(rng: np.random.Generator, a: Phrase, kind: Kind, b: Phrase) -> Clause:
    where, said = under_preposition(rng, kind, b)
    lemma, finite, _ = pick(rng, (("be", "is", "being"), *words.POSTURES[kind]))
    return Phrase(finite, [where], [a]), f"{lemma} {said}"


def _there_is(rng: np.random.Generator, a: Phrase, kind: Kind, b: Phrase) -> Clause:
    where, said = under_preposition(rng, kind, b)
    a.after.append(where)
    return Phrase("is", leaves("there"), [a]), said


def _active(rng: np.random.Generator, a: Phrase, kind: Kind, b: Phrase) -> Clause:
    lemma, finite, participle = pick(rng, words.ACTIVE[kind])
    if rng.random() < 0.6:
        return Phrase(finite, [a], [b]), lemma
    a.after.append(Phrase(participle, [], [b]))
    return a, lemma


def _passive(rng: np.random.Generator, a: Phrase, kind: Kind, b: Phrase) -> Clause:
    verb = pick(rng, words.PASSIVE[kind])
    if rng.random() < 0.6:
        return Phrase(verb, [a, Phrase("is")], [prepositional("by", b)]), f"{verb} by"
    a.after.append(Phrase(verb, [], [prepositional("by", b)]))
    return a, f"{verb} by"


FORMS = {
    _fragment: 0.24,
    _participle: 0.12,
    _finite: 0.16,
    _copula: 0.13,
    _placed: 0.06,
    _fronted: 0.07,
    _there_is: 0.06,
    _active: 0.09,
    _passive: 0.07,
}


def relate(rng: np.random.Generator, a: Phrase, kind: Kind, b: Phrase) -> Clause:
    """Noun phrase `a` is `kind` noun phrase `b`, in a random form. The root is `a` where there is no finite verb."""
    form = pick(rng, tuple(FORMS), tuple(FORMS.values()))
    if (form is _active and kind not in words.ACTIVE) or (form is _passive and kind not in words.PASSIVE):
        form = _fragment
    return form(rng, a, kind, b)
