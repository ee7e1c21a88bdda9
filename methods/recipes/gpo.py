"""VSE∞ (Chen et al., CVPR 2021), described."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from itm_harness.datasets.batch import Inputs
from itm_harness.methods.config import MethodConfig, PoolingName
from itm_harness.methods.defaults import MARGIN
from itm_harness.methods.description import Description
from itm_harness.methods.encoders.grid_config import GridConfig
from itm_harness.methods.registry import describe


class GPOConfig(MethodConfig):
    """embed_size: d of both embeddings. margin: of the hinge loss.

    image_pooling, text_pooling: how a set of regions or words becomes one vector. kmax_k: the k of kmax.
    bert_lr_factor: BERT's learning rate relative to the rest. grid: pictures in the place of region features.
    """

    embed_size: int = 1024
    margin: float = MARGIN
    image_pooling: PoolingName = "gpo"
    text_pooling: PoolingName = "gpo"
    kmax_k: int = 5
    bert_lr_factor: float = 0.1
    grid: GridConfig = GridConfig()


@describe("gpo")
class GPODescription(Description):
    """Phase max_violation: until it begins the loss sums over all negatives, from then on it takes the hardest. Grid
    features: before phase backbone the backbone is frozen; from then until phase full_loss the loss grows from 0 in
    each epoch.

    Variants: bigru is the released BiGRU version; vsepp the paper's VSE++ baseline (mean of the regions, CLS of BERT);
    mean, max and kmax pool both sides alike. On pictures: grid (the detector's ResNet-101), grid-wsl (ResNeXt-101),
    grid-imagenet (ResNet-152); region-grid is the mean similarity of gpo and grid.
    """

    Config = GPOConfig
    phases = ("max_violation", "backbone", "full_loss")
    variants = ("gpo", "bigru", "vsepp", "mean", "max", "kmax", "grid", "grid-wsl", "grid-imagenet", "region-grid")
    ensembles: ClassVar[dict[str, tuple[str, ...]]] = {"region-grid": ("gpo", "grid")}

    @classmethod
    def features_label(cls, config: GPOConfig, regions: str) -> str:
        """The data's regions, or the backbone."""
        return config.grid.label() if config.grid.backbone else regions

    def inputs(self) -> Inputs:
        """Regions or pictures, and captions."""
        inputs, grid = super().inputs(), self.config.grid
        return replace(inputs, regions=False, pixels=grid.pixels()) if grid.backbone else inputs
