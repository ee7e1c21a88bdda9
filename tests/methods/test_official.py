"""The importer: official files into our modules, and one clear sentence where a file does not fit."""

import argparse
import shutil
from pathlib import Path

import pytest
import torch

from itm_harness.methods.aahr import AAHR
from itm_harness.methods.base import Method
from itm_harness.methods.encoders.text_encoders import TextConfig
from itm_harness.methods.errors import MethodError
from itm_harness.methods.gpo import GPO, OFFICIAL, GPOConfig
from itm_harness.methods.gsmn import GSMN
from itm_harness.methods.hrem import HREM
from itm_harness.methods.importing import import_checkpoint, read_checkpoint
from itm_harness.methods.official import INDIFFERENT
from itm_harness.methods.vsd import VSD
from itm_harness.methods.vssr import VSSR
from itm_tests.places import GOLDEN

CASES = GOLDEN / "gpo"

BIGRU, BERT = CASES / "bigru-regions" / "checkpoint.pth", CASES / "bert-regions" / "checkpoint.pth"
TINY = GPOConfig(text=TextConfig(bert="tiny", bert_sizes={"num_attention_heads": 2}))


@pytest.fixture
def content():
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(BIGRU, weights_only=True)


def save(content, tmp_path: Path) -> Path:
    torch.save(content, tmp_path / "model_best.pth")
    return tmp_path / "model_best.pth"


def test_sizes_come_from_the_shapes():
    config = import_checkpoint(BIGRU, GPO).config
    assert (config.embed_size, config.region_dim) == (32, 24)
    assert (config.text.bert, config.text.vocabulary_size, config.text.word_dim) == (None, 120, 20)
    sizes = import_checkpoint(BERT, GPO, TINY).config.text.bert_sizes
    assert (sizes["vocab_size"], sizes["hidden_size"], sizes["num_hidden_layers"]) == (120, 48, 2)
    assert (sizes["intermediate_size"], sizes["max_position_embeddings"], sizes["type_vocab_size"]) == (64, 32, 2)


@pytest.mark.parametrize("path", [BIGRU, BERT], ids=["bigru", "bert"])
def test_every_tensor_of_the_file_lies_where_it_belongs(path):
    """Also those with the prefix of DataParallel, which the BERT checkpoint has."""
    model = import_checkpoint(path, GPO, TINY)
    state, (image, text) = model.state_dict(), read_checkpoint(path)[0]
    assert torch.equal(state["regions.fc.weight"], image["fc.weight"])
    assert torch.equal(state["regions.mlp.norm.running_var"], image["mlp.bns.0.running_var"])
    assert torch.equal(state["regions.mlp.output.bias"], image["mlp.layers.1.bias"])
    assert torch.equal(state["image_pool.linear.weight"], image["gpool.linear.weight"])
    assert torch.equal(state["text_pool.gru.weight_hh_l0_reverse"], text["gpool.gru.weight_hh_l0_reverse"])
    used = [
        name for part, tensors in (("img_enc", image), ("txt_enc", text)) for name in (f"{part}.{n}" for n in tensors)
    ]
    assert sorted(filter(None, map(OFFICIAL.our_name, used))) == sorted(state)


METHODS = {
    "gpo/bert-regions": GPO,
    "gpo/bigru-regions": GPO,
    "gsmn/dense": GSMN,
    "hrem/bert-regions": HREM,
    "aahr/bert": AAHR,
    "vsd/gpo-bert": VSD.on(GPO),
    "vsd/hrem-bert": VSD.on(HREM),
    "vssr/bert": VSSR,
}
ELSEWHERE = [
    *((case, option, True) for case in METHODS for option in ("no_imgnorm", "no_txtnorm")),
    *((case, "norm_input", 0) for case in ("hrem/bert-regions", "aahr/bert", "vsd/hrem-bert")),
    *((case, "num_layers_enc", 2) for case in ("hrem/bert-regions", "aahr/bert", "vsd/hrem-bert")),
    ("gpo/bigru-regions", "precomp_enc_type", "selfattention"),
]


def with_option(case: str, tmp_path: Path, **options) -> Path:
    """The case's checkpoint as if it had been trained with other options."""
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = torch.load(GOLDEN / case / "checkpoint.pth", weights_only=True)
    return save({**content, "opt": argparse.Namespace(**{**vars(content["opt"]), **options})}, tmp_path)


@pytest.mark.parametrize("case", METHODS)
def test_every_option_of_the_released_scripts_is_known(case):
    layout, (_, options) = METHODS[case].official, read_checkpoint(GOLDEN / case / "checkpoint.pth")
    assert set(options) <= INDIFFERENT | layout.options | set(layout.required)
    layout.require_options(options)


