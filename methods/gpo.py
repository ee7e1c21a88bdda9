"""VSE∞ (Chen et al., CVPR 2021): embeddings pooled by the generalised pooling operator, and VSE++ as its variants."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from itm_harness.datasets.batch import ImageBatch, TextBatch
from itm_harness.methods.base import EmbeddingMethod, Group, Progress, Terms, dot_products
from itm_harness.methods.encoders.grid import GridEncoder
from itm_harness.methods.encoders.pooling import pooling
from itm_harness.methods.encoders.regions import RegionProjection, xavier
from itm_harness.methods.encoders.text_encoders import text_encoder
from itm_harness.methods.errors import MethodError
from itm_harness.methods.losses.hinge import diagonal, hinge_costs
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
from itm_harness.methods.recipes.gpo import GPOConfig, GPODescription
from itm_harness.methods.registry import register


def _configure(tensors: Tensors, options: dict[str, Any], config: GPOConfig) -> dict[str, Any]:
    return {
        **region_values(tensors, "img_enc."),
        "text": text_values(tensors, config.text),
        "image_pooling": "gpo",
        "text_pooling": "gpo",
    }


BACKBONE_OPTIONS = ("path", "source", "warmup_epochs", "lr_factor")  # of pictures, whose checkpoints are not imported

OFFICIAL = Official(
    parts=("img_enc", "txt_enc"),
    tensors={
        **region_tensors("img_enc."),
        **TEXT_TENSORS,
        "img_enc.gpool.": "image_pool.",
        "txt_enc.gpool.": "text_pool.",
    },
    configure=_configure,
    options=frozenset({"input_scale_factor", *(f"backbone_{name}" for name in BACKBONE_OPTIONS)}),
    required={**NORMALISED, "precomp_enc_type": "basic"},
)


@register("gpo")
class GPO(GPODescription, EmbeddingMethod):
    """Region projection and text encoder, each pooled by its own operator and normalised; hinge loss."""

    official = OFFICIAL

    def __init__(self, config: GPOConfig) -> None:
        super().__init__(config)
        self.grid = GridEncoder(config.grid) if config.grid.backbone else None
        if self.grid is not None:
            self.regions = xavier(nn.Linear(self.grid.backbone.width, config.embed_size))
        elif config.region_dim is None:
            raise MethodError("region_dim is not set: it comes with the data, or set region_dim=N.")
        else:
            self.regions = RegionProjection(config.region_dim, config.embed_size)
        self.image_pool = pooling(config.image_pooling, config.kmax_k)
        self.words = text_encoder(config.text, config.embed_size)
        self.text_pool = pooling(config.text_pooling, config.kmax_k)

    def embed_images(self, images: ImageBatch) -> Tensor:
        """(B, d), of length 1."""
        regions, lengths = self.grid(images.pixels) if self.grid is not None else (images.regions, images.lengths)
        return l2norm(self.image_pool(self.regions(regions), lengths))

    def embed_texts(self, texts: TextBatch) -> Tensor:
        """(B, d), of length 1."""
        return l2norm(self.text_pool(self.words(texts.words, texts.lengths), texts.lengths))

    def objective(self, features: Terms, ids: Tensor, progress: Progress) -> Terms:
        """Hinge loss of both directions. A second caption of an image counts as a negative, as in the released code."""
        i2t, t2i = hinge_costs(
            dot_products(features["image"], features["text"]),
            diagonal(ids),
            self.config.margin,
            hardest=progress.reached("max_violation"),
        )
        grows = self.grid is not None and progress.reached("backbone") and not progress.reached("full_loss")
        return {"i2t": i2t, "t2i": t2i, "total": (i2t + t2i) * (progress.epoch_share if grows else 1)}

    def before_step(self, progress: Progress) -> None:
        """A frozen backbone keeps nothing for the backward pass."""
        if self.grid is not None:
            self.grid.frozen = not progress.reached("backbone")

    def parameter_groups(self) -> list[Group]:
        """Text without BERT, BERT at a lower rate, image, backbone; with the BiGRU and regions: one group."""
        if not self.config.text.bert and self.grid is None:
            return super().parameter_groups()
        image = [*self.regions.parameters(), *self.image_pool.parameters()]
        groups = [*self._text_groups(), Group("image", image)]
        if self.grid is None:
            return groups
        factor, parameters = self.config.grid.lr_factor, list(self.grid.parameters())
        return [*groups, Group("backbone", parameters, lr_factor=factor, frozen_until="backbone")]

    def _text_groups(self) -> list[Group]:
        if not self.config.text.bert:
            return [Group("text", [*self.words.parameters(), *self.text_pool.parameters()])]
        text = [*self.words.linear.parameters(), *self.text_pool.parameters()]
        bert = list(self.words.bert.parameters())
        return [Group("text", text), Group("bert", bert, lr_factor=self.config.bert_lr_factor)]
