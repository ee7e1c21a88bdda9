"""Any system's matrix: the size that its benchmark has, or its own where the benchmark has none."""

import numpy as np
import pytest

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.protocol.matrix_file import evaluate_matrix_file


def save(tmp_path, rows, columns):
    path = tmp_path / "sims.npy"
    np.save(path, np.eye(rows).repeat(columns // rows, axis=1)[:, :columns])
    return path


@pytest.mark.parametrize(("benchmark", "captions"), [("rsitmd-test", 5), ("n24news-test", 1)])
def test_a_benchmark_without_a_size_takes_the_matrix_as_it_is(benchmark, captions, tmp_path):
    metrics = evaluate_matrix_file(save(tmp_path, 7, 7 * captions), benchmark)[benchmark]
    assert (metrics.n_images, metrics.n_texts, metrics.rsum) == (7, 7 * captions, 600)


def test_captions_that_are_no_multiple_of_the_images_are_refused(tmp_path):
    path = tmp_path / "sims.npy"
    np.save(path, np.zeros((7, 34)))
    with pytest.raises(RunError, match=r"is 7 x 34, but rsitmd-test has 7 images .* and 35 captions"):
        evaluate_matrix_file(path, "rsitmd-test")
    with pytest.raises(RunError, match="f30k-1k has 1000 images"):
        evaluate_matrix_file(path, "f30k-1k")
