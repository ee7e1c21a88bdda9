"""Runs that diverge end, are told apart, and have a record that says why."""

import pytest
import torch

from itm_harness.benchmarks.protocol.divergence import collapse
from itm_harness.benchmarks.protocol.ranks import evaluate_matrix
from itm_harness.benchmarks.protocol.scoring import as_metrics
from itm_harness.benchmarks.records.store import read_record, record_path
from itm_harness.benchmarks.runs.job import RunOptions
from itm_harness.benchmarks.runs.run import run
from itm_tests.trees import write_f30k

IMAGES, EACH = 200, 5
OWNERS = torch.arange(IMAGES).repeat_interleave(EACH)

DIVERGING = """
import torch
from itm_harness.methods.gpo import GPO
from itm_harness.methods.registry import register

@register("nan_loss")
class NaNLoss(GPO):
    def objective(self, features, ids, progress):
        terms = super().objective(features, ids, progress)
        return {"total": terms["total"] * (torch.nan if progress.epoch >= FIRST else 1)}

@register("overflow")
class Overflow(GPO):
    def after_step(self, progress):
        if progress.epoch >= FIRST:
            with torch.no_grad():
                self.regions.fc.weight.mul_(torch.inf)

@register("constant")
class Constant(GPO):
    def embed_images(self, images):
        return super().embed_images(images) * 0 + 1

    def embed_texts(self, texts):
        return super().embed_texts(texts) * 0 + 1
"""


def train(tmp_path, accelerator, quiet, name, first=0, **overrides):
    """A run of one of the methods above, which diverges in the epoch `first`."""
    write_f30k(tmp_path / "data", images=40)
    (tmp_path / "diverging.py").write_text(DIVERGING.replace("FIRST", str(first)))
    sizes = {"embed_size": 8, "train.batch_size": 50, "train.epochs": 4, "text.bert": None, "text.word_dim": 8}
    method = f"{tmp_path / 'diverging.py'}:{name}"
    job = RunOptions(method, "f30k", tmp_path / "data", output=tmp_path, overrides={**sizes, **overrides})
    (record,) = run(job, [0], accelerator, quiet)
    assert read_record(record_path(record, tmp_path / "results" / "local")) == record
    return record


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("NaNLoss", "no step of epoch 3 had a finite loss"),
        ("Overflow", "parameters are not finite after epoch 3"),
    ],
)
def test_a_run_that_diverges_later_ends_there_and_tests_the_epoch_before(name, reason, tmp_path, accelerator, quiet):
    record = train(tmp_path, accelerator, quiet, name, first=2)
    assert reason in record.diverged
    assert f"DIVERGED: {record.diverged}" in quiet.file.getvalue()
    assert [e.epoch for e in record.history] == [0, 1, 2]
    assert record.history[2].dev_rsum is None
    assert record.selected_epoch < 2
    assert record.metrics["f30k-1k"].rsum > 0


def test_steps_that_were_skipped_stand_in_their_epoch(tmp_path, accelerator, quiet):
    record = train(tmp_path, accelerator, quiet, "NaNLoss", first=1)
    assert [e.skipped for e in record.history] == [0, 4]
    assert [e.loss is None for e in record.history] == [False, True]
    assert record.skipped_steps == 4
    assert "4 steps skipped" in quiet.file.getvalue()


@pytest.mark.parametrize("select", ["dev", "last"])
def test_a_model_without_finite_scores_gets_no_query_right(select, tmp_path, accelerator, quiet):
    record = train(tmp_path, accelerator, quiet, "Overflow", **{"train.select": select})
    assert "parameters are not finite after epoch 1" in record.diverged
    measured = record.metrics["f30k-1k"]
    assert (measured.rsum, measured.i2t.ties, measured.t2i.ties) == (0, measured.n_images, measured.n_texts)


def test_collapsed_embeddings_are_recognised_by_ties_at_chance(tmp_path, accelerator, quiet):
    record = train(tmp_path, accelerator, quiet, "Constant")
    assert "embeddings have collapsed" in record.diverged
    assert record.skipped_steps == 0


def test_a_diverged_run_is_not_trained_on_by_the_same_command(tmp_path, accelerator, quiet):
    first = train(tmp_path, accelerator, quiet, "NaNLoss", first=1)
    assert train(tmp_path, accelerator, quiet, "NaNLoss", first=1) == first
    assert "already done" in quiet.file.getvalue()


def metrics(similarity, folds=1):
    """Benchmark -> metrics of this matrix."""
    return {"f8k-1k": as_metrics(evaluate_matrix(similarity, OWNERS, folds))}


@pytest.mark.parametrize("folds", [1, 4])
def test_what_counts_as_collapse(folds):
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(IMAGES, IMAGES * EACH, generator=generator)
    own = torch.nn.functional.one_hot(OWNERS, IMAGES).T.float()
    tied = random.clone()
    tied[:, ::2] = 10.0  # half of the captions look alike
    assert "R@1 is at chance" in collapse(metrics(tied, folds))
    assert collapse(metrics(random, folds)) is None  # untrained, but every item has a score of its own
    some = own * (torch.arange(IMAGES) % 5 == 0)[:, None]  # a fifth is learnt, the rest ties
    assert collapse(metrics(some, folds)) is None
