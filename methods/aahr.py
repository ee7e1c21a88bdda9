"""AAHR (KBS 2025): HREM's embeddings and graph with CLIP vectors, prototypes, graph convolutions and key queues."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from itm_harness.datasets.batch import Batch, DataSizes, ImageBatch, TextBatch
from itm_harness.methods.base import EmbeddingMethod, Group, Progress, Terms, dot_products
from itm_harness.methods.encoders.guided_encoder import GuidedEncoder, Side
from itm_harness.methods.encoders.regions import RegionProjection
from itm_harness.methods.encoders.text_encoders import text_encoder
from itm_harness.methods.errors import MethodError
from itm_harness.methods.graphs.graph_convolution import ConvolvedGraph
from itm_harness.methods.losses.hinge import same_image
from itm_harness.methods.losses.momentum import KeyQueues, follow, info_nce, key_encoder
from itm_harness.methods.losses.prototypes import swapped_prediction
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
from itm_harness.methods.recipes.aahr import CLIP_IMAGES, CLIP_TEXTS, AAHRConfig, AAHRDescription
from itm_harness.methods.registry import register

CUTOFFS = {"f30k": 1.7, "coco": 1.9}  # fixed per data set in the released code
OPTIONS = {  # of the released script -> ours
    "nhead": "heads",
    "dropout": "dropout",
    "residual_weight": "residual_weight",
    "nmb_prototypes": "prototypes",
    "epsilon": "epsilon",
    "temperature": "prototype_temperature",
    "threshold": "threshold",
    "topk": "topk",
    "mask_weight": "mask_weight",
    "reg_loss_weight": "reg_weight",
    "moco_M": "queue_length",
    "moco_r": "momentum",
    "graph_lr_factor": "graph_lr_factor",
}

TRAINING_OPTIONS = (
    *("base_loss", "gnn_loss", "cross_loss", "warmup", "use_moco"),
    *("sinkhorn_iterations", "freeze_prototypes_niters", "iteration_queue_starts", "queue_length"),
)


def _configure(tensors: Tensors, options: dict[str, Any], config: AAHRConfig) -> dict[str, Any]:
    return {
        **region_values(tensors, "img_enc.fc."),
        "clip_dim": tensors["img_enc.fc_clip.fc.weight"].shape[1],
        "pool_heads": sum(name.startswith("img_enc.mha_pool.query.") for name in tensors) // 2,  # weight and bias
        "text": text_values(tensors, config.text),
        "attention_padding": "released",
        "cutoff": CUTOFFS.get(options.get("dataset"), config.cutoff),
        **{ours: options[theirs] for theirs, ours in OPTIONS.items() if theirs in options},
    }


def _within(encoder: str, names: dict[str, str | None]) -> dict[str, str | None]:
    return {official: None if ours is None else f"{encoder}.{ours}" for official, ours in names.items()}


def _guided_tensors(part: str) -> dict[str, str | None]:
    return {
        f"{part}.fc_clip.fc.": "guided.clip.fc.",
        f"{part}.fc_clip.mlp.layers.0.": "guided.clip.mlp.",
        f"{part}.aggr.layers.0.": "guided.fragments.relation.",
        f"{part}.mha_pool.": "guided.pool.",
        f"{part}.gated_fusion.fc_gate.": "guided.gate.",
    }


OFFICIAL = Official(
    parts=("img_enc", "txt_enc"),
    tensors={
        **_within("image_encoder", {**region_tensors("img_enc.fc."), **_guided_tensors("img_enc")}),
        **_within("text_encoder", {**TEXT_TENSORS, **_guided_tensors("txt_enc")}),
        "criterion.swav_loss.prototypes": "prototypes",
        "criterion.swav_loss.queue": None,
        "criterion.gnn.layers.0.": "graph.layer.",
        "criterion.gcn_img.gc1.": "graph.image_convolution.",
        "criterion.gcn_text.gc1.": "graph.text_convolution.",
        "criterion.gcn.gc1.": "graph.joint_convolution.",
        "criterion.adj_model.": None,  # relevance MLPs that nothing reads
    },
    configure=_configure,
    absent=("image_keys.", "text_keys.", "queues.", "prototypes", "graph."),
    options=frozenset({*OPTIONS, *TRAINING_OPTIONS}),
    required={**NORMALISED, "norm_input": 1, "num_layers_enc": 1},
)


class ImageEncoder(nn.Module):
    """Region projection, guided by the picture's CLIP vector."""

    def __init__(self, config: AAHRConfig) -> None:
        super().__init__()
        self.regions = RegionProjection(config.region_dim, config.embed_size, xavier_mlp=True)
        self.guided = _guided_encoder(config)

    def forward(self, images: ImageBatch) -> Side:
        """Local, unfused and fused features of a batch."""
        return self.guided(self.regions(images.regions), images.lengths, images.sidecars.get(CLIP_IMAGES))


