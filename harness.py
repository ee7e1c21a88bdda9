"""The command line of the image-text-matching harness: parses, calls benchmarks/, prints."""

from __future__ import annotations

import errno
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.errors import RunError, printable
from benchmarks.interrupt import Interrupted
from datasets.errors import DataError
from methods.errors import MethodError

if TYPE_CHECKING:
    from benchmarks.bench.record import BenchRecord
    from benchmarks.compare import BenchmarkComparison
    from benchmarks.job import Job, RunOptions
    from benchmarks.records import ECCVCaption, Metrics
    from benchmarks.sweep import Failure

console = Console()
T = TypeVar("T")
app = typer.Typer(
    help="Train, measure and compare image-text-matching methods under one protocol.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
)
data_app = typer.Typer(help="Look at data on disk.", no_args_is_help=True)
app.add_typer(data_app, name="data")

METHOD_HELP = "A method's name, path/to/file.py[:Class] of your own, or vsd:HOST for one with VSD."
DATASET_HELP = "A data set's name, or path/to/data.yaml of your own."
MethodName = Annotated[str, typer.Option("--method", help=METHOD_HELP)]
DatasetName = Annotated[str, typer.Option("--dataset", help=DATASET_HELP)]
DataRoot = Annotated[
    Path | None, typer.Option(envvar="ITM_DATA", help="Folder that holds <name>/precomp or <name>_precomp.")
]
Variant = Annotated[str | None, typer.Option(help="A variant of the method; default: its first.")]
Set = Annotated[list[str], typer.Option("--set", help="Override a recipe value: key=value. Repeatable.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N; default: a GPU if there is one.")]
Precision = Annotated[str, typer.Option(help="fp32, or bf16 for mixed precision.")]
Epochs = Annotated[int | None, typer.Option(help="Override the number of epochs.", min=1)]
Limit = Annotated[int | None, typer.Option(help="Smoke run on the first N images; never on the leaderboard.", min=2)]
Output = Annotated[Path, typer.Option(help="Folder that gets results/ and runs/.")]
Results = Annotated[Path, typer.Option("--results", help="Folder that holds records/.")]
Hash = Annotated[str, typer.Option("--hash", help="Of files over 1 GB: sampled blocks, or full, from end to end.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command(
    epilog="Examples:  python harness.py run --method gpo --dataset demo    "
    "python harness.py run --method gpo --dataset f30k --data-root DIR --seeds 0,1,2 --set optim.lr=3e-4    "
    "python harness.py run --method gpo,hrem --dataset f30k,coco --seeds 0,1,2 --gpus 0,1    "
    "python harness.py run --method gpo,hrem --dataset f30k --launcher submitit --slurm partition=gpu"
)
def run(
    method: Annotated[str, typer.Option(help=f"{METHOD_HELP} Several, separated by commas, make a sweep.")],
    dataset: Annotated[str, typer.Option(help=f"{DATASET_HELP} Several, separated by commas.")],
    data_root: DataRoot = None,
    variant: Annotated[str, typer.Option(help="Variants of the method, separated by commas; default: its first.")] = "",
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "0",
    set_: Set = [],  # noqa: B006 - typer copies it
    epochs: Epochs = None,
    limit: Limit = None,
    device: Device = None,
    precision: Precision = "fp32",
    output: Output = Path(),
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not resume; run again even if it is done.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show recipe, missing files, expected memory.")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Log to TensorBoard in the run's folder.")] = False,
    features: Annotated[
        str, typer.Option(help="Where regions lie while training: device, host (memory), map (the file), or auto.")
    ] = "auto",
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Only deterministic kernels: the same bits on the same GPU.")
    ] = False,
    compile_: Annotated[bool, typer.Option("--compile", help="torch.compile BERT: other bits, less time.")] = False,
    hash_: Hash = "sampled",
    launcher: Annotated[str, typer.Option(help="local; submitit: a Slurm array; print: the commands.")] = "local",
    jobs: Annotated[int | None, typer.Option(help="Runs at a time, each in a process of its own.", min=1)] = None,
    gpus: Annotated[str, typer.Option(help="GPUs of these processes, separated by commas: 0,1.")] = "",
    slurm: Annotated[list[str], typer.Option(help="An option of sbatch: key=value. Repeatable.")] = [],  # noqa: B006
) -> None:
    """Train a method by its recipe, select on dev, evaluate once on test, file a record. Resumes by itself.

    Lists make a sweep: every method on every data set, in every variant, with every seed.
    """
    if features not in ("device", "host", "map", "auto"):
        raise RunError(f"--features {features} is not known; use device, host, map or auto.")
    from benchmarks.launch.launcher import Launch, launch
    from benchmarks.sweep import combinations, sweep_here

    options = _options(method, dataset, data_root, None, set_, epochs, limit, precision, output, fresh, tensorboard)
    chosen = {"features": features, "deterministic": deterministic, "compile": compile_}
    options = replace(options, hash_whole=_whole(hash_), **chosen)
    every = combinations(options, _parts(method), _parts(dataset), _parts(variant))
    if dry_run:
        for one in every:
            _show_plan(one)
        return
    how = Launch(launcher, jobs, _parts(gpus), slurm, device if launcher != "local" else _device(device))
    if how.elsewhere:
        _end_sweep(launch(every, _seeds(seeds), how, console))
        return
    from benchmarks.determinism import deterministic as set_deterministic
    from benchmarks.engine import make_accelerator

    with set_deterministic(deterministic):
        accelerator = make_accelerator(how.device, precision)
        console.quiet = not accelerator.is_main_process
        _end_sweep(sweep_here(every, _seeds(seeds), accelerator, console, lambda r: _show_metrics(r.metrics, r.id)))


