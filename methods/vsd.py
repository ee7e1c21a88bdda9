"""VSD (ICME 2025): sentence vectors of MLLM descriptions beside the embeddings of another method, and as prototypes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from torch import Tensor

from itm_harness.datasets.batch import Batch, DataSizes, ImageBatch, Inputs, TextBatch, TrainingSplit
from itm_harness.methods.base import EmbeddingMethod, Group, Method, MethodConfig, Progress, Terms, dot_products
from itm_harness.methods.encoders.pca import PCA
from itm_harness.methods.errors import MethodError
from itm_harness.methods.losses.hinge import MARGIN, hinge_loss, same_image
from itm_harness.methods.losses.kmeans import kmeans, unchanged
from itm_harness.methods.losses.prototypes import ITERATIONS, read_prototypes, swapped_prediction
from itm_harness.methods.losses.triplet import Choice, draw_negatives, triplet_loss
from itm_harness.methods.official import Official, Tensors
from itm_harness.methods.parts.normalise import l2norm
from itm_harness.methods.registry import register

# Shipped methods that have variants here, clip also fine-tuned; any other embedding method is named by hand.
HOSTS = ("gpo", "hrem", "clip", "clip-finetune")
SOURCES = ("dagger", "star")  # MiniCPM-V's descriptions, Florence-2's
SHARED = tuple(MethodConfig.model_fields)  # of the host's configuration, kept outside `host`


class HostConfig(BaseModel):
    """The host's own configuration, without what stands at the top: region_dim and text."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class VSDConfig(MethodConfig):
    """host: the configuration of the method underneath.

    descriptions, captions: sidecars with the vectors of descriptions and captions. vector_dim: their width; None = as
    in the data. reduce: bring the vectors to the host's embed_size by PCA, fitted on the training split; off: they are
    added as they are and must have that width.
    instance_level: add the vectors to the embeddings. prototype_level: the loss of swapped assignments to prototypes.
    prototypes: how many. prototypes_file: .npy with the centroids; None = k-means over the training descriptions.
    prototype_weight, epsilon, temperature, sinkhorn_iterations: of that loss.
    pair_loss: host (the host's own objective), or trip or hinge (as in HREM) on the final embeddings. cutoff: of trip.
    scores: fused, or vectors: description vector · caption vector alone, nothing is trained.
    """

    host: HostConfig = HostConfig()
    descriptions: str = "descriptions_dagger"
    captions: str = "caption_vectors"
    vector_dim: int | None = Field(None, ge=1)
    reduce: bool = False
    instance_level: bool = True
    prototype_level: bool = True
    prototypes: int = Field(896, ge=1)
    prototypes_file: str | None = None
    prototype_weight: float = Field(1.0, ge=0)
    epsilon: float = Field(0.05, gt=0)
    temperature: float = Field(0.1, gt=0)
    sinkhorn_iterations: int = Field(ITERATIONS, ge=1)
    pair_loss: Literal["host", "trip", "hinge"] = "host"
    cutoff: float = Field(1.7, gt=0)
    scores: Literal["fused", "vectors"] = "fused"

    @property
    def learns_prototypes(self) -> bool:
        """Is the loss of the prototype level part of the training?"""
        return self.prototype_level and self.scores == "fused"

    @property
    def reads_descriptions(self) -> bool:
        """Are description vectors needed, in batches or by k-means?"""
        return self.fuses or self.scores == "vectors" or (self.prototype_level and self.prototypes_file is None)

    @property
    def fuses(self) -> bool:
        """Are vectors added to the embeddings?"""
        return self.instance_level and self.scores == "fused"


