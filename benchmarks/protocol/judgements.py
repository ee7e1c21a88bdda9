"""ECCV Caption and CxC of a test on coco: measured where the library and COCO's caption ids are there, or said why."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.protocol import eccv
from itm_harness.benchmarks.protocol.pair_scores import Streamed
from itm_harness.benchmarks.records.schema import JUDGED_BENCHMARK as BENCHMARK
from itm_harness.benchmarks.records.schema import Metrics
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.caption_ids import caption_ids_path, read_caption_ids
from itm_harness.datasets.precomp import Dataset
from itm_harness.datasets.split import Split

Say = Callable[[str], None]


def missing_for_judgements(dataset: Dataset) -> str | None:
    """A sentence where a test will lack these measures; None where it will have them, or they do not apply.

    Raises DataError where the captions of test cannot be read.
    """
    if BENCHMARK not in {benchmark.name for benchmark in dataset.spec.benchmarks}:
        return None
    path, layout = caption_ids_path(dataset, "test"), dataset.layout("test")
    if not path.exists():
        return _left_out(
            f"{path} is missing: COCO's id of every test caption, one a line; make it from COCO's "
            f"captions_val2014.json or Karpathy's dataset_coco.json: "
            f"itm prepare --dataset {dataset.spec.name} --what caption_ids --from FILE"
        )
    if not eccv.installed():
        return _left_out(f"the eccv_caption library is missing: {eccv.REMEDY}")
    try:
        eccv.require_coco_ids(read_caption_ids(path, layout.n_texts), layout.image_of_text)
    except DataError as error:
        return _left_out(str(error).removesuffix("."))
    except RunError as error:
        return _left_out(f"{path}: {str(error).removesuffix('.')}")
    return None


def with_judgements(
    metrics: Mapping[str, Metrics], similarity: Tensor | Streamed, test: Split, say: Say
) -> dict[str, Metrics]:
    """The metrics of a test, those of coco-5k with ECCV Caption and CxC. similarity: (n_images, n_texts), or streamed.

    say: told in a sentence why they are left out, where they apply: nothing of a long training is lost to a wrong file.
    A limited run has none.
    """
    if BENCHMARK not in metrics or test.n_texts < test.dataset.layout(test.name).n_texts:
        return dict(metrics)
    missing = missing_for_judgements(test.dataset)
    if missing is not None:
        say(missing)
        return dict(metrics)
    caption_ids = read_caption_ids(caption_ids_path(test.dataset, test.name), test.n_texts)
    found = eccv.judged(similarity, caption_ids, test.image_of_text.numpy())
    return {**metrics, BENCHMARK: metrics[BENCHMARK].model_copy(update={"eccv": found})}


def _left_out(reason: str) -> str:
    return f"ECCV Caption and CxC are left out: {reason}."
