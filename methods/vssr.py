"""VSSR (ICMR 2025): GPO embeddings with sentence vectors added, and a branch for the captions' entities."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from itm_harness.datasets.batch import Batch, DataSizes, ImageBatch, TextBatch
from itm_harness.methods.base import Group, Method, Progress, Terms, dot_products
from itm_harness.methods.encoders.pooling import GPOPooling
from itm_harness.methods.encoders.regions import RegionProjection
from itm_harness.methods.encoders.text_encoders import text_encoder, valid_positions
from itm_harness.methods.errors import MethodError
from itm_harness.methods.graphs.codings import FragmentSimilarity
from itm_harness.methods.graphs.graph_attention import EntityGraphs, GraphAttention
from itm_harness.methods.losses.contrastive import joint_contrastive_loss, specificity_loss
from itm_harness.methods.losses.hinge import diagonal, hinge_loss, same_image
from itm_harness.methods.losses.triplet import Choice, draw_negatives, triplet_loss
from itm_harness.methods.official import TEXT_TENSORS, Official, Tensors, region_tensors, region_values, text_values
from itm_harness.methods.parts.encoded import Encoded, Ragged
from itm_harness.methods.parts.normalise import l2norm
from itm_harness.methods.recipes.vssr import VSSRConfig, VSSRDescription
from itm_harness.methods.registry import register

CUTOFFS = {"f30k": 1.7, "coco": 1.9}  # fixed per data set in the released code
PAIR_LOSSES = {"trip": "trip", "vse": "hinge"}  # the released option loss_type


def _configure(tensors: Tensors, options: dict[str, Any], config: VSSRConfig) -> dict[str, Any]:
    return {
        **region_values(tensors, "img_enc."),
        "text": text_values(tensors, config.text),
        "description_dim": tensors["img_enc.liner.weight"].shape[1],
        "caption_dim": tensors["txt_enc.linear_bge.weight"].shape[1],
        "entity_dim": tensors["entities_enc.fc.0.weight"].shape[1],
        "heads": len(tensors["entities_enc.fc_aff_bias.0"]),
        "cutoff": CUTOFFS.get(options.get("dataset"), config.cutoff),
        "pair_loss": PAIR_LOSSES.get(options.get("loss_type"), config.pair_loss),
    }


UNREAD_OPTIONS = (  # by the released score, whose fragment module stands idle
    *("coding_type", "pooling_type", "alpha", "belta", "no_entitiesnorm"),
    *("dropout", "residual_weight", "entities_learing_rate", "save_fold5"),
)

OFFICIAL = Official(
    parts=("img_enc", "txt_enc", "entities_enc", "sim_enc"),  # the last is empty
    tensors={
        **region_tensors("img_enc."),
        **TEXT_TENSORS,
        "img_enc.liner.": "description.",
        "img_enc.gpo.": "image_pool.",
        "img_enc.gpo_entity.": None,
        "img_enc.gated_fusion.": None,
        "txt_enc.linear_bge.": "caption.",
        "txt_enc.gpo.": "text_pool.",
        "txt_enc.gpo_entity.": "entity_pool.",
        "txt_enc.gated_fusion.": None,
        "entities_enc.fc.0.": "graph.target.",
        "entities_enc.fc2.0.": "graph.source.",
        "entities_enc.fc_val.0.0.": "graph.value.",
        "entities_enc.fc_aff.0": "graph.weight",
        "entities_enc.fc_aff_bias.0": "graph.bias",
        "entities_enc.lnorms.0.": "graph.norm.",
    },
    configure=_configure,
    options=frozenset({"loss_type", *UNREAD_OPTIONS}),
)


@register("vssr")
class VSSR(VSSRDescription, Method):
    """Image and caption as in GPO, each with a sentence vector added; the caption's entities through their graph.

    choose: how `trip` picks its negatives.
    """

    official = OFFICIAL
    released_selection = "last"

    def __init__(self, config: VSSRConfig) -> None:
        super().__init__(config)
        _require_complete(config)
        d = config.embed_size
        self.choose: Choice = draw_negatives
        self.regions = RegionProjection(config.region_dim, d)
        self.image_pool = GPOPooling()
        self.description = nn.Linear(config.description_dim, d) if config.descriptions else None
        self.words = text_encoder(config.text, d)
        self.text_pool = GPOPooling()
        self.caption = nn.Linear(config.caption_dim, d) if config.caption_vectors else None
        heads = config.heads if config.graph_attention else None
        self.graph = GraphAttention(config.entity_dim, d, heads, config.graph_dropout) if config.entities else None
        self.fragments = _fragment_similarity(config)
        self.entity_pool = GPOPooling() if config.entities and self.fragments is None else None

    @classmethod
    def sized(cls, config: VSSRConfig, data: DataSizes) -> VSSRConfig:
        """Also the widths of the vectors."""
        config = super().sized(config, data)
        missing = {field: sidecar for field, sidecar in config.widths().items() if getattr(config, field) is None}
        return config.model_copy(update={field: data.size_of(sidecar) for field, sidecar in missing.items()})

    def image_sides(self, images: ImageBatch) -> tuple[Tensor, Tensor]:
        """Embeddings (B, d), and regions before pooling (B, N, d)."""
        regions = self.regions(images.regions)
        embedding = l2norm(self.image_pool(regions, images.lengths))
        return _with_vector(embedding, self.description, images.sidecars, "factual_descriptions"), regions

    def text_sides(self, texts: TextBatch) -> tuple[Tensor, Tensor]:
        """Embeddings (B, d) with and without the caption's vector."""
        plain = l2norm(self.text_pool(self.words(texts.words, texts.lengths), texts.lengths))
        return _with_vector(plain, self.caption, texts.sidecars, "factual_captions"), plain

    def entity_graphs(self, texts: TextBatch) -> EntityGraphs:
        """The captions' entities and how they are related."""
        vectors = texts.sidecars["factual_entities"]
        _require_width("factual_entities", vectors, self.config.entity_dim)
        return EntityGraphs.of(vectors, texts.sidecars.get("factual_relations"))

    def embed_entities(self, nodes: Tensor, sizes: Tensor, plain: Tensor) -> Tensor:
        """(B, d): the entities of each caption pooled, and the caption itself. nodes: (B, slots, d), sizes: (B,)."""
        return l2norm(l2norm(self.entity_pool(nodes, sizes)) + plain)

    def encode_images(self, images: ImageBatch) -> Encoded:
        """`image`: (n, d); `regions` where fragments are compared."""
        embedding, regions = self.image_sides(images)
        if self.fragments is None:
            return Encoded({"image": embedding})
        return Encoded({"image": embedding, "regions": Ragged.from_padded(l2norm(regions), images.lengths)})

    def encode_texts(self, texts: TextBatch) -> Encoded:
        """`text`: (n, d); `entity`: (n, d), or `entities` where fragments are compared."""
        embedding, plain = self.text_sides(texts)
        if self.graph is None:
            return Encoded({"text": embedding})
        graphs = self.entity_graphs(texts)
        nodes = l2norm(self.graph(graphs))
        if self.fragments is None:
            entity = self.embed_entities(graphs.padded(nodes), graphs.sizes, plain)
            return Encoded({"text": embedding, "entity": entity})
        return Encoded({"text": embedding, "entities": graphs.ragged(nodes)})

    def score(self, images: Encoded, texts: Encoded) -> Terms:
        """`caption`: image with caption, `entity`: image with its entities."""
        terms = {"caption": dot_products(images["image"], texts["text"])}
        if self.fragments is not None:
            terms["entity"] = self.fragments.of_galleries(images["regions"], texts["entities"])
        elif self.graph is not None:
            terms["entity"] = dot_products(images["image"], texts["entity"])
        return terms

    def combine(self, terms: Terms) -> Tensor:
        """The weighted sum of the terms; under gallery_softmax of their softmax over all captions of the gallery."""
        if self.config.score == "gallery_softmax":
            terms = {name: term.float().softmax(dim=1) for name, term in terms.items()}
        if "entity" not in terms:
            return terms["caption"]
        share = self.config.entity_share
        return (1 - share) * terms["caption"] + share * terms["entity"]

    def features(self, batch: Batch) -> Terms:
        """`image`, `text`: (B, d). With entities also `entities`: (B, slots, d) single ones, `entity_counts`: (B,), and
        `entity`: (B, d), or `regions`: (B, N, d) and `region_lengths`: (B,) where fragments are compared."""
        image, regions = self.image_sides(batch.images)
        text, plain = self.text_sides(batch.texts)
        if self.graph is None:
            return {"image": image, "text": text}
        graphs = self.entity_graphs(batch.texts)
        nodes = graphs.padded(l2norm(self.graph(graphs)))
        found = {"image": image, "text": text, "entities": nodes, "entity_counts": graphs.counts}
        if self.fragments is None:
            return {**found, "entity": self.embed_entities(nodes, graphs.sizes, plain)}
        return {**found, "regions": l2norm(regions), "region_lengths": batch.images.lengths}

    def objective(self, features: Terms, ids: Tensor, progress: Progress) -> Terms:
        """The losses that are switched on, and their sum."""
        config, image, text = self.config, features["image"], features["text"]
        entities, owner = single_entities(features)
        terms = {}
        hardest = progress.reached("max_violation")
        if config.pair_loss != "none":
            terms["pairs"] = self._pair_loss(image, text, ids, hardest)
        if config.entities and config.entity_hinge:
            terms["entity_hinge"] = hinge_loss(
                self._entity_similarity(features), diagonal(ids), config.entity_margin, hardest
            )
        if config.contrastive:
            terms["contrastive"] = joint_contrastive_loss(image, text, entities, owner, config.temperature)
        if config.entities and config.specificity:
            terms["specificity"] = specificity_loss(image, text, entities, owner, config.specificity_margin)
        return {**terms, "total": sum(terms.values())}

    def _pair_loss(self, image: Tensor, text: Tensor, ids: Tensor, hardest: bool) -> Tensor:
        similarity, same, config = dot_products(image, text), same_image(ids), self.config
        if config.pair_loss == "trip":
            return triplet_loss(similarity, same, config.cutoff, self.choose)
        return hinge_loss(similarity, same, config.margin, hardest)

    def _entity_similarity(self, features: Terms) -> Tensor:
        """(B, B): every image with the entities of every caption."""
        if self.fragments is None:
            return dot_products(features["image"], features["entity"])
        sizes = features["entity_counts"].clamp(min=1)  # without entities: the node of a zero vector
        return self.fragments(features["regions"], features["entities"], features["region_lengths"], sizes)

    def parameter_groups(self) -> list[Group]:
        """Text without BERT, BERT and the entity graph at lower rates, image."""
        bert = _parameters(self.words.bert) if self.config.text.bert else []
        words = self.words.linear if bert else self.words
        groups = [
            Group("text", _parameters(words, self.caption, self.text_pool, self.entity_pool)),
            Group("bert", bert, lr_factor=self.config.bert_lr_factor),
            Group("entities", _parameters(self.graph), lr_factor=self.config.graph_lr_factor),
            Group("image", _parameters(self.regions, self.image_pool, self.description)),
        ]
        return [group for group in groups if group.parameters]


