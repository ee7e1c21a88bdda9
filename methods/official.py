"""Official `.pth` checkpoints -> our modules: renamed tensors, and an architecture read from their shapes.

A method says in its class attribute `official` how its checkpoints are laid out. Nothing in a file is executed: only
tensors and the training options (an argparse.Namespace) are read.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from itm_harness.methods.errors import MethodError

if TYPE_CHECKING:
    from itm_harness.methods.base import Method, MethodConfig

DATA_PARALLEL = "module."  # what DataParallel puts before every name
HEAD_SIZE = 64  # of an attention head in every published BERT
NAMED = 5  # names that an error message lists at most

Tensors = dict[str, Tensor]
Configure = Callable[[Tensors, dict[str, Any], Any], dict[str, Any]]

TEXT_TENSORS: dict[str, str | None] = {
    "txt_enc.bert.": "words.bert.",
    "txt_enc.bert.pooler.": None,
    "txt_enc.bert.embeddings.position_ids": None,  # a buffer of older transformers
    "txt_enc.linear.": "words.linear.",
    "txt_enc.embed.": "words.embed.",
    "txt_enc.rnn.": "words.rnn.",
}


def region_tensors(prefix: str) -> dict[str, str | None]:
    """Names of the region projection's tensors; `prefix` is what comes before fc and mlp."""
    return {
        f"{prefix}fc.": "regions.fc.",
        f"{prefix}mlp.layers.0.": "regions.mlp.hidden.",
        f"{prefix}mlp.bns.0.": "regions.mlp.norm.",
        f"{prefix}mlp.layers.1.": "regions.mlp.output.",
        f"{prefix}mlp.bns.1.": None,  # a BatchNorm that is never applied
    }


@dataclass(frozen=True)
class Official:
    """How the official checkpoints of a method are laid out.

    parts: names of the state dicts in the list `model`, in its order; a tensor is called `<part>.<name in the part>`.
    tensors: prefix of an official name → prefix of ours; None = in the file and never used. The longest that fits wins.
    absent: prefixes of our tensors that the files lack (losses with parameters, queues); they keep their first values.
    configure: (tensors, training options, config) → the configuration values that the file determines, nested.
    """

    parts: tuple[str, ...]
    tensors: dict[str, str | None]
    configure: Configure
    absent: tuple[str, ...] = ()

    def our_name(self, official: str) -> str | None:
        """Our name of an official tensor, None where it is never used. Raises KeyError where it is not known."""
        fitting = [prefix for prefix in self.tensors if official.startswith(prefix)]
        if not fitting:
            raise KeyError(official)
        longest = max(fitting, key=len)
        ours = self.tensors[longest]
        return None if ours is None else ours + official.removeprefix(longest)


def import_checkpoint(
    path: Path, method: type[Method], config: MethodConfig | None = None, extra: Tensors | None = None
) -> Method:
    """The method with the weights of an official checkpoint.

    config: for what the file does not determine. extra: tensors that the file lacks, under official names.
    Raises MethodError where the file cannot be read or does not hold what the method needs.
    """
    layout = method.official
    if layout is None:
        raise MethodError(f"{path}: there are no official checkpoints of method {method.name}; give one of ours.")
    parts, options = read_checkpoint(path)
    if len(parts) != len(layout.parts):
        raise MethodError(
            f"checkpoint {path} holds {len(parts)} state dicts, one of {method.name} holds {len(layout.parts)} "
            f"({', '.join(layout.parts)}); name its method with --method."
        )
    tensors = {
        f"{part}.{name}": t for part, state in zip(layout.parts, parts, strict=True) for name, t in state.items()
    }
    model = _built(path, method, tensors, options, config or method.Config())
    _fill(path, model, {**tensors, **(extra or {})})
    return model


def read_checkpoint(path: Path) -> tuple[list[Tensors], dict[str, Any]]:
    """The state dicts of an official checkpoint, without `module.`, and its training options.

    Raises MethodError where the file is missing, corrupt, holds other objects, or is no checkpoint.
    """
    if not path.is_file():
        raise MethodError(f"checkpoint {path} does not exist; give the path of an official .pth file.")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can make the unpickler raise anything
        raise MethodError(_refusal(path)) from error
    states = content.get("model") if isinstance(content, dict) else None
    if not isinstance(states, list | tuple) or not all(_is_state(s) for s in states):
        raise MethodError(f"{path} is no official checkpoint: it holds no list of state dicts under 'model'.")
    stripped = [{name.removeprefix(DATA_PARALLEL): value for name, value in state.items()} for state in states]
    options = content.get("opt")
    return stripped, vars(options) if isinstance(options, argparse.Namespace) else {}


