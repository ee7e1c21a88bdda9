"""ECCV Caption and CxC of a test on coco: measured where the library and COCO's caption ids are there, or said why."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from benchmarks import eccv
from benchmarks.errors import RunError
from benchmarks.pair_scores import Streamed
from benchmarks.records import Metrics
from datasets.caption_ids import caption_ids_path, read_caption_ids
from datasets.errors import DataError
from datasets.precomp import Dataset, Split

BENCHMARK = "coco-5k"  # whose pairs were judged

Say = Callable[[str], None]


def missing_for_judgements(dataset: Dataset) -> str | None:
    """A sentence where a test will lack these measures; None where it will have them, or they do not apply."""
    if BENCHMARK not in {benchmark.name for benchmark in dataset.spec.benchmarks}:
        return None
    path = caption_ids_path(dataset, "test")
    if not path.exists():
        return _left_out(
            f"{path} is missing: COCO's id of every test caption, one a line; make it from COCO's "
            f"captions_val2014.json or Karpathy's dataset_coco.json: "
            f"python harness.py prepare --dataset {dataset.spec.name} --what caption_ids --from FILE"
        )
    return None if eccv.installed() else _left_out(f"the eccv_caption library is missing: {eccv.REMEDY}")


def with_judgements(
    metrics: Mapping[str, Metrics], similarity: Tensor | Streamed, test: Split, say: Say
) -> dict[str, Metrics]:
    """The metrics of a test, those of coco-5k with ECCV Caption and CxC. similarity: (n_images, n_texts), or streamed.

    say: told in a sentence why they are left out, where they apply. A limited run has none.
    """
    if BENCHMARK not in metrics or test.n_texts < test.dataset.layout(test.name).n_texts:
        return dict(metrics)
    missing = missing_for_judgements(test.dataset)
    if missing is not None:
        say(missing)
        return dict(metrics)
    path = caption_ids_path(test.dataset, test.name)
    try:
        found = eccv.judged(similarity, read_caption_ids(path, test.n_texts), test.image_of_text.numpy())
    except (DataError, RunError) as error:  # nothing of a long training is lost to a wrong file
        reason = str(error) if isinstance(error, DataError) else f"{path}: {error}"
        say(_left_out(reason.removesuffix(".")))
        return dict(metrics)
    return {**metrics, BENCHMARK: metrics[BENCHMARK].model_copy(update={"eccv": found})}


def _left_out(reason: str) -> str:
    return f"ECCV Caption and CxC are left out: {reason}."
