"""CLIP itself, computed rather than read: an open_clip model on pictures and captions, to be fine-tuned."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from itm_harness.methods.encoders.clip_weights import RECIPE, import_open_clip, known_model, load_clip
from itm_harness.methods.encoders.tower_config import TowerConfig
from itm_harness.methods.errors import MethodError


def tower_width(config: TowerConfig) -> int:
    """Numbers of the model's vectors."""
    open_clip = import_open_clip()
    return open_clip.get_model_config(known_model(open_clip, config.model, RECIPE))["embed_dim"]


class CLIPTower(nn.Module):
    """An open_clip model with its weights; vectors as it gives them, not normalised."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        loaded = load_clip(config.model, config.weights, RECIPE)
        pictures = loaded.configuration["pictures"]
        _require_pictures(config, pictures)
        self.clip = loaded.model
        for name, values in (("offset", pictures["mean"]), ("scale", pictures["std"])):
            self.register_buffer(name, 255 * torch.tensor(values)[:, None, None], persistent=False)

    @property
    def log_scale(self) -> nn.Parameter:
        """Logarithm of what similarities are multiplied with in the loss, learned with the rest."""
        return self.clip.logit_scale

    def images(self, pixels: Tensor) -> Tensor:
        """(B, 3, side, side) uint8 -> (B, d)."""
        return self.clip.encode_image((pixels.float() - self.offset) / self.scale)

    def texts(self, tokens: Tensor) -> Tensor:
        """(B, L) tokens, zero behind each end -> (B, d)."""
        return self.clip.encode_text(pad(tokens, (0, self.clip.context_length - tokens.shape[1])))


def _require_pictures(config: TowerConfig, pictures: dict) -> None:
    """Raises MethodError where the configuration does not give the model the pictures that it was trained on."""
    size = pictures["size"]
    wanted = size if isinstance(size, int) else size[0]
    squashed = pictures["resize_mode"] == "squash"
    if (wanted, squashed) != (config.side, config.squash):
        raise MethodError(
            f"{config.model} reads pictures of {wanted} pixels{', squashed' if squashed else ''}; "
            f"--set tower.side={wanted} --set tower.squash={str(squashed).lower()}."
        )
