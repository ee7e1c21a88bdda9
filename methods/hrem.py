"""HREM (Fu et al., CVPR 2023): embeddings with fragment relations, trained through an instance graph of the batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from itm_harness.datasets.batch import Batch, ImageBatch, TextBatch
from itm_harness.methods.base import EmbeddingMethod, Group, Progress, Terms, dot_products
from itm_harness.methods.encoders.fragments import FragmentEncoder
from itm_harness.methods.encoders.regions import RegionProjection
from itm_harness.methods.encoders.text_encoders import text_encoder
from itm_harness.methods.errors import MethodError
from itm_harness.methods.graphs.instance_graph import Attends, InstanceGraph
from itm_harness.methods.losses.hinge import diagonal, hinge_loss, same_image
from itm_harness.methods.losses.triplet import Choice, TripletLoss, draw_negatives
from itm_harness.methods.official import (
    NORMALISED,
    TEXT_TENSORS,
    Official,
    Tensors,
    region_tensors,
    region_values,
    text_values,
)
from itm_harness.methods.parts.normalise import l2norm
from itm_harness.methods.recipes.hrem import HREMConfig, HREMDescription, LossName
from itm_harness.methods.registry import register

CUTOFFS = {"f30k": 1.7, "coco": 1.9}  # fixed per data set in the released code
OPTIONS = {  # of the released script -> ours
    "nhead": "heads",
    "dropout": "dropout",
    "residual_weight": "residual_weight",
    "margin": "margin",
    "mask_repeat": "mask_repeat",
    "threshold": "threshold",
    "topk": "topk",
    "mask_weight": "mask_weight",
    "reg_loss_weight": "reg_weight",
    "cross_loss": "cross_loss",
    "graph_lr_factor": "graph_lr_factor",
}
LOSS_OPTIONS = {"base_loss": "base_loss", "gnn_loss": "graph_loss"}
LOSSES: dict[str, LossName] = {"trip": "trip", "vse": "hinge"}


def _configure(tensors: Tensors, options: dict[str, Any], config: HREMConfig) -> dict[str, Any]:
    known = {ours: options[theirs] for theirs, ours in OPTIONS.items() if theirs in options}
    losses = {ours: LOSSES[options[theirs]] for theirs, ours in LOSS_OPTIONS.items() if options.get(theirs) in LOSSES}
    return {
        **region_values(tensors, "img_enc.fc."),
        "text": text_values(tensors, config.text),
        "cutoff": CUTOFFS.get(options.get("dataset"), config.cutoff),
        **known,
        **losses,
    }


def _relevance_tensors(name: str) -> dict[str, str | None]:
    """One of the relevance MLPs; ours has no third layer between its two."""
    official, ours = f"criterion.adj_model.adj_learning.{name}.", f"graph.adjacency.{name}."
    return {f"{official}0.": f"{ours}0.", f"{official}3.": f"{ours}2."}


OFFICIAL = Official(
    parts=("img_enc", "txt_enc"),
    tensors={
        **region_tensors("img_enc.fc."),
        **TEXT_TENSORS,
        "img_enc.aggr.layers.0.": "image_fragments.relation.",
        "txt_enc.aggr.layers.0.": "text_fragments.relation.",
        "criterion.gnn.layers.0.": "graph.layers.0.",
        **_relevance_tensors("mlp_t2i"),
        **_relevance_tensors("mlp_i2t"),
    },
    configure=_configure,
    absent=("graph.",),
    options=frozenset({*OPTIONS, *LOSS_OPTIONS, "warmup"}),
    required={**NORMALISED, "norm_input": 1, "num_layers_enc": 1},
)


@register("hrem")
class HREM(HREMDescription, EmbeddingMethod):
    """Region projection and text encoder, each with fragment relations; an instance graph shapes them in training.

    choose: how `trip` picks its negatives.
    """

    official = OFFICIAL
    released_selection = "test"

    def __init__(self, config: HREMConfig) -> None:
        super().__init__(config)
        if config.region_dim is None:
            raise MethodError("region_dim is not set: it comes with the data, or set region_dim=N.")
        if config.embed_size % config.heads:
            raise MethodError(
                f"heads={config.heads} does not divide embed_size={config.embed_size}; choose heads from its divisors."
            )
        self.choose: Choice = draw_negatives
        self.regions = RegionProjection(config.region_dim, config.embed_size, xavier_mlp=True)
        self.image_fragments = _fragment_encoder(config, config.visual_fragments)
        self.words = text_encoder(config.text, config.embed_size)
        self.text_fragments = _fragment_encoder(config, config.text_fragments)
        self.graph = _instance_graph(config)

    def embed_images(self, images: ImageBatch) -> Tensor:
        """(B, d), of length 1."""
        return _embedding(self.image_fragments, self.regions(images.regions), images.lengths)

    def embed_texts(self, texts: TextBatch) -> Tensor:
        """(B, d), of length 1."""
        return _embedding(self.text_fragments, self.words(texts.words, texts.lengths), texts.lengths)

    def features(self, batch: Batch) -> Terms:
        """`image`, `text`: (B, d) embeddings. `*_local`: (B, N or L, d) before any relation. `*_lengths`: (B,)."""
        images, texts = batch.images, batch.texts
        regions = self.regions(images.regions)
        words = self.words(texts.words, texts.lengths)
        return {
            "image": _embedding(self.image_fragments, regions, images.lengths),
            "text": _embedding(self.text_fragments, words, texts.lengths),
            "image_local": regions,
            "image_lengths": images.lengths,
            "text_local": words,
            "text_lengths": texts.lengths,
        }

    def objective(self, features: Terms, ids: Tensor, progress: Progress) -> Terms:
        """The base loss, and from the graph phase on the losses of the enhanced embeddings."""
        config, image, text = self.config, features["image"], features["text"]
        losses = self._pair_losses(ids, hardest=progress.reached("max_violation"))
        terms = {"base": losses[config.base_loss](dot_products(image, text))}
        if self.graph is None or not progress.reached("graph"):
            return {**terms, "total": terms["base"]}
        enhanced_image, enhanced_text, reg = self.graph(
            image, text, features["image_local"], features["text_local"], features["text_lengths"]
        )
        pairs = {"graph_both": (enhanced_image, enhanced_text)}
        if config.cross_loss:
            pairs = {"graph_text": (image, enhanced_text), "graph_image": (enhanced_image, text), **pairs}
        terms |= {name: losses[config.graph_loss](dot_products(v, t)) for name, (v, t) in pairs.items()}
        total = sum(terms.values())
        if config.reg_weight > 0:  # at weight 0 the relevance MLPs get no gradient from it, rather than zeros
            total = total + config.reg_weight * reg
        return {**terms, "reg": reg, "total": total}

    def _pair_losses(self, ids: Tensor, hardest: bool) -> dict[LossName, Callable[[Tensor], Tensor]]:
        """The two losses of a batch: cosines (B, B) -> a scalar."""
        config, same = self.config, same_image(ids)
        masked = same if config.mask_repeat else diagonal(ids)
        return {
            "trip": TripletLoss(same, config.cutoff, self.choose),
            "hinge": partial(hinge_loss, positives=masked, margin=config.margin, hardest=hardest),
        }

    def parameter_groups(self) -> list[Group]:
        """Text without BERT, BERT at a lower rate, image, graph: untouched until its phase begins."""
        bert = [*self.words.bert.parameters()] if self.config.text.bert else []
        words = self.words.linear if bert else self.words
        graph = [] if self.graph is None else [*self.graph.parameters()]
        groups = [
            Group("text", [*words.parameters(), *self.text_fragments.parameters()]),
            Group("bert", bert, lr_factor=self.config.bert_lr_factor),
            Group("image", [*self.regions.parameters(), *self.image_fragments.parameters()]),
            Group("graph", graph, lr_factor=self.config.graph_lr_factor, frozen_until="graph"),
        ]
        return [group for group in groups if group.parameters]


def _embedding(encoder: FragmentEncoder, fragments: Tensor, lengths: Tensor) -> Tensor:
    """(B, d), of length 1."""
    return l2norm(encoder(fragments, lengths))


def _fragment_encoder(config: HREMConfig, relations: bool) -> FragmentEncoder:
    return FragmentEncoder(config.embed_size, config.heads, config.dropout, config.residual_weight, relations)


def _instance_graph(config: HREMConfig) -> InstanceGraph | None:
    if not (config.intra_modal or config.inter_modal):
        return None
    return InstanceGraph(
        config.embed_size,
        config.heads,
        config.dropout,
        graph_layers(config.interaction, config.intra_modal, config.inter_modal),
        config.threshold,
        config.topk,
        config.mask_weight,
        config.connection,
        config.relevance,
    )


def graph_layers(interaction: str, intra: bool, inter: bool) -> list[Attends]:
    """fusion: one layer for both kinds of pairs. standalone: first within the modalities, then across them."""
    if interaction == "fusion":
        return [Attends(intra, inter)]
    return [Attends(True, False)] * intra + [Attends(False, True)] * inter
