"""Image-text matching: train, measure and compare methods under one protocol: `import itm_harness as itm`.

Functions do what the commands of their names do. Bad input raises RunError, DataError or MethodError, whose message is
one sentence: what, where, what to do; it names arguments as the command line does (`--data-root`). Nothing heavy is
imported before a function is called.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.datasets.errors import DataError
from itm_harness.methods.errors import MethodError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from os import PathLike
    from typing import Any

    import pandas as pd

    from itm_harness.benchmarks.analysis.compare import BenchmarkComparison
    from itm_harness.benchmarks.protocol.arrays import Array
    from itm_harness.benchmarks.records.schema import Metrics, Record
    from itm_harness.benchmarks.runs.checkpoint_loading import LoadedMethod
    from itm_harness.benchmarks.runs.encoding import Arrays

    File = str | PathLike[str]

__all__ = [
    "DataError", "MethodError", "RunError", "compare", "encode", "evaluate", "leaderboard", "load_method", "records",
    "run",
]  # fmt: skip
__version__: str


def run(
    method: str,
    dataset: str,
    *,
    seeds: Iterable[int] = (0,),
    variant: str | None = None,
    epochs: int | None = None,
    set: Mapping[str, Any] | None = None,
    data_root: File | None = None,
    output: File = ".",
    device: str | None = None,
    precision: str = "fp32",
    limit: int | None = None,
    fresh: bool = False,
    deterministic: bool = False,
    quiet: bool = False,
) -> list[Record]:
    """Train a method by its recipe, select an epoch on dev, evaluate once on test; a record per seed.

    A run that was stopped goes on from where it was, one that is done is only read. Ctrl-C or the interrupt of a
    notebook stops between two steps, saves, and raises KeyboardInterrupt.

    Args:
        method: a method's name, `path/to/file.py[:Class]` of your own, or `vsd:HOST` for one with VSD.
        dataset: a data set's name, or `path/to/data.yaml` of your own.
        seeds: whole numbers, a run each.
        variant: of the method; None is its first.
        epochs: instead of the recipe's number.
        set: what else to change of the recipe, by dotted keys: `{"optim.lr": 3e-4}`.
        data_root: the folder that holds `<name>/precomp`; None is $ITM_DATA, else ./data. demo needs none.
        output: the folder that gets `results/local/` (records) and `runs/` (checkpoints).
        device: cpu, cuda or cuda:N; None is a GPU if there is one.
        precision: fp32, or bf16 for mixed precision.
        limit: a smoke run on the first so many images, which no leaderboard shows.
        fresh: start over, also where a run is done.
        deterministic: only deterministic kernels.
        quiet: print nothing.

    Returns:
        The records, in the order of the seeds; of a method that trains nothing only one. `record.metrics[benchmark]`
        holds recalls in percent and ranks from 1.

    Raises:
        MethodError, DataError, RunError: a name, a recipe value or a file is wrong; before anything is trained.
    """
    from rich.console import Console

    from itm_harness.benchmarks.common.interrupt import Interrupted
    from itm_harness.benchmarks.runs.accelerator import accelerator_on
    from itm_harness.benchmarks.runs.job import RunOptions
    from itm_harness.benchmarks.runs.run import run as run_seeds
    from itm_harness.benchmarks.training.determinism import deterministic as only_deterministic

    options = RunOptions(
        method, dataset, _path(data_root), variant, precision=precision, limit=limit, output=Path(output), fresh=fresh,
        overrides=dict(set or {}) | ({} if epochs is None else {"train.epochs": epochs}), deterministic=deterministic,
    )  # fmt: skip
    try:
        with only_deterministic(deterministic):
            return run_seeds(options, seeds, accelerator_on(device, precision), Console(quiet=quiet))
    except Interrupted:
        raise KeyboardInterrupt("stopped, everything is saved; the same call goes on from here") from None


def evaluate(
    similarity: Array | None = None,
    *,
    images: Array | None = None,
    texts: Array | None = None,
    cosine: bool = False,
    benchmark: str | None = None,
    captions_per_image: int | None = None,
    image_of_text: Array | None = None,
) -> Metrics:
    """Measure any system's similarities, or its embeddings, under the protocol.

    Numpy arrays, torch tensors on any device, or what numpy makes an array of. Images and captions stand in the order
    of the data set's files. A rank counts what scores better or equal, so a tie never helps.

    Args:
        similarity: (n_images, n_texts), larger is more similar.
        images, texts: embeddings (n_images, d) and (n_texts, d) instead; their dot products are the similarities.
        cosine: divide each embedding by its length first.
        benchmark: its name (f30k-1k, coco-5k, ...: `itm list benchmarks`), which brings sizes and folds.
        captions_per_image: without a benchmark: so many consecutive captions belong to each image. By default
            n_texts / n_images, where that is a whole number.
        image_of_text: without a benchmark: (n_texts,) the image of each caption, from 0, in any order and number.

    Returns:
        Metrics: `i2t` and `t2i` with r1, r5, r10 in percent, median and mean rank from 1, number of ties; and `rsum`.
        Without a benchmark all images are one gallery.

    Raises:
        RunError: shapes do not fit each other or the benchmark (also a matrix that is transposed), a number is NaN or
            infinite, or the arguments say nothing or too much.
    """
    from itm_harness.benchmarks.protocol.arrays import as_matrix, embedding_similarity, measure, measure_on

    if sum(given is not None for given in (benchmark, captions_per_image, image_of_text)) > 1:
        raise RunError("give one of benchmark, captions_per_image, image_of_text: each says whose captions are whose.")
    if similarity is not None and images is None and texts is None and not cosine:
        matrix = as_matrix(similarity, "similarity")
    elif similarity is None and images is not None and texts is not None:
        matrix = embedding_similarity(images, texts, cosine)
    else:
        raise RunError("evaluate measures one thing: give similarity, or images and texts (and cosine, if wanted).")
    return measure(matrix, captions_per_image, image_of_text) if benchmark is None else measure_on(benchmark, matrix)


def load_method(
    checkpoint: File,
    *,
    method: str | None = None,
    trained_on: str | None = None,
    variant: str | None = None,
    set: Mapping[str, Any] | None = None,
    data_root: File | None = None,
) -> LoadedMethod:
    """A trained method from a checkpoint, ready to encode.

    Args:
        checkpoint: `runs/<id>/best.safetensors` of a run, which says itself what it is, or an official `.pth`.
        method: as for `run`; needed for a `.pth`, and for a method that has no name (a file of your own, `vsd:HOST`).
        trained_on: the data set of its training, a name or a YAML; needed for a `.pth`.
        variant: of a `.pth`; None is the method's first.
        set: what to change of a `.pth`'s recipe; of ours `text.bert` alone, where BERT's weights have moved.
        data_root: where the vocabulary of a `.pth` with a BiGRU is found; as for `run`.

    Returns:
        LoadedMethod: `method` is the torch module, on the CPU and in evaluation mode; `vocabulary`, `trained_on`,
        `variant` and `seed` say what it was trained with.

    Raises:
        MethodError, DataError, RunError: the file is missing or damaged, or does not fit what is said of it.
    """
    from itm_harness.benchmarks.runs.checkpoint_loading import load_checkpoint

    return load_checkpoint(Path(checkpoint), method, trained_on, variant, set, _path(data_root))


def encode(
    method: LoadedMethod | File,
    dataset: str,
    split: str = "test",
    *,
    data_root: File | None = None,
    device: str | None = None,
    precision: str = "fp32",
    limit: int | None = None,
) -> tuple[Arrays, Arrays]:
    """Encode all images and all captions of a split.

    Args:
        method: what `load_method` gave, or the path of a checkpoint that says itself what it is.
        dataset, data_root, device, precision, limit: as for `run`.
        split: train, dev or test.

    Returns:
        Images and captions, float32, in the order of the data set's files. Of a method with one embedding each (gpo,
        hrem, aahr, vsd, clip): arrays (n_images, d) and (n_texts, d), whose dot products are its scores, as `evaluate`
        takes them. Of others a dict, by the names in the method's file: arrays with a row per item, or, where their
        number varies, a list with an array (rows, d) per item (gsmn: regions, words).

    Raises:
        DataError, RunError: files are missing, or are not those that the method reads.
    """
    from itm_harness.benchmarks.runs.accelerator import accelerator_on
    from itm_harness.benchmarks.runs.checkpoint_loading import LoadedMethod, open_split_for
    from itm_harness.benchmarks.runs.encoding import encode_split
    from itm_harness.datasets.precomp import open_dataset

    loaded = method if isinstance(method, LoadedMethod) else load_method(method)
    opened = open_split_for(loaded, open_dataset(dataset, _path(data_root)), split, limit, precision)
    return encode_split(loaded, opened, accelerator_on(device, precision))


def records(results: File = "results") -> pd.DataFrame:
    """Your own records and the contributed ones: a row per record and benchmark.

    Columns: id, benchmark, rsum; i2t_ and t2i_ with r1, r5, r10 (percent), median, mean (ranks from 1), ties; n_images,
    n_texts, folds; method, variant, dataset, text, features, seed, selection, flags, overrides, precision,
    selected_epoch, steps, diverged, parameters, train_seconds, created. A damaged record is left out with a warning.
    Raises RunError where the folder is missing.
    """
    from itm_harness.benchmarks.records.frames import records_frame
    from itm_harness.benchmarks.records.places import seen_results
    from itm_harness.benchmarks.records.store import scan_records

    found, problems = scan_records(*seen_results(Path(results)))
    _warn(problems)
    return records_frame(record for record, _ in found)


def leaderboard(results: File = "results", kind: str = "measured") -> pd.DataFrame:
    """The leaderboard's rows: systems on a benchmark, seeds averaged, best first.

    Columns are the keys of LEADERBOARD.json, among them benchmark, track, rank and rank_last (the interval of its
    rank), method, variant, marks, seeds, the recalls, rsum with rsum_std (over seeds), rsum_low and rsum_high (95 %
    interval), how it came about and what it cost. kind: measured (methods with their own recipes), published, and
    whatever else the JSON has. A record that is damaged, or of another test set, is left out with a warning. Raises
    RunError where the folder is missing or there is no row of that kind.
    """
    from itm_harness.benchmarks.leaderboard.build import read_page
    from itm_harness.benchmarks.leaderboard.frames import leaderboard_frame
    from itm_harness.benchmarks.records.places import seen_results

    page, problems = read_page(*seen_results(Path(results)))
    _warn(problems)
    return leaderboard_frame(page, kind)


def compare(
    a: Record | File, b: Record | File, results: File = "results", *, single: bool = False, queries: int = 10
) -> dict[str, BenchmarkComparison]:
    """Is the difference of two rows, each all seeds of a recipe, more than chance?

    a, b: a record of each row, its id, the beginning of it, or the path of its .json. results: where ids are looked up.
    single: compare the two records alone. queries: of single records, how many of the most different ones.

    Returns by benchmark: `frame()` has a row per recall and for the rsum with the difference a − b, its 95 % interval,
    p, and p after Holm. Of single records also `mcnemar` (images whose first caption is right) and `images`, `captions`
    (queries whose ranks differ most). Raises RunError where a record is not there, or where they share no test set.
    """
    from itm_harness.benchmarks.analysis.compare import compare_rows
    from itm_harness.benchmarks.records.opening import open_pair
    from itm_harness.benchmarks.records.schema import Record

    first, second = (record.id if isinstance(record, Record) else str(record) for record in (a, b))
    rows = open_pair(first, second, Path(results), single)
    return {found.benchmark: found for found in compare_rows(*rows, queries)}


def _path(file: File | None) -> Path | None:
    return None if file is None else Path(file)


def _warn(problems: Iterable[str]) -> None:
    for problem in problems:
        warnings.warn(problem, stacklevel=3)


def __getattr__(name: str) -> str:
    """The version is read when it is asked for: that takes longer than all else here."""
    if name != "__version__":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from importlib.metadata import version

    return version("itm-harness")
