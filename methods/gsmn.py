"""GSMN (Liu et al., CVPR 2020): image and caption compared through two graphs, region by region and word by word."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from itm_harness.datasets.batch import Batch, ImageBatch, TextBatch
from itm_harness.methods.base import Method, Progress, Terms
from itm_harness.methods.encoders.text_encoders import text_encoder, valid_positions
from itm_harness.methods.errors import MethodError
from itm_harness.methods.graphs.matching import Blocks, Nodes, gather_rows, match_blocks
from itm_harness.methods.graphs.matching_graphs import TextualGraph, VisualGraph, dependency_adjacency, word_edges
from itm_harness.methods.losses.hinge import diagonal, hinge_costs
from itm_harness.methods.official import TEXT_TENSORS, Official, Tensors, region_values, text_values
from itm_harness.methods.parts.encoded import Encoded, Ragged
from itm_harness.methods.parts.gather import gather_batch, own_rows
from itm_harness.methods.parts.memory import chunk_size
from itm_harness.methods.parts.normalise import l2norm
from itm_harness.methods.recipes.gsmn import GSMNConfig, GSMNDescription
from itm_harness.methods.registry import register

WORKING_BYTES = {"cpu": 24 << 20, "cuda": 4 << 30}  # of one chunk of pairs; on a CPU as much as its cache holds
KEPT_BYTES = {"cpu": 2 << 30, "cuda": 32 << 30}  # of all chunks of a training step; beyond it they are recomputed
INNERMOST = 32  # images of a chunk lie in the last axis: at least so many, where there are, for vector instructions


Side = tuple[Blocks, Tensor | None]  # images with the weights of their graph, or captions with the edges of theirs


@dataclass(frozen=True)
class Chunks:
    """How all pairs are cut: images of a chunk, captions of each chunk, and words of its longest caption."""

    images: int
    texts: list[int]
    words: list[int]


def _configure(tensors: Tensors, options: dict[str, Any], config: GSMNConfig) -> dict[str, Any]:
    known = {"lambda_softmax": options.get("lambda_softmax"), "margin": options.get("margin")}
    if "is_sparse" in options:
        known["text_graph"] = "sparse" if options["is_sparse"] else "dense"
    convolution = "i2t_match_G.graph_convolution_1.conv_weights."
    return {
        **region_values(tensors, "img_enc."),
        "text": text_values(tensors, config.text),
        "num_blocks": tensors[f"{convolution}0.weight"].shape[1],
        "n_kernels": sum(name.startswith(convolution) for name in tensors),
        "hidden": len(tensors["i2t_match_G.out_1.weight_v"]),
        **{key: value for key, value in known.items() if value is not None},
    }


def _head_tensors(official: str, ours: str) -> dict[str, str | None]:
    """Names of a weight-normed layer; g and v became parametrizations in newer PyTorch."""
    return {
        f"{official}.bias": f"{ours}.bias",
        f"{official}.weight_g": f"{ours}.parametrizations.weight.original0",
        f"{official}.weight_v": f"{ours}.parametrizations.weight.original1",
    }


OFFICIAL = Official(
    parts=("img_enc", "txt_enc", "i2t_match_G", "t2i_match_G"),
    tensors={
        "img_enc.fc.": "regions.",
        **TEXT_TENSORS,
        "i2t_match_G.graph_convolution_1.mean_": "visual.kernels.mean_",
        "i2t_match_G.graph_convolution_1.precision_": "visual.kernels.sigma_",
        "i2t_match_G.graph_convolution_1.conv_weights.": "visual.convolution.maps.",
        **_head_tensors("i2t_match_G.out_1", "visual.head.hidden"),
        **_head_tensors("i2t_match_G.out_2", "visual.head.output"),
        "t2i_match_G.graph_convolution_3.params": None,  # kernel weights p_k, which cancel
        "t2i_match_G.graph_convolution_3.conv_weights.": "textual.convolution.maps.",
        **_head_tensors("t2i_match_G.out_1", "textual.head.hidden"),
        **_head_tensors("t2i_match_G.out_2", "textual.head.output"),
    },
    configure=_configure,
    options=frozenset({"lambda_softmax", "is_sparse", "bi_gru", "feat_dim", "num_block", "hid_dim", "out_dim"}),
)


@register("gsmn")
class GSMN(GSMNDescription, Method):
    """Visual graph (regions matched with words) + textual graph (words matched with regions); hinge loss."""

    official = OFFICIAL

    def __init__(self, config: GSMNConfig) -> None:
        super().__init__(config)
        _refuse_remainders(config)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(torch.initial_seed() + (config.text_graph == "sparse"))
            self.regions = nn.Linear(config.region_dim, config.embed_size)
            nn.init.xavier_uniform_(self.regions.weight)
            nn.init.zeros_(self.regions.bias)
            self.words = text_encoder(config.text, config.embed_size)
            self.visual = VisualGraph(config.num_blocks, config.hidden, config.n_kernels)
            self.textual = TextualGraph(config.num_blocks, config.hidden, config.n_kernels)

    def encode_images(self, images: ImageBatch) -> Encoded:
        """Normalised regions, and of their boxes the summed kernel weights or, for neighbours, the boxes themselves."""
        padded = {"regions": self._regions(images), "places": self._places(images)}
        return Encoded({name: Ragged.from_padded(values, images.lengths) for name, values in padded.items()})

    def encode_texts(self, texts: TextBatch) -> Encoded:
        """Normalised words, and dependencies where they are read."""
        words = Ragged.from_padded(self._words(texts), texts.lengths)
        if not self.config.reads_dependencies:
            return Encoded({"words": words})
        return Encoded({"words": words, "dependencies": _by_caption(texts.sidecars["dependencies"], len(texts))})

    def score(self, images: Encoded, texts: Encoded) -> Terms:
        """Visual and textual graph scores, each (n_images, n_texts).

        Pairs are computed in chunks that suit the free memory, captions of similar length together.
        """
        order = texts["words"].lengths.argsort(descending=True, stable=True)
        lengths, n_regions = texts["words"].lengths[order].tolist(), int(images["regions"].lengths.max())
        chunks = self._chunks(len(images), n_regions, lengths, order.device)
        image_sides = (self._gathered_images(some) for _, some in images.chunks(chunks.images))
        text_sides = [
            self._gathered_captions(texts, rows, longest)
            for rows, longest in zip(order.split(chunks.texts), chunks.words, strict=True)
        ]
        visual, textual = self._both_scores(image_sides, text_sides)[:, :, order.argsort()]
        return {"visual": visual, "textual": textual}

    def combine(self, terms: Terms) -> Tensor:
        """The sum of both graphs' scores."""
        return terms["visual"] + terms["textual"]

    def features(self, batch: Batch) -> Terms:
        """The encodings of both sides, padded, with their lengths."""
        found = {
            "regions": self._regions(batch.images),
            "places": self._places(batch.images),
            "region_lengths": batch.images.lengths,
            "words": self._words(batch.texts),
            "word_lengths": batch.texts.lengths,
        }
        if self.config.reads_dependencies:
            pairs = _by_caption(batch.texts.sidecars["dependencies"], len(batch))
            found |= {"dependencies": pairs.padded(), "dependency_counts": pairs.lengths}
        return found

    def objective(self, features: Terms, ids: Tensor, progress: Progress) -> Terms:
        """Hinge loss of both directions. A second caption of an image counts as a negative, as in the released code.

        Of several processes each scores the pairs of its share of the images. What a step keeps for its gradient is
        computed again instead where it would not fit.
        """
        own = own_rows(len(ids))
        regions = _nodes(features["regions"][own], features["region_lengths"][own])
        words, dependencies = _nodes(features["words"], features["word_lengths"]), None
        if self.config.reads_dependencies:
            dependencies = _nodes(features["dependencies"], features["dependency_counts"])
        visual, textual = self._batch_scores(regions, features["places"][own], words, dependencies)
        rows = self.combine({"visual": visual, "textual": textual})
        (similarity,) = gather_batch([rows])  # (B, B)
        i2t, t2i = hinge_costs(similarity, diagonal(ids), self.config.margin, hardest=progress.reached("max_violation"))
        return {"i2t": i2t, "t2i": t2i, "total": i2t + t2i}

    def _regions(self, images: ImageBatch) -> Tensor:
        """(B, N, d) normalised, zero behind each length."""
        valid = valid_positions(images.lengths, images.regions.shape[1])
        return l2norm(self.regions(images.regions)) * valid[..., None]

    def _places(self, images: ImageBatch) -> Tensor:
        """What the visual graph reads of the boxes: summed kernel weights (B, N, K), or for neighbours the boxes."""
        boxes = images.sidecars["boxes"].float()
        if self.config.propagate == "neighbours":
            return boxes
        return self.visual.own_weights(boxes, valid_positions(images.lengths, boxes.shape[1]))

    def _words(self, texts: TextBatch) -> Tensor:
        """(B, L, d) normalised, zero behind each length."""
        valid = valid_positions(texts.lengths, texts.words.shape[1])
        return l2norm(self.words(texts.words, texts.lengths)) * valid[..., None]

    def _batch_scores(self, regions: Nodes, places: Tensor, words: Nodes, dependencies: Nodes | None) -> Tensor:
        """Both scores, (2, I, T), of padded encodings. Where all pairs fit into one chunk nothing waits for a GPU."""
        (n_images, n_regions), (n_texts, longest), device = regions.valid.shape, words.valid.shape, words.valid.device
        lengths, order = [longest] * n_texts, None  # no caption is longer
        chunks = self._chunks(n_images, n_regions, lengths, device)
        if (chunks.images, chunks.texts) != (n_images, [n_texts]):
            lengths, order = words.valid.sum(1).sort(descending=True, stable=True)
            lengths, words = lengths.tolist(), words[order]
            dependencies = dependencies and dependencies[order]
            chunks = self._chunks(n_images, n_regions, lengths, device)
        parts = zip(regions.parts(chunks.images), places.split(chunks.images), strict=True)
        pairs = dependencies.parts(chunks.texts) if dependencies else [None] * len(chunks.texts)
        captions = [
            self._text_side(some[:, :most], own)
            for some, most, own in zip(words.parts(chunks.texts), chunks.words, pairs, strict=True)
        ]
        recompute = not self._fits(n_images * n_regions * sum(lengths), device)
        both = self._both_scores((self._image_side(*part) for part in parts), captions, recompute)
        return both if order is None else both[:, :, order.argsort()]

    def _gathered_images(self, images: Encoded) -> Side:
        return self._image_side(Nodes.gather(images["regions"]), gather_rows(images["places"])[0])

    def _gathered_captions(self, texts: Encoded, rows: Tensor, longest: int) -> Side:
        dependencies = Nodes.gather(texts["dependencies"], rows) if self.config.reads_dependencies else None
        return self._text_side(Nodes.gather(texts["words"], rows, longest), dependencies)

    def _image_side(self, regions: Nodes, places: Tensor) -> Side:
        """Regions cut into blocks and the weights of the visual graph: all that captions need of images."""
        if self.config.propagate == "neighbours":
            places = self.visual.neighbour_weights(places, regions.valid)
        return Blocks.of(regions, self.config.num_blocks), places

    def _text_side(self, words: Nodes, dependencies: Nodes | None) -> Side:
        """Words cut into blocks and, for neighbours, the edges of the textual graph. dependencies: None = dense."""
        edges = None
        if self.config.propagate == "neighbours":
            pairs = dependencies and dependency_adjacency(dependencies.features, dependencies.valid, words.valid)
            edges = word_edges(words.features, words.valid, self.config.lambda_softmax, pairs)
        return Blocks.of(words, self.config.num_blocks), edges

    def _both_scores(self, images: Iterable[Side], texts: Sequence[Side], recompute: bool = False) -> Tensor:
        """Visual and textual scores, (2, n_images, n_texts), of every chunk of images with every chunk of captions."""
        rows = []
        for some in images:
            parts = [
                checkpoint(self._score_chunk, some, captions, use_reentrant=False)
                if recompute
                else self._score_chunk(some, captions)
                for captions in texts
            ]
            rows.append(torch.cat(parts, dim=2))
        return torch.cat(rows, dim=1)

    def _score_chunk(self, images: Side, texts: Side) -> Tensor:
        (regions, weights), (words, edges) = images, texts
        visual, textual = match_blocks(regions, words, self.config.lambda_softmax)
        return torch.stack([self.visual(visual, weights, regions.valid), self.textual(textual, edges, words.valid)])

    def _chunks(self, n_images: int, n_regions: int, lengths: list[int], device: torch.device) -> Chunks:
        """Chunks whose pairs fit the working memory. lengths: words of each caption, longest first."""
        limit, longest = WORKING_BYTES.get(device.type, 64 << 20), lengths[0]
        all_words = n_images * len(lengths) * longest  # each caption's with each image
        words = chunk_size(self._node_pair_bytes() * n_regions, all_words, device, limit)
        if words == all_words:
            return Chunks(n_images, [len(lengths)], [longest])
        most = max(1, words // longest)
        images = min(n_images, most, max(INNERMOST, math.isqrt(most)))
        sizes, start = [], 0
        while start < len(lengths):
            sizes.append(min(max(1, words // (images * lengths[start])), len(lengths) - start))
            start += sizes[-1]
        return Chunks(images, sizes, [lengths[end - size] for end, size in zip(accumulate(sizes), sizes, strict=True)])

    def _fits(self, node_pairs: int, device: torch.device) -> bool:
        """Can a training step keep what its gradient needs of so many pairs of a region and a word?"""
        limit = KEPT_BYTES.get(device.type, 2 << 30)
        return chunk_size(self._node_pair_bytes(), node_pairs, device, limit) == node_pairs

    def _node_pair_bytes(self) -> int:
        """Per region and word: the block similarities, two products with Gram matrices, attention; float32."""
        return 4 * 4 * self.config.num_blocks


def _refuse_remainders(config: GSMNConfig) -> None:
    if config.region_dim is None:
        raise MethodError("region_dim is not set: it comes with the data, or set region_dim=N.")
    for whole, part in (("embed_size", "num_blocks"), ("hidden", "n_kernels")):
        if getattr(config, whole) % getattr(config, part):
            raise MethodError(
                f"{whole}={getattr(config, whole)} cannot be cut into {part}={getattr(config, part)} equal pieces; "
                f"choose a multiple."
            )


def _by_caption(dependencies: Tensor, n_texts: int) -> Ragged:
    """(P, 3) rows (caption, head, dependent) -> each caption's pairs (head, dependent), in their order."""
    rows = dependencies[dependencies[:, 0].argsort(stable=True)]
    counts = torch.bincount(rows[:, 0], minlength=n_texts)
    return Ragged(rows[:, 1:], nn.functional.pad(counts.cumsum(0), (1, 0)))


def _nodes(padded: Tensor, lengths: Tensor) -> Nodes:
    """(n, L, ...), zero behind the lengths (n,)."""
    return Nodes(padded, valid_positions(lengths, padded.shape[1]))
