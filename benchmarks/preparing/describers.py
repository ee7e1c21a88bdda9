"""Vision-language models of transformers that describe pictures: Florence-2, and any that chats."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image

from itm_harness.benchmarks.preparing.options import PrepareOptions
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.pictures.batch_size import BatchSize
from itm_harness.datasets.pictures.folder import open_picture
from itm_harness.datasets.pictures.model_files import Models, files_print, revision
from itm_harness.datasets.pictures.pretrained import load_pretrained

BATCH = BatchSize(cpu=4, gpu=32)  # pictures at a time; a file of answers grows in such steps
FLORENCE = "florence2"  # its model_type
TASKS = ("<OD>", "<DENSE_REGION_CAPTION>")
TASK_TOKENS, CHAT_TOKENS = 1024, 256  # the longest answer, where the model's own configuration names none
BEAMS = 3  # as Florence-2's authors decode
ADVICE = (
    "name another one with --describer: one that needs code of its own is not run, newer versions of it may do without."
)
SIZES = "Florence-2-large-ft: 1.6 GB, MiniCPM-V: up to 16 GB"


def open_describer(name: str, options: PrepareOptions, models: Models) -> Describer:
    """The describer of a model, by what its configuration says it is. Raises DataError where it is missing."""
    folder = models.require(name, "the vision-language model", SIZES, "--describer")
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder} holds no model of transformers: no config.json with a model_type.") from error
    if kind == FLORENCE:
        return Florence(folder, Path(name).resolve().name, options.task, options.batch_size)
    return Chat(folder, Path(name).resolve().name, options.prompt, options.batch_size)


class Describer(ABC):
    """Asks a model one question about each picture; greedy, so that the same picture gets the same answer.

    kind: the set of descriptions that it writes. folder, name: of the model. question: a task or a prompt.
    """

    kind: str

    def __init__(self, folder: Path, name: str, question: str, batch: int | None) -> None:
        self.folder, self.name, self.weights = folder, name, question
        self._batch = replace(BATCH, asked=batch)

    @property
    def step(self) -> int:
        """Pictures at a time."""
        return self._batch.size(_device())

    @property
    def revision(self) -> str:
        """The model's commit in the hub, "" where it is not known."""
        return revision(self.folder)

    @cached_property
    def state(self) -> str:
        """Fingerprint of the model's files and of the question."""
        return hashlib.sha256(f"{files_print(self.folder)} {self.weights}".encode()).hexdigest()[:16]

    @property
    def libraries(self) -> dict[str, str]:
        """Versions of what reads pictures and computes."""
        return {name: metadata.version(name) for name in ("torch", "transformers", "pillow")}

    def describe(self, paths: Sequence[Path]) -> list[dict[str, Any]]:
        """What the model says of each picture. Raises DataError where one cannot be decoded."""
        batches = self._batch.over(paths, _device(), lambda batch: self._answers([open_picture(p) for p in batch]))
        return [answer for _, answers in batches for answer in answers]

    @abstractmethod
    def _answers(self, pictures: list[Image]) -> list[dict[str, Any]]:
        """What the model says of each picture, a mapping that goes into a JSON line."""

    @torch.no_grad()
    def _generate(self, inputs: Any, longest: int, **options: Any) -> torch.Tensor:
        """(B, L) ids. longest: new tokens, unless the model's own configuration says how many."""
        _, model = self._loaded
        tokens = model.generation_config.max_new_tokens or longest
        ready = inputs.to(model.device, model.dtype)  # only floats change their type
        return model.generate(**ready, max_new_tokens=tokens, do_sample=False, **options)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """Processor and model; only with code of transformers, never with a model's own."""
        from transformers import AutoModelForImageTextToText, AutoProcessor  # heavy

        return load_pretrained(
            self.folder, AutoProcessor, AutoModelForImageTextToText, _device(), "a vision-language model", ADVICE
        )


class Florence(Describer):
    """Labels of <OD> or <DENSE_REGION_CAPTION> (VSD's star)."""

    kind = "descriptions"

    def __init__(self, folder: Path, name: str, question: str, batch: int | None) -> None:
        super().__init__(folder, name, question, batch)
        if question not in TASKS:
            raise DataError(f"--task {question}: unknown; use {' or '.join(TASKS)}.")

    def _answers(self, pictures: list[Image]) -> list[dict[str, Any]]:
        processor, _ = self._loaded
        inputs = processor(images=pictures, text=[self.weights] * len(pictures), return_tensors="pt")
        ids = self._generate(inputs, TASK_TOKENS, num_beams=BEAMS)
        said = processor.batch_decode(ids, skip_special_tokens=False)
        return [self._answer(text, picture) for text, picture in zip(said, pictures, strict=True)]

    def _answer(self, text: str, picture: Image) -> dict[str, Any]:
        processor, _ = self._loaded
        found = processor.post_process_generation(text=text, task=self.weights, image_size=picture.size)[self.weights]
        return {"labels": found["labels"], "boxes": found["bboxes"]}


class Chat(Describer):
    """Free text that answers a prompt (VSD's dagger)."""

    kind = "descriptions_dagger"

    def _answers(self, pictures: list[Image]) -> list[dict[str, Any]]:
        processor, _ = self._loaded
        tokenizer = processor.tokenizer
        tokenizer.padding_side = "left"  # an answer goes on where its question ends
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": self.weights}]}]
        prompt = processor.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
        begins = bool(tokenizer.bos_token) and prompt.startswith(tokenizer.bos_token)
        inputs = processor(
            images=[[picture] for picture in pictures],  # of each prompt its own: most processors take no flat list
            text=[prompt] * len(pictures),
            padding=True,
            add_special_tokens=not begins,  # never <s> twice
            return_tensors="pt",
        )
        ids = self._generate(inputs, CHAT_TOKENS)[:, inputs["input_ids"].shape[1] :]
        return [{"text": text.strip()} for text in processor.batch_decode(ids, skip_special_tokens=True)]


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
