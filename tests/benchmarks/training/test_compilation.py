"""--compile: BERT alone is compiled, the run is another one, and a run without BERT is refused."""

import pytest
import torch

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.runs.job import Job, RunOptions
from itm_harness.benchmarks.training.compilation import compile_encoders
from itm_harness.methods.hosting import resolve_entry
from itm_harness.methods.registry import find_method
from itm_tests.trees import write_f30k

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 30}


@pytest.fixture
def compiled(monkeypatch):
    """What was compiled, with which options; nothing really is."""
    found = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, **options: found.append((module, options)))
    return found


def build(method, **overrides):
    entry = find_method(method)
    recipe = resolve_entry(entry, "f30k", None, {"region_dim": 8, "embed_size": 16, "heads": 4, **overrides})
    return entry.method(recipe.config)


def test_every_bert_is_compiled_for_any_shape(compiled):
    method = build("aahr", **{"text.bert": "bert-base-uncased", "text.bert_sizes": SIZES, "clip": False})
    compile_encoders(method)
    berts = [method.text_encoder.words.bert, method.text_keys.words.bert]
    assert compiled == [(bert, {"dynamic": True}) for bert in berts]


def test_without_bert_there_is_nothing_to_compile(compiled):
    method = build("hrem", **{"text.bert": None, "text.vocabulary_size": 9})
    with pytest.raises(RunError, match="--compile compiles BERT, and hrem has none"):
        compile_encoders(method)
    assert compiled == []


def test_a_compiled_run_is_another_run_and_its_command_says_so(tmp_path):
    write_f30k(tmp_path)
    jobs = [Job(RunOptions("gpo", "f30k", tmp_path, overrides={"text.bert": None}, compile=c)) for c in (False, True)]
    plain, compiled = (job.identity(0) for job in jobs)
    assert plain.id != compiled.id
    assert compiled.recipe["compile"] is True
    assert "--compile" in jobs[1].options.command(0)
    assert "--compile" not in jobs[0].options.command(0)
