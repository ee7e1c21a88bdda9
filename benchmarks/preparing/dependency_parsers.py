"""spaCy and stanza: words of a caption -> the head of each word."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.preparing.content import Maker
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.pictures.model_files import Models, files_print

SPACY, STANZA = "spacy", "stanza"
UNUSED = ["ner", "lemmatizer", "senter", "textcat"]  # parts of a spaCy pipeline that its parser does without
STANZA_READS = "tokenize,pos,lemma,depparse"


class DependencyParser(Maker, Protocol):
    """A parser of captions that are split into words."""

    def heads(self, captions: Sequence[list[str]]) -> list[list[int]]:
        """Per caption the position of each word's head, from 1; 0 = root."""
        ...


def open_parser(asked: str, models: Models) -> DependencyParser:
    """spacy:MODEL or stanza:FOLDER, its model loaded. Raises RunError on another word, DataError on what is missing."""
    library, _, model = asked.partition(":")
    kinds = {SPACY: SpacyParser, STANZA: StanzaParser}
    if library not in kinds or not model:
        raise RunError(f"--dependency-parser {asked}: write spacy:MODEL (a name or folder) or stanza:FOLDER.")
    parser = kinds[library](model, models)
    _ = parser.state  # loads it
    return parser


class SpacyParser:
    """A spaCy pipeline with a dependency parser. model: the name of an installed one, or a folder."""

    weights = revision = ""

    def __init__(self, model: str, models: Models) -> None:
        self.model, self._models = model, models

    @property
    def name(self) -> str:
        """Name and version of the pipeline."""
        meta = self._pipeline.meta
        return f"spaCy {meta['lang']}_{meta['name']} {meta['version']}"

    @cached_property
    def state(self) -> str:
        """Fingerprint of the pipeline's files."""
        return files_print(self._pipeline.path)

    @property
    def libraries(self) -> dict[str, str]:
        """Version of spaCy."""
        return {SPACY: metadata.version(SPACY)}

    def heads(self, captions: Sequence[list[str]]) -> list[list[int]]:
        """Heads, which spaCy gives as words; a root is its own."""
        from spacy.tokens import Doc

        docs = [Doc(self._pipeline.vocab, words=words) for words in captions]
        return [[0 if word.head.i == word.i else word.head.i + 1 for word in doc] for doc in self._pipeline.pipe(docs)]

    @cached_property
    def _pipeline(self) -> Any:
        spacy = _library(SPACY)
        folder = self._models.folder(self.model)
        try:
            pipeline = spacy.load(folder or self.model, exclude=UNUSED)
        except (OSError, ValueError) as error:
            raise DataError(
                f"spaCy has no model '{self.model}' (en_core_web_sm: 12 MB); python -m spacy download "
                f"en_core_web_sm, or put its folder (config.cfg, vocab/, parser/) {self._models.where(self.model)} and "
                f"name it: --dependency-parser spacy:FOLDER."
            ) from error
        if "parser" not in pipeline.pipe_names:
            raise DataError(f"the spaCy model '{self.model}' has no parser; name one that has, such as en_core_web_sm.")
        return pipeline


class StanzaParser:
    """stanza's English pipeline. model: the folder that stanza keeps its models in (resources.json, en/)."""

    weights = revision = ""

    def __init__(self, model: str, models: Models) -> None:
        self.model, self._models = model, models

    @property
    def name(self) -> str:
        """stanza and the package of its parser."""
        return f"stanza {self._pipeline.lang}"

    @cached_property
    def state(self) -> str:
        """Fingerprint of the English models."""
        return files_print(Path(self._pipeline.dir) / "en")

    @property
    def libraries(self) -> dict[str, str]:
        """Version of stanza."""
        return {STANZA: metadata.version(STANZA)}

    def heads(self, captions: Sequence[list[str]]) -> list[list[int]]:
        """Heads, which stanza counts as GSMN does."""
        sentences = self._pipeline(list(captions)).sentences
        return [[word.head for word in sentence.words] for sentence in sentences]

    @cached_property
    def _pipeline(self) -> Any:
        stanza = _library(STANZA)
        folder = self._models.folder(self.model) or self.model
        try:
            return stanza.Pipeline(
                "en",
                dir=str(folder),
                processors=STANZA_READS,
                tokenize_pretokenized=True,
                download_method=None,
                verbose=False,
            )
        except Exception as error:  # of several kinds, for a folder, a file or a package that is not there
            raise DataError(
                f"stanza finds no English models in '{self.model}' (about 600 MB: tokenize, pos, lemma, depparse); "
                f"stanza.download('en', model_dir='FOLDER') on a machine with a network, put the folder "
                f"{self._models.where(self.model)} and name it: --dependency-parser stanza:FOLDER."
            ) from error


def _library(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise DataError(
            f"dependency trees are made with spaCy or stanza, and {name} cannot be imported ({error}); "
            f"pip install {name} and a model: spaCy's en_core_web_sm (12 MB, python -m spacy download "
            f"en_core_web_sm), or stanza's English ones (about 600 MB); then --dependency-parser spacy:MODEL or "
            f"stanza:FOLDER."
        ) from error