class TextEncoder(nn.Module):
    """BERT or BiGRU, guided by the caption's CLIP vector."""

    def __init__(self, config: AAHRConfig) -> None:
        super().__init__()
        self.words = text_encoder(config.text, config.embed_size)
        self.guided = _guided_encoder(config)

    def forward(self, texts: TextBatch) -> Side:
        """Local, unfused and fused features of a batch."""
        return self.guided(self.words(texts.words, texts.lengths), texts.lengths, texts.sidecars.get(CLIP_TEXTS))


def _guided_encoder(config: AAHRConfig) -> GuidedEncoder:
    return GuidedEncoder(
        config.embed_size,
        config.clip_dim if config.clip else None,
        config.heads,
        config.pool_heads,
        config.dropout,
        config.residual_weight,
        config.fusion,
        mask_padding=config.attention_padding == "masked",
    )


@register("aahr")
class AAHR(AAHRDescription, EmbeddingMethod):
    """Embeddings of regions and words, fused with CLIP vectors; prototypes, a graph and key queues shape them.

    choose: how the triplet loss picks its negatives.
    """

    official = OFFICIAL
    released_selection = "test"

    def __init__(self, config: AAHRConfig) -> None:
        super().__init__(config)
        _require_sizes(config)
        self.choose: Choice = draw_negatives
        self.image_encoder, self.text_encoder = ImageEncoder(config), TextEncoder(config)
        self.prototypes = nn.Parameter(torch.randn(config.prototypes, config.embed_size)) if config.prototypes else None
        self.graph = _graph(config)
        self.image_keys = self.text_keys = self.queues = None
        if config.queue_length:
            self.image_keys, self.text_keys = key_encoder(self.image_encoder), key_encoder(self.text_encoder)
            self.queues = KeyQueues(config.queue_length, config.embed_size)
            self.register_load_state_dict_post_hook(_begin_keys)

    @classmethod
    def sized(cls, config: AAHRConfig, data: DataSizes) -> AAHRConfig:
        """The width of the data's CLIP vectors as well. Raises MethodError where images' and captions' differ."""
        config = super().sized(config, data)
        if not config.clip or config.clip_dim is not None:
            return config
        width, text_width = data.size_of(CLIP_IMAGES), data.size_of(CLIP_TEXTS)
        if width != text_width:
            raise MethodError(
                f"the CLIP vectors of the images have {width} numbers, those of the captions {text_width}; "
                f"compute both with one model."
            )
        return config.model_copy(update={"clip_dim": width})

    def embed_images(self, images: ImageBatch) -> Tensor:
        """(B, d), not normalised: the fusion is not."""
        return self.image_encoder(images).embedding

    def embed_texts(self, texts: TextBatch) -> Tensor:
        """(B, d), not normalised."""
        return self.text_encoder(texts).embedding

    def features(self, batch: Batch) -> Terms:
        """`image`, `text`: (B, d) embeddings. `*_unfused`: (B, d), before the fusion. `*_key`: (B, d), of the key
        encoders, in training only. `*_local`: (B, N or L, d), before any relation. `text_lengths`: (B,).
        """
        image, text = self.image_encoder(batch.images), self.text_encoder(batch.texts)
        return {
            "image": image.embedding,
            "text": text.embedding,
            "image_unfused": image.unfused,
            "text_unfused": text.unfused,
            "image_local": image.local,
            "text_local": text.local,
            "text_lengths": batch.texts.lengths,
            **self._keys(batch),
        }

    @torch.no_grad()
    def _keys(self, batch: Batch) -> Terms:
        if self.queues is None or not self.training:
            return {}
        return {
            "image_key": self.image_keys(batch.images).embedding,
            "text_key": self.text_keys(batch.texts).embedding,
        }

    def objective(self, features: Terms, ids: Tensor, progress: Progress) -> Terms:
        """The base loss and, as their phases begin, those of the prototypes, of the graph and of the queues."""
        config = self.config
        triplet = TripletLoss(same_image(ids), config.cutoff, self.choose)
        total = base = triplet(dot_products(features["image"], features["text"]))
        terms = {"base": base}
        if self.prototypes is not None:
            loss = self._prototype_loss(features["image"], features["text"])
            if progress.reached("prototypes"):
                total = total + config.prototype_weight * loss
            terms["prototypes"] = loss if progress.reached("prototypes") else loss.detach()
        if self.graph is not None and progress.reached("graph"):
            pairs, reg = self._graph_losses(features, triplet)
            total = total + sum(pairs.values()) + config.reg_weight * reg
            terms |= {**pairs, "reg": reg}
        if "image_key" in features:
            contrast = self._queue_loss(features)
            total = total + sum(contrast.values())
            terms |= contrast
        return {**terms, "total": total}

    def _prototype_loss(self, image: Tensor, text: Tensor) -> Tensor:
        """Swapped prediction; the prototypes are brought back to length 1 in place, as released."""
        with torch.no_grad():
            self.prototypes.copy_(normalize(self.prototypes, dim=1))
        return swapped_prediction(image, text, self.prototypes, self.config.epsilon, self.config.prototype_temperature)

    def _graph_losses(self, features: Terms, triplet: TripletLoss) -> tuple[Terms, Tensor]:
        """Triplet losses with enhanced embeddings, and the regularisation. The graph sees what was not fused yet."""
        image, text = l2norm(features["image_unfused"]), l2norm(features["text_unfused"])
        enhanced_image, enhanced_text, reg = self.graph(
            image, text, features["image_local"], features["text_local"], features["text_lengths"]
        )
        pairs = {
            "graph_text": (image, enhanced_text),
            "graph_image": (enhanced_image, text),
            "graph_both": (enhanced_image, enhanced_text),
        }
        return {name: triplet(dot_products(v, t)) for name, (v, t) in pairs.items()}, reg

    def _queue_loss(self, features: Terms) -> Terms:
        """Contrast of unfused vectors with the other modality's keys, as soon as the queues are full of them."""
        image_key, text_key = features["image_key"], features["text_key"]
        self.queues.hold(image_key, text_key)
        if not self.queues.full:
            return {}
        image, text = features["image_unfused"], features["text_unfused"]
        temperature = self.config.queue_temperature
        return {
            "queue": info_nce(image, text_key, self.queues.text, temperature)
            + info_nce(text, image_key, self.queues.image, temperature)
        }

    def before_step(self, progress: Progress) -> None:
        """The key encoders follow."""
        if self.queues is not None:
            follow(self.image_keys, self.image_encoder, self.config.momentum)
            follow(self.text_keys, self.text_encoder, self.config.momentum)

    def after_step(self, progress: Progress) -> None:
        """The step's keys enter the queues, also where the step was skipped, as released."""
        if self.queues is not None:
            self.queues.enqueue()

    def parameter_groups(self) -> list[Group]:
        """Text without BERT, BERT at a lower rate, image, prototypes, graph. Key encoders are not trained."""
        bert = [*self.text_encoder.words.bert.parameters()] if self.config.text.bert else []
        in_bert = {id(p) for p in bert}
        prototypes = [] if self.prototypes is None else [self.prototypes]
        graph, factor = [] if self.graph is None else [*self.graph.parameters()], self.config.graph_lr_factor
        groups = [
            Group("text", [p for p in self.text_encoder.parameters() if id(p) not in in_bert]),
            Group("bert", bert, lr_factor=self.config.bert_lr_factor),
            Group("image", [*self.image_encoder.parameters()]),
            Group("prototypes", prototypes, lr_factor=factor, frozen_until="prototypes"),
            Group("graph", graph, lr_factor=factor, frozen_until="graph"),
        ]
        return [group for group in groups if group.parameters]


def _begin_keys(method: AAHR, keys: Any) -> None:
    """Weights that come without key encoders (official ones): these begin as copies of what came."""
    if any("image_keys." in name for name in keys.missing_keys):
        method.image_keys.load_state_dict(method.image_encoder.state_dict())
        method.text_keys.load_state_dict(method.text_encoder.state_dict())


def _require_sizes(config: AAHRConfig) -> None:
    if config.region_dim is None:
        raise MethodError("region_dim is not set: it comes with the data, or set region_dim=N.")
    if config.clip and config.clip_dim is None:
        raise MethodError("clip_dim is not set: it comes with the data, or set clip_dim=N.")
    if config.embed_size % config.heads:
        raise MethodError(
            f"heads={config.heads} does not divide embed_size={config.embed_size}; choose heads from its divisors."
        )


def _graph(config: AAHRConfig) -> ConvolvedGraph | None:
    if not config.instance_graph:
        return None
    return ConvolvedGraph(
        config.embed_size,
        config.heads,
        config.dropout,
        config.threshold,
        config.topk,
        config.mask_weight,
        config.graph_convolutions,
        config.convolution_dropout,
    )
