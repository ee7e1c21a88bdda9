"""Streamed ranks and best items are those of the whole matrix: ties across borders of blocks, folds, any captions."""

import pytest
import torch

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.protocol import evaluate, pair_scores
from itm_harness.benchmarks.protocol.pair_scores import MeanScores, PairScores, mean_of, no_tick
from itm_harness.benchmarks.protocol.ranks import evaluate_matrix, top_items
from itm_harness.benchmarks.protocol.streaming import best_items, rank_stream
from itm_harness.benchmarks.records.schema import DETAIL_ARRAYS
from itm_harness.benchmarks.records.store import read_details
from itm_harness.benchmarks.runs.job import RunOptions
from itm_harness.benchmarks.runs.run import run
from itm_harness.methods.base import EmbeddingMethod, MethodConfig
from itm_harness.methods.parts.encoded import Encoded
from itm_tests.small_methods import Gallery, Pairs
from itm_tests.trees import write_coco, write_f30k

CPU = torch.device("cpu")


def embeddings(n, seed, levels=None):
    """levels: whole numbers up to so many, whose products are exact and tie often."""
    generator = torch.Generator().manual_seed(seed)
    if levels:
        return Encoded({"embedding": torch.randint(levels, (n, 4), generator=generator).float()})
    return Encoded({"embedding": torch.randn(n, 4, generator=generator)})


def owners(n_images, n_texts, seed):
    """One caption or more for each image, in any order."""
    generator = torch.Generator().manual_seed(seed)
    more = torch.randint(n_images, (n_texts - n_images,), generator=generator)
    return torch.cat([torch.arange(n_images), more])[torch.randperm(n_texts, generator=generator)]