def _fragment_similarity(config: VSSRConfig) -> FragmentSimilarity | None:
    """What compares regions with entities, None where embeddings are compared."""
    if config.coding is None:
        return None
    return FragmentSimilarity(
        config.coding, config.coding_pooling, config.coding_temperature, config.pooling_temperature
    )


def _with_vector(embedding: Tensor, layer: nn.Linear | None, sidecars: dict[str, Tensor], name: str) -> Tensor:
    """(B, d): the embedding and the projected sentence vector; the embedding alone without a layer."""
    if layer is None:
        return embedding
    _require_width(name, sidecars[name], layer.in_features)
    return l2norm(embedding + layer(sidecars[name]))


def single_entities(features: Terms) -> tuple[Tensor, Tensor]:
    """The entities of a batch one by one, (M, d), and the row of each, (M,); none without the entity branch."""
    if "entities" not in features:
        text = features["text"]
        return text[:0], torch.empty(0, dtype=torch.int64, device=text.device)
    slots = features["entities"].shape[1]
    found = valid_positions(features["entity_counts"], slots).flatten().nonzero().squeeze(1)  # waits for the GPU, once
    return features["entities"].flatten(0, 1).index_select(0, found), found // slots


def _parameters(*modules: nn.Module | None) -> list[nn.Parameter]:
    return [parameter for module in modules if module is not None for parameter in module.parameters()]


def _require_complete(config: VSSRConfig) -> None:
    """Raises MethodError where a size is missing or switches contradict each other."""
    needed = {"region_dim": "the data", **config.widths()}
    for field, source in needed.items():
        if getattr(config, field) is None:
            raise MethodError(f"{field} is not set: it comes with {source}, or set {field}=N.")
    if config.entities and config.graph_attention and config.embed_size % config.heads:
        raise MethodError(
            f"heads={config.heads} does not divide embed_size={config.embed_size}; choose heads from its divisors."
        )
    if config.coding is not None and not config.entities:
        raise MethodError(
            f"coding={config.coding} compares regions with entities; leave entities=true, or coding=null."
        )
    of_entities = config.entities and (config.entity_hinge or config.specificity)
    if not (config.pair_loss != "none" or config.contrastive or of_entities):
        raise MethodError("every loss is off (pair_loss, entity_hinge, contrastive, specificity); switch one on.")


def _require_width(name: str, vectors: Tensor, width: int) -> None:
    if vectors.shape[-1] != width:
        raise MethodError(
            f"sidecar {name} is {vectors.shape[-1]} wide, this model was made for {width}; "
            f"use vectors of the encoder that it was trained with."
        )
