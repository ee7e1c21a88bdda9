"""What configurations of methods are made of: parts that several share, and the names that they choose from.

Nothing here imports torch: a recipe is resolved, and what a method reads is known, before anything is loaded.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from itm_harness.datasets.batch import Pixels, WordPieces, Words
from itm_harness.methods.encoders.backbone_names import PRETRAINED, label

PoolingName = Literal["gpo", "mean", "max", "kmax", "cls"]
CodingName = Literal["vha", "tha", "vsa"]
CodingPooling = Literal["max", "mean", "sum", "softmax", "lse"]
Fusion = Literal["gate", "sum"]


class TextConfig(BaseModel):
    """Which text encoder.

    bert: a BERT's folder or hub name; None = the BiGRU. bert_sizes: transformers' BertConfig values; the BERT is then
    built in these sizes and untrained, for checkpoints that bring its weights along.
    word_dim: width of the BiGRU's word embeddings. min_count: how often a training caption must hold a word of the
    vocabulary. mask_token: append `<mask>` to it. vocabulary_size: None = as in the data.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bert: str | None = None
    bert_sizes: dict[str, Any] | None = None
    word_dim: int = 300
    min_count: int = 4
    mask_token: bool = True
    vocabulary_size: int | None = None

    def inputs(self) -> WordPieces | Words:
        """The word ids that the encoder reads."""
        return WordPieces(self.bert) if self.bert else Words(self.min_count, self.mask_token)


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


class MethodConfig(BaseModel):
    """What every method's configuration holds; a method adds its own fields in a subclass.

    region_dim: width of a region feature; None = as in the data.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    region_dim: int | None = None
    text: TextConfig = TextConfig()
