"""Grid features (VSE∞, CVPR 2021, section 4.1): pictures through a backbone, its cells in the place of regions."""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from itm_harness.datasets.batch import Pixels
from itm_harness.methods.encoders.backbones import backbone, label

UNTOUCHED = 0.2  # share of pictures that keep all cells (released code)


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
    weights: str | None = "pretrained"
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


class GridEncoder(nn.Module):
    """Pictures -> cells, of which training drops some. frozen: the backbone is not trained now."""

    def __init__(self, config: GridConfig) -> None:
        super().__init__()
        self.backbone = backbone(config.backbone, config.weights, config.stage)
        self.backbone.require_side(config.side, "grid.side=")
        self.backbone.trains_norm = config.trains_norm
        self.drop, self.frozen = config.drop, False

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) uint8 -> cells (B, N, width), the kept ones packed to the front, and lengths (B,)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            cells = self.backbone(pixels)
        if not self.training:
            return cells, torch.full((len(cells),), cells.shape[1], device=cells.device)
        return packed(cells, keep_cells(*cells.shape[:2], self.drop, cells.device))


def keep_cells(pictures: int, cells: int, share: float, device: torch.device) -> Tensor:
    """(pictures, cells) bool. A picture draws r in [0, 1): above 0.2 each cell goes with probability share · r.

    At least one cell stays, which the released code leaves to chance.
    """
    rates = torch.rand(pictures, 1, device=device)
    draws = torch.rand(pictures, cells, device=device)
    kept = (draws >= share * rates) | (rates <= UNTOUCHED)
    return kept.scatter_(1, draws.argmax(dim=1, keepdim=True), True)


def packed(cells: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """The kept cells first, in order, zeros behind them, and their number (B,). cells: (B, N, d), kept: (B, N) bool."""
    order = (~kept).to(torch.uint8).argsort(dim=1, stable=True)  # (B, N)
    lengths = kept.sum(dim=1)
    valid = torch.arange(cells.shape[1], device=cells.device) < lengths[:, None]
    return cells.gather(1, order[:, :, None].expand_as(cells)) * valid[:, :, None], lengths
