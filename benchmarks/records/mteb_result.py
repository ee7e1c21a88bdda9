"""A record as results of MTEB's image-text retrieval tasks, one per direction, in the shape of its result files.

The shape is that of `TaskResult`, https://embeddings-benchmark.github.io/mteb/api/results/, whose scores are shares:
ndcg_at_10, the main score of these tasks, and cv_recall_at_k, which counts a query as right where one of its items is
among the k best: R@K here. Nothing of mteb ran: mteb_version is null, dataset_revision names this harness's data.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.records.schema import TOP, Details, Direction, Record

TASKS = {"f30k-1k": "Flickr30k", "coco-5k": "MSCOCO"}  # whole galleries that MTEB has tasks of; others: our own names
DIRECTIONS = ("i2t", "t2i")


def mteb_results(record: Record, details: dict[str, Details]) -> dict[str, dict[str, Any]]:
    """Task name -> content of its result file. details: of the record, by benchmark.

    Raises RunError where every benchmark is a mean over folds, which MTEB does not have.
    """
    whole = [name for name, metrics in record.metrics.items() if metrics.folds == 1]
    if not whole:
        raise RunError(
            f"record {record.id} holds means over folds alone, which MTEB does not know; export another one."
        )
    return {
        f"{TASKS.get(name, name)}{side.upper()}Retrieval": _task_result(record, name, side, details[name])
        for name in whole
        for side in DIRECTIONS
    }


def _task_result(record: Record, benchmark: str, side: str, details: Details) -> dict[str, Any]:
    direction: Direction = getattr(record.metrics[benchmark], side)
    main = ndcg(details, side)
    scores = {
        "main_score": main,
        f"ndcg_at_{TOP}": main,
        **{f"cv_recall_at_{k}": round(getattr(direction, f"r{k}") / 100, 6) for k in (1, 5, 10)},
        "hf_subset": "default",
        "languages": ["eng-Latn"],
    }
    seconds = [record.encode_seconds, record.score_seconds]
    return {
        "dataset_revision": f"itm-harness {record.dataset} {record.data_fingerprint}",
        "task_name": f"{TASKS.get(benchmark, benchmark)}{side.upper()}Retrieval",
        "mteb_version": None,
        "scores": {"test": [scores]},
        "evaluation_time": None if None in seconds else sum(seconds),
        "kg_co2_emissions": None,
        "date": record.created.timestamp(),
    }


def ndcg(details: Details, side: str) -> float:
    """Mean normalised discounted cumulative gain of the ten best: an item that belongs to the query gains 1."""
    owner = details.image_of_text
    if side == "i2t":
        right = owner[details.i2t_top] == np.arange(len(details.i2t_top))[:, None]  # (Q, k)
        positives = np.bincount(owner, minlength=len(right))
    else:
        right = details.t2i_top == owner[:, None]
        positives = np.ones(len(right), int)
    discounts = 1 / np.log2(np.arange(TOP) + 2)
    ideal = np.concatenate([[0], np.cumsum(discounts)])[np.minimum(positives, TOP)]
    return round(float((right @ discounts[: right.shape[1]] / ideal).mean()), 6)
