"""Timing changes no bit of a score, and each half gets its own time."""

import pytest
import torch

from itm_harness.benchmarks.protocol import timed_scoring
from itm_harness.benchmarks.protocol.evaluate import score_split
from itm_harness.benchmarks.runs.job import Job, RunOptions
from itm_tests.trees import write_f30k


def test_the_score_is_the_same_and_the_times_are_of_its_halves(tmp_path, monkeypatch):
    write_f30k(tmp_path)
    job = Job(RunOptions("gpo", "f30k", tmp_path, overrides={"text.bert": None, "embed_size": 16}))
    method, test, cpu = job.build(0), job.split("test"), torch.device("cpu")
    clock = iter([1.0, 3.0, 8.0])
    monkeypatch.setattr(timed_scoring.time, "monotonic", lambda: next(clock))
    scored = timed_scoring.score_split_timed(method, test, 8, cpu)
    assert torch.equal(scored.similarity, score_split(method, test, 8, cpu))
    assert scored.times() == pytest.approx({"encode_seconds": 2, "score_seconds": 5})