def _refusal(path: Path) -> str:
    try:
        foreign = set(torch.serialization.get_unsafe_globals_in_checkpoint(path)) - {"argparse.Namespace"}
    except Exception:  # not even a torch file
        foreign = set()
    if foreign:
        return (
            f"checkpoint {path} holds objects of {_some(sorted(foreign))}, which are not loaded because that could "
            f"execute code; save its state dicts alone."
        )
    return f"checkpoint {path} is damaged or no PyTorch checkpoint; download it again."


def _is_state(state: Any) -> bool:
    return isinstance(state, dict) and all(isinstance(value, Tensor) for value in state.values())


def _built(path: Path, method: type[Method], tensors: Tensors, options: dict[str, Any], config: MethodConfig) -> Method:
    """The method in the sizes that a checkpoint determines, with its first weights."""
    try:
        found = method.official.configure(tensors, options, config)
        return method(method.Config.model_validate(_merged(config.model_dump(), found)))
    except KeyError as error:
        raise MethodError(
            f"checkpoint {path} holds no {error}, so it is not one of {method.name}; name its method with --method."
        ) from error
    except (ValueError, TypeError, ArithmeticError, RuntimeError, MemoryError) as error:
        raise MethodError(
            f"checkpoint {path} holds tensors or options that make no {method.name} ({' '.join(str(error).split())}); "
            f"name its method with --method, or download it again."
        ) from error


def _merged(values: dict[str, Any], updates: dict[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, value in updates.items():
        nested = isinstance(value, dict) and isinstance(values.get(key), dict)
        merged[key] = _merged(values[key], value) if nested else value
    return merged


def _fill(path: Path, model: Method, tensors: Tensors) -> None:
    layout, state = model.official, model.state_dict()
    ours, unexpected = {}, []
    for name, value in tensors.items():
        try:
            ours[layout.our_name(name)] = value
        except KeyError:
            unexpected.append(name)
    ours.pop(None, None)
    unexpected += [name for name in ours if name not in state]
    missing = [name for name in state if name not in ours and not name.startswith(layout.absent)]
    reshaped = [name for name in ours if name in state and ours[name].shape != state[name].shape]
    if missing or unexpected or reshaped:
        faults = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
        listed = "; ".join(f"{what}: {_some(names)}" for what, names in faults.items() if names)
        raise MethodError(
            f"checkpoint {path} does not fit method {model.name} ({listed}); "
            f"check --method, --variant and the recipe that it was trained with."
        )
    model.load_state_dict(ours, strict=False)


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def region_values(tensors: Tensors, prefix: str) -> dict[str, Any]:
    """embed_size and region_dim of the region projection `prefix`fc. Raises KeyError where there is none."""
    embed_size, region_dim = tensors[f"{prefix}fc.weight"].shape
    return {"embed_size": embed_size, "region_dim": region_dim}


def text_values(tensors: Tensors, text: Any, encoder: str = "txt_enc") -> dict[str, Any]:
    """Values of TextConfig that a checkpoint determines. text: the TextConfig so far. Raises KeyError, MethodError."""
    embedding = f"{encoder}.embed.weight"
    if embedding in tensors:
        vocabulary_size, word_dim = tensors[embedding].shape
        return {"bert": None, "bert_sizes": None, "vocabulary_size": vocabulary_size, "word_dim": word_dim}
    known = text.bert_sizes or {}
    return {
        "bert": text.bert or "bert-base-uncased",
        "bert_sizes": known | bert_sizes(tensors, f"{encoder}.bert.", known),
    }


def bert_sizes(tensors: Tensors, prefix: str, known: dict[str, Any]) -> dict[str, Any]:
    """transformers' BertConfig values by the shapes of a BERT's tensors.

    The number of heads leaves no trace in them: `known` names it, or a head has 64 dimensions.
    """
    vocabulary, hidden = tensors[f"{prefix}embeddings.word_embeddings.weight"].shape
    queries = [name for name in tensors if name.startswith(prefix) and name.endswith("attention.self.query.weight")]
    heads = known.get("num_attention_heads")
    if heads is None and hidden % HEAD_SIZE:
        raise MethodError(
            f"a BERT of {hidden} dimensions has an unknown number of attention heads; "
            f"name it in text.bert_sizes (num_attention_heads)."
        )
    return {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": len(queries),
        "num_attention_heads": heads or hidden // HEAD_SIZE,
        "intermediate_size": len(tensors[f"{prefix}encoder.layer.0.intermediate.dense.weight"]),
        "max_position_embeddings": len(tensors[f"{prefix}embeddings.position_embeddings.weight"]),
        "type_vocab_size": len(tensors[f"{prefix}embeddings.token_type_embeddings.weight"]),
    }