def whole_items(similarity, owner, folds):
    size = len(similarity) // folds
    apart = (torch.arange(len(similarity)) // size)[:, None] != owner // size
    within = similarity.masked_fill(apart, -torch.inf)
    order = within.sort(dim=1, descending=True, stable=True), within.T.sort(dim=1, descending=True, stable=True)
    return [part for found in order for part in (found.indices[:, :10], found.values[:, :10])]


@pytest.mark.parametrize("step", [(3, 7), (1, 1), (20, 5), (512, 5000)])
@pytest.mark.parametrize("levels", [None, 2, 1])
def test_ranks_and_items_are_those_of_the_matrix(monkeypatch, step, levels):
    monkeypatch.setattr(pair_scores, "IMAGE_CHUNK", step[0])
    monkeypatch.setattr(pair_scores, "TEXT_CHUNK", step[1])
    images, texts, owner = embeddings(20, 0, levels), embeddings(57, 1, levels), owners(20, 57, 2)
    pairs = PairScores(Pairs(MethodConfig()), images, texts, CPU, no_tick)
    similarity = torch.cat([torch.cat([b.scores for b in pairs.blocks() if b.rows.start == r], dim=1)
                            for r in range(0, 20, step[0])])  # fmt: skip
    for folds, found in zip((1, 5, 2), rank_stream(pairs, owner, (1, 5, 2)), strict=True):
        expected = evaluate_matrix(similarity, owner, folds)
        assert (found.evaluation.i2t, found.evaluation.t2i) == (expected.i2t, expected.t2i)
        for name in ("i2t", "t2i", "i2t_ties", "t2i_ties"):
            assert torch.equal(getattr(found.evaluation.ranks, name), getattr(expected.ranks, name)), name
        best = (found.i2t_top, found.i2t_scores, found.t2i_top, found.t2i_scores)
        assert all(
            torch.equal(a.double(), b.double())
            for a, b in zip(best, whole_items(similarity, owner, folds), strict=True)
        )


def test_the_matrix_lists_the_same_items_among_equal_scores():
    similarity = torch.randint(3, (6, 40), generator=torch.Generator().manual_seed(0)).float()
    indices, scores = top_items(similarity)
    expected = similarity.sort(dim=1, descending=True, stable=True)
    assert torch.equal(indices.long(), expected.indices[:, :10])
    assert torch.equal(scores, expected.values[:, :10])


def test_a_gallery_score_sees_complete_rows(monkeypatch):
    monkeypatch.setattr(pair_scores, "TEXT_CHUNK", 7)
    monkeypatch.setattr(pair_scores, "ROW_ELEMENTS", 57 * 3)  # three rows at a time
    images, texts, owner = embeddings(20, 0), embeddings(57, 1), owners(20, 57, 2)
    pairs = PairScores(Gallery(MethodConfig()), images, texts, CPU, no_tick)
    assert {block.scores.shape for block in pairs.blocks()} == {(3, 57), (2, 57)}
    expected = evaluate_matrix((images["embedding"] @ texts["embedding"].T).softmax(dim=1), owner)
    (found,) = rank_stream(pairs, owner)
    assert torch.equal(found.evaluation.ranks.t2i, expected.ranks.t2i)


def test_an_ensemble_is_streamed_as_the_mean_of_its_matrices(monkeypatch):
    monkeypatch.setattr(pair_scores, "TEXT_CHUNK", 11)
    owner = owners(20, 57, 2)
    members = [(Pairs, 0), (Gallery, 2)]  # blocks of other widths
    galleries = [(kind(MethodConfig()), embeddings(20, seed), embeddings(57, seed + 1)) for kind, seed in members]
    matrices = [evaluate.similarity_matrix(*gallery) for gallery in galleries]
    streamed = mean_of([PairScores(*gallery, CPU, no_tick) for gallery in galleries])
    assert isinstance(streamed, MeanScores)
    (found,) = rank_stream(streamed, owner)
    assert found.evaluation.rsum == evaluate_matrix(mean_of(matrices), owner).rsum
    assert torch.equal(found.i2t_scores, top_items(mean_of(matrices))[1])


def test_a_score_that_is_not_finite_is_refused_wherever_it_stands(monkeypatch):
    monkeypatch.setattr(pair_scores, "IMAGE_CHUNK", 4)
    images, texts = embeddings(20, 0), embeddings(57, 1)
    images["embedding"][13] = torch.nan
    with pytest.raises(RunError, match="row 13"):
        rank_stream(PairScores(Pairs(MethodConfig()), images, texts, CPU, no_tick), owners(20, 57, 2))
    with pytest.raises(RunError, match="57 columns but there are 50"):
        rank_stream(PairScores(Pairs(MethodConfig()), images, texts, CPU, no_tick), owners(20, 50, 2))


def test_every_pair_is_scored_about_once(monkeypatch):
    """The right pairs' scores come first, but from the blocks of the diagonal alone."""
    scored = []

    class Counting(EmbeddingMethod):
        embed_images = embed_texts = None

        def score(self, images, texts):
            scored.append(len(images) * len(texts))
            return super().score(images, texts)

    monkeypatch.setattr(pair_scores, "IMAGE_CHUNK", 10)
    monkeypatch.setattr(pair_scores, "TEXT_CHUNK", 50)
    pairs = PairScores(Counting(MethodConfig()), embeddings(100, 0), embeddings(500, 1), CPU, no_tick)
    rank_stream(pairs, torch.arange(500) // 5, k=0)
    assert sum(scored) == 100 * 500 + 10 * (10 * 50)


@pytest.mark.parametrize(("method", "dataset"), [("gpo", "coco"), ("gsmn", "f30k")])
def test_a_run_without_room_for_the_matrix_ends_with_the_same_record(
    method, dataset, tmp_path, accelerator, quiet, monkeypatch
):
    (write_coco if dataset == "coco" else write_f30k)(tmp_path)
    overrides = {"train.batch_size": 8, "train.epochs": 2, "text.bert": None, "embed_size": 16}
    monkeypatch.setattr(pair_scores, "IMAGE_CHUNK", 5)
    job = RunOptions(method, dataset, tmp_path, overrides=overrides, output=tmp_path / "whole")
    (whole,) = run(job, [0], accelerator, quiet)
    monkeypatch.setattr(evaluate, "free_memory", lambda device: 0)  # encodings go to disk as well
    monkeypatch.setattr(evaluate, "similarity_matrix", None)
    (streamed,) = run(RunOptions(**{**vars(job), "output": tmp_path / "streamed"}), [0], accelerator, quiet)
    assert streamed.metrics == whole.metrics
    assert streamed.history == whole.history
    assert streamed.score_seconds > 0
    found, expected = (
        read_details(r, tmp_path / r_dir / "results" / "local")
        for r, r_dir in ((streamed, "streamed"), (whole, "whole"))
    )
    for benchmark in expected:
        for name in DETAIL_ARRAYS:
            assert (getattr(found[benchmark], name) == getattr(expected[benchmark], name)).all(), (benchmark, name)


def test_scores_that_rank_nothing_end_in_a_record_that_says_so(tmp_path, accelerator, quiet, monkeypatch):
    write_f30k(tmp_path)
    overrides = {"train.batch_size": 8, "train.epochs": 1, "text.bert": None, "embed_size": 16, "optim.lr": 1e30}
    monkeypatch.setattr(evaluate, "free_memory", lambda device: 0)
    (record,) = run(RunOptions("gpo", "f30k", tmp_path, overrides=overrides, output=tmp_path), [0], accelerator, quiet)
    assert "not finite" in record.diverged
    assert record.metrics["f30k-1k"].rsum == 0


def test_long_lists_are_those_of_the_matrix(monkeypatch):
    monkeypatch.setattr(pair_scores, "IMAGE_CHUNK", 4)
    monkeypatch.setattr(pair_scores, "TEXT_CHUNK", 9)
    gallery = Pairs(MethodConfig()), embeddings(20, 0, levels=2), embeddings(57, 1, levels=2)
    similarity = evaluate.similarity_matrix(*gallery)
    i2t, t2i = best_items(PairScores(*gallery, CPU, no_tick), 30)
    assert torch.equal(i2t, top_items(similarity, 30)[0])
    assert torch.equal(t2i, top_items(similarity.T, 30)[0])
