"""The contract of a method: encode, score, combine, and a loss made of features and an objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from itm_harness.datasets.batch import Batch, DataSizes, ImageBatch, TextBatch, TrainingSplit, Words
from itm_harness.methods.config import MethodConfig
from itm_harness.methods.description import Description
from itm_harness.methods.errors import MethodError
from itm_harness.methods.losses.hinge import diagonal, hinge_loss
from itm_harness.methods.official import Official
from itm_harness.methods.parts.encoded import Encoded
from itm_harness.methods.parts.gather import gather_batch, own_draws, processes
from itm_harness.methods.parts.precision import at_least_float32

Terms = dict[str, Tensor]


@dataclass(frozen=True)
class Progress:
    """Where training stands. step and epoch count from 0; phases holds the names of the phases that have begun.

    epoch_share: the share of the epoch's steps that lies behind.
    """

    step: int = 0
    epoch: int = 0
    phases: frozenset[str] = frozenset()
    epoch_share: float = 0.0

    def reached(self, phase: str) -> bool:
        """Has `phase` begun?"""
        return phase in self.phases


@dataclass(frozen=True)
class Group:
    """Parameters that share a learning-rate factor and weight decay (None: the recipe's).

    frozen_until: the phase before whose beginning these parameters are not trained.
    """

    name: str
    parameters: list[nn.Parameter]
    lr_factor: float = 1.0
    weight_decay: float | None = None
    frozen_until: str | None = None


class Method(Description, nn.Module, ABC):
    """An image-text-matching method: its description, and what it computes.

    released_selection: on which split the official code chose the epoch that it released. official: how its official
    checkpoints are laid out, None where there are none.
    """

    released_selection: ClassVar[Literal["dev", "last", "test"]] = "dev"
    official: ClassVar[Official | None] = None

    def __init__(self, config: MethodConfig) -> None:
        nn.Module.__init__(self)
        Description.__init__(self, config)

    @classmethod
    def bare(cls, config: MethodConfig) -> Self:
        """An instance with its configuration but no parameters: enough for `inputs` and `scope`."""
        method = cls.__new__(cls)
        Method.__init__(method, config)
        return method

    @classmethod
    def sized(cls, config: MethodConfig, data: DataSizes) -> MethodConfig:
        """`config` with every size filled in that the data decides and the recipe leaves open."""
        text = config.text
        words = text.inputs()
        if isinstance(words, Words) and text.vocabulary_size is None:
            text = text.model_copy(update={"vocabulary_size": len(data.vocabulary(words))})
        region_dim = config.region_dim or (data.region_dim if cls.bare(config).inputs().regions else None)
        return config.model_copy(update={"text": text, "region_dim": region_dim})

    def fit(self, train: TrainingSplit) -> None:
        """Learn from the whole training split before step 0 (prototypes, idf); store the result in buffers."""

    @abstractmethod
    def encode_images(self, images: ImageBatch) -> Encoded:
        """Encode a batch of images for `score`."""

    @abstractmethod
    def encode_texts(self, texts: TextBatch) -> Encoded:
        """Encode a batch of captions for `score`."""

    @abstractmethod
    def score(self, images: Encoded, texts: Encoded) -> Terms:
        """Named score terms, each (n_images, n_texts), for chunks of any size."""

    def combine(self, terms: Terms) -> Tensor:
        """Score terms -> the similarity matrix (n_images, n_texts). Default: the only term."""
        (similarity,) = terms.values()
        return similarity

    @abstractmethod
    def features(self, batch: Batch) -> Terms:
        """What the objective needs of a batch of pairs, as named tensors with B rows."""

    @abstractmethod
    def objective(self, features: Terms, ids: Tensor, progress: Progress) -> Terms:
        """Named loss terms, "total" last. ids: (B,) image id of each pair."""

    def forward(self, batch: Batch, progress: Progress) -> Terms:
        """Loss terms of a batch; the engine calls the module itself, so that distributed wrappers see the call.

        Several processes each compute the features of their share of the batch; the objective then sees the whole
        batch in every process. Features may be computed under autocast; the objective never is: its inputs are
        float32 (float64 where the features are). A gradient comes from "total" alone.
        """
        ids = batch.texts.image_ids
        with own_draws(ids.device):
            features = self.features(batch)
        names, values = list(features), [at_least_float32(value) for value in features.values()]
        with torch.autocast(ids.device.type, enabled=False):
            if processes() > 1:
                self._require_rows(features, len(ids))
                ids, *values = gather_batch([ids, *values])
            terms = self.objective(dict(zip(names, values, strict=True)), ids, progress)
        return {name: value if name == "total" else value.detach() for name, value in terms.items()}

    def _require_rows(self, features: Terms, count: int) -> None:
        """Raises MethodError where a feature cannot be gathered from several processes."""
        for name, value in features.items():
            if value.shape[:1] != (count,):
                raise MethodError(
                    f"feature {name} of {self.name or type(self).__name__} has shape {tuple(value.shape)}, not one row "
                    f"for each of {count} pairs; on several processes every feature needs that."
                )

    def before_step(self, progress: Progress) -> None:
        """Called before each training step (momentum encoders)."""

    def after_step(self, progress: Progress) -> None:
        """Called after each optimiser step."""

    def parameter_groups(self) -> list[Group]:
        """Every trained parameter, once. Default: one group."""
        return [Group("all", [p for p in self.parameters() if p.requires_grad])]


class EmbeddingMethod(Method):
    """A method with one embedding per image and per caption; their dot product is the score.

    A subclass writes `embed_images` and `embed_texts`, and its own `objective` where the hinge loss is not wanted.
    """

    @abstractmethod
    def embed_images(self, images: ImageBatch) -> Tensor:
        """(B, d) embeddings, normalised as the method wants them."""

    @abstractmethod
    def embed_texts(self, texts: TextBatch) -> Tensor:
        """(B, d) embeddings."""

    def encode_images(self, images: ImageBatch) -> Encoded:
        """The embedding."""
        return Encoded({"embedding": self.embed_images(images)})

    def encode_texts(self, texts: TextBatch) -> Encoded:
        """The embedding."""
        return Encoded({"embedding": self.embed_texts(texts)})

    def score(self, images: Encoded, texts: Encoded) -> Terms:
        """Dot products."""
        return {"similarity": dot_products(images["embedding"], texts["embedding"])}

    def features(self, batch: Batch) -> Terms:
        """The embeddings of both sides, as `image` and `text`; a host's local features may stand beside them."""
        return {"image": self.embed_images(batch.images), "text": self.embed_texts(batch.texts)}

    def objective(self, features: Terms, ids: Tensor, progress: Progress) -> Terms:
        """The hinge loss over the hardest negatives (VSE++), margin 0.2."""
        similarity = dot_products(features["image"], features["text"])
        return {"total": hinge_loss(similarity, diagonal(ids))}


def dot_products(images: Tensor, texts: Tensor) -> Tensor:
    """(n_images, d), (n_texts, d) -> (n_images, n_texts), in float32 also under autocast (float64 stays)."""
    with torch.autocast(images.device.type, enabled=False):
        return at_least_float32(images) @ at_least_float32(texts).T
