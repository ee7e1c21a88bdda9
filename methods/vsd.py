"""VSD (ICME 2025): sentence vectors of MLLM descriptions beside the embeddings of another method, and as prototypes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from itm_harness.datasets.batch import Batch, DataSizes, ImageBatch, TextBatch, TrainingSplit
from itm_harness.methods.base import EmbeddingMethod, Group, Method, Progress, Terms, dot_products
from itm_harness.methods.defaults import MARGIN
from itm_harness.methods.encoders.pca import PCA
from itm_harness.methods.errors import MethodError
from itm_harness.methods.losses.hinge import hinge_loss, same_image
from itm_harness.methods.losses.kmeans import kmeans, unchanged
from itm_harness.methods.losses.prototypes import read_prototypes, swapped_prediction
from itm_harness.methods.losses.triplet import Choice, draw_negatives, triplet_loss
from itm_harness.methods.official import Official, Tensors
from itm_harness.methods.parts.normalise import l2norm
from itm_harness.methods.recipes.vsd import SHARED, VSDConfig, VSDDescription
from itm_harness.methods.registry import register


@register("vsd")
class VSD(VSDDescription, EmbeddingMethod):
    """A host's embeddings with sentence vectors added (instance level) and drawn to prototypes (prototype level).

    `VSD.on(host)` is the class for a host; the host's parameters, phases, groups and objective are used as they are,
    its local features stay un-fused. choose: how `trip` picks its negatives.
    """

    Host: ClassVar[type[EmbeddingMethod]]
    released_selection = "last"

    def __init__(self, config: VSDConfig) -> None:
        super().__init__(config)
        self.choose: Choice = draw_negatives
        fused = config.scores == "fused"
        self.host = self.Host(self.host_config(config)) if fused else None
        self.reduction = PCA(config.vector_dim, self.added_size(config)) if config.reduce and fused else None
        if config.fuses and not config.reduce:
            self.require_equal_sizes(config)
        if config.learns_prototypes:
            self.register_buffer("prototypes", torch.zeros(config.prototypes, self.added_size(config)))

    @classmethod
    def decided_by(cls, host: type[Method]) -> dict[str, Any]:
        """The class attributes that a host decides. Raises MethodError where the host has no embeddings."""
        if not issubclass(host, EmbeddingMethod) or issubclass(host, VSD):
            raise MethodError(
                f"{cls.name} cannot be put on {host.name}: it adds vectors to one embedding per image and caption; "
                f"choose a method that derives from EmbeddingMethod."
            )
        return {**super().decided_by(host), "official": _official(host)}

    @classmethod
    def sized(cls, config: VSDConfig, data: DataSizes) -> VSDConfig:
        """The host's sizes, and the width of the vectors. Raises MethodError where the vectors' widths differ."""
        if config.scores == "fused":
            host = cls.Host.sized(cls.host_config(config), data)
            config = config.model_copy(update=_split(cls, host.model_dump()) | {"text": host.text})
        names = [name for name, read in config.sidecars().items() if read]
        widths = {name: data.size_of(name) for name in names}
        if len(set(widths.values())) > 1:
            listed = ", ".join(f"{name} of {width}" for name, width in widths.items())
            raise MethodError(f"the sentence vectors differ in width ({listed}); make both with one encoder.")
        return config.model_copy(update={"vector_dim": next(iter(widths.values()), config.vector_dim)})

    @classmethod
    def added_size(cls, config: VSDConfig) -> int:
        """Width of vectors as they are added, and of prototypes: that of the embeddings, d."""
        size = config.vector_dim if config.vector_dim and not config.reduce else cls._embed_size(config)
        if size is None:
            raise MethodError(
                f"the width of {cls.Host.name}'s embeddings is not known: it has no embed_size; set reduce=false."
            )
        return size

    @classmethod
    def _embed_size(cls, config: VSDConfig) -> int | None:
        """The host's, if its configuration names it."""
        return getattr(config.host, "embed_size", None)

    @classmethod
    def require_equal_sizes(cls, config: VSDConfig) -> None:
        """Raises MethodError where the vectors' width is not known, or not that of the host's embeddings."""
        if config.vector_dim is None:
            raise MethodError("vector_dim is not set: it is the width of the sentence vectors, or set vector_dim=N.")
        if cls._embed_size(config) not in (None, config.vector_dim):
            raise MethodError(_wrong_width(config.vector_dim, cls._embed_size(config)))

    @torch.no_grad()
    def fit(self, train: TrainingSplit) -> None:
        """The host's fit; then PCA and prototypes, from the training split."""
        config = self.config
        if self.host is not None:
            self.host.fit(train)
        if self.reduction is not None:
            self.reduction.fit([train.sidecar(name) for name, read in config.sidecars().items() if read])
        if config.learns_prototypes:
            self.prototypes.copy_(self._read_prototypes() if config.prototypes_file else self._find_prototypes(train))

    def _find_prototypes(self, train: TrainingSplit) -> Tensor:
        prepare = self.reduction or unchanged
        return kmeans(train.sidecar(self.config.descriptions), self.config.prototypes, prepare, self.prototypes.device)

    def _read_prototypes(self) -> Tensor:
        """(K, d) from the released file, or a user's."""
        return read_prototypes(Path(self.config.prototypes_file), *self.prototypes.shape)

    def embed_images(self, images: ImageBatch) -> Tensor:
        """(B, d), of length 1; with scores=vectors the description vectors as they are."""
        vectors = self._vectors(images, self.config.descriptions)
        return vectors if self.host is None else self._fused(self.host.embed_images(images), vectors)

    def embed_texts(self, texts: TextBatch) -> Tensor:
        """(B, d), of length 1; with scores=vectors the caption vectors as they are."""
        vectors = self._vectors(texts, self.config.captions)
        return vectors if self.host is None else self._fused(self.host.embed_texts(texts), vectors)

    def features(self, batch: Batch) -> Terms:
        """The host's features, with fused embeddings in the place of `image` and `text`."""
        found = self.host.features(batch)
        images = self._fused(found["image"], self._vectors(batch.images, self.config.descriptions))
        texts = self._fused(found["text"], self._vectors(batch.texts, self.config.captions))
        return {**found, "image": images, "text": texts}

    def _vectors(self, items: ImageBatch | TextBatch, sidecar: str) -> Tensor | None:
        """(B, d) sentence vectors, reduced if they are to be; None where none are read."""
        vectors = items.sidecars.get(sidecar)
        return vectors if vectors is None or self.reduction is None else self.reduction(vectors)

    def _fused(self, embedding: Tensor, vectors: Tensor | None) -> Tensor:
        """The normalised sum of the normalised embedding and the vector as it is, (B, d)."""
        if not self.config.fuses:
            return l2norm(embedding)
        if embedding.shape != vectors.shape:
            raise MethodError(_wrong_width(vectors.shape[1], embedding.shape[1]))
        return l2norm(l2norm(embedding) + vectors)

    def objective(self, features: Terms, ids: Tensor, progress: Progress) -> Terms:
        """The host's objective or another loss of the pairs, and the loss of the prototype level."""
        terms = self._pair_terms(features, ids, progress)
        total = terms.pop("total")
        if self.config.learns_prototypes:
            terms["prototypes"] = self._prototype_loss(features["image"], features["text"])
            total = total + self.config.prototype_weight * terms["prototypes"]
        return {**terms, "total": total}

    def _pair_terms(self, features: Terms, ids: Tensor, progress: Progress) -> Terms:
        if self.config.pair_loss == "host":
            return dict(self.host.objective(features, ids, progress))
        similarity, same = dot_products(features["image"], features["text"]), same_image(ids)
        if self.config.pair_loss == "trip":
            loss = triplet_loss(similarity, same, self.config.cutoff, self.choose)
        else:
            hardest = "max_violation" not in self.phases or progress.reached("max_violation")
            loss = hinge_loss(similarity, same, MARGIN, hardest)
        return {"pairs": loss, "total": loss}

    def _prototype_loss(self, image: Tensor, text: Tensor) -> Tensor:
        config = self.config
        return swapped_prediction(
            image, text, l2norm(self.prototypes), config.epsilon, config.temperature, config.sinkhorn_iterations
        )

    def before_step(self, progress: Progress) -> None:
        """The host's."""
        self.host.before_step(progress)

    def after_step(self, progress: Progress) -> None:
        """The host's."""
        self.host.after_step(progress)

    def parameter_groups(self) -> list[Group]:
        """The host's: nothing else is trained."""
        return [] if self.host is None else self.host.parameter_groups()


