"""The configuration of a CLIP that is fine-tuned; nothing here imports torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from itm_harness.datasets.batch import Pixels


class TowerConfig(BaseModel):
    """The open_clip model that is fine-tuned.

    model: its name there, or path/to/config.json; None = vectors are read instead. weights: their name in the hub, or a
    file. side: of its pictures, in pixels. squash: pictures are resized whatever their proportions, as SigLIP does;
    else their largest square is. crop: training shows a part whose sides are a random share in [crop, 1] of that.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = None
    weights: str = "laion2b_s34b_b79k"
    side: int = Field(224, ge=1)
    squash: bool = False
    crop: float = Field(0.9, gt=0, le=1)

    def pixels(self) -> Pixels:
        """The pictures that the model reads."""
        return Pixels(self.side, square=not self.squash, crop=self.crop, bicubic=True)
