"""FactualSceneGraph (Z. Li et al., "FACTUAL", Findings of ACL 2023): captions -> scene graphs, in a subprocess."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from itm_harness.datasets.errors import DataError
from itm_harness.datasets.pictures.model_files import Models, files_print, revision

WORKER = Path(__file__).with_name("factual_worker.py")
BATCH = 32  # captions at a time, on the CPU always; also the step in which the file grows
GPU_BATCH = 256
INSTEAD = "--graph-parser rules needs no model"


class FactualParser:
    """The parser of the package FactualSceneGraph, with weights of the hub or of a folder.

    python: the interpreter that has the package; it pins old versions of torch and transformers, and is best installed
    into an environment of its own. batch: captions at a time on a GPU, None = as many as fit.
    """

    name = "FactualSceneGraph"

    def __init__(self, model: str, python: Path | None, models: Models, batch: int | None) -> None:
        self._model, self._python, self._models, self._batch = model, python, models, batch

    @property
    def weights(self) -> str:
        """The name of the weights."""
        return Path(self._model).resolve().name

    def require(self) -> None:
        """Raises DataError where the weights or the package are missing."""
        _ = self._folder, self._worker

    @property
    def step(self) -> int:
        """Captions at a time."""
        return BATCH if self._worker.device == "cpu" else self._batch or GPU_BATCH

    @cached_property
    def state(self) -> str:
        """Fingerprint of the weights' files."""
        return files_print(self._folder)

    @property
    def revision(self) -> str:
        """The weights' commit in the hub, "" where it is not known."""
        return revision(self._folder)

    @property
    def libraries(self) -> dict[str, str]:
        """Versions of the package and of what it computes with."""
        return self._worker.versions

    def graphs(self, captions: Sequence[str]) -> list[dict[str, Any]]:
        """The graph of each caption. Raises DataError where the package fails."""
        return self._worker.graphs(list(captions))

    @cached_property
    def _folder(self) -> Path:
        return self._models.require(self._model, "the scene-graph parser", "1 GB", "--graph-model", INSTEAD)

    @cached_property
    def _worker(self) -> _Worker:
        return _Worker(str(self._python.absolute() if self._python else sys.executable), self._folder.resolve())


class _Worker:
    """The process, which loads the weights when it gets the first captions. versions, device: what it says of itself.

    It runs in an empty folder, so that it imports nothing of the checkout, and ends when this process does.
    """

    def __init__(self, python: str, folder: Path) -> None:
        self._python, self._elsewhere = python, tempfile.TemporaryDirectory()
        try:
            self._process = subprocess.Popen(
                [python, "-c", WORKER.read_text(encoding="utf-8"), str(folder)],
                cwd=self._elsewhere.name,
                env={**os.environ, "HF_HUB_OFFLINE": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,  # Ctrl-C is for the harness, which ends the process with its own end
            )
        except OSError as error:
            raise DataError(f"--graph-python {python} cannot be run: {error.strerror}; name another one.") from error

        about = self._answer()
        self.versions, self.device = about["versions"], about["device"]

    def graphs(self, captions: list[str]) -> list[dict[str, Any]]:
        """The answer to a line of captions."""
        with contextlib.suppress(BrokenPipeError):  # its last answer says why
            self._process.stdin.write(json.dumps(captions) + "\n")
            self._process.stdin.flush()
        return self._answer()["graphs"]

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "it ended without a word"}
        if "error" in answer:
            raise DataError(
                f"FactualSceneGraph does not run in {self._python} ({answer['error']}); install it into an environment "
                f"of its own (python -m venv factual; factual/bin/pip install FactualSceneGraph 'transformers<5') and "
                f"name its Python: --graph-python factual/bin/python; {INSTEAD}."
            )
        return answer
