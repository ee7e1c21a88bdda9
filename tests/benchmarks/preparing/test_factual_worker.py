"""FactualSceneGraph's process: what fits into memory is found once, and weights are tensors and nothing else."""

from types import SimpleNamespace

import pytest
import torch

from itm_harness.benchmarks.preparing import factual_worker
from itm_harness.benchmarks.preparing.factual_worker import Parser, _read_only_tensors

GRAPH = {"entities": [{"head": "dog", "attributes": {"red", "big"}}], "relations": []}


class Parsing:
    """The package's parser on a GPU that holds `most` captions; tried: how many it was given at a time."""

    def __init__(self, most, error=torch.cuda.OutOfMemoryError("CUDA out of memory")):
        self.most, self.error, self.tried = most, error, []

    def parse(self, captions, beam_size, return_text, batch_size):
        self.tried.append(batch_size)
        if batch_size > self.most:
            raise self.error
        return [GRAPH] * len(captions)


@pytest.mark.parametrize(
    "error", [torch.cuda.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUBLAS_STATUS_ALLOC_FAILED")]
)
def test_what_fits_is_found_once(error):
    package = Parsing(9, error)
    parser, graph = Parser(package), {"entities": [{"name": "dog", "attributes": ["big", "red"]}], "relations": []}
    for _ in range(3):
        assert parser.graphs(["x"] * 32) == [graph] * 32
    assert package.tried == [32, 16, 8, 8, 8]


def test_other_errors_and_memory_for_not_even_one_are_raised():
    with pytest.raises(RuntimeError, match="boom"):
        Parser(Parsing(1, RuntimeError("boom"))).graphs(["x"] * 4)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        Parser(Parsing(0)).graphs(["x"] * 4)


def test_weights_are_read_as_tensors_whatever_is_asked_for(monkeypatch):
    stand_in = SimpleNamespace(load=lambda file, weights_only=False: weights_only)
    _read_only_tensors(stand_in)
    assert stand_in.load("a.bin")
    assert stand_in.load("a.bin", weights_only=False)
    monkeypatch.setattr(factual_worker.metadata, "version", lambda name: "2.5.1")
    with pytest.raises(RuntimeError, match=r"older than 2\.6"):
        _read_only_tensors(stand_in)
