"""Grid features (VSE∞, CVPR 2021, section 4.1): pictures through a backbone, its cells in the place of regions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from itm_harness.methods.encoders.backbones import backbone
from itm_harness.methods.encoders.grid_config import GridConfig

UNTOUCHED = 0.2  # share of pictures that keep all cells (released code)


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
