"""CLIP (Radford et al., ICML 2021), described."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from itm_harness.datasets.batch import CLIPTokens, Inputs
from itm_harness.methods.config import MethodConfig
from itm_harness.methods.description import Description
from itm_harness.methods.encoders.tower_config import TowerConfig
from itm_harness.methods.registry import describe

IMAGES, TEXTS = "clip_images", "clip_texts"  # sidecars


class CLIPConfig(MethodConfig):
    """embed_size: width of the CLIP vectors; None = as in the data, or as the model's.

    projection: a linear map per side, the identity at first; off, and without a tower: zero-shot, nothing is trained.
    temperature: of the contrastive loss at first; it is learned. A tower brings its own. tower: the model that is
    fine-tuned on pictures and captions, in the place of vectors.
    """

    embed_size: int | None = Field(None, ge=1)
    tower: TowerConfig = TowerConfig()
    projection: bool = False
    temperature: float = Field(0.07, gt=0)


@describe("clip")
class CLIPDescription(Description):
    """Variants: zeroshot; projection: a linear map of each side, trained with CLIP's own loss (ours: no paper trains
    it); finetune: all of CLIP, on pictures, with the same loss.
    """

    Config = CLIPConfig
    variants = ("zeroshot", "projection", "finetune")
    extra_pretraining = True

    @classmethod
    def trains(cls, config: CLIPConfig) -> bool:
        """Zero-shot has nothing to train."""
        return config.projection or config.tower.model is not None

    @classmethod
    def text_label(cls, config: CLIPConfig) -> str:
        """CLIP's own text encoder."""
        return "CLIP"

    @classmethod
    def features_label(cls, config: CLIPConfig, regions: str) -> str:
        """No regions."""
        return f"pictures, CLIP {_last_part(config.tower.model)}" if config.tower.model else "CLIP vectors"

    def inputs(self) -> Inputs:
        """The CLIP vectors of images and captions, or the pictures and CLIP's tokens."""
        tower = self.config.tower
        if tower.model:
            return Inputs(regions=False, text=CLIPTokens(tower.model), pixels=tower.pixels())
        return Inputs(regions=False, image_sidecars=(IMAGES,), text_sidecars=(TEXTS,))


def _last_part(model: str) -> str:
    return Path(model).stem if model.endswith(".json") else model