@pytest.mark.parametrize(("case", "option", "value"), ELSEWHERE)
def test_options_under_which_the_released_code_computes_something_else_are_refused(case, option, value, tmp_path):
    with pytest.raises(MethodError, match=rf"model_best\.pth was trained with {option}={value}, but only {option}="):
        import_checkpoint(with_option(case, tmp_path, **{option: value}), METHODS[case])


@pytest.mark.parametrize("value", [3, "on\noff", torch.ones(2)])
def test_an_option_that_nobody_knows_is_refused_in_one_sentence(value, tmp_path):
    with pytest.raises(MethodError, match=r"was trained with surprise=.* not known here") as error:
        import_checkpoint(with_option("gpo/bigru-regions", tmp_path, surprise=value), GPO)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("options", [{"surprise": None}, {"surprise": 0}, {"learning_rate": 3}, {"no_imgnorm": 0}])
def test_options_that_are_off_or_change_no_score_are_not_in_the_way(options, tmp_path):
    import_checkpoint(with_option("gpo/bigru-regions", tmp_path, **options), GPO)


def test_the_longest_prefix_decides():
    assert OFFICIAL.our_name("img_enc.mlp.bns.1.weight") is None
    assert OFFICIAL.our_name("txt_enc.bert.pooler.dense.bias") is None
    assert OFFICIAL.our_name("txt_enc.bert.encoder.x") == "words.bert.encoder.x"


def test_bert_needs_no_weights_on_disk_but_the_number_of_its_heads():
    with pytest.raises(MethodError, match="num_attention_heads"):
        import_checkpoint(BERT, GPO)


def test_missing_unexpected_and_reshaped_tensors_are_named(content, tmp_path):
    image = content["model"][0]
    image["surprise.weight"] = torch.ones(1)
    image["fc.bias"] = torch.ones(3)
    del image["mlp.layers.0.bias"]
    with pytest.raises(MethodError) as error:
        import_checkpoint(save(content, tmp_path), GPO)
    message = str(error.value)
    assert "missing: regions.mlp.hidden.bias" in message
    assert "unexpected: img_enc.surprise.weight" in message
    assert "of another shape: regions.fc.bias" in message


def test_tensors_that_the_file_lacks_can_be_given_beside_it(content, tmp_path):
    bias = content["model"][0].pop("mlp.layers.0.bias")
    model = import_checkpoint(save(content, tmp_path), GPO, extra={"img_enc.mlp.layers.0.bias": bias + 1})
    assert torch.equal(model.regions.mlp.hidden.bias, bias + 1)


def test_a_checkpoint_of_another_method_is_refused(content, tmp_path):
    del content["model"][0]["fc.weight"]
    with pytest.raises(MethodError, match=r"no 'img_enc.fc.weight', so it is not one of gpo"):
        import_checkpoint(save(content, tmp_path), GPO)
    content["model"] *= 2
    with pytest.raises(MethodError, match="holds 4 state dicts"):
        import_checkpoint(save(content, tmp_path), GPO)


def truncated(path: Path) -> None:
    path.write_bytes(BIGRU.read_bytes()[:5000])


def text_file(path: Path) -> None:
    path.write_text("not a checkpoint")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def another_class(path: Path) -> None:
    torch.save({"model": [], "opt": Path("x")}, path)


def another_layout(path: Path) -> None:
    torch.save({"state_dict": {}}, path)


def nested_layout(path: Path) -> None:
    torch.save({"model": [{"a": [torch.ones(1)]}]}, path)


@pytest.mark.parametrize("write", [truncated, text_file, empty, another_class, another_layout, nested_layout])
def test_a_file_that_is_no_checkpoint_is_refused_in_one_sentence(write, tmp_path):
    path = tmp_path / "model_best.pth"
    write(path)
    with pytest.raises(MethodError, match=r"model_best\.pth") as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)


def test_classes_that_are_not_loaded_are_named(tmp_path):
    another_class(tmp_path / "c.pth")
    with pytest.raises(MethodError, match=r"pathlib\S+, which are not loaded"):
        read_checkpoint(tmp_path / "c.pth")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MethodError, match=r"none\.pth does not exist"):
        read_checkpoint(tmp_path / "none.pth")


def test_a_method_without_official_checkpoints(tmp_path):
    class Own(Method):
        name = "own"

    shutil.copy(BIGRU, tmp_path / "c.pth")
    with pytest.raises(MethodError, match="no official checkpoints of method own"):
        import_checkpoint(tmp_path / "c.pth", Own)
