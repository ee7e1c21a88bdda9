"""The sentence encoder of a call of `prepare`, which several products share."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.preparing.options import PrepareOptions
from itm_harness.benchmarks.preparing.texts import training_texts
from itm_harness.datasets.pictures.model_files import Models
from itm_harness.datasets.precomp import Dataset
from itm_harness.datasets.text.sentence_models import TransformersEncoder
from itm_harness.datasets.text.sentences import EmbeddedEncoder, SentenceEncoder

AUTO = "auto"
BGE = "BAAI/bge-large-en-v1.5"
WIDTH = 512


class ChosenEncoder:
    """The sentence encoder that the options name, loaded and fitted when it is first used."""

    def __init__(self, options: PrepareOptions, dataset: Dataset, models: Models) -> None:
        self._options, self._dataset, self._models = options, dataset, models

    @cached_property
    def name(self) -> str:
        """embedded, or a model; of auto what it stands for: bge-large where it is on this machine."""
        asked = self._options.encoder
        if asked == AUTO:
            return BGE if self._models.folder(BGE) else EmbeddedEncoder.name
        return asked

    def require(self) -> None:
        """Raises DataError where the model is missing."""
        if self.name != EmbeddedEncoder.name:
            _ = self._folder

    @cached_property
    def fitted(self) -> SentenceEncoder:
        """The encoder, fitted on the training split. Raises RunError where --dim does not suit it."""
        width = self._options.width
        if self.name == EmbeddedEncoder.name:
            encoder = EmbeddedEncoder(width or WIDTH)
            encoder.fit(training_texts(self._dataset))
            return encoder
        model = TransformersEncoder(self._folder, Path(self.name).resolve().name, batch=self._options.batch_size)
        if width not in (None, model.width):
            raise RunError(f"--dim {width}: vectors of {model.name} have {model.width} numbers; leave --dim out.")
        return model

    @cached_property
    def _folder(self) -> Path:
        return self._models.require(
            self.name, "the sentence encoder", f"{BGE}: 1.3 GB", "--encoder", "--encoder embedded needs no model"
        )
