"""results/BENCHMARKS.md from the measurements of `bench`: the same records give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from itm_harness.benchmarks.bench.record import BenchRecord, StepTimes, read_bench
from itm_harness.benchmarks.bench.steps import PHASES
from itm_harness.benchmarks.common.atomic import write_whole
from itm_harness.methods.registry import method_names

PAGE = "BENCHMARKS.md"
HEAD = """# Time and memory of the methods

Written by `itm bench --table` from `results/bench/*.json`; do not edit. Data are random numbers in the
shapes of real data sets (36 regions of 2048, captions as long as Flickr8k's), weights are random: times are those of
training, losses mean nothing.

- **fast**: a step as training runs it: features held on the device, batches read beside the computation, fused
  optimiser. **plain**: float32, pairs read one by one, the optimiser one parameter after the other, and for gsmn and
  hrem the slow and obvious form of the method (`bench/references/`). Both in one process on the same weights.
- **data … optimiser**: the phases of a fast step, each waited for. Their sum is more than a step takes.
- **matrix share**: operations of the step's matrix products per second, of the rate of a large matrix product in the
  same process and precision. **copy share**: bytes that the optimiser moves per second, of the rate of a large copy.
- **recipe**: all steps and dev evaluations of the recipe, extrapolated from the measured pairs per second.
- **rank**: ranks of the whole gallery, as after an epoch. **results**: ranks, folds and best ten of every benchmark of
  the data set, as at the end of a run. **after encoding**: score and results. **sort**: ranks by sorting.
"""
STEP_COLUMNS = (
    "method", "text", "d", "batch", "phases begun", "pairs/s", "fast, ms", "plain, ms", "plain / fast",
    *PHASES, "peak, GB", "matrix share", "copy share", "recipe",
)  # fmt: skip
GALLERY_COLUMNS = (
    "method", "text", "gallery", "encode, s", "score, s", "score, µs per pair", "rank, ms", "results, ms",
    "after encoding, s", "sort, ms",
)  # fmt: skip
Row = tuple[str, ...]


def write_page(results: Path, also: Sequence[Path] = ()) -> Path:
    """Write a results folder's page and return its path. also: folders whose measurements are shown as well.

    Raises RunError where a record is damaged or the page cannot be written.
    """
    path = results / PAGE
    text = page(read_bench(results, *also))
    write_whole(path, lambda file: file.write(text.encode()))
    return path


def page(records: list[BenchRecord]) -> str:
    """The page as Markdown: a section per device, data set and precision."""
    parts = [HEAD]
    for _, group in groupby(sorted(records, key=lambda r: (*_section(r), r.name)), key=_section):
        parts += _section_text(list(group))
    if not any(record.hardware.device != "CPU" for record in records):
        parts += ["## GPU: not measured", "", "No GPU was at hand.", ""]
        parts += _table(STEP_COLUMNS, [(name, *[""] * (len(STEP_COLUMNS) - 1)) for name in method_names()])
    return "\n".join(parts)


def _section(record: BenchRecord) -> tuple[str, str, str]:
    return _device(record), record.dataset, record.precision


def _device(record: BenchRecord) -> str:
    hardware = record.hardware
    return f"{hardware.cpu}, CPU" if hardware.device == "CPU" else hardware.device


def _section_text(records: list[BenchRecord]) -> list[str]:
    first = records[0]
    days = sorted({record.created.date().isoformat() for record in records})
    versions = ", ".join(f"{name} {first.versions[name]}" for name in ("torch", "transformers", "python"))
    threads = sorted({record.threads for record in records})
    matrix, copy = (sorted(values)[len(values) // 2] for values in zip(*map(_rates, records), strict=True))
    beside = sorted({record.beside for record in records if record.beside})
    return [
        f"## {_device(first)}: {first.dataset}, {first.precision}",
        "",
        f"{' to '.join(dict.fromkeys((days[0], days[-1])))}; {versions}; threads: {', '.join(map(str, threads))}. "
        f"Measured rates (median): {matrix / 1e9:,.0f} GFLOP/s, {copy / 1e9:.1f} GB/s. "
        f"{'Beside it ran: ' + '; '.join(beside) + '.' if beside else 'Nothing else was said to run.'}",
        "",
        *_table(STEP_COLUMNS, [row for record in records for row in _step_rows(record)]),
        "",
        *_table(GALLERY_COLUMNS, [_gallery_row(record) for record in records]),
        "",
    ]


def _rates(record: BenchRecord) -> tuple[float, float]:
    return record.matrix_rate, record.copy_rate


def _step_rows(record: BenchRecord) -> list[Row]:
    return [
        (
            record.method, _text(record), str(record.embed_size or ""), str(record.batch),
            ", ".join(one.phases) or "none",
            *_step_cells(one), "" if record.peak_bytes is None else f"{record.peak_bytes / 1e9:.1f}",
            f"{100 * one.matrix_share:.0f} %", f"{100 * one.optimiser_copy_share:.0f} %",
            f"{record.recipe_hours:.2f} h, {record.recipe_epochs} epochs",
        )
        for one in record.step_times
    ]  # fmt: skip


def _step_cells(one: StepTimes) -> Row:
    plain = one.plain_milliseconds
    return (
        f"{one.samples_per_second:.1f}",
        shown_number(one.milliseconds),
        "" if plain is None else shown_number(plain),
        "" if plain is None else f"{plain / one.milliseconds:.1f}",
        *(shown_number(one.phase_milliseconds[phase]) for phase in PHASES),
    )


def shown_number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


def _text(record: BenchRecord) -> str:
    return f"{record.text}, compiled" if record.compiled else record.text


def _gallery_row(record: BenchRecord) -> Row:
    found = record.gallery
    pairs, plain = found.images * found.texts, found.plain_rank_seconds
    return (
        record.method,
        _text(record),
        f"{found.images:,} x {found.texts:,}",
        f"{found.encode_seconds:.2f}",
        f"{found.score_seconds:.3f}",
        shown_number(1e6 * found.score_seconds / pairs),
        f"{1000 * found.rank_seconds:.1f}",
        f"{1000 * found.results_seconds:.1f}",
        f"{found.score_seconds + found.results_seconds:.3f}",
        "" if plain is None else f"{1000 * plain:.1f}",
    )


def _table(columns: Row, rows: list[Row]) -> list[str]:
    lines = [columns, tuple("---" for _ in columns), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
