"""Momentum contrast (He et al., CVPR 2020) between two modalities: key encoders, queues of keys, InfoNCE."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

M = TypeVar("M", bound=nn.Module)


def key_encoder(query_encoder: M) -> M:
    """A copy that is not trained: it only follows."""
    return copy.deepcopy(query_encoder).requires_grad_(False)


@torch.no_grad()
def follow(key: nn.Module, query: nn.Module, momentum: float) -> None:
    """key ← momentum·key + (1 − momentum)·query, parameters only: batch statistics stay each encoder's own."""
    keys, queries = list(key.parameters()), list(query.parameters())
    torch._foreach_mul_(keys, momentum)  # all tensors in one launch: a BERT has two hundred
    torch._foreach_add_(keys, queries, alpha=1 - momentum)


def info_nce(queries: Tensor, positives: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """−log of the positive's share among positive and negatives, by cosines, mean over the batch: a scalar.

    queries, positives: (B, d), negatives: (K, d), of any length.
    """
    queries, positives, negatives = (normalize(vectors, dim=1) for vectors in (queries, positives, negatives))
    own = (queries * positives).sum(dim=1, keepdim=True)  # (B, 1)
    logits = torch.cat([own, queries @ negatives.T], dim=1) / temperature
    return cross_entropy(logits, torch.zeros(len(queries), dtype=torch.long, device=queries.device))


class KeyQueues(nn.Module):
    """The newest keys of each modality, (K, d), not normalised. They begin as random directions, which no loss sees.

    written: number of keys that were ever enqueued. A step's keys wait in `hold` until its backward pass, which needs
    the old ones, is over.
    """

    image: Tensor
    text: Tensor
    written: Tensor

    def __init__(self, length: int, embed_size: int) -> None:
        super().__init__()
        for name in ("image", "text"):
            self.register_buffer(name, normalize(torch.rand(length, embed_size), dim=1))
        self.register_buffer("written", torch.zeros((), dtype=torch.int64))
        self._held: tuple[Tensor, Tensor] | None = None
        self._full = False
        self.register_load_state_dict_post_hook(lambda module, keys: setattr(module, "_full", False))

    @property
    def full(self) -> bool:
        """Does the queue hold real keys only? As many steps have gone by as it holds batches.

        Once it does, the device is not asked again: it would be waited for in every step.
        """
        self._full = self._full or int(self.written) >= len(self.image)
        return self._full

    def hold(self, image: Tensor, text: Tensor) -> None:
        """Keys for the next `enqueue`, (B, d) each."""
        self._held = image.detach(), text.detach()

    def enqueue(self) -> None:
        """Write what is held over the oldest keys."""
        if self._held is None:
            return
        image, text = (keys[-len(self.image) :] for keys in self._held)
        places = (self.written + torch.arange(len(image), device=image.device)) % len(self.image)
        self.image[places], self.text[places] = image, text
        self.written += len(image)
        self._held = None