@app.command(
    epilog="Examples:  python harness.py evaluate --method gpo --dataset f30k --checkpoint model_best.pth    "
    "python harness.py evaluate --similarity sims.npy --benchmark f30k-1k --json"
)
def evaluate(
    method: Annotated[str | None, typer.Option(help="The checkpoint's method.")] = None,
    dataset: Annotated[str | None, typer.Option(help="The data set whose test split is scored.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="An official .pth, or a best.safetensors of ours.")] = None,
    train_dataset: Annotated[
        str | None,
        typer.Option(help="The data set that the checkpoint was trained on, if another: zero-shot transfer."),
    ] = None,
    similarity: Annotated[Path | None, typer.Option(help=".npy, rows = images, columns = captions.")] = None,
    benchmark: Annotated[str | None, typer.Option(help="The benchmark that --similarity belongs to.")] = None,
    caption_ids: Annotated[
        Path | None, typer.Option(help="COCO's id of each column of --similarity: adds ECCV Caption and CxC.")
    ] = None,
    data_root: DataRoot = None,
    variant: Variant = None,
    set_: Set = [],  # noqa: B006 - typer copies it
    limit: Limit = None,
    device: Device = None,
    precision: Precision = "fp32",
    output: Output = Path(),
    as_json: AsJson = False,
) -> None:
    """Score a checkpoint on a data set, or any system's similarity matrix on a benchmark."""
    if similarity is not None:
        from benchmarks.matrix_file import evaluate_matrix_file

        found = evaluate_matrix_file(similarity, _required(benchmark, "--benchmark"), caption_ids)
        _print_metrics(found, str(similarity), as_json)
        return
    from benchmarks.checkpoint_evaluation import evaluate_checkpoint
    from benchmarks.engine import make_accelerator

    chosen = _required(checkpoint, "--checkpoint or --similarity")
    options = _options(
        _required(method, "--method"), _required(dataset, "--dataset"), data_root, variant, set_, None, limit,
        precision, output, False, False,
    )  # fmt: skip
    log = Console(stderr=True) if as_json else console
    metrics = evaluate_checkpoint(options, chosen, make_accelerator(_device(device), precision), log, train_dataset)
    _print_metrics(metrics, str(chosen), as_json)


@app.command(epilog="Example:  python harness.py leaderboard --format md,csv,latex,html,json")
def leaderboard(
    results: Results = Path("results"),
    format_: Annotated[str, typer.Option("--format", help="Some of md, csv, latex, html, json, with commas.")] = "md",
) -> None:
    """Write results/LEADERBOARD.md, and other formats, from the records. Exit code 2 where one is damaged."""
    from benchmarks.leaderboard import write_leaderboard

    written, problems = write_leaderboard(results, _parts(format_) or ["md"])
    for path in written:
        console.print(f"written: {path}", soft_wrap=True, highlight=False, markup=False)
    if problems:
        _stop("\n".join([*problems, f"left out: {len(problems)}; the rest was written."]), 2)


@app.command(
    epilog="Examples:  python harness.py compare gpo-demo-s0 gsmn-dense-demo-s0    "
    "python harness.py compare results/records/A.json other/records/B.json --json"
)
def compare(
    first: Annotated[str, typer.Argument(help="A record: its id, the beginning of it, or the path of its .json.")],
    second: Annotated[str, typer.Argument(help="The record to compare it with.")],
    results: Results = Path("results"),
    queries: Annotated[int, typer.Option(help="How many of the most different queries.", min=0)] = 10,
    as_json: AsJson = False,
) -> None:
    """Difference of two records with 95 % intervals, exact McNemar, and the queries where they differ most."""
    from benchmarks.compare import compare_records, open_record

    pair = open_record(first, results), open_record(second, results)
    found = compare_records(*pair, queries=queries)
    if as_json:
        print(json.dumps({b.benchmark: asdict(b) for b in found}, indent=1))
        return
    names = [opened.record.id for opened in pair]
    console.print(f"A = {names[0]}, B = {names[1]}", soft_wrap=True, highlight=False, markup=False)
    for benchmark in found:
        _show_comparison(benchmark)


@app.command(
    epilog="Examples:  python harness.py report    "
    "python harness.py report --pictures f30k --data-root DIR --output mine.html"
)
def report(
    results: Results = Path("results"),
    pictures: Annotated[
        str, typer.Option(help="Data sets beside demo whose pictures and captions are put in; for your own machine.")
    ] = "",
    data_root: DataRoot = None,
    output: Annotated[Path | None, typer.Option(help="The page; default: index.html in --results.")] = None,
) -> None:
    """Write results/index.html: leaderboards, curves, ablations and what each run retrieved, in one file."""
    from benchmarks.report.render import write_report

    path, notes, problems = write_report(results, output, _parts(pictures), data_root)
    for note in notes:
        console.print(note, soft_wrap=True, highlight=False, markup=False)
    _show_written(path, problems)


@app.command(
    epilog="Examples:  python harness.py show gpo-demo-s0 --query 17    "
    "python harness.py show gpo-demo-s0 --query 85 --direction t2i --against gsmn-dense-demo-s0"
)
def show(
    record: Annotated[str, typer.Argument(help="A record: its id, the beginning of it, or the path of its .json.")],
    query: Annotated[int, typer.Option(help="Number of the image or caption in the test split, from 0.")],
    direction: Annotated[str, typer.Option(help="i2t: captions of an image; t2i: images of a caption.")] = "i2t",
    against: Annotated[str | None, typer.Option(help="A second record, shown below.")] = None,
    benchmark: Annotated[str | None, typer.Option(help="Default: the one with the largest galleries.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Where the captions are from; default: the record's.")] = None,
    results: Results = Path("results"),
    data_root: DataRoot = None,
) -> None:
    """Show what a record answered to one query: its rank and the best ten, right ones marked."""
    from benchmarks.show import show as show_query

    show_query(record, query, direction, against, benchmark, dataset, results, data_root, console)


@app.command("list")
def list_known(what: Annotated[str, typer.Argument(help="methods, datasets or benchmarks")]) -> None:
    """List what the harness knows: methods, datasets or benchmarks."""
    from benchmarks.listing import listing

    columns, rows = listing(what)
    _show_table(columns, rows)


@app.command()
def recipe(
    method: MethodName,
    dataset: Annotated[str, typer.Option(help="The data set; its files are not needed.")] = "f30k",
    variant: Variant = None,
    set_: Set = [],  # noqa: B006 - typer copies it
) -> None:
    """Print the resolved recipe with the source of each value: paper, official code or ours."""
    from datasets.spec import find_spec
    from methods.hosting import resolve_entry
    from methods.registry import find_method

    overrides = _overrides(set_, None)
    found = resolve_entry(find_method(method, variant), find_spec(dataset).name, variant, overrides)
    _show_table(("key", "value", "source"), found.rows())


@app.command()
def verify(folder: Annotated[Path, typer.Argument(help="Golden cases: tests/golden, or any folder of cases.")]) -> None:
    """Run golden cases through the modules that users use; exit code 1 where a number differs."""
    from benchmarks.verify import verify as verify_cases

    reports = verify_cases(folder)
    columns = ("case", "quantity", "max abs error", "tolerance", "verdict")
    _show_table(columns, [row for report in reports for row in report.rows()])
    for report in reports:
        console.print(report.summary(), soft_wrap=True, highlight=False)
    ran = [report for report in reports if report.not_run is None]
    console.print(f"{sum(r.passed for r in ran)} of {len(ran)} cases passed, {len(reports) - len(ran)} not run")
    raise typer.Exit(0 if all(report.passed for report in reports) else 1)


@app.command(
    epilog="Examples:  python harness.py bench --method gpo,gsmn    "
    "python harness.py bench --device cuda --precision bf16 --steps 20    python harness.py bench --table"
)
def bench(
    method: Annotated[str, typer.Option(help="Methods, separated by commas; default: all.")] = "",
    dataset: Annotated[str, typer.Option(help="f30k or coco, whose shapes are imitated; no data are needed.")] = "f30k",
    text: Annotated[str, typer.Option(help="bert or bigru, with random weights; recipe: the method's own.")] = "recipe",
    device: Device = "cpu",
    precision: Precision = "fp32",
    compile_: Annotated[bool, typer.Option("--compile", help="torch.compile BERT.")] = False,
    steps: Annotated[int, typer.Option(help="Steps to average over.", min=1)] = 2,
    batch: Annotated[
        int | None, typer.Option(help="Pairs of a step; default: 8, on a GPU the recipe's.", min=2)
    ] = None,
    images: Annotated[
        int | None, typer.Option(help="Images of the gallery; default: 20, on a GPU 2,000.", min=2)
    ] = None,
    plain: Annotated[bool, typer.Option(help="Time the plain path too (slow).")] = True,
    beside: Annotated[str, typer.Option(help="What else runs on the machine, for the record.")] = "",
    results: Results = Path("results"),
    table: Annotated[bool, typer.Option("--table", help="Only write BENCHMARKS.md from the records.")] = False,
) -> None:
    """Time, memory and shares of the device's rates, per method: training steps, fast and plain, and evaluation."""
    from benchmarks.bench.measure import BenchOptions, chosen_methods, measure
    from benchmarks.bench.page import write_page
    from benchmarks.bench.record import write_bench

    if not table:
        options = BenchOptions(
            dataset, text, _device(device) or "cpu", precision, compile_, steps, batch, images, plain, beside
        )
        for name in chosen_methods(method):
            record = measure(name, options)
            _show_bench(record)
            console.print(f"record: {write_bench(record, results)}", soft_wrap=True, highlight=False)
    console.print(f"written: {write_page(results)}", soft_wrap=True, highlight=False, markup=False)


@app.command(
    epilog="Examples:  python harness.py prepare --dataset f8k    "
    "python harness.py prepare --dataset data.yaml --what sentences --encoder DIR/bge-large-en-v1.5    "
    "python harness.py prepare --dataset f30k --what clip    "
    "python harness.py prepare --dataset mine.yaml --what layout --from captions.csv --images photos"
)
def prepare(
    dataset: DatasetName,
    what: Annotated[
        str,
        typer.Option(
            help="layout, caption_ids, regions, clip, descriptions, sentences, prototypes, graphs, dependencies; "
            "with commas."
        ),
    ] = "sentences,graphs",
    encoder: Annotated[
        str,
        typer.Option(
            help="A transformers model (folder or name), or embedded; auto: bge-large-en-v1.5 if it is there."
        ),
    ] = "auto",
    dim: Annotated[int | None, typer.Option(help="Numbers of an embedded vector; default: 512.", min=1)] = None,
    splits: Annotated[str, typer.Option(help="Splits, separated by commas; default: all.")] = "",
    data_root: DataRoot = None,
    force: Annotated[bool, typer.Option("--force", help="Make all anew, also what was not made here.")] = False,
    clip_model: Annotated[str, typer.Option(help="A model of open_clip, or its config.json.")] = "ViT-B-32",
    clip_weights: Annotated[
        str, typer.Option(help="Of the hub, such as openai, or a file: .safetensors, .bin, .pt.")
    ] = "laion2b_s34b_b79k",
    images: Annotated[Path | None, typer.Option(help="Folder of the pictures; default: its own images/.")] = None,
    backbone: Annotated[
        str,
        typer.Option(help="Of regions: imagenet-resnet152, butd-resnet101, wsl-resnext101, timm:NAME, open_clip:NAME."),
    ] = "imagenet-resnet152",
    backbone_weights: Annotated[str, typer.Option(help="A file, pretrained, or none (random).")] = "pretrained",
    side: Annotated[int, typer.Option(help="Pixels along a side of the backbone's pictures.", min=32)] = 448,
    cells: Annotated[int, typer.Option(help="Regions along a side of a picture.", min=1)] = 6,
    from_: Annotated[
        list[str],
        typer.Option("--from", help="What layout, caption_ids are made of: FILE or SPLIT=FILE. Repeatable."),
    ] = [],  # noqa: B006 - typer copies it
    max_captions: Annotated[
        int | None, typer.Option(help="Captions per picture that layout keeps; default: all, of coco 5.", min=1)
    ] = None,
    prototypes: Annotated[int, typer.Option(help="Number of prototypes.", min=1)] = 896,
    batch_size: Annotated[
        str, typer.Option(help="Items at a time on a GPU; auto: as many as fit. The CPU's is fixed.")
    ] = "auto",
    output: Annotated[
        Path | None,
        typer.Option(help="A data root that gets a copy of the data set (links) with what is made; default: in place."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="With --output: the first N images of each split.", min=2)] = None,
    describer: Annotated[
        str,
        typer.Option(help="Vision-language models (folder or name): a Florence-2, a chat model, or both with a comma."),
    ] = "florence-community/Florence-2-large-ft",
    task: Annotated[str, typer.Option(help="Of a Florence-2: <OD> or <DENSE_REGION_CAPTION>.")] = "<OD>",
    prompt: Annotated[str, typer.Option(help="What a chat model is asked.")] = "Describe this image in detail.",
    graph_parser: Annotated[
        str | None,
        typer.Option(
            help="factual (FactualSceneGraph) or rules; default: graphs that came with the data, else factual."
        ),
    ] = None,
    graph_model: Annotated[
        str, typer.Option(help="Weights of FactualSceneGraph: a folder or a name.")
    ] = "lizhuang144/flan-t5-base-VG-factual-sg",
    graph_python: Annotated[
        Path | None, typer.Option(help="The Python that has FactualSceneGraph; default: this one.")
    ] = None,
    dependency_parser: Annotated[
        str, typer.Option(help="spacy:MODEL (a name or a folder), or stanza:FOLDER.")
    ] = "spacy:en_core_web_sm",
) -> None:
    """Make what methods read from a data set's texts and pictures, stored beside it: a new data set's files, sentence
    vectors, prototypes of descriptions, scene graphs, CLIP vectors.

    What was stopped or killed goes on where it was, and ends with the same bytes.
    """
    from benchmarks.prepare import PrepareOptions
    from benchmarks.prepare import prepare as prepare_files

    options = PrepareOptions(
        dataset=dataset,
        data_root=data_root,
        what=_parts(what),
        encoder=encoder,
        width=dim,
        splits=_parts(splits),
        force=force,
        clip_model=clip_model,
        clip_weights=clip_weights,
        images=images,
        backbone=backbone,
        backbone_weights=backbone_weights,
        side=side,
        cells=cells,
        batch_size=_batch_size(batch_size),
        output=output,
        limit=limit,
        describers=_parts(describer),
        task=task,
        prompt=prompt,
        graph_parser=graph_parser,
        graph_model=graph_model,
        graph_python=graph_python,
        dependency_parser=dependency_parser,
        sources=from_,
        max_captions=max_captions,
        prototypes=prototypes,
    )
    prepare_files(options, console)


@app.command(
    epilog="Examples:  python harness.py ablate --method hrem --dataset demo --seeds 0,1    "
    "python harness.py ablate --method hrem --dataset f30k --list    python harness.py ablate --table"
)
def ablate(
    method: Annotated[str | None, typer.Option(help="A method that has an ablation set.")] = None,
    dataset: Annotated[str | None, typer.Option(help="The data set that its rows are trained and tested on.")] = None,
    data_root: DataRoot = None,
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "0",
    rows: Annotated[str, typer.Option(help="Labels of the rows to run, separated by commas; default: all.")] = "",
    set_: Set = [],  # noqa: B006 - typer copies it
    device: Device = None,
    precision: Precision = "fp32",
    output: Output = Path(),
    list_: Annotated[bool, typer.Option("--list", help="Only list the rows and what is recorded of them.")] = False,
    table: Annotated[bool, typer.Option("--table", help="Only write ABLATIONS.md from the records.")] = False,
) -> None:
    """Run what is missing of a method's ablation set and write results/ABLATIONS.md. --set counts for every row."""
    if not table:
        _run_ablation(method, dataset, data_root, seeds, rows, set_, device, precision, output, list_)
    if list_:
        return
    from benchmarks.ablations.report import write_ablations

    _show_written(*write_ablations(output / "results"))


@app.command(epilog="Example:  python harness.py ensemble gpo-demo-s0 hrem-fusion-demo-s0")
def ensemble(
    records: Annotated[list[str], typer.Argument(help="Two records or more: ids, or the beginnings of ids.")],
    data_root: DataRoot = None,
    set_: Set = [],  # noqa: B006 - typer copies it
    device: Device = None,
    output: Output = Path(),
) -> None:
    """File the mean similarity of recorded runs, scored again from their checkpoints. --set takes text.bert alone."""
    from benchmarks.engine import make_accelerator
    from benchmarks.ensembling import ensemble_of

    accelerator = make_accelerator(_device(device), "fp32")
    record = ensemble_of(records, output, data_root, _overrides(set_, None), accelerator, console)
    _show_metrics(record.metrics, record.id)


@app.command()
def transfer(results: Results = Path("results")) -> None:
    """Write results/TRANSFER.md: checkpoints on data sets that they were not trained on. Exit code 2 on damage."""
    from benchmarks.transfer import write_transfer

    _show_written(*write_transfer(results))


@app.command(epilog="Example:  python harness.py study gpo-pooling")
def study(
    name: Annotated[str, typer.Argument(help="gpo-pooling: can GPO imitate known poolings? Without data, 2 minutes.")],
    results: Results = Path("results"),
) -> None:
    """Run a study that needs no data set; file its numbers under results/studies/ and write results/STUDIES.md."""
    from benchmarks.studies.report import run_study

    path = run_study(name, results, lambda line: console.print(line, soft_wrap=True, highlight=False))
    console.print(f"written: {path}", soft_wrap=True, highlight=False, markup=False)


@app.command(
    epilog="Examples:  python harness.py audit    python harness.py audit gpo-demo-s0 --results DIR/results    "
    "python harness.py audit --data-root DIR --hash full"
)
def audit(
    records: Annotated[list[str] | None, typer.Argument(help="Ids, their beginnings, or paths; default: all.")] = None,
    results: Results = Path("results"),
    data_root: DataRoot = None,
    hash_: Hash = "sampled",
) -> None:
    """Check records: schema, ranks, flags, data at hand, tables, published numbers. Exit code 1 where one is wrong."""
    from benchmarks.audit import Report
    from benchmarks.audit import audit as audit_results

    report = Report()
    audit_results(results, records or [], data_root, _whole(hash_), report)
    for line in [*report.notes, *(f"WRONG: {sentence}" for sentence in report.wrong)]:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    console.print(f"checked: {', '.join(report.checked)}; wrong: {len(report.wrong)}", highlight=False)
    raise typer.Exit(1 if report.wrong else 0)


@app.command(
    epilog="Examples:  python harness.py rerun gpo-demo-s0    "
    "python harness.py rerun DIR/records/A.json --data-root DIR --output DIR"
)
def rerun(
    record: Annotated[str, typer.Argument(help="A record: its id, the beginning of it, or the path of its .json.")],
    results: Results = Path("results"),
    data_root: DataRoot = None,
    bert: Annotated[str | None, typer.Option(help="Folder of BERT's weights, where the record's name is none.")] = None,
    device: Device = None,
    output: Annotated[Path | None, typer.Option(help="Keep the repetition here; default: thrown away.")] = None,
) -> None:
    """Repeat a record from what it stores and compare. Exit code 1 where something differs, with what may be why."""
    import tempfile

    from benchmarks.compare import open_record
    from benchmarks.determinism import deterministic
    from benchmarks.engine import make_accelerator
    from benchmarks.rerun import options_of
    from benchmarks.rerun import rerun as repeat

    first = open_record(record, results)
    with tempfile.TemporaryDirectory() as scratch:
        options = options_of(first.record, data_root, output or Path(scratch), bert)
        with deterministic(options.deterministic):
            _, found = repeat(options, first, make_accelerator(_device(device), options.precision), console)
    for line in found.lines(first.record.id):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    raise typer.Exit(0 if found.equal else 1)


@data_app.command("check")
def check(
    dataset: DatasetName,
    data_root: DataRoot = None,
    images: Annotated[bool, typer.Option("--images", help="Decode every picture, and name the broken ones.")] = False,
) -> None:
    """Say what is there, what is missing, for which methods, and whether shapes, counts and values are right."""
    from benchmarks.listing import inputs_by_method
    from datasets.check import check_dataset

    report = check_dataset(dataset, data_root, inputs_by_method(), images=images)
    for line in report.lines():
        console.print(line, soft_wrap=True, highlight=False)
    raise typer.Exit(0 if report.ok else 2)


def _show_bench(record: BenchRecord) -> None:
    quantities = {
        "pairs per second": lambda one: f"{one.samples_per_second:.1f}",
        "fast step, ms": lambda one: f"{one.milliseconds:.0f}",
        "plain step, ms": lambda one: "" if one.plain_milliseconds is None else f"{one.plain_milliseconds:.0f}",
        "share of the matrix rate": lambda one: f"{100 * one.matrix_share:.0f} %",
    }
    for phase in record.step_times[0].phase_milliseconds if record.step_times else ():
        quantities[f"{phase}, ms"] = lambda one, phase=phase: f"{one.phase_milliseconds[phase]:.0f}"
    rows = [(name, *(tell(one) for one in record.step_times)) for name, tell in quantities.items()]
    columns = ("", *(f"phases begun: {', '.join(one.phases) or 'none'}" for one in record.step_times))
    _show_table(columns, rows, f"{record.method}, {record.text}, batch {record.batch}, {record.precision}")


def _show_written(path: Path, problems: list[str]) -> None:
    console.print(f"written: {path}", soft_wrap=True, highlight=False, markup=False)
    if problems:
        _stop("\n".join([*problems, f"left out: {len(problems)}; the rest was written."]), 2)


def _run_ablation(
    method: str | None,
    dataset: str | None,
    data_root: Path | None,
    seeds: str,
    rows: str,
    set_: list[str],
    device: str | None,
    precision: str,
    output: Path,
    list_: bool,
) -> None:
    from benchmarks.ablations.runs import listing, plan, run_missing
    from benchmarks.ablations.sets import read_set
    from benchmarks.engine import make_accelerator
    from benchmarks.records import scan_records
    from datasets.spec import find_spec

    for value, option in ((method, "--method"), (dataset, "--dataset")):
        if value is None:
            raise RunError(f"ablate needs {option}, or --table; see `python harness.py ablate --help`.")
    ablation = read_set(method)
    chosen = ablation.chosen([label.strip() for label in rows.split(",")]) if rows else ablation.rows()
    options = _options(method, dataset, data_root, None, set_, None, None, precision, output, False, False)
    records = [r for r, _ in scan_records(options.results)[0]] if options.results.is_dir() else []
    planned = plan(ablation, chosen, options, _seeds(seeds), records)
    if list_:
        for line in listing(planned, find_spec(dataset).name):
            console.print(line, soft_wrap=True, highlight=False, markup=False)
        return
    accelerator = make_accelerator(_device(device), precision)
    console.quiet = not accelerator.is_main_process
    run_missing(planned, accelerator, console)


def _end_sweep(failures: list[Failure]) -> None:
    """List what failed. Exit code 2 where all of it was the input, else 1."""
    if failures:
        lines = [f"failed: {len(failures)}", *(f"{failure.run.label}: {failure.reason}" for failure in failures)]
        _stop("\n".join(lines), 2 if all(failure.by_input for failure in failures) else 1)


def _options(
    method: str,
    dataset: str,
    data_root: Path | None,
    variant: str | None,
    set_: list[str],
    epochs: int | None,
    limit: int | None,
    precision: str,
    output: Path,
    fresh: bool,
    tensorboard: bool,
) -> RunOptions:
    from benchmarks.job import RunOptions

    if precision not in ("fp32", "bf16"):
        raise RunError(f"--precision {precision} is not known; use fp32 or bf16.")
    return RunOptions(
        method, dataset, data_root, variant, _overrides(set_, epochs), precision, limit, output, fresh, tensorboard
    )


def _overrides(set_: list[str], epochs: int | None) -> dict[str, Any]:
    from methods.recipe import parse_override

    return dict(parse_override(text) for text in set_) | ({"train.epochs": epochs} if epochs else {})


def _whole(hash_: str) -> bool:
    if hash_ not in ("sampled", "full"):
        raise RunError(f"--hash {hash_} is not known; use sampled or full.")
    return hash_ == "full"


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _seeds(text: str) -> list[int]:
    seeds = list(dict.fromkeys(part.strip() for part in text.split(",")))
    if not all(seed.isdecimal() for seed in seeds):
        raise RunError(f"--seeds {text}: write whole numbers from 0, separated by commas, for example --seeds 0,1,2.")
    return [int(seed) for seed in seeds]


def _batch_size(text: str) -> int | None:
    if text != "auto" and (not text.isdecimal() or int(text) == 0):
        raise RunError(f"--batch-size {text}: write auto, or a whole number from 1.")
    return None if text == "auto" else int(text)


def _device(name: str | None) -> str | None:
    """A device that is there; None: the default."""
    import torch

    if name is None or name == "cpu":
        return name
    kind, _, index = name.partition(":")
    if kind != "cuda" or not (index or "0").isdecimal():
        raise RunError(f"--device {name} is not known; use cpu, cuda or cuda:N.")
    if int(index or 0) >= torch.cuda.device_count():
        raise RunError(f"--device {name}: there is no such CUDA device here; use --device cpu.")
    return name


def _required(value: T | None, option: str) -> T:
    if value is None:
        raise RunError(f"evaluate needs {option}; see `python harness.py evaluate --help`.")
    return value


def _show_plan(options: RunOptions) -> None:
    from benchmarks.job import Job

    job = Job(options)
    _show_table(("key", "value", "source"), job.recipe.rows())
    job.require_files()
    _show_memory(job)


def _show_memory(job: Job) -> None:
    from benchmarks.memory_estimate import expected_memory

    console.print("no file is missing; expected memory of tensors (libraries and mapped files come on top):")
    memory = expected_memory(job)
    _show_table(
        ("for", "GB"), [(what, f"{size / 1e9:.2f}") for what, size in [*memory.items(), ("sum", sum(memory.values()))]]
    )


def _print_metrics(metrics: dict[str, Metrics], title: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps({name: m.model_dump(mode="json") for name, m in metrics.items()}, indent=1))
    else:
        _show_metrics(metrics, title)


def _show_metrics(metrics: dict[str, Metrics], title: str) -> None:
    columns = ("benchmark", "i2t R@1", "R@5", "R@10", "t2i R@1", "R@5", "R@10", "rsum", "ties")
    rows = [
        (
            name,
            *(f"{value:.1f}" for d in (m.i2t, m.t2i) for value in (d.r1, d.r5, d.r10)),
            f"{m.rsum:.1f}",
            str(m.i2t.ties + m.t2i.ties),
        )
        for name, m in metrics.items()
    ]
    _show_table(columns, rows, title)
    for name, m in metrics.items():
        if m.eccv is not None:
            _show_judgements(m.eccv, f"{name}: ECCV Caption and CxC")


def _show_judgements(found: ECCVCaption, title: str) -> None:
    columns = ("direction", "mAP@R", "R-Precision", "R@1", "CxC R@1", "CxC R@5", "CxC R@10")
    rows = [(side, *(f"{v:.1f}" for v in getattr(found, side).model_dump().values())) for side in ("i2t", "t2i")]
    _show_table(columns, rows, title)


def _show_comparison(b: BenchmarkComparison) -> None:
    columns = ("", "A", "B", "A − B", "95 % interval", "p", "p (Holm)")  # noqa: RUF001
    _show_table(columns, [q.row() for q in b.quantities], b.benchmark)
    console.print(b.mcnemar_sentence(), highlight=False, soft_wrap=True)
    for kind, queries in (("image", b.images), ("caption", b.captions)):
        if queries:
            console.print(f"{kind}s with the largest ratio of ranks, by position in the test split from 0:")
            _show_table((kind, "rank in A", "rank in B"), [(q.position, q.first, q.second) for q in queries])


def _show_table(columns: tuple[str, ...], rows: list[tuple[str, ...]], title: str | None = None) -> None:
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*(Text(printable(str(cell))) for cell in row))
    console.print(table)


def main() -> None:
    """Run a command. Bad input ends with one sentence and exit code 2, a stop on request with 130."""
    try:
        app()
    except (DataError, MethodError, RunError) as error:
        _stop(str(error), 2)
    except Interrupted:
        _stop("stopped, everything is saved; the same command (without --fresh or --force) goes on from here.", 130)
    except KeyboardInterrupt:
        _stop("stopped; the same command (without --fresh or --force) goes on from what is saved.", 130)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
            raise
        _stop(f"{error.filename or 'a file'} cannot be written: {error.strerror}; make room or use --output.", 2)


def _stop(message: str, code: int) -> None:
    Console(stderr=True).print(printable(message), style="red", soft_wrap=True, highlight=False, markup=False)
    sys.exit(code)


if __name__ == "__main__":
    main()
