"""Golden cases of the protocol: ranks, recalls, folds, ensembles, ECCV Caption."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from itm_harness.benchmarks.protocol import eccv
from itm_harness.benchmarks.protocol.ranks import (
    Evaluation,
    Ranks,
    direction_metrics,
    ensemble,
    evaluate_matrix,
    rank_matrix,
    top_items,
)
from itm_harness.benchmarks.records.schema import Direction
from itm_harness.benchmarks.verify.case import Case

DIRECTIONS = ("i2t", "t2i")


def check(case: Case) -> None:
    """The kind of a case shows in its hyper-parameters."""
    if "folds" in case.config:
        check_folds(case)
    elif "matrices" in case.config:
        for name in case.setting("matrices"):
            check_ranks(case, name)
    else:
        check_eccv(case)


def check_ranks(case: Case, name: str) -> None:
    """Ranks, recalls and best items of one matrix."""
    similarity = case.input(name)
    ranks = rank_matrix(similarity, owners(similarity, case.setting("captions_per_image")))
    orders = sorted(
        n.removesuffix("i2t_ranks") for n in case.expected if n.startswith(name) and n.endswith("i2t_ranks")
    )
    for order in orders:
        check_order(case, order, ranks)
    for direction, matrix in zip(DIRECTIONS, (similarity, similarity.T), strict=True):
        worst, ties = getattr(ranks, direction), getattr(ranks, f"{direction}_ties")
        case.compare(f"{name}/{direction}_rank_worst", worst)
        case.compare(f"{name}/{direction}_rank_best", worst - ties)
        check_best_item(case, f"{name}/{direction}_top1", matrix)


def check_order(case: Case, order: str, ranks: Ranks) -> None:
    """Official ranks and recalls under one order of the ties: inside our bounds, and our recalls of these ranks.

    Without ties the bounds coincide, and this is equality.
    """
    total = 0.0
    for direction in DIRECTIONS:
        official = torch.from_numpy(case.expected[f"{order}{direction}_ranks"])
        worst, ties = getattr(ranks, direction), getattr(ranks, f"{direction}_ties")
        outside = torch.maximum(official - worst, worst - ties - official).clamp(min=0)
        case.report.add(f"{order}{direction}_ranks", float(outside.max()), 0)
        found = direction_metrics(official)
        case.compare(f"{order}{direction}", row(found))
        total += found.total
    case.compare(f"{order}rsum", total)


def check_best_item(case: Case, name: str, matrix: Tensor) -> None:
    """The official first item has our best score; among equal scores the official order decides."""
    if case.expects(name):
        official = matrix.gather(1, torch.from_numpy(case.expected[name])[:, None])
        case.report.add(name, float((top_items(matrix, 1)[1] - official).abs().max()), 0)


def check_folds(case: Case) -> None:
    """Folds and the whole gallery, for each matrix and for their ensemble."""
    matrices = {name: case.input(name) for name in case.inputs}
    matrices["ensemble"] = ensemble(list(matrices.values()))
    for name, similarity in matrices.items():
        owner = torch.arange(similarity.shape[1]) // case.setting("captions_per_image")
        folded, whole = evaluate_matrix(similarity, owner, case.setting("folds")), evaluate_matrix(similarity, owner)
        case.compare(f"{name}/fold5_rows", [both(i2t, t2i) for i2t, t2i in folded.folds])
        case.compare(f"{name}/fold5_mean", both(folded.i2t, folded.t2i))
        case.compare(f"{name}/full_i2t", row(whole.i2t))
        case.compare(f"{name}/full_t2i", row(whole.t2i))


def check_eccv(case: Case) -> None:
    """ECCV Caption and CxC on a similarity matrix made from a seed."""
    if not eccv.installed():
        case.report.not_run = f"the eccv_caption library is missing: {eccv.REMEDY}"
        return
    gallery = eccv.coco_gallery()
    digest = hashlib.md5(gallery.caption_ids.astype(np.int64).tobytes(), usedforsecurity=False).hexdigest()
    case.report.add("coco_ids_md5", float(digest.encode() != case.input("coco_ids_md5").numpy().tobytes()), 0)
    similarity = integer_similarity(case, gallery.image_of_caption)
    case.compare("check/captions_per_image", np.bincount(np.bincount(gallery.image_of_caption)))
    case.compare("check/sims_sample", similarity[[0, 1, 2, -1]][:, [0, 1, 2, -1]])
    case.compare("check/sims_sum", similarity.sum(dtype=np.float64))
    case.compare("check/image_ids_head", gallery.image_ids[:10])
    case.compare("check/caption_ids_head", gallery.caption_ids[:10])
    case.compare("check/caption_image_head", gallery.image_of_caption[:10])
    found = eccv.eccv_metrics(torch.from_numpy(similarity), gallery.image_ids, gallery.caption_ids)
    for name, value in found.items():
        case.compare(name, value)


def integer_similarity(case: Case, image_of_caption: np.ndarray) -> np.ndarray:
    """(n_images, n_captions) float32, made of integers, so that it is exact in every order of summation."""
    generator = np.random.Generator(np.random.PCG64(case.setting("seed")))
    dim, scale = case.setting("dim"), case.setting("scale")
    images = np.rint(scale * generator.standard_normal((case.setting("n_images"), dim))).astype(np.float32)
    noise = generator.standard_normal((case.setting("n_captions"), dim))
    captions = np.rint(images[image_of_caption].astype(np.float64) + scale * case.setting("noise") * noise)
    return images @ captions.astype(np.float32).T


def owners(similarity: Tensor, captions_per_image: int) -> Tensor:
    """(n_texts,) the image of each caption."""
    return torch.arange(similarity.shape[1]) // captions_per_image


def row(found: Direction) -> list[float]:
    """R@1, R@5, R@10, median rank, mean rank: the order of the official functions."""
    return [found.r1, found.r5, found.r10, found.median, found.mean]


def both(i2t: Direction, t2i: Direction) -> list[float]:
    """The row that the official fold evaluation makes: both directions, their mean recalls, rsum."""
    return [*row(i2t), *row(t2i), i2t.total / 3, t2i.total / 3, i2t.total + t2i.total]


def compare_evaluation(case: Case, prefix: str, evaluation: Evaluation) -> None:
    """Recalls and ranks under `prefix`, as the cases of methods hold them."""
    for direction in DIRECTIONS:
        case.compare(f"{prefix}{direction}", row(getattr(evaluation, direction)))
        case.compare(f"{prefix}{direction}_ranks", getattr(evaluation.ranks, direction))
