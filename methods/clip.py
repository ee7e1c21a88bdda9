"""CLIP (Radford et al., ICML 2021): zero-shot or projected, on vectors computed once; or fine-tuned on the pictures."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from itm_harness.datasets.batch import DataSizes, ImageBatch, TextBatch
from itm_harness.methods.base import EmbeddingMethod, Group, Progress, Terms, dot_products
from itm_harness.methods.encoders.clip_tower import CLIPTower, tower_width
from itm_harness.methods.errors import MethodError
from itm_harness.methods.losses.hinge import same_image
from itm_harness.methods.parts.normalise import l2norm
from itm_harness.methods.recipes.clip import IMAGES, TEXTS, CLIPConfig, CLIPDescription
from itm_harness.methods.registry import register

LARGEST_SCALE = 100.0  # of the similarities in the loss, as in the paper (section 2.5)


@register("clip")
class CLIP(CLIPDescription, EmbeddingMethod):
    """Dot products of normalised CLIP vectors: they are read, and CLIP is frozen, or computed and fine-tuned."""

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__(config)
        if config.embed_size is None:
            raise MethodError("embed_size is not set: it is the width of the CLIP vectors, or set embed_size=N.")
        self.project_image = _projection(config)
        self.project_text = _projection(config)
        self.tower = CLIPTower(config.tower) if config.tower.model else None
        alone = config.projection and self.tower is None
        self.log_scale = nn.Parameter(torch.tensor(-math.log(config.temperature))) if alone else None

    @classmethod
    def sized(cls, config: CLIPConfig, data: DataSizes) -> CLIPConfig:
        """The width of the vectors. Raises MethodError where it is not that of the recipe, or differs by side."""
        if config.tower.model:
            width = text_width = tower_width(config.tower)
        else:
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

    def embed_images(self, images: ImageBatch) -> Tensor:
        """(B, d), of length 1."""
        vectors = images.sidecars[IMAGES] if self.tower is None else self.tower.images(images.pixels)
        return l2norm(self.project_image(vectors))

    def embed_texts(self, texts: TextBatch) -> Tensor:
        """(B, d), of length 1."""
        vectors = texts.sidecars[TEXTS] if self.tower is None else self.tower.texts(texts.words)
        return l2norm(self.project_text(vectors))

    def objective(self, features: Terms, ids: Tensor, progress: Progress) -> Terms:
        """CLIP's symmetric cross-entropy over the batch; another caption of the same image is no negative."""
        log_scale = self.log_scale if self.tower is None else self.tower.log_scale
        scale = log_scale.exp().clamp(max=LARGEST_SCALE)
        logits = scale * dot_products(features["image"], features["text"])  # (B, B)
        own = torch.eye(len(ids), dtype=torch.bool, device=ids.device)
        logits = logits.masked_fill(same_image(ids) & ~own, -torch.inf)
        target = torch.arange(len(ids), device=ids.device)
        i2t, t2i = cross_entropy(logits, target), cross_entropy(logits.T, target)
        return {"i2t": i2t, "t2i": t2i, "total": (i2t + t2i) / 2}

    def parameter_groups(self) -> list[Group]:
        """Matrices with weight decay; temperature, gains and biases without."""
        groups = []
        if self.config.projection:
            groups.append(Group("projections", [*self.project_image.parameters(), *self.project_text.parameters()]))
        if self.log_scale is not None:
            groups.append(Group("temperature", [self.log_scale], weight_decay=0.0))
        if self.tower is not None:
            parameters = [p for p in self.tower.parameters() if p.requires_grad]
            groups.append(Group("tower", [p for p in parameters if p.ndim > 1]))
            groups.append(Group("tower's gains", [p for p in parameters if p.ndim < 2], weight_decay=0.0))
        return groups


def _projection(config: CLIPConfig) -> nn.Module:
    if not config.projection:
        return nn.Identity()
    layer = nn.Linear(config.embed_size, config.embed_size, bias=False)
    nn.init.eye_(layer.weight)  # training starts from zero-shot
    return layer
