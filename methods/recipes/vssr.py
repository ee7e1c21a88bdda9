"""VSSR (ICMR 2025), described."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from itm_harness.datasets.batch import Inputs
from itm_harness.methods.config import CodingName, CodingPooling, MethodConfig
from itm_harness.methods.defaults import CODING_TEMPERATURE, CONTRASTIVE_TEMPERATURE, MARGIN, SPECIFICITY_MARGIN
from itm_harness.methods.description import Description
from itm_harness.methods.registry import describe

ENTITY_MARGIN = 0.05  # in force in the released code, whatever it is given
VECTORS = {  # switch: the field of a width and its sidecar
    "descriptions": ("description_dim", "factual_descriptions"),
    "caption_vectors": ("caption_dim", "factual_captions"),
    "entities": ("entity_dim", "factual_entities"),
}


class VSSRConfig(MethodConfig):
    """Sizes, losses, and one switch per row of the ablations.

    embed_size: d. description_dim, caption_dim, entity_dim: widths of the vectors; None = as in the data.
    descriptions, caption_vectors: add the description's vector to the image, the caption's to the text. entities: the
    entity branch (off: no second score, and captions alone in the losses). graph_attention: entities attend to those
    that they are related to (off, ours: each is projected alone). heads, graph_dropout: of that attention.
    pair_loss: of image and caption, trip or hinge (as in HREM), or none. entity_hinge, contrastive, specificity: the
    other losses. cutoff: trip draws no negative at this distance or beyond. margin: of the hinge.
    entity_margin, specificity_margin, temperature: of the other three.
    score: pairwise, or gallery_softmax as released: a softmax over all captions of the gallery. entity_share: of the
    entity term in the score. coding, coding_pooling (ours): similarity of single regions and entities in place of
    embeddings, in that term and in the entity hinge. coding_temperature: of vsa. pooling_temperature: of softmax, lse.
    bert_lr_factor, graph_lr_factor: learning rates relative to the rest.
    """

    embed_size: int = 1024
    description_dim: int | None = None
    caption_dim: int | None = None
    entity_dim: int | None = None
    descriptions: bool = True
    caption_vectors: bool = True
    entities: bool = True
    graph_attention: bool = True
    heads: int = Field(16, ge=1)
    graph_dropout: float = Field(0.05, ge=0, lt=1)
    pair_loss: Literal["trip", "hinge", "none"] = "trip"
    entity_hinge: bool = True
    contrastive: bool = True
    specificity: bool = True
    cutoff: float = Field(1.7, gt=0)
    margin: float = MARGIN
    entity_margin: float = ENTITY_MARGIN
    specificity_margin: float = SPECIFICITY_MARGIN
    temperature: float = Field(CONTRASTIVE_TEMPERATURE, gt=0)
    score: Literal["pairwise", "gallery_softmax"] = "pairwise"
    entity_share: float = Field(0.25, ge=0, le=1)
    coding: CodingName | None = None
    coding_pooling: CodingPooling = "max"
    coding_temperature: float = Field(CODING_TEMPERATURE, gt=0)
    pooling_temperature: float = Field(CODING_TEMPERATURE, gt=0)
    bert_lr_factor: float = 0.05
    graph_lr_factor: float = 0.04

    def widths(self) -> dict[str, str]:
        """Field of a width -> the sidecar that has it, for what is switched on."""
        return dict(names for switch, names in VECTORS.items() if getattr(self, switch))


@describe("vssr")
class VSSRDescription(Description):
    """Phase max_violation: until it begins hinge losses sum over all negatives, from then on they take the hardest."""

    Config = VSSRConfig
    phases = ("max_violation",)
    extra_pretraining = True

    @property
    def scope(self) -> Literal["pair", "gallery"]:
        """gallery where the score is normalised over all captions."""
        return "gallery" if self.config.score == "gallery_softmax" else "pair"

    def inputs(self) -> Inputs:
        """Regions, captions, and the vectors of what is switched on."""
        config, sidecars = self.config, self.config.widths().values()
        relations = ["factual_relations"] if config.entities and config.graph_attention else []
        image = tuple(name for name in sidecars if name == "factual_descriptions")
        text = tuple(name for name in sidecars if name not in image)
        return Inputs(text=config.text.inputs(), image_sidecars=image, text_sidecars=(*text, *relations))
