"""An open_clip model with weights of the hub or of a file. Weights are data here: no file is given code to run."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL.Image import Image
from torch import Tensor, nn

from itm_harness.methods.encoders.weights import Asked, read_weights
from itm_harness.methods.errors import MethodError
from itm_harness.methods.spelling import nearest

ARCHITECTURE = ("embed_dim", "vision_cfg", "text_cfg")  # what an open_clip configuration holds
HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # the one that can hold no code first
ENDINGS = (".safetensors", ".bin", ".pt", ".pth")
NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size")  # numbers that OpenAI kept among them
NAMED = 3  # tensors that a sentence names


PREPARE = Asked("--clip-model ", "--clip-weights ")
RECIPE = Asked("--set tower.model=", "--set tower.weights=")


def import_open_clip() -> ModuleType:
    """open_clip. Raises MethodError where it is not installed."""
    try:
        import open_clip  # heavy: only where CLIP computes
    except ImportError as error:
        raise MethodError(
            f"CLIP computes with open_clip, which cannot be imported ({error}); pip install -e '.[clip]'."
        ) from error
    return open_clip


@dataclass(frozen=True)
class OpenCLIP:
    """A model in evaluation mode, on the CPU, and what goes with its weights.

    transform: a picture -> (3, H, W), as for validation. tokens: texts -> (B, L) ids. configuration: all that the
    vectors depend on beside the weights. width: numbers of a vector.
    """

    model: nn.Module
    transform: Callable[[Image], Tensor]
    tokens: Callable[[list[str]], Tensor]
    configuration: dict[str, Any]
    width: int


def load_clip(model: str, weights: str, asked: Asked = PREPARE) -> OpenCLIP:
    """Build a model and give it weights.

    model: a name that open_clip knows, or a configuration path/to/config.json. weights: the name of weights in the hub,
    or a file. asked: how the user names them. Raises MethodError where either is not there, or where they are not of
    each other.
    """
    open_clip = import_open_clip()
    name = known_model(open_clip, model, asked)
    path, trained = _weights_file(open_clip, name, weights, asked)
    state = read_weights(path, NOT_WEIGHTS)
    architecture = open_clip.get_model_config(name)
    gelu = architecture.get("quick_gelu", False) or trained.get("quick_gelu", False)
    built = _built(open_clip, name, gelu, trained, asked)
    _require_fit(built, state, path, model, asked)
    built.load_state_dict(state)
    pictures = built.visual.preprocess_cfg
    return OpenCLIP(
        built.eval(),
        open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(**pictures), is_train=False),
        open_clip.get_tokenizer(name),
        {**architecture, "quick_gelu": gelu, "pictures": pictures},
        architecture["embed_dim"],
    )


def _built(open_clip: ModuleType, name: str, gelu: bool, trained: dict[str, Any], asked: Asked) -> nn.Module:
    """The model with random weights. Raises MethodError where a part of it is in a hub that is out of reach."""
    try:
        with _without_warnings():  # that it has no weights yet
            return open_clip.create_model(
                name, load_weights=False, pretrained_text=False, force_quick_gelu=gelu, force_preprocess_cfg=trained
            )
    except OSError as error:  # the text model of some is described in a repository of its own
        raise MethodError(
            f"the text model of {name} is neither in the hub's cache nor can it be downloaded; "
            f"choose a model with a text model of its own, such as {asked.model}ViT-B-32."
        ) from error


def known_model(open_clip: ModuleType, model: str, asked: Asked = PREPARE) -> str:
    """The model's name in open_clip; a configuration file is made known there by its own name."""
    path = Path(model)
    if path.suffix == ".json":
        _require_configuration(path, asked)
        open_clip.add_model_config(path)
        return path.stem
    if model not in open_clip.list_models():
        raise MethodError(
            f"{asked.model}{model}: open_clip knows no such model{nearest(model, open_clip.list_models())}; "
            f"name one of `open_clip.list_models()`, or a configuration, path/to/config.json."
        )
    return model


def _require_configuration(path: Path, asked: Asked) -> None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MethodError(f"{asked.model}{path} cannot be read as JSON ({error}); name another file.") from error
    if not isinstance(content, dict) or not set(ARCHITECTURE) <= set(content):
        raise MethodError(f"{asked.model}{path} is no configuration of open_clip: it needs {', '.join(ARCHITECTURE)}.")


def _weights_file(open_clip: ModuleType, name: str, weights: str, asked: Asked) -> tuple[Path, dict[str, Any]]:
    """Where weights lie, downloaded where needed, and what open_clip knows of their training; nothing of a file's."""
    if Path(weights).is_file():
        return Path(weights), {}
    if weights.endswith(ENDINGS):
        raise MethodError(f"{asked.weights}{weights}: there is no such file.")
    trained = open_clip.get_pretrained_cfg(name, weights)
    if not trained:
        known = open_clip.list_pretrained_tags_by_model(name)
        raise MethodError(
            f"{asked.weights}{weights}: no file, and no weights of {name}{nearest(weights, known)}; "
            f"known: {', '.join(known) or 'none'}; or name a file ({', '.join(ENDINGS)})."
        )
    try:
        return _from_hub(trained["hf_hub"]), trained
    except OSError as error:
        raise MethodError(_not_found(name, weights, trained, asked)) from error


def _from_hub(place: str) -> Path:
    """The weights at `repository/`, or `repository/file`: in the hub's cache, else downloaded. Raises OSError."""
    from huggingface_hub import hf_hub_download  # heavy
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository, _, file = place.rpartition("/")
    for local in (True, False):  # the cache first: no waiting for a network
        for name in [file] if file else HUB_FILES:
            try:
                return Path(hf_hub_download(repository, name, local_files_only=local))
            except EntryNotFoundError as error:
                if not local and isinstance(error, LocalEntryNotFoundError):  # no network: it knows of no other file
                    raise
    raise FileNotFoundError(f"{repository} holds none of {', '.join(HUB_FILES)}")


def _not_found(name: str, weights: str, trained: dict[str, Any], asked: Asked) -> str:
    repository, _, file = trained["hf_hub"].rpartition("/")
    file = file or HUB_FILES[0]
    gelu = f" {asked.model}{name}-quickgelu" if trained.get("quick_gelu") and "quickgelu" not in name else ""
    return (
        f"CLIP weights {weights} of {name} (about 600 MB for ViT-B-32) are not in the hub's cache and cannot be "
        f"downloaded; take {file} from https://huggingface.co/{repository} and name the file: "
        f"{asked.weights}path/to/{file}{gelu}."
    )


def _require_fit(built: nn.Module, state: dict[str, Tensor], path: Path, model: str, asked: Asked) -> None:
    """Raises MethodError where the file's tensors are not those of the model."""
    expected = {key: value.shape for key, value in built.state_dict().items()}
    found = {key: value.shape for key, value in state.items()}
    wrong = sorted(key for key in expected | found if expected.get(key) != found.get(key))
    if wrong:
        more = ", ..." if len(wrong) > NAMED else ""
        raise MethodError(
            f"{path} does not hold the weights of {model}: {len(wrong):,} tensors are missing, superfluous or of "
            f"another size ({', '.join(wrong[:NAMED])}{more}); name their model: {asked.model}NAME."
        )


@contextmanager
def _without_warnings() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