def _wrong_width(vectors: int, embeddings: int) -> str:
    return (
        f"the sentence vectors have {vectors} numbers, the host's embeddings {embeddings}: they are added without "
        f"projection and must be equal; set host.embed_size={vectors}, or reduce=true for a PCA of the vectors."
    )


def _split(kind: type[VSD], values: dict[str, Any]) -> dict[str, Any]:
    """Values of the host's configuration → of VSD's: what is shared at the top, the rest as `host`."""
    shared = {name: values[name] for name in SHARED if name in values}
    own = {name: value for name, value in values.items() if name not in SHARED}
    return {**shared, "host": kind.Config.model_fields["host"].annotation.model_validate(own)}


# Official checkpoints: those of the host, with a gated fusion that is never used. They lack the prototypes.
GATED_FUSION: dict[str, str | None] = {"img_enc.gated_fusion.": None, "txt_enc.gated_fusion.": None}
RENAMED = {"gpo": {"img_enc.gpo.": "host.image_pool.", "txt_enc.gpo.": "host.text_pool."}}  # gpool in GPO's own files
OPTIONS = {  # of the released script → ours
    "sk_epsilon": "epsilon",
    "proto_temperature": "temperature",
    "sinkhorn_iterations": "sinkhorn_iterations",
}
UNREAD_OPTIONS = ("dropout", "residual_weight", "proto_path", "save_fold5")  # GPO+VSD reads none of them
CUTOFFS = {"f30k": 1.7, "coco": 1.9}  # fixed per data set in the released code
PAIR_LOSSES = {"trip": "trip", "vse": "hinge"}  # GPO+VSD's option loss_type; HREM+VSD has the losses of HREM


