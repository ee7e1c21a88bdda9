"""The grammar: five captions of a scene, each with its dependency tree and its scene graph.

Captions are true but partial. They pick objects, name them by synonyms or vaguely, leave attributes and relations out,
and vary word order, voice and the direction of a relation ("above" or "below").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itm_harness.datasets.demo import words
from itm_harness.datasets.demo.clauses import favour, relate, under_preposition
from itm_harness.datasets.demo.meaning import Entity, Link, Meaning, Text
from itm_harness.datasets.demo.scenes import INVERSE, Kind, Relation, Scene, SceneObject, boxes, pick, place
from itm_harness.datasets.demo.syntax import Pairs, Phrase, adverbial, conjoin, leaves, linearise, prepositional

CAPTIONS_PER_IMAGE = 5
VAGUE = {
    Kind.LEFT_OF: Kind.BESIDE,
    Kind.RIGHT_OF: Kind.BESIDE,
    Kind.ON: Kind.ABOVE,
    Kind.UNDER: Kind.BELOW,
}


@dataclass(frozen=True)
class Habits:
    """How often a writer says what. plain and medium: the unmarked texture and size. vague: "next to" for "left of"."""

    shape: float = 0.95
    colour: float = 0.85
    texture: float = 0.6
    plain: float = 0.1
    size: float = 0.45
    medium: float = 0.05
    vague: float = 0.15


HUMAN = Habits()
THOROUGH = Habits(shape=1, colour=1, texture=1, plain=0.2, size=1, medium=0.1, vague=0)


def five_captions(scene: Scene, rng: np.random.Generator) -> list[Text]:
    """Five captions, no two with the same words."""
    captions: dict[str, Text] = {}
    while len(captions) < CAPTIONS_PER_IMAGE:
        caption = compose(scene, rng)
        captions.setdefault(str(caption), caption)
    return list(captions.values())


def compose(scene: Scene, rng: np.random.Generator) -> Text:
    """One caption. About one in ten lacks its period, as human captions do."""
    writer = Writer(scene, rng)
    plan = pick(rng, (writer.about_relation, writer.list_objects, writer.locate, writer.count), (0.62, 0.2, 0.08, 0.1))
    tokens, pairs = sentence(plan(), period=rng.random() < 0.9)
    return Text(tuple(tokens), pairs, writer.meaning)


def sentence(root: Phrase, period: bool = True) -> tuple[list[str], Pairs]:
    """Words and dependency pairs of a tree, with a capital letter and a period."""
    if period:
        root.after.append(Phrase("."))
    tokens, pairs = linearise(root)
    return [tokens[0].capitalize(), *tokens[1:]], pairs


class Writer:
    """Writes about a scene and keeps account of what it has said, in `meaning`."""

    def __init__(self, scene: Scene, rng: np.random.Generator, habits: Habits = HUMAN) -> None:
        self.scene = scene
        self.rng = rng
        self.habits = habits
        self.meaning = Meaning()
        self.entities: dict[int, int] = {}  # object of the scene → its entity in the meaning

    def about_relation(self) -> Phrase:
        """One relation, or two that share an object, perhaps with something added."""
        root = self.clause(pick(self.rng, self.scene.relations), chained=0.3)
        unsaid = [i for i in range(len(self.scene.objects)) if i not in self.entities]
        if unsaid and self._chance(0.15):
            root.after.append(Phrase("is", leaves("and there"), [self.noun_phrase(pick(self.rng, unsaid))]))
        elif self._chance(0.15):
            root.after.append(self._background())
        return root

    def list_objects(self) -> Phrase:
        """Two or more objects, no relation: "a red star , a box and a small ring"."""
        count = int(self.rng.integers(2, len(self.scene.objects) + 1))
        first, *others = [self.noun_phrase(int(i)) for i in self.rng.permutation(len(self.scene.objects))[:count]]
        root = conjoin(first, others)
        if self._chance(0.35):
            root.after.append(self._background())
        return self._opened(root, 0.35)

    def locate(self) -> Phrase:
        """One object and the part of the picture that it is in."""
        index = int(self.rng.integers(len(self.scene.objects)))
        noun, where = self.noun_phrase(index), self._whereabouts(index)
        form = pick(self.rng, ("fragment", "copula", "there is"))
        if form == "copula":
            where.before[:0] = [noun, Phrase("is")]
            return where
        noun.after.append(where)
        return noun if form == "fragment" else Phrase("is", leaves("there"), [noun])

    def count(self) -> Phrase:
        """How many objects there are, and what one of them is."""
        total = len(self.scene.objects)
        noun = self.noun_phrase(int(self.rng.integers(total)))
        if self._chance(0.5):
            return self._opened(conjoin(noun, [self._number(total - 1, total, "other")]), 0.3)
        shapes = self._number(total, total)
        shapes.after.append(prepositional(pick(self.rng, ("with", "including")), noun))
        if self._chance(0.4):
            shapes.after.append(self._background())
        return self._opened(shapes, 0.2)

    def count_all(self) -> Phrase:
        """ "three shapes on a grey background"."""
        total = len(self.scene.objects)
        shapes = self._number(total, total)
        shapes.after.append(self._background())
        return shapes

    def clause(self, relation: Relation, chained: float = 0.0) -> Phrase:
        """A relation between two objects. chained: how often a second one hangs on the second object."""
        subject, kind, other = self._direction(relation)
        a, b = self.noun_phrase(subject), self.noun_phrase(other)
        if self._chance(chained):
            self._chain(b, other, relation)
        root, said = relate(self.rng, a, kind, b)
        self._link(subject, said, other, kind)
        return self._opened(root, 0.2) if root is a else root

    def noun_phrase(self, index: int) -> Phrase:
        """An object of the scene; one that has been named before is "the" object."""
        item = self.scene.objects[index]
        if index in self.entities:
            return Phrase(self.meaning.entities[self.entities[index]].name, leaves("the"))
        said = self._choose_attributes(item)
        shaped = self._chance(self.habits.shape)
        noun = self._favour(words.SHAPES[item.shape] if shaped else words.ANY_SHAPE)
        marked = said.get("texture") in words.MARKS and self._chance(0.15)  # "with stripes" instead of "striped"
        lists = {name: ADJECTIVES[name] for name in said} | ({"texture": words.MARKS} if marked else {})
        attributes = {name: self._favour(lists[name][value]) for name, value in said.items()}
        content = ((("shape", item.shape),) if shaped else ()) + tuple(said.items())
        self.entities[index] = self.meaning.add(Entity(noun, tuple(attributes.values()), content))
        marks = [prepositional("with", Phrase(attributes.pop("texture")))] if marked else []
        article = pick(self.rng, ("a", "the", "one", "some"), (0.76, 0.17, 0.04, 0.03))
        return Phrase(noun, leaves(" ".join([article, *attributes.values()])), marks)

    def _choose_attributes(self, item: SceneObject) -> dict[str, str]:
        """What to say of an object: in the usual order, size, texture, colour."""
        shares = {
            "size": self.habits.medium if item.size == "medium" else self.habits.size,
            "texture": self.habits.plain if item.texture == "plain" else self.habits.texture,
            "colour": self.habits.colour,
        }
        said = {name: getattr(item, name) for name, share in shares.items() if self._chance(share)}
        if len(said) > 1 and self._chance(0.1):
            said = dict(reversed(said.items()))
        return said or ({"colour": item.colour} if self._chance(0.5) else {})

    def _direction(self, relation: Relation) -> tuple[int, Kind, int]:
        """Subject, relation and object as said: half of the time the inverse, sometimes a vaguer relation."""
        subject, kind, other = relation.subject, relation.kind, relation.object
        if self._chance(0.5):
            subject, kind, other = other, INVERSE[kind], subject
        return subject, VAGUE.get(kind, kind) if self._chance(self.habits.vague) else kind, other

    def _chain(self, noun: Phrase, index: int, said: Relation) -> None:
        """Hang a second relation of object `index` on its noun phrase: "a box that is left of a star"."""
        others = [r for r in self.scene.relations if r != said and index in (r.subject, r.object)]
        if not others:
            return
        r = pick(self.rng, others)
        kind, other = (r.kind, r.object) if r.subject == index else (INVERSE[r.kind], r.subject)
        where, preposition = under_preposition(self.rng, kind, self.noun_phrase(other))
        if self._chance(0.5):
            where.before[:0] = leaves(pick(self.rng, ("that is", "which is")))
        noun.after.append(where)
        self._link(index, preposition, other, kind)

    def _whereabouts(self, index: int) -> Phrase:
        """ "in the top left corner", "at the bottom", ...: the thirds of the picture that an object is in."""
        row, column = place(boxes(self.scene)[index])
        vertical, horizontal = self._favour(words.ROWS[row]), self._favour(words.COLUMNS[column])
        if row != "middle" and column != "centre":
            marker, content = f"in the {vertical} {horizontal} *corner", (("row", row), ("column", column))
        elif row != "middle":
            marker, content = f"at the *{words.ROWS[row][0]}", (("row", row),)
        elif column != "centre":
            marker, content = f"on the *{horizontal}", (("column", column),)
        else:
            marker, content = "in the *middle", (("row", row), ("column", column))
        before, _, name = marker.partition(" *")
        there = self.meaning.add(Entity(name, tuple(before.split()[2:]), content))
        self.meaning.links.append(Link(self.entities[index], before.split()[0], there, Kind.AT))
        where = adverbial(marker)
        if self._chance(0.3):
            where.after.append(prepositional("of the", Phrase(self._favour(words.PICTURES))))
        return where

    def _background(self) -> Phrase:
        """ "on a grey background"."""
        value = self.scene.background
        colour, noun = self._favour(words.BACKGROUNDS[value]), self._favour(words.BACKGROUND_NOUNS)
        preposition = self._favour(words.BACKGROUND_PREPOSITIONS)
        entity = self.meaning.add(Entity(noun, (colour,), (("background", value),)))
        self.meaning.links.append(Link(0, preposition.replace("*", ""), entity, Kind.AT))
        return prepositional(preposition, Phrase(noun, leaves(f"a {colour}")))

    def _number(self, number: int, total: int, *attributes: str) -> Phrase:
        """ "three other shapes"; `total` is what it tells about the scene."""
        said = (words.NUMBERS[number], *attributes)
        which = int(len(words.ANY_SHAPE) * self.rng.random() ** 2)
        self.meaning.add(Entity(words.ANY_SHAPE[which], said, (("count", words.NUMBERS[total]),)))
        return Phrase((words.ANY_SHAPE if number == 1 else words.MANY_SHAPES)[which], leaves(" ".join(said)))

    def _opened(self, noun: Phrase, share: float) -> Phrase:
        """Sometimes "a picture of ...", "an image showing ..." or "we see ..." before a noun phrase."""
        if not self._chance(share):
            return noun
        opening = pick(self.rng, ("of", "showing", "see", "there is"))
        if opening == "see":
            return Phrase("see", leaves(pick(self.rng, ("we", "you can", "I"))), [noun])
        if opening == "there is":
            return Phrase("is", leaves("there"), [noun])
        picture = Phrase(self._favour(words.PICTURES), leaves(pick(self.rng, ("a", "the", "this"))))
        tail = prepositional("of", noun) if opening == "of" else Phrase(self._favour(words.SHOWING), [], [noun])
        picture.after.append(tail)
        return picture

    def _link(self, subject: int, said: str, other: int, kind: Kind) -> None:
        self.meaning.links.append(Link(self.entities[subject], said, self.entities[other], kind))

    def _favour(self, options: tuple[str, ...]) -> str:
        return favour(self.rng, options)

    def _chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)


ADJECTIVES = {"size": words.SIZES, "texture": words.TEXTURES, "colour": words.COLOURS}
