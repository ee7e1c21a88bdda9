"""Models of transformers from folders: all of their weights are there, and nothing of a folder is run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from itm_harness.datasets.errors import DataError

NAMED = 3  # tensors that a sentence names
POOLER = "pooler"  # its weights may be missing: nothing here reads what it makes


def load_pretrained(folder: Path, reader: Any, model: Any, device: torch.device, what: str, advice: str) -> tuple:
    """What reads its inputs, and a model in evaluation mode: bf16 on a GPU, float32 on the CPU.

    reader, model: classes of transformers with from_pretrained. what: it should be. advice: what to do where it is not.
    Only code of transformers itself runs, and of a .bin file only tensors are read. Raises DataError where that does
    not load, or where weights are missing: transformers would put random ones in their place.
    """
    kind = torch.float32 if device.type == "cpu" else torch.bfloat16
    safely = {"local_files_only": True, "trust_remote_code": False}
    try:
        with _without_reports():
            reads = reader.from_pretrained(folder, **safely)
            loaded, told = model.from_pretrained(
                folder,
                dtype=kind,
                weights_only=True,
                ignore_mismatched_sizes=True,  # they are told below, with their names
                output_loading_info=True,
                **safely,
            )
    except Exception as error:  # whatever a damaged file comes up with
        raise DataError(
            f"{folder} does not load as {what} of transformers {metadata.version('transformers')} "
            f"({first_line(error)}); {advice}"
        ) from error
    _require_all(folder, told, what, advice)
    return reads, loaded.to(device).eval()


def first_line(error: Exception) -> str:
    """The beginning of what an error says."""
    return (str(error).strip() or type(error).__name__).split("\n")[0]


def _require_all(folder: Path, told: dict[str, Any], what: str, advice: str) -> None:
    """Raises DataError where weights are missing or of another shape."""
    names = {*told["missing_keys"], *(name for name, *_ in told["mismatched_keys"])}
    lost = sorted(name for name in names if POOLER not in name.split("."))
    if lost:
        more = ", ..." if len(lost) > NAMED else ""
        raise DataError(
            f"{folder} lacks {len(lost):,} tensors of {what}, or has them in another shape "
            f"({', '.join(lost[:NAMED])}{more}); get its weights anew, or {advice}"
        )


@contextmanager
def _without_reports() -> Iterator[None]:
    """transformers prints a table of what is missing, which is told in a sentence."""
    from transformers.utils import logging  # heavy

    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)
