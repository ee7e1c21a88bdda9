"""CLIP (Radford et al., ICML 2021) on vectors computed once per data set: zero-shot, or with fine-tuned projections."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from datasets.batch import DataSizes, ImageBatch, Inputs, TextBatch
from methods.base import EmbeddingMethod, Group, MethodConfig, Progress, Terms, dot_products
from methods.errors import MethodError
from methods.losses import same_image
from methods.normalise import l2norm
from methods.registry import register

IMAGES, TEXTS = "clip_images", "clip_texts"  # sidecars
LARGEST_SCALE = 100.0  # of the similarities in the loss, as in the paper (section 2.5)


class CLIPConfig(MethodConfig):
    """embed_size: width of the CLIP vectors; None = as in the data.

    projection: a linear map per side, the identity at first; off: zero-shot, nothing is trained. temperature: of the
    contrastive loss at first; it is learned.
    """

    embed_size: int | None = Field(None, ge=1)
    projection: bool = False
    temperature: float = Field(0.07, gt=0)


@register("clip")
class CLIP(EmbeddingMethod):
    """Dot products of normalised CLIP vectors, which are read, not computed: CLIP itself stays frozen.

    Variants: zeroshot; projection: a linear map of each side, trained with CLIP's own loss (ours: no paper trains it).
    """

    Config = CLIPConfig
    variants = ("zeroshot", "projection")
    extra_pretraining: ClassVar[bool] = True

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__(config)
        if config.embed_size is None:
            raise MethodError("embed_size is not set: it is the width of the CLIP vectors, or set embed_size=N.")
        self.project_image = _projection(config)
        self.project_text = _projection(config)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(config.temperature))) if config.projection else None

    @classmethod
    def trains(cls, config: CLIPConfig) -> bool:
        """Zero-shot has nothing to train."""
        return config.projection

    @classmethod
    def sized(cls, config: CLIPConfig, data: DataSizes) -> CLIPConfig:
        """The width of the data's CLIP vectors. Raises MethodError where images' and captions' widths differ."""
        width, text_width = data.size_of(IMAGES), data.size_of(TEXTS)
        if width != text_width:
            raise MethodError(
                f"the CLIP vectors of the images have {width} numbers, those of the captions {text_width}; "
                f"compute both with one model."
            )
        if config.embed_size not in (None, width):
            raise MethodError(
                f"embed_size={config.embed_size}, but the CLIP vectors have {width} numbers; leave it out."
            )
        return config.model_copy(update={"embed_size": width})

    @classmethod
    def text_label(cls, config: CLIPConfig) -> str:
        """CLIP's own text encoder."""
        return "CLIP"

    @classmethod
    def features_label(cls, config: CLIPConfig, regions: str) -> str:
        """No regions."""
        return "CLIP vectors"

    def inputs(self) -> Inputs:
        """The CLIP vectors of images and captions."""
        return Inputs(regions=False, image_sidecars=(IMAGES,), text_sidecars=(TEXTS,))

    def embed_images(self, images: ImageBatch) -> Tensor:
        """(B, d), of length 1."""
        return l2norm(self.project_image(images.sidecars[IMAGES]))

    def embed_texts(self, texts: TextBatch) -> Tensor:
        """(B, d), of length 1."""
        return l2norm(self.project_text(texts.sidecars[TEXTS]))

    def objective(self, features: Terms, ids: Tensor, progress: Progress) -> Terms:
        """CLIP's symmetric cross-entropy over the batch; another caption of the same image is no negative."""
        scale = self.log_scale.exp().clamp(max=LARGEST_SCALE)
        logits = scale * dot_products(features["image"], features["text"])  # (B, B)
        own = torch.eye(len(ids), dtype=torch.bool, device=ids.device)
        logits = logits.masked_fill(same_image(ids) & ~own, -torch.inf)
        target = torch.arange(len(ids), device=ids.device)
        i2t, t2i = cross_entropy(logits, target), cross_entropy(logits.T, target)
        return {"i2t": i2t, "t2i": t2i, "total": (i2t + t2i) / 2}

    def parameter_groups(self) -> list[Group]:
        """The projections, and the temperature without weight decay."""
        if not self.config.projection:
            return []
        projections = [*self.project_image.parameters(), *self.project_text.parameters()]
        return [Group("projections", projections), Group("temperature", [self.log_scale], weight_decay=0.0)]


def _projection(config: CLIPConfig) -> nn.Module:
    if not config.projection:
        return nn.Identity()
    layer = nn.Linear(config.embed_size, config.embed_size, bias=False)
    nn.init.eye_(layer.weight)  # training starts from zero-shot
    return layer
