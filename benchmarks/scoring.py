"""From a similarity matrix to what a record holds: the metrics and per-query details of every benchmark."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.errors import RunError
from benchmarks.protocol import Evaluation, evaluate_matrix, top_items
from benchmarks.records import Details, Metrics
from datasets.precomp import Split
from datasets.spec import BenchmarkSpec


def benchmarks_of(test: Split) -> list[BenchmarkSpec]:
    """The benchmarks that the test split can be measured on: those into whose folds its images divide.

    Only after --limit can there be others. Raises RunError where none is left.
    """
    usable = [b for b in test.dataset.spec.benchmarks if test.n_images % b.folds == 0]
    if not usable:
        folds = ", ".join(f"{b.name}: {b.folds}" for b in test.dataset.spec.benchmarks)
        raise RunError(f"{test.n_images} test images do not divide into the folds of any benchmark ({folds}).")
    return usable


def benchmark_results(similarity: Tensor, test: Split) -> tuple[dict[str, Metrics], dict[str, Details]]:
    """Metrics and details of each benchmark of a test split. similarity: (n_images, n_texts)."""
    metrics, details = {}, {}
    for benchmark in benchmarks_of(test):
        evaluation = evaluate_matrix(similarity, test.image_of_text, benchmark.folds)
        metrics[benchmark.name] = as_metrics(evaluation)
        details[benchmark.name] = _details(similarity, test.image_of_text, benchmark.folds, evaluation)
    return metrics, details


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


def _details(similarity: Tensor, image_of_text: Tensor, folds: int, evaluation: Evaluation) -> Details:
    within = similarity if folds == 1 else _within_folds(similarity, image_of_text, folds)
    i2t_top, i2t_scores = top_items(within)
    t2i_top, t2i_scores = top_items(within.T)
    ranks = evaluation.ranks
    return Details(ranks.i2t, ranks.t2i, image_of_text, i2t_top, i2t_scores, t2i_top, t2i_scores)


def _within_folds(similarity: Tensor, image_of_text: Tensor, folds: int) -> Tensor:
    """The matrix with −inf between folds, so that the top ten of a query come from its own fold."""
    size = len(similarity) // folds
    fold_of_image = torch.arange(len(similarity), device=similarity.device) // size
    fold_of_text = image_of_text.to(similarity.device) // size
    return similarity.masked_fill(fold_of_image[:, None] != fold_of_text, -torch.inf)
