"""AAHR (KBS 2025), described."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from itm_harness.datasets.batch import Inputs
from itm_harness.methods.config import Fusion, MethodConfig
from itm_harness.methods.description import Description
from itm_harness.methods.registry import describe

CLIP_IMAGES, CLIP_TEXTS = "clip_images", "clip_texts"  # sidecars: raw vectors of a frozen CLIP, not augmented


class AAHRConfig(MethodConfig):
    """Sizes, losses, and one switch per ablation.

    embed_size: d. clip: read CLIP vectors (off: the global branch is gone, and the encoders are HREM's). clip_dim:
    their width, None = as in the data. clip_model: whose vectors they are, as tables show it. fusion: of fragments and
    CLIP vector, a learned gate or the sum in equal parts. heads, dropout: of every transformer layer. pool_heads: of
    the attention pooling. attention_padding: masked (an embedding depends on its item alone) or released (padded slots
    take part). residual_weight: share of the pooled base beside the attended fragments. cutoff: the triplet loss draws
    no negative at this distance or beyond.
    prototypes: how many (0: without). prototype_weight: of their loss. epsilon: smoothness of the assignments.
    prototype_temperature: of the predictions.
    instance_graph, graph_convolutions: off: without. convolution_dropout: of the convolutions' inputs. threshold: share
    of a row's instances that are connected. topk: word slots that short captions use in the relevance. mask_weight: of
    the relevance in the attention. reg_weight: of the regularisation, a constant here.
    queue_length: keys per modality (0: without momentum contrast). momentum: of the key encoders. queue_temperature: of
    the contrast. bert_lr_factor, graph_lr_factor: learning rates of BERT, and of graph and prototypes, relative to the
    rest.
    """

    embed_size: int = 1024
    clip: bool = True
    clip_dim: int | None = None
    clip_model: str = ""
    fusion: Fusion = "gate"
    heads: int = 16
    pool_heads: int = Field(8, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    attention_padding: Literal["masked", "released"] = "masked"
    residual_weight: float = Field(0.8, ge=0, le=1)
    cutoff: float = Field(1.7, gt=0)
    prototypes: int = Field(384, ge=0)
    prototype_weight: float = Field(0.2, ge=0)
    epsilon: float = Field(0.1, gt=0)
    prototype_temperature: float = Field(0.1, gt=0)
    instance_graph: bool = True
    graph_convolutions: bool = True
    convolution_dropout: float = Field(0.6, ge=0, lt=1)
    threshold: float = Field(0.5, gt=0, le=1)
    topk: int = Field(10, ge=1)
    mask_weight: float = 1.0
    reg_weight: float = Field(10.0, ge=0)
    queue_length: int = Field(2048, ge=0)
    momentum: float = Field(0.999, ge=0, le=1)
    queue_temperature: float = Field(0.07, gt=0)
    bert_lr_factor: float = 0.1
    graph_lr_factor: float = 1.0


@describe("aahr")
class AAHRDescription(Description):
    """Phases: prototypes: until it begins their loss is computed, and they are kept on the sphere, but nothing is
    trained by it. graph: until it begins the graph's parameters stay as they are. The contrast with the queues begins
    by itself, when they are full.
    """

    Config = AAHRConfig
    phases = ("prototypes", "graph")

    @property
    def extra_pretraining(self) -> bool:
        """CLIP has seen far more data than any benchmark holds."""
        return self.config.clip

    @classmethod
    def features_label(cls, config: AAHRConfig, regions: str) -> str:
        """Regions, and the CLIP model."""
        return f"{regions} + CLIP {config.clip_model}".rstrip() if config.clip else regions

    def inputs(self) -> Inputs:
        """Regions, captions and the CLIP vectors of both."""
        text, clip = self.config.text.inputs(), self.config.clip
        return Inputs(
            text=text,
            image_sidecars=(CLIP_IMAGES,) if clip else (),
            text_sidecars=(CLIP_TEXTS,) if clip else (),
        )
