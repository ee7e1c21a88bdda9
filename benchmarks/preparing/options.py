"""What the command line asks of `prepare`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from itm_harness.benchmarks.preparing.clip_encoder import MODEL, WEIGHTS

PROTOTYPES = 896  # VSD's on Flickr30K


@dataclass(frozen=True)
class PrepareOptions:
    """What is asked for. what: names of products (products.py). splits: empty = all of the data set.

    output: a data root that gets the data set and what is made, None = beside the data. limit: there, only the first so
    many images of each split. force: replace files that this command did not make, and make all anew. batch_size: how
    many items go through a model at once on a GPU, None = as many as fit. images: the folder of the pictures, None =
    the data set's own.
    Sentences: encoder: embedded, a transformers model, or auto = bge-large if it is there, else embedded; width: None =
    the encoder's own.
    Descriptions: describers: models, by name or folder; task: of a Florence-2; prompt: for a chat model.
    Graphs: graph_parser: factual or rules, None = graphs that came with the data, else factual; graph_model,
    graph_python: of FactualSceneGraph, its weights and the Python that has it, None = this one.
    Dependencies: dependency_parser: spacy:MODEL or stanza:FOLDER.
    Layout, caption ids: sources: FILE or SPLIT=FILE; max_captions: kept per picture, None = all, of a shipped data set
    as many as it has. Prototypes: prototypes: how many.
    Regions: backbone: as GPO's grid.backbone; backbone_weights: a file, pretrained, or none (random); side: pictures
    are resized to side x side pixels; cells: regions along a side.
    CLIP: clip_model: open_clip's name of a model, or a configuration; clip_weights: their name in the hub, or a file.
    """

    dataset: str
    data_root: Path | None = None
    what: Sequence[str] = ("sentences", "graphs")
    encoder: str = "auto"
    width: int | None = None
    splits: Sequence[str] = ()
    force: bool = False
    clip_model: str = MODEL
    clip_weights: str = WEIGHTS
    images: Path | None = None
    batch_size: int | None = None
    output: Path | None = None
    limit: int | None = None
    describers: Sequence[str] = ("florence-community/Florence-2-large-ft",)
    task: str = "<OD>"
    prompt: str = "Describe this image in detail."
    graph_parser: str | None = None
    graph_model: str = "lizhuang144/flan-t5-base-VG-factual-sg"
    graph_python: Path | None = None
    dependency_parser: str = "spacy:en_core_web_sm"
    sources: Sequence[str] = ()
    max_captions: int | None = None
    prototypes: int = PROTOTYPES
    backbone: str = "imagenet-resnet152"
    backbone_weights: str = "pretrained"
    side: int = 448
    cells: int = 6
