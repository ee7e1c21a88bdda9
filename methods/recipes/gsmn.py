"""GSMN (Liu et al., CVPR 2020), described."""

from __future__ import annotations

from typing import ClassVar, Literal

from itm_harness.datasets.batch import Inputs, WordPieces, Words
from itm_harness.methods.config import MethodConfig, TextConfig
from itm_harness.methods.defaults import MARGIN
from itm_harness.methods.description import Description
from itm_harness.methods.registry import describe


class StanfordWords(TextConfig):
    """Word ids from Stanford tokens where the data has them, and no `<mask>`: GSMN has no size augmentation."""

    mask_token: bool = False

    def inputs(self) -> WordPieces | Words:
        """The word ids that the encoder reads."""
        return WordPieces(self.bert) if self.bert else Words(self.min_count, self.mask_token, precomputed=True)


class GSMNConfig(MethodConfig):
    """embed_size: d of regions and words. margin: of the hinge loss.

    num_blocks: pieces of d with a cosine of their own. n_kernels, hidden: kernels of a graph convolution and its width.
    lambda_softmax: inverse temperature of every attention. text_graph: what connects the words. propagate: self = each
    node keeps its own vector (released code), neighbours = it takes its neighbours' (paper; no released code).
    """

    text: StanfordWords = StanfordWords()
    embed_size: int = 1024
    margin: float = MARGIN
    num_blocks: int = 16
    n_kernels: int = 8
    hidden: int = 32
    lambda_softmax: float = 20.0
    text_graph: Literal["dense", "sparse"] = "dense"
    propagate: Literal["self", "neighbours"] = "self"

    @property
    def reads_dependencies(self) -> bool:
        """Does the score depend on the captions' dependencies?"""
        return self.text_graph == "sparse" and self.propagate == "neighbours"


@describe("gsmn")
class GSMNDescription(Description):
    """Phase max_violation: until it begins the loss sums over all negatives, from then on it takes the hardest.

    Under `propagate: self` dense and sparse are the same function of the same weights: dependencies are read only by
    sparse under `neighbours`, and the two variants draw different initial weights, so that full is not one model twice.
    """

    Config = GSMNConfig
    phases = ("max_violation",)
    variants = ("dense", "sparse", "full")
    ensembles: ClassVar[dict[str, tuple[str, ...]]] = {"full": ("dense", "sparse")}

    def inputs(self) -> Inputs:
        """Boxes always; dependencies only where the score depends on them."""
        dependencies = ("dependencies",) if self.config.reads_dependencies else ()
        return Inputs(text=self.config.text.inputs(), image_sidecars=("boxes",), text_sidecars=dependencies)
