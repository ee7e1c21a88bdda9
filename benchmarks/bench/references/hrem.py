"""HREM's training computations, slow and obvious: one caption, one image, one positive pair after the other.

The tests compare the batched forms with these, and the bench command times both.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu, log_softmax, normalize, softmax

from itm_harness.datasets.batch import Batch
from itm_harness.methods.base import Progress, Terms
from itm_harness.methods.encoders.fragments import FragmentEncoder
from itm_harness.methods.graphs.instance_graph import Adjacency, AdjacencyLearning
from itm_harness.methods.hrem import HREM
from itm_harness.methods.losses.hinge import same_image
from itm_harness.methods.losses.triplet import Choice, sampling_weights
from itm_harness.methods.parts.normalise import l2norm


def largest_with_zeros(values: Tensor, k: int) -> list[Tensor]:
    """The k largest of a 1-d tensor, descending; zeros count where it holds fewer than k."""
    missing = values.new_zeros(max(0, k - len(values)))
    return list(torch.cat([values, missing]).sort(descending=True).values[:k])


def pair_scores(words: Tensor, regions: Tensor, length: int, topk: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One caption and one image: t2i mean and top values, i2t mean and top values.

    words: (L, d), the first `length` valid. regions: (N, d), padding included.
    """
    words = words[: max(length, topk)]
    cosines = torch.stack([torch.stack([word @ region for region in regions]) for word in words])  # (L, N)
    cosines = leaky_relu(cosines, 0.1)
    per_word = normalize(cosines, dim=0).max(dim=1).values  # (L,)
    per_region = normalize(cosines, dim=1)[:length].max(dim=0).values  # (N,)
    return (
        per_word[:length].mean(),
        torch.stack(largest_with_zeros(per_word, topk)),
        per_region.mean(),
        torch.stack(largest_with_zeros(per_region, topk)),
    )


