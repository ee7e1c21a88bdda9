"""HREM (Fu et al., CVPR 2023), described."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from itm_harness.methods.config import MethodConfig
from itm_harness.methods.defaults import MARGIN
from itm_harness.methods.description import Description
from itm_harness.methods.registry import describe

LossName = Literal["trip", "hinge"]


class HREMConfig(MethodConfig):
    """Sizes, losses, and one switch per row of the paper's ablation tables.

    embed_size: d. heads, dropout: of every transformer layer. residual_weight: share of the pooled base beside the
    enhanced embedding. visual_fragments, text_fragments: fragment relations of a side (off: the base alone).
    interaction: fusion (one layer for all pairs) or standalone (one within, then one across the modalities).
    base_loss, graph_loss: trip (distance-weighted) or hinge. cutoff: trip draws no negative at this distance or
    beyond. margin, mask_repeat: of the hinge loss; mask_repeat: no caption of the same image is a negative.
    threshold: share of a row's instances that are connected. topk: word or region scores that the relevance MLPs
    read. mask_weight: of the relevance in the attention. reg_weight: of the regularisation (0: without L_reg).
    intra_modal, inter_modal: pairs that attend to each other (both off: no instance graph). connection: the matrix A
    (off: everything connected). relevance: the matrix S (off: no bias). cross_loss: losses between enhanced and plain
    embeddings. bert_lr_factor, graph_lr_factor: learning rates relative to the rest.
    """

    embed_size: int = 1024
    heads: int = 16
    dropout: float = Field(0.1, ge=0, lt=1)
    residual_weight: float = Field(0.8, ge=0, le=1)
    visual_fragments: bool = True
    text_fragments: bool = True
    interaction: Literal["fusion", "standalone"] = "fusion"
    base_loss: LossName = "trip"
    graph_loss: LossName = "trip"
    cutoff: float = Field(1.7, gt=0)
    margin: float = MARGIN
    mask_repeat: bool = True
    threshold: float = Field(0.5, gt=0, le=1)
    topk: int = Field(10, ge=1)
    mask_weight: float = 1.0
    reg_weight: float = Field(10.0, ge=0)
    intra_modal: bool = True
    inter_modal: bool = True
    connection: bool = True
    relevance: bool = True
    cross_loss: bool = True
    bert_lr_factor: float = 0.1
    graph_lr_factor: float = 1.0


@describe("hrem")
class HREMDescription(Description):
    """Phases: max_violation: until it begins a hinge loss sums over all negatives. graph: until it begins only the base
    loss trains, and the graph's parameters stay as they are.

    Variants: full is the mean similarity of the other two, the paper's HREM*; standalone is not in the released code.
    """

    Config = HREMConfig
    phases = ("graph", "max_violation")
    variants = ("fusion", "standalone", "full")
    ensembles: ClassVar[dict[str, tuple[str, ...]]] = {"full": ("fusion", "standalone")}
