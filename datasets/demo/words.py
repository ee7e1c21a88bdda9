"""The vocabulary: how captions name what scenes hold. The first word of a list is the most frequent.

A star marks the noun in an expression of several words (see syntax.prepositional).
"""

from itm_harness.datasets.demo.scenes import Kind

Options = tuple[str, ...]

SHAPES: dict[str, Options] = {
    "circle": ("circle", "disc", "ball"),
    "square": ("square", "box", "block"),
    "triangle": ("triangle", "wedge", "pyramid"),
    "star": ("star", "starlet"),
    "ring": ("ring", "hoop", "donut"),
    "cross": ("cross", "plus"),
    "diamond": ("diamond", "rhombus", "lozenge"),
    "heart": ("heart", "valentine"),
}
ANY_SHAPE: Options = ("shape", "object", "figure", "thing", "item")
MANY_SHAPES: Options = ("shapes", "objects", "figures", "things", "items")
COLOURS: dict[str, Options] = {
    "red": ("red", "crimson", "scarlet"),
    "blue": ("blue", "navy", "azure"),
    "green": ("green", "emerald", "grassy"),
    "yellow": ("yellow", "golden", "lemon"),
    "purple": ("purple", "violet", "lilac"),
    "orange": ("orange", "amber"),
    "white": ("white", "snowy"),
    "black": ("black", "inky"),
}
SIZES: dict[str, Options] = {
    "small": ("small", "little", "tiny"),
    "medium": ("medium-sized", "average"),
    "large": ("large", "big", "huge", "giant"),
}
TEXTURES: dict[str, Options] = {
    "plain": ("plain", "solid"),
    "striped": ("striped", "lined"),
    "dotted": ("dotted", "spotted", "speckled"),
    "checked": ("checked", "checkered", "chequered"),
}
MARKS: dict[str, Options] = {  # a texture said behind the noun: "a circle with stripes"
    "striped": ("stripes", "lines"),
    "dotted": ("dots", "spots"),
    "checked": ("checks", "squares"),
}
BACKGROUNDS: dict[str, Options] = {
    "grey": ("grey", "gray"),
    "beige": ("beige", "sandy", "tan"),
    "dark": ("dark", "gloomy"),
    "pale": ("pale", "light", "bright"),
}
BACKGROUND_NOUNS: Options = ("background", "backdrop", "surface", "ground", "wall")
BACKGROUND_PREPOSITIONS: Options = ("on", "against", "in *front of", "over")
ROWS: dict[str, Options] = {"top": ("top", "upper"), "middle": ("middle",), "bottom": ("bottom", "lower")}
COLUMNS: dict[str, Options] = {"left": ("left",), "centre": ("center", "centre"), "right": ("right",)}
PICTURES: Options = ("picture", "image", "drawing", "scene", "painting", "photo")
SHOWING: Options = ("showing", "depicting", "featuring")
NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five"}

PREPOSITIONS: dict[Kind, Options] = {
    Kind.LEFT_OF: ("to the *left of", "*left of", "on the left *side of", "at the *left of"),
    Kind.RIGHT_OF: ("to the *right of", "*right of", "on the right *side of", "at the *right of"),
    Kind.BESIDE: ("next to", "beside", "near", "close to", "by", "alongside", "adjacent to"),
    Kind.ABOVE: ("above", "over", "*higher than"),
    Kind.BELOW: ("below", "under", "*lower than"),
    Kind.ON: ("on", "on *top of", "atop", "upon"),
    Kind.UNDER: ("under", "underneath", "beneath"),
    Kind.INSIDE: ("inside", "in", "within", "in the *middle of"),
    Kind.AROUND: ("around",),
}
POSTURES: dict[Kind, tuple[tuple[str, str, str], ...]] = {  # lemma, finite form, participle
    Kind.LEFT_OF: (("stand", "stands", "standing"), ("appear", "appears", "appearing"), ("wait", "waits", "waiting")),
    Kind.RIGHT_OF: (("stand", "stands", "standing"), ("appear", "appears", "appearing"), ("wait", "waits", "waiting")),
    Kind.BESIDE: (("stand", "stands", "standing"), ("lie", "lies", "lying"), ("sit", "sits", "sitting")),
    Kind.ABOVE: (("float", "floats", "floating"), ("hover", "hovers", "hovering"), ("hang", "hangs", "hanging")),
    Kind.BELOW: (("lie", "lies", "lying"), ("appear", "appears", "appearing")),
    Kind.ON: (("sit", "sits", "sitting"), ("rest", "rests", "resting"), ("balance", "balances", "balancing")),
    Kind.UNDER: (("lie", "lies", "lying"), ("stand", "stands", "standing")),
    Kind.INSIDE: (("sit", "sits", "sitting"), ("hide", "hides", "hiding"), ("nest", "nests", "nesting")),
    Kind.AROUND: (("lie", "lies", "lying"), ("go", "goes", "going")),
}
PLACED: Options = ("placed", "drawn", "located", "painted", "shown")
ACTIVE: dict[Kind, tuple[tuple[str, str, str], ...]] = {
    Kind.UNDER: (("carry", "carries", "carrying"), ("support", "supports", "supporting")),
    Kind.AROUND: (
        ("contain", "contains", "containing"),
        ("surround", "surrounds", "surrounding"),
        ("enclose", "encloses", "enclosing"),
    ),
}
PASSIVE: dict[Kind, Options] = {
    Kind.ON: ("carried", "supported"),
    Kind.INSIDE: ("surrounded", "enclosed", "framed"),
    Kind.UNDER: ("topped",),
}