def caption_scores(words: Tensor, regions: Tensor, length: int, topk: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One caption and every image, as the released code computes them: `pair_scores` with a first axis of images."""
    n_images, n_regions, _ = regions.shape
    words = words[: max(length, topk)]
    cosines = leaky_relu(words[None] @ regions.transpose(1, 2), 0.1)  # (B, L, N)
    per_word = normalize(cosines, dim=1).max(dim=2).values  # (B, L)
    per_region = normalize(cosines, dim=2)[:, :length].max(dim=1).values  # (B, N)
    no_words = per_word.new_zeros(n_images, max(0, topk - len(words)))
    no_regions = per_region.new_zeros(n_images, max(0, topk - n_regions))
    return (
        per_word[:, :length].mean(dim=1),
        torch.cat([per_word, no_words], dim=1).topk(topk, dim=1).values,
        per_region.mean(dim=1),
        torch.cat([per_region, no_regions], dim=1).topk(topk, dim=1).values,
    )


def connection(scores: Tensor, threshold: float) -> Tensor:
    """(B, B) bool: each row keeps what reaches its int(B·threshold)-th largest value."""
    k = max(1, int(len(scores) * threshold))
    return torch.stack([row >= row.sort(descending=True).values[k - 1] for row in scores])


def divergence(target: Tensor, relevance: Tensor) -> Tensor:
    """KL(softmax(relevance) ‖ softmax(target)) of each row, averaged."""
    p, log_q = softmax(relevance, dim=1), log_softmax(target, dim=1)
    return (p * (p.log() - log_q)).sum(dim=1).mean()


def closeness(a: Tensor, b: Tensor) -> Tensor:
    """exp(−distance), one row of `a` after the other; the distance of equal vectors has no gradient."""
    return torch.stack([torch.cdist(row[None], b)[0].neg().exp() for row in a])


def adjacency(
    module: AdjacencyLearning, image: Tensor, text: Tensor, regions: Tensor, words: Tensor, lengths: Tensor
) -> Adjacency:
    """Connection and relevance with a loop over the captions. Arguments and result as of `module` itself."""
    words, regions = normalize(words.detach(), dim=2), normalize(regions.detach(), dim=2)
    t2i_means, i2t_means, t2i, i2t = [], [], [], []
    for caption, length in zip(words, lengths.tolist(), strict=True):
        t2i_mean, t2i_top, i2t_mean, i2t_top = caption_scores(caption, regions, length, module.topk)
        t2i_means.append(t2i_mean)
        i2t_means.append(i2t_mean)
        t2i.append(module.mlp_t2i(t2i_top)[:, 0] + t2i_mean)
        i2t.append(module.mlp_i2t(i2t_top)[:, 0] + i2t_mean)
    t2i, i2t = torch.stack(t2i), torch.stack(i2t, dim=1)
    means = [[image @ image.T, torch.stack(i2t_means, dim=1)], [torch.stack(t2i_means), text @ text.T]]
    relevance = [[closeness(image, image), i2t], [t2i, closeness(text, text)]]
    target = closeness(image, text).detach()
    return Adjacency(
        torch.cat([torch.cat([connection(m, module.threshold) for m in row], dim=1) for row in means]),
        torch.cat([torch.cat(row, dim=1) for row in relevance]),
        divergence(target, i2t) + divergence(target.T, t2i),
    )


def k_max(fragments: Tensor, lengths: Tensor) -> Tensor:
    """2-max pooling, one item after the other; an item of one fragment lowers k for those behind it, as released."""
    k, pooled = 2, []
    for rows, length in zip(fragments, lengths.tolist(), strict=True):
        k = min(k, length)
        pooled.append(rows[:length].sort(dim=0, descending=True).values[:k].mean(dim=0))
    return torch.stack(pooled)


def embed(encoder: FragmentEncoder, fragments: Tensor, lengths: Tensor) -> Tensor:
    """One side's embeddings in training."""
    related = encoder.related(fragments, lengths)
    means = torch.stack([rows[:length].mean(dim=0) for rows, length in zip(related, lengths.tolist(), strict=True)])
    return l2norm(encoder.residual_weight * k_max(fragments, lengths) + (1 - encoder.residual_weight) * means)


def triplet_loss(similarity: Tensor, positives: Tensor, cutoff: float, choose: Choice) -> Tensor:
    """The distance-weighted triplet loss with a loop over the positive pairs."""
    total = similarity.new_zeros(())
    for s in (similarity, similarity.T):
        pairs = positives.nonzero().tolist()
        weights = sampling_weights(s.detach(), positives, cutoff)
        negatives = choose(torch.stack([weights[anchor] for anchor, _ in pairs])).tolist()
        if min(negatives) < 0:
            continue
        for (anchor, positive), negative in zip(pairs, negatives, strict=True):
            total = total + (0.2 + s[anchor, negative] - s[anchor, positive]).clamp(min=0)
    return total


def reference_forward(method: HREM, batch: Batch, progress: Progress) -> Terms:
    """The loss terms of a training step with trip losses, in loops: `method(batch, progress)` is the fast path."""
    regions = method.regions(batch.images.regions)
    words = method.words(batch.texts.words, batch.texts.lengths)
    image = embed(method.image_fragments, regions, batch.images.lengths)
    text = embed(method.text_fragments, words, batch.texts.lengths)
    positives = same_image(batch.texts.image_ids)

    def trip(image: Tensor, text: Tensor) -> Tensor:
        return triplet_loss(image @ text.T, positives, method.config.cutoff, method.choose)

    terms = {"base": trip(image, text)}
    if not progress.reached("graph"):
        return {**terms, "total": terms["base"]}
    graph, instances = method.graph, torch.cat([image, text])
    found = adjacency(graph.adjacency, image, text, regions, words, batch.texts.lengths)
    for layer, attends in zip(graph.layers, graph.attends, strict=True):
        instances = normalize(layer(instances[None], src_mask=graph.attention_mask(found, attends))[0], dim=1)
    enhanced_image, enhanced_text = instances.split(len(image))
    terms["graph_text"] = trip(image, enhanced_text)
    terms["graph_image"] = trip(enhanced_image, text)
    terms["graph_both"] = trip(enhanced_image, enhanced_text)
    total = sum(terms.values()) + method.config.reg_weight * found.regularisation
    return {**terms, "reg": found.regularisation, "total": total}
