"""Batches: fixed on the CPU, smaller on a GPU until they fit."""

import pytest
import torch

from itm_harness.datasets.errors import DataError
from itm_harness.datasets.pictures.batch_size import BatchSize

CPU, GPU = torch.device("cpu"), torch.device("cuda")  # only named: nothing is computed there


def sizes(batch_size, count, device, fits=1000):
    def compute(items):
        if len(items) > fits:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return len(items)

    batches = list(batch_size.over(range(count), device, compute))
    assert [i for items, _ in batches for i in items] == list(range(count))
    return [size for _, size in batches]


@pytest.mark.parametrize("asked", [None, 2, 5])
def test_on_the_cpu_it_never_changes(asked):
    assert sizes(BatchSize(4, 8, asked), 10, CPU) == [4, 4, 2]


def test_on_a_gpu_what_is_asked_for_or_as_many_as_fit():
    assert sizes(BatchSize(4, 8, 5), 10, GPU) == [5, 5]
    assert sizes(BatchSize(4, 8), 10, GPU) == [8, 2]
    assert sizes(BatchSize(4, 8), 10, GPU, fits=3) == [2] * 5


@pytest.mark.parametrize("batch_size", [BatchSize(4, 8, 5), BatchSize(4, 8)])
def test_what_never_fits_is_one_sentence(batch_size):
    with pytest.raises(DataError, match=r"memory does not hold .* --batch-size"):
        sizes(batch_size, 10, GPU, fits=0)


def test_what_fits_is_found_once_and_kept_for_the_next_items():
    batch_size, tried = BatchSize(4, 64), []

    def compute(items):
        tried.append(len(items))
        if len(items) > 9:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return items

    for _ in range(100):
        assert [i for _, items in batch_size.over(range(16), GPU, compute) for i in items] == list(range(16))
    assert tried == [16] + [8] * 200
    assert batch_size.size(GPU) == 64  # steps of files follow what was asked for


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "CUDA error: out of memory",
    ],
)
def test_memory_that_libraries_lack_counts_too_but_no_other_error_and_none_of_the_cpu(words):
    def compute(items):
        if len(items) > 3:
            raise RuntimeError(words)
        return len(items)

    assert [size for _, size in BatchSize(4, 8).over(range(4), GPU, compute)] == [2, 2]
    with pytest.raises(RuntimeError, match=r"STATUS|out of memory"):
        list(BatchSize(4, 8).over(range(4), CPU, compute))
    words = "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"
    with pytest.raises(RuntimeError, match="EXECUTION_FAILED"):
        list(BatchSize(4, 8).over(range(4), GPU, compute))


def test_nothing_to_do():
    assert sizes(BatchSize(4, 8), 0, CPU) == []
