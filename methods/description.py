"""What is known of a method before it is loaded: all that its configuration decides. Nothing here imports torch."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from itm_harness.datasets.batch import Inputs
from itm_harness.methods.config import MethodConfig


class Description:
    """A method as far as its configuration tells it.

    A shipped method has its own in recipes/<name>.py and inherits it: recipes are resolved, and files looked for,
    without loading the method. A user's method says the same in its own class.

    name: what it is registered as. Config: the class of its configuration. phases: names of the training phases that
    its recipe may give a beginning. variants: its variants, the first is the default. ensembles: variants that are the
    mean similarity of other variants, by the names of these. extra_pretraining: does it read the output of models that
    saw far more data (language models, CLIP)? scope: `pair` where a pair's score depends on that pair alone, `gallery`
    where `combine` looks at whole rows (it then gets complete ones, before folds are cut; else blocks of any size).
    """

    name: ClassVar[str] = ""
    Config: ClassVar[type[MethodConfig]] = MethodConfig
    phases: ClassVar[tuple[str, ...]] = ()
    variants: ClassVar[tuple[str, ...]] = ()
    ensembles: ClassVar[dict[str, tuple[str, ...]]] = {}
    extra_pretraining: ClassVar[bool] = False
    scope: Literal["pair", "gallery"] = "pair"

    def __init__(self, config: MethodConfig) -> None:
        self.config = config

    @classmethod
    def bare(cls, config: MethodConfig) -> Self:
        """An instance with its configuration but no parameters: enough for `inputs` and `scope`."""
        return cls(config)

    @classmethod
    def trains(cls, config: MethodConfig) -> bool:
        """Is there anything to train?"""
        return True

    @classmethod
    def text_label(cls, config: MethodConfig) -> str:
        """The text encoder as tables show it."""
        return "BERT" if config.text.bert else "BiGRU"

    @classmethod
    def features_label(cls, config: MethodConfig, regions: str) -> str:
        """The image inputs as tables show them. regions: what the data set's region features are."""
        return regions

    def inputs(self) -> Inputs:
        """What the method reads for its configuration: by default regions and captions."""
        return Inputs(text=self.config.text.inputs())
