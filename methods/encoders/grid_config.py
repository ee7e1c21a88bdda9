"""The configuration of grid features; nothing here imports torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from itm_harness.datasets.batch import Pixels
from itm_harness.methods.encoders.backbone_names import PRETRAINED, label


class GridConfig(BaseModel):
    """Grid features of pictures in the place of region features.

    backbone: butd-resnet101, wsl-resnext101, imagenet-resnet152, timm:NAME, open_clip:NAME; None = region features.
    weights: a file, pretrained (the published ones), a name of open_clip's, or null (random). stage: of timm's models,
    whose features the grid has; -1 is the last. side: pictures are resized to side × side pixels. crop, flip: training
    shows a part whose sides are a random share in [crop, 1] of the picture's, and mirrors half of them. drop: the
    largest share of cells that is dropped. lr_factor: the backbone's learning rate relative to the rest. trains_norm:
    BatchNorm follows the batches; else its statistics stay those of the weights.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str | None = None
    weights: str | None = PRETRAINED
    stage: int = -1
    side: int = Field(512, ge=1)
    crop: float = Field(0.6, gt=0, le=1)
    flip: bool = True
    drop: float = Field(0.2, ge=0, lt=1)
    lr_factor: float = Field(0.01, ge=0)
    trains_norm: bool = False

    def pixels(self) -> Pixels:
        """The pictures that the backbone reads."""
        return Pixels(self.side, crop=self.crop, flip=self.flip)

    def label(self) -> str:
        """The features as tables show them."""
        return f"grid, {label(self.backbone, self.weights)}"
