"""Where open_clip's and timm's weights lie in the hub: the commit of those in its cache, and no waiting for others."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from itm_harness.datasets.pictures.model_files import cached_revision, revision, within_reach
from itm_harness.methods.encoders.backbone_names import OPEN_CLIP, PRETRAINED, TIMM
from itm_harness.methods.encoders.clip_weights import HUB_FILES, import_open_clip

TIMM_FILES = ("model.safetensors", "pytorch_model.bin")
Place = tuple[str, tuple[str, ...]]  # a repository, "" = none, and the files of which one is taken
NOWHERE: Place = ("", ())


def clip_revision(model: str, weights: str) -> str:
    """Of open_clip's weights: a name, or a file; "" where they do not lie in the hub's cache."""
    if Path(weights).is_file():
        return revision(Path(weights).absolute().parent)
    return cached_revision(*clip_place(model, weights))


def backbone_revision(name: str, weights: str | None) -> str:
    """Of a grid backbone's weights, as GPO's grid.backbone and grid.weights name them."""
    if weights is not None and Path(weights).expanduser().is_file():
        return revision(Path(weights).expanduser().absolute().parent)
    return cached_revision(*backbone_place(name, weights))


def clip_within_reach(model: str, weights: str) -> AbstractContextManager[None]:
    """Within it open_clip's weights are looked for at once, with a network or without."""
    return within_reach(*clip_place(model, weights))


def backbone_within_reach(name: str, weights: str | None) -> AbstractContextManager[None]:
    """The same for a grid backbone's."""
    return within_reach(*backbone_place(name, weights))


def clip_place(model: str, weights: str) -> Place:
    """Of open_clip's weights: where they lie in the hub; nowhere where they are a file."""
    if Path(weights).is_file():
        return NOWHERE
    known = import_open_clip().get_pretrained_cfg(model, weights) or {}
    repository, _, file = known.get("hf_hub", "").rpartition("/")
    return repository, (file,) if file else HUB_FILES


def backbone_place(name: str, weights: str | None) -> Place:
    """Of a grid backbone's weights; nowhere where they are a file, or none."""
    if weights is not None and name.startswith(OPEN_CLIP):
        return clip_place(name.removeprefix(OPEN_CLIP), weights)
    if weights != PRETRAINED or not name.startswith(TIMM):
        return NOWHERE
    try:
        import timm  # heavy

        known = timm.get_pretrained_cfg(name.removeprefix(TIMM))
    except (ImportError, RuntimeError):  # no timm, or no such weights: told where the backbone is made
        return NOWHERE
    return (known.hf_hub_id or "" if known else ""), TIMM_FILES
