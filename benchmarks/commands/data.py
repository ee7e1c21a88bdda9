"""Commands about data: prepare, and data check."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from itm_harness.benchmarks.commands.help_text import examples, json_option
from itm_harness.benchmarks.commands.options import DataRoot, DatasetName, batch_items, parts
from itm_harness.benchmarks.commands.shown import console, print_json

app = typer.Typer()
command = partial(app.command, rich_help_panel="Data")
data_app = typer.Typer(help="Look at data on disk.", no_args_is_help=True)
app.add_typer(data_app, name="data", rich_help_panel="Data")


@command(
    epilog=examples(
        "itm prepare --dataset f30k --data-root DIR",
        "itm prepare --dataset f30k --data-root DIR --encoder DIR/bge-large-en-v1.5",
        "itm prepare --dataset f30k --data-root DIR --what clip --images DIR/photos",
        "itm prepare --dataset mine.yaml --what layout --from DIR/captions.csv",
    )
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
    from itm_harness.benchmarks.preparing.prepare import PrepareOptions
    from itm_harness.benchmarks.preparing.prepare import prepare as prepare_files

    options = PrepareOptions(
        dataset=dataset,
        data_root=data_root,
        what=parts(what),
        encoder=encoder,
        width=dim,
        splits=parts(splits),
        force=force,
        clip_model=clip_model,
        clip_weights=clip_weights,
        images=images,
        backbone=backbone,
        backbone_weights=backbone_weights,
        side=side,
        cells=cells,
        batch_size=batch_items(batch_size),
        output=output,
        limit=limit,
        describers=parts(describer),
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


@data_app.command(
    "check",
    epilog=examples(
        "itm data check --dataset demo",
        "itm data check --dataset f30k --data-root DIR --images",
        "itm data check --dataset f30k --data-root DIR --json",
    ),
)
def check(
    dataset: DatasetName,
    data_root: DataRoot = None,
    images: Annotated[bool, typer.Option("--images", help="Decode every picture, and name the broken ones.")] = False,
    as_json: Annotated[
        bool,
        json_option(
            "dataset, folder (null: not found), where, found, missing (sentence, methods), problems, notes, ok."
        ),
    ] = False,
) -> None:
    """Say what is there, what is missing, for which methods, and whether shapes, counts and values are right.

    Exit code 2 where something must be repaired.
    """
    from itm_harness.benchmarks.common.activity import activity
    from itm_harness.benchmarks.runs.inputs import inputs_by_method
    from itm_harness.datasets.files.check import check_dataset

    with activity() as tell:
        report = check_dataset(
            dataset, data_root, inputs_by_method(), lambda file: tell(f"looking at {file}"), images=images
        )
    if as_json:
        print_json({**asdict(report), "folder": report.folder and str(report.folder), "ok": report.ok})
    else:
        for line in report.lines():
            console.print(line, soft_wrap=True, highlight=False)
    raise typer.Exit(0 if report.ok else 2)
