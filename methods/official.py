"""How official `.pth` checkpoints are laid out: renamed tensors, and an architecture read from their shapes.

A method says in its class attribute `official` how its checkpoints are laid out; importing.py reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Number
from typing import Any

from torch import Tensor

from itm_harness.methods.errors import MethodError

HEAD_SIZE = 64  # of an attention head in every published BERT

INDIFFERENT = frozenset().union(  # options of the released scripts that change no score
    ("data_path", "data_name", "dataset", "vocab_path", "bert_path", "logger_name", "model_name", "resume"),
    ("save_results", "workers", "gpu_id", "multi_gpu", "seed", "log_step", "val_step"),
    ("num_epochs", "batch_size", "learning_rate", "lr_update", "lr_schedules", "decay_rate", "optim", "grad_clip"),
    ("margin", "max_violation", "mask_repeat", "size_augment", "drop"),
    ("vse_mean_warmup_epochs", "embedding_warmup_epochs", "reset_start_epoch"),
    ("img_dim", "word_dim", "embed_size", "vocab_size", "num_layers", "word2idx"),  # the tensors show them
)
NORMALISED: dict[str, Any] = {"no_imgnorm": False, "no_txtnorm": False}

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
    options: names of the released script's options, beside INDIFFERENT, that configure reads or that change no score.
    required: option → the one value of it under which ours computes the same.
    """

    parts: tuple[str, ...]
    tensors: dict[str, str | None]
    configure: Configure
    absent: tuple[str, ...] = ()
    options: frozenset[str] = frozenset()
    required: dict[str, Any] = field(default_factory=lambda: NORMALISED)

    def our_name(self, official: str) -> str | None:
        """Our name of an official tensor, None where it is never used. Raises KeyError where it is not known."""
        fitting = [prefix for prefix in self.tensors if official.startswith(prefix)]
        if not fitting:
            raise KeyError(official)
        longest = max(fitting, key=len)
        ours = self.tensors[longest]
        return None if ours is None else ours + official.removeprefix(longest)

    def require_options(self, options: dict[str, Any]) -> None:
        """Raises MethodError at an option under which the scores may be others. An unknown one may be off."""
        for name, value in options.items():
            shown = " ".join(f"{name}={value}".split())[:60]
            if name in self.required and not _equal(value, self.required[name]):
                raise MethodError(
                    f"was trained with {shown}, but only {name}={self.required[name]} is computed here; "
                    f"evaluate it with its own code."
                )
            if not (name in self.required or name in self.options or name in INDIFFERENT or _is_off(value)):
                raise MethodError(
                    f"was trained with {shown}, an option that is not known here and may change its scores; "
                    f"evaluate it with its own code, or delete the option from the file's 'opt' if it changes none."
                )


def _equal(value: Any, required: Any) -> bool:
    return isinstance(value, Number | str) and value == required


def _is_off(value: Any) -> bool:
    return value is None or (isinstance(value, Number | str | list | tuple | dict) and not value)


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
