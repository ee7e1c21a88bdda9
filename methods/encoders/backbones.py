"""Backbones: pictures -> a grid of features. Those of VSE∞ from their weights files, any of timm or open_clip.

butd-resnet101, imagenet-resnet152 and wsl-resnext101 as in the released code of VSE∞ (CVPR 2021): the first two are of
Caffe's style, the third is torchvision's.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from itm_harness.methods.encoders.backbone_names import OPEN_CLIP, PRETRAINED, TIMM
from itm_harness.methods.encoders.clip_weights import load_clip
from itm_harness.methods.encoders.weights import Asked, fill, find_weights, read_weights
from itm_harness.methods.errors import MethodError
from itm_harness.methods.parts.batch_norm import over_whole_batch
from itm_harness.methods.spelling import nearest

RECIPE = Asked("--set grid.backbone=", "--set grid.weights=")
WIDTH = 2048  # of the last stage of ResNets with bottlenecks
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and standard deviation of red, green, blue in 0..1


@dataclass(frozen=True)
class Shipped:
    """A backbone of VSE∞'s raw-image models.

    blocks: bottlenecks per stage. resnext: 32 groups of width 8. caffe: a bottleneck strides in its first convolution,
    and the pooling after the stem does not pad. bgr: blue, green, red minus Caffe's means. file: of the weights.
    source: its size and where it is published.
    """

    blocks: tuple[int, ...]
    file: str
    source: str
    resnext: bool = False
    caffe: bool = True
    bgr: bool = False


SHIPPED = {
    "butd-resnet101": Shipped(
        (3, 4, 23, 3),
        "original_updown_backbone.pth",
        "about 170 MB, linked in the README of https://github.com/woodfrog/vse_infty",
        bgr=True,
    ),
    "wsl-resnext101": Shipped(
        (3, 4, 23, 3),
        "ig_resnext101_32x8-c38310e5.pth",
        "about 360 MB, https://download.pytorch.org/models/ig_resnext101_32x8-c38310e5.pth",
        resnext=True,
        caffe=False,
    ),
    "imagenet-resnet152": Shipped(
        (3, 8, 36, 3),
        "resnet152-b121ed2d.pth",
        "about 240 MB, https://download.pytorch.org/models/resnet152-b121ed2d.pth",
    ),
}


class Backbone(nn.Module):
    """A network and the way its pictures are normalised. width: numbers of a grid cell.

    The network maps (B, 3, H, W) to (B, width, h, w), or to a list that ends with it. trains_norm: BatchNorm follows
    the batches; else its statistics stay those of the weights.
    """

    def __init__(self, network: nn.Module, width: int, offset: Tensor, scale: Tensor, bgr: bool = False) -> None:
        """offset, scale: (3,), in 0..255 and in the network's order of colours."""
        super().__init__()
        over_whole_batch(network)
        self.network = network.to(memory_format=torch.channels_last)  # as the pictures come; faster
        self.width, self.bgr, self.trains_norm = width, bgr, False
        self.register_buffer("offset", offset[:, None, None], persistent=False)
        self.register_buffer("scale", scale[:, None, None], persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 -> (B, cells, width), row by row."""
        colours = pixels.flip(1) if self.bgr else pixels
        grid = self.network((colours.float() - self.offset) / self.scale)
        grid = grid[-1] if isinstance(grid, list) else grid  # (B, width, h, w)
        return grid.flatten(2).transpose(1, 2)

    def train(self, mode: bool = True) -> Backbone:
        """Training mode; BatchNorm stays in evaluation where its statistics are fixed."""
        super().train(mode)
        if not self.trains_norm:
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    @torch.no_grad()
    def require_side(self, side: int, what: str) -> None:
        """Raises MethodError where the network does not read squares of `side` pixels. what: how a user sets it."""
        training = self.training
        try:
            self.eval()(torch.zeros(1, 3, side, side, dtype=torch.uint8, device=self.offset.device))
        except (RuntimeError, AssertionError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise MethodError(
                f"{what}{side}: the backbone cannot read such pictures ({reason}); use the size it was trained with."
            ) from error
        self.train(training)


class _OpenCLIPGrid(nn.Module):
    """The last block's features of open_clip's image towers."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual

    def forward(self, pictures: Tensor) -> list[Tensor]:
        return self.visual.forward_intermediates(pictures, indices=1, intermediates_only=True)["image_intermediates"]


def backbone(name: str, weights: str | None, stage: int = -1, asked: Asked = RECIPE) -> Backbone:
    """A backbone with its weights.

    name: of SHIPPED, timm:NAME or open_clip:NAME. weights: a file; `pretrained` = the published ones (of timm: in the
    hub or its cache); of open_clip also their name in the hub; None = random. stage: of timm's models, whose features
    the grid has; -1 is the last. asked: how the user names them. Raises MethodError where a name is not known, or
    weights cannot be had.
    """
    if name.startswith(TIMM):
        return _of_timm(name.removeprefix(TIMM), weights, stage, asked)
    if name.startswith(OPEN_CLIP):
        return _of_open_clip(name.removeprefix(OPEN_CLIP), weights, asked)
    if name not in SHIPPED:
        raise MethodError(
            f"{asked.model}{name} is not known{nearest(name, list(SHIPPED))}; use {', '.join(SHIPPED)}, or any model "
            f"of timm or open_clip: timm:resnet18, open_clip:ViT-B-32."
        )
    return _shipped(name, weights, asked)


def _shipped(name: str, weights: str | None, asked: Asked) -> Backbone:
    about = SHIPPED[name]
    network = _resnet(about)
    if weights is not None:
        path = find_weights(about.file if weights == PRETRAINED else weights, name, asked, about.source)
        tensors = {_torchvision_name(key): value for key, value in read_weights(path).items()}
        fill(network, {key: value for key, value in tensors.items() if not key.startswith("fc.")}, path, name)
    if about.bgr:
        return Backbone(network, WIDTH, torch.tensor([102.9801, 115.9465, 122.7717]), torch.ones(3), bgr=True)
    return Backbone(network, WIDTH, *_in_bytes(*IMAGENET))


def _in_bytes(mean: Any, deviation: Any) -> tuple[Tensor, Tensor]:
    return 255 * torch.tensor(mean), 255 * torch.tensor(deviation)


def _resnet(about: Shipped) -> nn.Sequential:
    """torchvision's network up to its last stage, under torchvision's names."""
    try:
        from torchvision.models.resnet import Bottleneck, ResNet  # heavy
    except ImportError as error:
        raise _no_library("torchvision", error) from error
    groups = {"groups": 32, "width_per_group": 8} if about.resnext else {}
    whole = ResNet(Bottleneck, list(about.blocks), **groups)
    stages = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    network = nn.Sequential(OrderedDict((stage, getattr(whole, stage)) for stage in stages))
    return _as_caffe(network) if about.caffe else network


def _as_caffe(network: nn.Sequential) -> nn.Sequential:
    network.maxpool = nn.MaxPool2d(3, stride=2, padding=0, ceil_mode=True)
    for stage in (network.layer2, network.layer3, network.layer4):
        first = stage[0]
        first.conv1.stride, first.conv2.stride = first.conv2.stride, first.conv1.stride
    return network


# The detector's file, and the checkpoints of VSE∞, number what torchvision names.
NUMBERED = {
    "base.0.": "conv1.", "base.1.": "bn1.", "base.4.": "layer1.", "base.5.": "layer2.", "base.6.": "layer3.",
    "top.0.": "layer4.",
}  # fmt: skip


def _torchvision_name(name: str) -> str:
    name = name.removeprefix("backbone.").removeprefix("RCNN_")
    prefix = next((prefix for prefix in NUMBERED if name.startswith(prefix)), None)
    return NUMBERED[prefix] + name.removeprefix(prefix) if prefix else name


def _of_timm(name: str, weights: str | None, stage: int, asked: Asked) -> Backbone:
    timm = _import_timm()
    known = timm.list_models(pretrained=False)
    if name.split(".")[0] not in known:
        raise MethodError(f"{asked.model}timm:{name}: timm knows no such model{nearest(name, known)}.")
    overlay = None
    if weights not in (None, PRETRAINED):
        overlay = {"state_dict": read_weights(find_weights(weights, f"timm:{name}", asked))}
    try:
        network = timm.create_model(
            name,
            pretrained=weights is not None,
            features_only=True,
            out_indices=(stage,),
            pretrained_cfg_overlay=overlay,
        )
    except (OSError, RuntimeError, ValueError, IndexError, AssertionError, AttributeError) as error:
        raise MethodError(_unusable(name, weights, stage, asked, error)) from error
    mean, deviation = (network.default_cfg[key] for key in ("mean", "std"))
    return Backbone(network, network.feature_info.channels()[-1], *_in_bytes(mean, deviation))


def _of_open_clip(name: str, weights: str | None, asked: Asked) -> Backbone:
    if weights in (None, PRETRAINED):
        raise MethodError(
            f"open_clip has several weights for {name}: name them, as in {asked.weights}laion2b_s34b_b79k, or a file."
        )
    loaded = load_clip(name, weights, Asked(f"{asked.model}{OPEN_CLIP}", asked.weights))
    network, pictures = _OpenCLIPGrid(loaded.model.visual.cpu()), loaded.configuration["pictures"]
    side = pictures["size"] if isinstance(pictures["size"], int) else pictures["size"][0]
    with torch.no_grad():
        width = network.eval()(torch.zeros(1, 3, side, side))[-1].shape[1]
    return Backbone(network, width, *_in_bytes(pictures["mean"], pictures["std"]))


def _import_timm() -> Any:
    try:
        import timm  # heavy
    except ImportError as error:
        raise _no_library("timm", error) from error
    return timm


def _no_library(name: str, error: ImportError) -> MethodError:
    return MethodError(f"backbones need {name}, which cannot be imported ({error}); pip install -e '.[pictures]'.")


def _unusable(name: str, weights: str | None, stage: int, asked: Asked, error: Exception) -> str:
    reason = " ".join(str(error).split())
    if weights == PRETRAINED:
        nothing = "null" if asked == RECIPE else "none"  # prepare's word: a command line has no null
        return (
            f"weights of timm:{name}{_published(name)} are neither in the hub's cache nor can they be downloaded "
            f"({reason}); name a file of them, {asked.weights}PATH, or do without: {asked.weights}{nothing}."
        )
    return f"timm:{name} gives no grid of features at stage {stage} with these weights ({reason}); choose another."


def _published(name: str) -> str:
    """Size and place of timm's weights, " (…)"; "" where timm publishes none."""
    timm = _import_timm()
    try:
        about = timm.get_pretrained_cfg(name)
    except RuntimeError:  # a model that is known, with weights that are not
        return ""
    place = f"https://huggingface.co/{about.hf_hub_id}" if about and about.hf_hub_id else getattr(about, "url", "")
    if not place:
        return ""
    with torch.device("meta"):  # counted without memory
        numbers = sum(values.numel() for values in timm.create_model(name.split(".")[0]).parameters())
    return f" (about {4 * numbers / 1e6:,.0f} MB, {place})"
