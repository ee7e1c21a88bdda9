"""Sentences as dependency trees: phrases are put together, then read off as words and heads."""

from __future__ import annotations

from dataclasses import dataclass, field

Pairs = list[list[int]]


@dataclass
class Phrase:
    """A word with its dependents, in order, before and after it."""

    word: str
    before: list[Phrase] = field(default_factory=list)
    after: list[Phrase] = field(default_factory=list)


def leaves(words: str) -> list[Phrase]:
    """Each word a phrase of its own."""
    return [Phrase(word) for word in words.split()]


def prepositional(marker: str, noun: Phrase) -> Phrase:
    """`noun` under a preposition. A star marks a noun in the preposition: it takes over as the head.

    "above": [above] depends on the noun. "to the *left of": [to the] depends on left, and the noun too, with its [of].
    """
    if "*" not in marker:
        noun.before[:0] = leaves(marker)
        return noun
    before, _, rest = marker.partition("*")
    head, *case = rest.split()
    noun.before[:0] = [Phrase(word) for word in case]
    return Phrase(head, leaves(before), [noun])


def adverbial(marker: str) -> Phrase:
    """A fixed expression with its head marked by a star: "in the *middle"."""
    before, _, rest = marker.partition("*")
    head, *after = rest.split()
    return Phrase(head, leaves(before), [Phrase(word) for word in after])


def conjoin(first: Phrase, others: list[Phrase]) -> Phrase:
    """ "a , b and c": all depend on the first, commas and `and` on the item that follows them."""
    for i, other in enumerate(others):
        other.before.insert(0, Phrase("and" if i == len(others) - 1 else ","))
    first.after += others
    return first


def linearise(root: Phrase) -> tuple[list[str], Pairs]:
    """Words in order, "a" turned into "an" where needed, and [head, dependent] pairs.

    Positions count from 1, head 0 is ROOT; the root's pair comes first, the others in the order of their dependents.
    """
    words: list[str] = []
    heads: list[int] = []

    def visit(phrase: Phrase) -> int:
        earlier = [visit(child) for child in phrase.before]
        words.append(phrase.word)
        heads.append(0)
        position = len(words)
        for child in [*earlier, *[visit(child) for child in phrase.after]]:
            heads[child - 1] = position
        return position

    visit(root)
    pairs = [[head, dependent] for dependent, head in enumerate(heads, start=1)]
    articles = ["an" if w == "a" and n[0] in "aeiou" else w for w, n in zip(words, [*words[1:], "."], strict=True)]
    return articles, sorted(pairs, key=lambda pair: pair[0] != 0)
