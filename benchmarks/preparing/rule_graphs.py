"""Scene graphs by rule, without a learned parser: noun phrases and what stands between them, on HanTa's tags.

Honest about what it is: each noun phrase is an entity of its own (no coreference), of a coordination only the first is
a subject, and counts are not kept. HanTa (C. Wartena, "The Hanover Tagger", 2019) brings its English model along; its
tags are those of the British National Corpus (C5).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from itm_harness.datasets.errors import DataError
from itm_harness.datasets.text.tokens import split_words

VERSION = 1  # another one for every change that gives other graphs
MODEL = "morphmodel_en.pgz"
NOUNS = ("NN", "NP")
ATTRIBUTES = ("AJ", "ORD")
DETERMINERS = ("AT", "DPS", "DT0", "CRD")
LINKS = ("PRP", "PRF", "AVP")  # prepositions, "of", particles
PARTICIPLES = ("VVG", "VVN", "VVD")
RELATIVE = ("PNQ", "DTQ", "CJT")  # who, which, that
CLAUSE = ("CJS", "EX0")  # while, there
PLACE = re.compile(
    r"(in|on|at|to) (the )?(front|left|right|top|bottom|middle|side|back|center|centre|edge) of|(left|right) of|next to"
)
LONGEST_PLACE = 4  # words

Tagged = tuple[str, str, str]  # word, lemma, tag


class RuleParser:
    """Captions -> scene graphs, as JSON has them: name, attributes; subject, relation, object."""

    name = "part-of-speech rules"
    weights = revision = ""
    step = 1024  # captions

    def require(self) -> None:
        """Raises DataError where HanTa is not installed."""
        _ = self._tagger

    @property
    def state(self) -> str:
        """Fingerprint of the rules' version and of the tagger's model."""
        return hashlib.sha256(f"{VERSION} {self._model_print}".encode()).hexdigest()[:16]

    @property
    def libraries(self) -> dict[str, str]:
        """Version of HanTa."""
        return {"hanta": metadata.version("hanta")}

    def graphs(self, captions: Sequence[str]) -> list[dict[str, Any]]:
        """The graph of each caption."""
        return [graph_of(self._tagger.tag_sent(split_words(caption), taglevel=1)) for caption in captions]

    @cached_property
    def _tagger(self) -> Any:
        try:
            from HanTa.HanoverTagger import HanoverTagger
        except ImportError as error:
            raise DataError(
                f"scene graphs by rule need the tagger HanTa, which cannot be imported ({error}); pip install hanta "
                f"(14 MB, its English model is in it)."
            ) from error
        return HanoverTagger(MODEL)

    @cached_property
    def _model_print(self) -> str:
        import HanTa

        return hashlib.sha256((Path(HanTa.__file__).parent / MODEL).read_bytes()).hexdigest()


def graph_of(tagged: Sequence[Tagged]) -> dict[str, Any]:
    """The graph of a caption's tagged words."""
    reading = _Reading()
    for token in [*_with_places(tagged), (".", ".", "PUN")]:
        reading.read(*token)
    return {"entities": reading.entities, "relations": reading.relations}


def _with_places(tagged: Sequence[Tagged]) -> list[Tagged]:
    """ "to the left of" and the like become one preposition."""
    result, position = [], 0
    while position < len(tagged):
        for length in range(LONGEST_PLACE, 0, -1):
            words = " ".join(word for word, _, _ in tagged[position : position + length])
            if length > 1 and PLACE.fullmatch(words):
                result.append((words, words.replace(" the ", " "), "PRP"))
                break
        else:
            result.append(tagged[position])
        position += length
    return result


@dataclass
class _Reading:
    """What is known of a caption up to a word.

    attributes, nouns: of the noun phrase that is open. between: relation words since the last entity. last, subject:
    the last entity and the clause's first, by position.
    """

    entities: list[dict[str, Any]] = field(default_factory=list)
    relations: list[dict[str, Any]] = field(default_factory=list)
    attributes: list[str] = field(default_factory=list)
    nouns: list[Tagged] = field(default_factory=list)
    between: list[Tagged] = field(default_factory=list)
    is_open: bool = False
    last: int | None = None
    subject: int | None = None

    def read(self, word: str, lemma: str, tag: str) -> None:
        """The next word."""
        if tag.startswith(NOUNS):
            self.nouns.append((word, lemma, tag))
            return
        if self.nouns:
            self._entity()
        if tag.startswith(DETERMINERS):
            self.is_open = True
        elif tag.startswith(ATTRIBUTES) or (tag in PARTICIPLES and (self.is_open or self.attributes)):
            self.attributes.append(word)
        elif not (self.attributes and (tag == "CJC" or word == ",")) and not tag.startswith("AV0"):
            self._close(word, lemma, tag)  # "black and white, very fluffy" goes on with its noun phrase

    def _close(self, word: str, lemma: str, tag: str) -> None:
        """A word that belongs to no noun phrase."""
        self._predicate()
        if tag.startswith(LINKS) or tag == "POS":
            self.between.append((word, "have" if tag == "POS" else lemma, tag))
        elif tag.startswith("V") and tag != "VM0":
            if _is_auxiliary(self.between):  # "is riding" is as finite as "rides"
                self.between, tag = [], "VVZ"
            self.between.append((word, lemma, tag))
        elif tag not in ("VM0", "TO0", "XX0"):
            self._pause(word, tag)

    def _pause(self, word: str, tag: str) -> None:
        """Punctuation, a conjunction or a pronoun: what stood before says nothing of what comes."""
        self.between = []
        if tag in RELATIVE:
            self.subject = self.last
        elif tag in CLAUSE or word == ".":
            self.subject = None

    def _entity(self) -> None:
        """Close a noun phrase, and relate it to the one before."""
        *modifiers, (_, lemma, _) = self.nouns
        name = " ".join([*(word for word, _, _ in modifiers), lemma])
        self.entities.append({"name": name, "attributes": list(dict.fromkeys(self.attributes))})
        new = len(self.entities) - 1
        finite = any(tag.startswith("V") and tag != "VVG" for _, _, tag in self.between[:1])
        subject = self.subject if finite else self.last
        if self.between and subject is not None:
            relation = " ".join(lemma for _, lemma, _ in self.between)
            self.relations.append({"subject": subject, "relation": relation, "object": new})
        self.last, self.subject = new, new if self.subject is None else self.subject
        self.attributes, self.nouns, self.between, self.is_open = [], [], [], False

    def _predicate(self) -> None:
        """Attributes without a noun belong to the subject ("the dog is black"), or to nothing."""
        if self.attributes and _is_auxiliary(self.between) and self.subject is not None:
            known = self.entities[self.subject]["attributes"]
            known += [attribute for attribute in self.attributes if attribute not in known]
        self.attributes, self.is_open = [], False


def _is_auxiliary(between: Sequence[Tagged]) -> bool:
    return [tag[:2] for _, _, tag in between] in (["VB"], ["VH"], ["VD"])
