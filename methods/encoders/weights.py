"""Files of pretrained weights: found, and read as tensors and nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from itm_harness.methods.errors import MethodError

WRAPPED = ("state_dict", "model", "model_state")  # what training scripts keep weights under
NAMED = 3  # tensors that a sentence names


@dataclass(frozen=True)
class Asked:
    """How a user names a model and its weights: what comes before either, in a sentence about it."""

    model: str
    weights: str


def find_weights(name: str, what: str, asked: Asked, source: str = "") -> Path:
    """A weights file: as it is named, or in torch.hub's folder. Raises MethodError with what to do where it is not.

    what: whose weights. source: the size of the file and where it is published, for people.
    """
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    found = next((place for place in (Path(name).expanduser(), hub / Path(name).name) if place.is_file()), None)
    if found is None:
        published = f" ({source})" if source else ""
        raise MethodError(
            f"the weights of {what}, {name}{published}, are neither there nor in {hub}; put the file into that folder, "
            f"or name it: {asked.weights}PATH."
        )
    return found


def read_weights(path: Path, ignored: Collection[str] = ()) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of a torch checkpoint, on the CPU, without `module.`.

    Neither safetensors nor torch's weights_only runs code of a file, and nothing else reads it. ignored: names that are
    no weights. Raises MethodError where a file holds anything else.
    """
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _unpickled(path)
        for wrapper in WRAPPED:
            content = content.get(wrapper, content)
        tensors = {name.removeprefix("module."): value for name, value in content.items() if name not in ignored}
        if not tensors or not all(isinstance(value, Tensor) for value in tensors.values()):
            raise TypeError("not all of it is tensors")
    except Exception as error:  # whatever a damaged or hostile file comes up with
        raise MethodError(
            f"{path} cannot be read as weights and nothing else: it is damaged, or would have to run code of its own, "
            f"as a TorchScript archive does; take the weights as .safetensors."
        ) from error
    return tensors


def _unpickled(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # says that a TorchScript archive would be run; it is refused
        return torch.load(path, map_location="cpu", weights_only=True)


def fill(module: nn.Module, tensors: dict[str, Tensor], path: Path, what: str) -> None:
    """Give a module its weights. Raises MethodError where the file holds others; counters of batches do not matter."""
    expected = {name: value.shape for name, value in module.state_dict().items() if not _counts(name)}
    found = {name: value for name, value in tensors.items() if not _counts(name)}
    wrong = sorted(n for n in expected | found if n not in found or found[n].shape != expected.get(n))
    if wrong:
        more = ", ..." if len(wrong) > NAMED else ""
        raise MethodError(
            f"{path} does not hold the weights of {what}: {len(wrong):,} tensors are missing, superfluous or of "
            f"another shape ({', '.join(wrong[:NAMED])}{more}); name its own file or backbone."
        )
    module.load_state_dict(found, strict=False)


def _counts(name: str) -> bool:
    return name.endswith("num_batches_tracked")  # of a BatchNorm; old files lack it
