"""The sentence encoder of a call of `prepare`, which several products share."""

from __future__ import annotations

from functools import cached_property

from benchmarks.errors import RunError
from benchmarks.preparing.options import PrepareOptions
from benchmarks.preparing.texts import training_texts
from datasets.precomp import Dataset
from datasets.sentence_models import TransformersEncoder
from datasets.sentences import EmbeddedEncoder, SentenceEncoder

WIDTH = 512


class ChosenEncoder:
    """The sentence encoder that the options name, loaded and fitted when it is first used."""

    def __init__(self, options: PrepareOptions, dataset: Dataset) -> None:
        self._options, self._dataset = options, dataset

    @cached_property
    def fitted(self) -> SentenceEncoder:
        """The encoder, fitted on the training split. Raises RunError where --dim does not suit it."""
        name, width = self._options.encoder, self._options.width
        if name == EmbeddedEncoder.name:
            encoder = EmbeddedEncoder(width or WIDTH)
            encoder.fit(training_texts(self._dataset))
            return encoder
        model = TransformersEncoder(name, batch=self._options.batch_size)
        if width not in (None, model.width):
            raise RunError(f"--dim {width}: vectors of {name} have {model.width} numbers; leave --dim out.")
        return model
