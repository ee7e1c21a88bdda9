"""GSMN (Liu et al., CVPR 2020): image and caption compared through two graphs, region by region and word by word."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from datasets.batch import Batch, ImageBatch, Inputs, TextBatch, WordPieces, Words
from methods.base import Encoded, Method, MethodConfig, Progress, Ragged, Terms
from methods.errors import MethodError
from methods.gather import gather_batch, own_rows
from methods.losses import MARGIN, diagonal, hinge_costs
from methods.matching import Blocks, Nodes, gather_rows, match_blocks
from methods.matching_graphs import TextualGraph, VisualGraph, dependency_adjacency, word_edges
from methods.memory import chunk_size
from methods.normalise import l2norm
from methods.official import TEXT_TENSORS, Official, Tensors, region_values, text_values
from methods.registry import register
from methods.text_encoders import TextConfig, text_encoder, valid_positions

WORKING_BYTES = {"cpu": 24 << 20, "cuda": 4 << 30}  # of one chunk of pairs; on a CPU as much as its cache holds
KEPT_BYTES = {"cpu": 2 << 30, "cuda": 32 << 30}  # of all chunks of a training step; beyond it they are recomputed
INNERMOST = 32  # images of a chunk lie in the last axis: at least so many, where there are, for vector instructions


class StanfordWords(TextConfig):
    """Word ids from Stanford tokens where the data has them, and no `<mask>`: GSMN has no size augmentation."""

    mask_token: bool = False

    def inputs(self) -> WordPieces | Words:
        """The word ids that the encoder reads."""
        return WordPieces(self.bert) if self.bert else Words(self.min_count, self.mask_token, precomputed=True)


class GSMNConfig(MethodConfig):
    """embed_size: d of regions and words. margin: of the hinge loss.

    num_blocks: pieces of d with a cosine of their own. n_kernels, hidden: kernels of a graph convolution and its width.
    lambda_softmax: inverse temperature of every attention. text_graph: what connects the words. propagate: self = each
    node keeps its own vector (released code), neighbours = it takes its neighbours' (paper; no released code).
    """

    text: StanfordWords = StanfordWords()
    embed_size: int = 1024
    margin: float = MARGIN
    num_blocks: int = 16
    n_kernels: int = 8
    hidden: int = 32
    lambda_softmax: float = 20.0
    text_graph: Literal["dense", "sparse"] = "dense"
    propagate: Literal["self", "neighbours"] = "self"


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
)


@register("gsmn")
class GSMN(Method):
    """Visual graph (regions matched with words) + textual graph (words matched with regions); hinge loss.

    Phase max_violation: until it begins the loss sums over all negatives, from then on it takes the hardest.
    Under `propagate: self` dense and sparse are the same function of the same weights: dependencies are read only by
    sparse under `neighbours`, and the two variants draw different initial weights, so that full is not one model twice.
    """

    Config = GSMNConfig
    phases = ("max_violation",)
    variants = ("dense", "sparse", "full")
    ensembles: ClassVar[dict[str, tuple[str, ...]]] = {"full": ("dense", "sparse")}
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

    @property
    def _reads_dependencies(self) -> bool:
        return self.config.text_graph == "sparse" and self.config.propagate == "neighbours"

    def inputs(self) -> Inputs:
        """Boxes always; dependencies only where the score depends on them."""
        dependencies = ("dependencies",) if self._reads_dependencies else ()
        return Inputs(text=self.config.text.inputs(), image_sidecars=("boxes",), text_sidecars=dependencies)

    def encode_images(self, images: ImageBatch) -> Encoded:
        """Normalised regions, and of their boxes the summed kernel weights or, for neighbours, the boxes themselves."""
        boxes = images.sidecars["boxes"].float()
        valid = valid_positions(images.lengths, images.regions.shape[1])
        places = boxes if self.config.propagate == "neighbours" else self.visual.own_weights(boxes, valid)
        regions = l2norm(self.regions(images.regions))
        return Encoded(
            {
                "regions": Ragged.from_padded(regions, images.lengths),
                "places": Ragged.from_padded(places, images.lengths),
            }
        )

    def encode_texts(self, texts: TextBatch) -> Encoded:
        """Normalised words, and dependencies where they are read."""
        words = Ragged.from_padded(l2norm(self.words(texts.words, texts.lengths)), texts.lengths)
        if not self._reads_dependencies:
            return Encoded({"words": words})
        return Encoded({"words": words, "dependencies": _by_caption(texts.sidecars["dependencies"], len(texts))})

    def score(self, images: Encoded, texts: Encoded) -> Terms:
        """Visual and textual graph scores, each (n_images, n_texts).

        Pairs are computed in chunks that suit the free memory, captions of similar length together. What a training
        step keeps for its gradient is recomputed instead where it would not fit.
        """
        order = texts["words"].lengths.argsort(descending=True, stable=True)
        recompute = torch.is_grad_enabled() and not self._fits(images, texts)
        n_images, text_chunks = self._chunks(images, texts, order)
        scores = []
        for _, some in images.chunks(n_images):
            sides = self._image_sides(some)
            parts = [
                checkpoint(self._score_chunk, sides, texts, rows, use_reentrant=False)
                if recompute
                else self._score_chunk(sides, texts, rows)
                for rows in text_chunks
            ]
            scores.append(torch.cat(parts, dim=2))  # (2, images of the chunk, n_texts)
        visual, textual = torch.cat(scores, dim=1)[:, :, order.argsort()]
        return {"visual": visual, "textual": textual}

    def combine(self, terms: Terms) -> Tensor:
        """The sum of both graphs' scores."""
        return terms["visual"] + terms["textual"]

    def features(self, batch: Batch) -> Terms:
        """The encodings of both sides, padded, with their lengths."""
        return {
            **_padded("image", self.encode_images(batch.images)),
            **_padded("text", self.encode_texts(batch.texts)),
        }

    def objective(self, features: Terms, ids: Tensor, progress: Progress) -> Terms:
        """Hinge loss of both directions. A second caption of an image counts as a negative, as in the released code.

        Of several processes each scores the pairs of its share of the images.
        """
        images, texts = _unpadded("image", features), _unpadded("text", features)
        rows = self.combine(self.score(images[own_rows(len(images))], texts))
        (similarity,) = gather_batch([rows])  # (B, B)
        i2t, t2i = hinge_costs(similarity, diagonal(ids), self.config.margin, hardest=progress.reached("max_violation"))
        return {"i2t": i2t, "t2i": t2i, "total": i2t + t2i}

    def _image_sides(self, images: Encoded) -> tuple[Blocks, Tensor]:
        """Regions cut into blocks and the weights of the visual graph: all that a chunk of captions needs of images."""
        regions, (places, _) = Nodes.gather(images["regions"]), gather_rows(images["places"])
        if self.config.propagate == "neighbours":
            places = self.visual.neighbour_weights(places, regions.valid)
        return Blocks.of(regions, self.config.num_blocks), places

    def _score_chunk(self, images: tuple[Blocks, Tensor], texts: Encoded, rows: Tensor) -> Tensor:
        """Both scores, (2, n_images, len(rows)), of some images and the captions `rows` (m,)."""
        regions, weights = images
        words = Nodes.gather(texts["words"], rows)
        cut = Blocks.of(words, self.config.num_blocks)
        visual, textual = match_blocks(regions, cut, self.config.lambda_softmax)
        edges = self._edges(words, texts, rows) if self.config.propagate == "neighbours" else None
        return torch.stack([self.visual(visual, weights, regions.valid), self.textual(textual, edges, words.valid)])

    def _edges(self, words: Nodes, texts: Encoded, rows: Tensor) -> Tensor:
        adjacency = None
        if self.config.text_graph == "sparse":
            adjacency = dependency_adjacency(*gather_rows(texts["dependencies"], rows), words.valid)
        return word_edges(words.features, words.valid, self.config.lambda_softmax, adjacency)

    def _chunks(self, images: Encoded, texts: Encoded, order: Tensor) -> tuple[int, list[Tensor]]:
        """Images per chunk, and `order` cut into chunks of captions, so that their pairs fit the working memory."""
        device, lengths, start = order.device, texts["words"].lengths[order].tolist(), 0
        word_bytes = self._node_pair_bytes() * int(images["regions"].lengths.max())
        limit = WORKING_BYTES.get(device.type, 64 << 20)
        words = chunk_size(word_bytes, len(images) * sum(lengths), device, limit)  # with one image each
        most = max(1, words // lengths[0])
        n_images, chunks = min(len(images), most, max(INNERMOST, math.isqrt(most))), []
        while start < len(order):
            n_texts = max(1, words // (n_images * lengths[start]))
            chunks.append(order[start : start + n_texts])
            start += n_texts
        return n_images, chunks

    def _fits(self, images: Encoded, texts: Encoded) -> bool:
        """Can a training step keep what its gradient needs of all pairs?"""
        values = texts["words"].values
        node_pairs, limit = len(images["regions"].values) * len(values), KEPT_BYTES.get(values.device.type, 2 << 30)
        return chunk_size(self._node_pair_bytes(), node_pairs, values.device, limit) == node_pairs

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


def _padded(side: str, encoded: Encoded) -> Terms:
    padded = {f"{side}.{name}": ragged.padded() for name, ragged in encoded.tensors.items()}
    return padded | {f"{side}.{name}.lengths": ragged.lengths for name, ragged in encoded.tensors.items()}


def _unpadded(side: str, features: Terms) -> Encoded:
    names = [key.split(".")[1] for key in features if key.startswith(f"{side}.") and key.count(".") == 1]
    return Encoded({n: Ragged.from_padded(features[f"{side}.{n}"], features[f"{side}.{n}.lengths"]) for n in names})