def _official(host: type[Method]) -> Official | None:
    if host.official is None:
        return None

    def configure(tensors: Tensors, options: dict[str, Any], config: VSDConfig) -> dict[str, Any]:
        found = host.official.configure(tensors, options, VSD.on(host).host_config(config))
        shared = {name: found.pop(name) for name in SHARED if name in found}
        known = {ours: options[theirs] for theirs, ours in OPTIONS.items() if theirs in options}
        if options.get("loss_type") in PAIR_LOSSES:
            known["pair_loss"] = PAIR_LOSSES[options["loss_type"]]
        cutoff = CUTOFFS.get(options.get("dataset"), config.cutoff)
        return {**shared, "host": found, "vector_dim": found["embed_size"], "cutoff": cutoff, **known}

    hosted = {theirs: ours and f"host.{ours}" for theirs, ours in host.official.tensors.items()}
    return Official(
        parts=host.official.parts,
        tensors={**hosted, **RENAMED.get(host.name, {}), **GATED_FUSION, "prototypes": "prototypes"},
        configure=configure,
        absent=("prototypes", *(f"host.{prefix}" for prefix in host.official.absent)),
        options=host.official.options | {*OPTIONS, *UNREAD_OPTIONS, "loss_type"},
        required=host.official.required,
    )
