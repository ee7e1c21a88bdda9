"""VSD (ICME 2025), described, and what it is on a host."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from itm_harness.datasets.batch import Inputs
from itm_harness.methods.config import MethodConfig
from itm_harness.methods.defaults import SINKHORN_ITERATIONS
from itm_harness.methods.description import Description
from itm_harness.methods.errors import MethodError
from itm_harness.methods.registry import describe

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
    sinkhorn_iterations: int = Field(SINKHORN_ITERATIONS, ge=1)
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

    def sidecars(self) -> dict[str, bool]:
        """Sidecar → is it read?"""
        captions = self.fuses or self.scores == "vectors"
        return {self.descriptions: self.reads_descriptions, self.captions: captions}


@describe("vsd")
class VSDDescription(Description):
    """`VSDDescription.on(host)` is the description on a host, whose phases are its own.

    Variants: a shipped host and a source of descriptions: star (Florence-2), dagger (MiniCPM-V).
    """

    Host: ClassVar[type[Description]]
    Config = VSDConfig
    extra_pretraining = True
    variants = tuple(f"{host}-{source}" for host in HOSTS for source in SOURCES)

    @classmethod
    def on(cls, host: type[Description], name: str | None = None) -> type[Self]:
        """The class for a host. name: of a host that has no variants of its own here; its variants begin with it.

        Raises MethodError where the host's configuration has no defaults.
        """
        return _class_on(cls, host, name)

    @classmethod
    def decided_by(cls, host: type[Description]) -> dict[str, Any]:
        """The class attributes that a host decides."""
        return {"Host": host, "Config": _config_on(host.Config, host.name), "phases": host.phases}

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
    def trains(cls, config: VSDConfig) -> bool:
        """Scores of vectors alone have nothing to train, nor has a host that says so."""
        return config.scores == "fused" and cls.Host.trains(cls.host_config(config))

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
        read = config.sidecars()
        descriptions, captions = ((name,) if read[name] else () for name in (config.descriptions, config.captions))
        return replace(
            host,
            image_sidecars=tuple(dict.fromkeys((*host.image_sidecars, *descriptions))),
            text_sidecars=tuple(dict.fromkeys((*host.text_sidecars, *captions))),
        )


@cache
def _class_on(guest: type[VSDDescription], host: type[Description], name: str | None) -> type[VSDDescription]:
    attributes = {
        **guest.decided_by(host),
        "__module__": guest.__module__,
        "__doc__": f"{guest.__name__} on {host.__name__}.",
    }
    if name is not None:
        attributes["variants"] = tuple(f"{name}-{source}" for source in SOURCES)
    return type(f"{guest.__name__}On{host.__name__}", (guest,), attributes)


@cache
def _config_on(host: type[MethodConfig], host_name: str) -> type[VSDConfig]:
    """VSD's configuration with that of a host in `host`, without the fields that stand at the top."""
    fields = {name: (f.annotation, f) for name, f in host.model_fields.items() if name not in SHARED}
    if missing := [name for name, (_, field) in fields.items() if field.is_required()]:
        raise MethodError(f"method {host_name} cannot be a host: its configuration gives no default for {missing[0]}.")
    model = create_model(host.__name__, __base__=HostConfig, **fields)
    return create_model("VSDConfig", __base__=VSDConfig, host=(model, model()), __doc__=VSDConfig.__doc__)