@register("vsd")
class VSD(EmbeddingMethod):
    """A host's embeddings with sentence vectors added (instance level) and drawn to prototypes (prototype level).

    `VSD.on(host)` is the class for a host; the host's parameters, phases, groups and objective are used as they are,
    its local features stay un-fused. choose: how `trip` picks its negatives.
    Variants: a shipped host and a source of descriptions: star (Florence-2), dagger (MiniCPM-V).
    """

    Host: ClassVar[type[EmbeddingMethod]]
    Config = VSDConfig
    extra_pretraining = True
    released_selection = "last"
    variants = tuple(f"{host}-{source}" for host in HOSTS for source in SOURCES)

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
    def on(cls, host: type[Method], name: str | None = None) -> type[VSD]:
        """The class for a host. name: of a host that has no variants of its own here; its variants begin with it.

        Raises MethodError where the host has no embeddings, or its configuration has no defaults.
        """
        return _class_on(cls, host, name)

    @classmethod
    def host_of(cls, variant: str | None) -> str:
        """The shipped host that a variant names; of no known variant: the default one."""
        return variant.split("-")[0] if variant in cls.variants else HOSTS[0]

    @classmethod
    def variant_values(cls, variant: str) -> dict[str, Any]:
        """Recipe values that the variant's name stands for."""
        return {"descriptions": f"descriptions_{variant.rpartition('-')[2]}"}

    @classmethod
    def host_config(cls, config: VSDConfig) -> MethodConfig:
        """The host's whole configuration. Raises MethodError where it refuses a value."""
        values = {**config.host.model_dump(), "text": config.text, "region_dim": config.region_dim}
        try:
            return cls.Host.Config.model_validate(values)
        except ValidationError as error:
            fault = error.errors()[0]
            key = ".".join(map(str, ("host", *fault["loc"])))
            raise MethodError(f"recipe of {cls.name}: {key} is not valid: {fault['msg']}.") from error

    @classmethod
    def sized(cls, config: VSDConfig, data: DataSizes) -> VSDConfig:
        """The host's sizes, and the width of the vectors. Raises MethodError where the vectors' widths differ."""
        if config.scores == "fused":
            host = cls.Host.sized(cls.host_config(config), data)
            config = config.model_copy(update=_split(cls, host.model_dump()) | {"text": host.text})
        names = [name for name, read in _sidecars(config).items() if read]
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

    @classmethod
    def trains(cls, config: VSDConfig) -> bool:
        """Scores of vectors alone have nothing to train, nor has a host that says so."""
        trains = getattr(cls.Host, "trains", None)
        return config.scores == "fused" and (trains is None or trains(cls.host_config(config)))

    @classmethod
    def text_label(cls, config: VSDConfig) -> str:
        """The host's."""
        return "sentence vectors" if config.scores == "vectors" else cls.Host.text_label(cls.host_config(config))

    @classmethod
    def features_label(cls, config: VSDConfig, regions: str) -> str:
        """The host's, and descriptions where any are used."""
        if config.scores == "vectors":
            return "descriptions"
        label = cls.Host.features_label(cls.host_config(config), regions)
        return f"{label} + descriptions" if config.fuses or config.prototype_level else label

    def inputs(self) -> Inputs:
        """The host's, and the sentence vectors as far as they are used."""
        config = self.config
        host = Inputs(regions=False)
        if config.scores == "fused":
            host = self.Host.bare(self.host_config(config)).inputs()
        read = _sidecars(config)
        descriptions, captions = ((name,) if read[name] else () for name in (config.descriptions, config.captions))
        return replace(
            host,
            image_sidecars=tuple(dict.fromkeys((*host.image_sidecars, *descriptions))),
            text_sidecars=tuple(dict.fromkeys((*host.text_sidecars, *captions))),
        )

    @torch.no_grad()
    def fit(self, train: TrainingSplit) -> None:
        """The host's fit; then PCA and prototypes, from the training split."""
        config = self.config
        if self.host is not None:
            self.host.fit(train)
        if self.reduction is not None:
            self.reduction.fit([train.sidecar(name) for name, read in _sidecars(config).items() if read])
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


def _sidecars(config: VSDConfig) -> dict[str, bool]:
    """Sidecar → is it read?"""
    captions = config.fuses or config.scores == "vectors"
    return {config.descriptions: config.reads_descriptions, config.captions: captions}


@cache
def _class_on(guest: type[VSD], host: type[Method], name: str | None) -> type[VSD]:
    if not issubclass(host, EmbeddingMethod) or issubclass(host, VSD):
        raise MethodError(
            f"{guest.name} cannot be put on {host.name}: it adds vectors to one embedding per image and caption; "
            f"choose a method that derives from EmbeddingMethod."
        )
    config = create_model(
        "VSDConfig", __base__=VSDConfig, host=(model := _host_model(host), model()), __doc__=VSDConfig.__doc__
    )
    attributes = {
        "Host": host,
        "Config": config,
        "phases": host.phases,
        "official": _official(host),
        "__module__": guest.__module__,
        "__doc__": f"{guest.__name__} on {host.__name__}.",
    }
    if name is not None:
        attributes["variants"] = tuple(f"{name}-{source}" for source in SOURCES)
    return type(f"{guest.__name__}On{host.__name__}", (guest,), attributes)


def _host_model(host: type[Method]) -> type[HostConfig]:
    """The host's configuration without the fields that stand at the top."""
    fields = {name: (f.annotation, f) for name, f in host.Config.model_fields.items() if name not in SHARED}
    if missing := [name for name, (_, field) in fields.items() if field.is_required()]:
        raise MethodError(f"method {host.name} cannot be a host: its configuration gives no default for {missing[0]}.")
    return create_model(host.Config.__name__, __base__=HostConfig, **fields)


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
        found = host.official.configure(tensors, options, _class_on(VSD, host, None).host_config(config))
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
