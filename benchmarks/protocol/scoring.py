"""From a similarity matrix to what a record holds: the metrics and per-query details of every benchmark."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.protocol.pair_scores import Streamed
from itm_harness.benchmarks.protocol.ranks import Evaluation, evaluate_matrix, top_items
from itm_harness.benchmarks.protocol.streaming import Ranking, rank_stream
from itm_harness.benchmarks.records.schema import Details, Metrics
from itm_harness.datasets.spec import BenchmarkSpec
from itm_harness.datasets.split import Split


def benchmarks_of(test: Split) -> list[BenchmarkSpec]:
    """The benchmarks that the test split can be measured on: those into whose folds its images divide.

    Only after --limit can there be others. Raises RunError where none is left.
    """
    usable = [b for b in test.dataset.spec.benchmarks if test.n_images % b.folds == 0]
    if not usable:
        folds = ", ".join(f"{b.name}: {b.folds}" for b in test.dataset.spec.benchmarks)
        raise RunError(f"{test.n_images} test images do not divide into the folds of any benchmark ({folds}).")
    return usable


def benchmark_results(similarity: Tensor | Streamed, test: Split) -> tuple[dict[str, Metrics], dict[str, Details]]:
    """Metrics and details of each benchmark of a test split. similarity: (n_images, n_texts), or in blocks."""
    benchmarks, owner = benchmarks_of(test), test.image_of_text
    folds = [benchmark.folds for benchmark in benchmarks]
    if isinstance(similarity, Tensor):
        rankings = [_rank(similarity, owner, count) for count in folds]
    else:
        rankings = rank_stream(similarity, owner, folds)
    named = dict(zip([benchmark.name for benchmark in benchmarks], rankings, strict=True))
    metrics = {name: as_metrics(ranking.evaluation) for name, ranking in named.items()}
    return metrics, {name: _details(ranking, owner) for name, ranking in named.items()}


def evaluate(similarity: Tensor | Streamed, image_of_text: Tensor) -> Evaluation:
    """Metrics of a gallery as a whole. similarity: (n_images, n_texts), or in blocks."""
    if isinstance(similarity, Tensor):
        return evaluate_matrix(similarity, image_of_text)
    return rank_stream(similarity, image_of_text, k=0)[0].evaluation


def as_metrics(evaluation: Evaluation) -> Metrics:
    """An evaluation in the shape of the result store."""
    return Metrics(
        i2t=evaluation.i2t,
        t2i=evaluation.t2i,
        rsum=evaluation.rsum,
        n_images=len(evaluation.ranks.i2t),
        n_texts=len(evaluation.ranks.t2i),
        folds=len(evaluation.folds),
    )


def _rank(similarity: Tensor, image_of_text: Tensor, folds: int) -> Ranking:
    evaluation = evaluate_matrix(similarity, image_of_text, folds)
    within = similarity if folds == 1 else _within_folds(similarity, image_of_text, folds)
    return Ranking(evaluation, *top_items(within), *top_items(within.T))


def _details(ranking: Ranking, image_of_text: Tensor) -> Details:
    ranks = ranking.evaluation.ranks
    best = (ranking.i2t_top, ranking.i2t_scores, ranking.t2i_top, ranking.t2i_scores)
    return Details(*(np.asarray(array) for array in (ranks.i2t, ranks.t2i, image_of_text, *best)))


def _within_folds(similarity: Tensor, image_of_text: Tensor, folds: int) -> Tensor:
    """The matrix with −inf between folds, so that the top ten of a query come from its own fold."""
    size = len(similarity) // folds
    fold_of_image = torch.arange(len(similarity), device=similarity.device) // size
    fold_of_text = image_of_text.to(similarity.device) // size
    return similarity.masked_fill(fold_of_image[:, None] != fold_of_text, -torch.inf)
