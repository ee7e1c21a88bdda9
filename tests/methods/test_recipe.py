"""Recipes: order of blocks, sources, overrides, and errors that name the nearest key."""

import pytest

from itm_harness.benchmarks.runs.inputs import inputs_by_method
from itm_harness.methods.base import EmbeddingMethod, MethodConfig
from itm_harness.methods.errors import MethodError
from itm_harness.methods.hosting import resolve_entry
from itm_harness.methods.recipe import DEFAULT_SOURCE, Begin, known_keys, parse_override, resolve
from itm_harness.methods.registry import find_method, method_names

YAML = """
defaults:
  - source: the paper
    optim: {lr: 1e-3, decay_epochs: [3]}
    width: 8
    phases.hard: {epoch: 2}
  - source: released code
    optim.weight_decay: 0
datasets:
  coco:
    - source: the paper, coco
      width: 16
    - source: ours
      when: {variant: small}
      width: 4
variants:
  small:
    - source: ours, small
      when: {dataset: f30k}
      phases.hard: {step: 7}
"""


class Config(MethodConfig):
    width: int = 2
    depth: int = 1


class Toy(EmbeddingMethod):
    Config = Config
    phases = ("hard",)
    variants = ("large", "small")


@pytest.fixture
def toy(tmp_path):
    (tmp_path / "toy.yaml").write_text(YAML)

    def call(dataset="f30k", variant=None, **overrides):
        changes = {key.replace("__", "."): value for key, value in overrides.items()}
        return resolve(Toy, "toy", dataset, variant, changes, tmp_path / "toy.yaml")

    return call


def test_later_blocks_win_and_every_value_has_its_source(toy):
    recipe = toy("coco")
    assert (recipe.optim.lr, recipe.optim.weight_decay, recipe.config.width) == (1e-3, 0, 16)
    assert recipe.source("optim.lr") == "the paper"
    assert recipe.source("width") == "the paper, coco"
    assert recipe.source("depth") == DEFAULT_SOURCE
    assert recipe.variant == "large"


def test_a_block_may_be_limited_to_a_variant_or_a_data_set(toy):
    assert toy("coco", "small").config.width == 4
    assert toy("f30k", "small").phases["hard"] == Begin(step=7)
    assert toy("coco", "small").phases["hard"] == Begin(epoch=2)


def test_overrides_win_and_say_so(toy):
    recipe = toy("coco", width=32, optim__lr=0.5, phases__hard__fraction=0.25)
    assert recipe.config.width == 32
    assert recipe.optim.lr == 0.5
    assert recipe.phases["hard"] == Begin(fraction=0.25)  # replaces the epoch, does not join it
    assert recipe.source("width") == "--set"


def test_a_value_that_is_a_mapping_takes_any_key(toy):
    recipe = toy(text__bert="tiny", text__bert_sizes__num_attention_heads=4)
    assert recipe.config.text.bert_sizes == {"num_attention_heads": 4}
    assert recipe.source("text.bert_sizes.num_attention_heads") == "--set"


def test_values_are_complete_and_build_the_same_recipe_again(toy):
    values = toy("coco").values()
    assert values["optim"]["decay_epochs"] == [3]
    assert values["width"] == 16
    assert Toy.Config(**{k: v for k, v in values.items() if k in Config.model_fields}) == toy("coco").config


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"widht": 1}, r"unknown key 'widht' \(did you mean 'width'\?\)"),
        ({"optim__learning_rate": 1}, "unknown key 'optim.learning_rate'"),
        ({"phases__hrad": {"epoch": 1}}, "did you mean 'phases.hard'"),
        ({"phases__hard": {"epoch": 1, "step": 2}}, "exactly one of epoch, step, fraction"),
        ({"optim__lr": -1}, "optim.lr = -1 is not valid"),
        ({"train__epochs": 0}, "train.epochs = 0 is not valid"),
        ({"text__bert_size__layers": 1}, "unknown key 'text.bert_size.layers'"),
        ({"width__height": 1}, "'width' is a single value"),
    ],
)
def test_what_is_wrong_is_named(toy, overrides, message):
    with pytest.raises(MethodError, match=message):
        toy(**overrides)


def test_an_unknown_variant_names_the_nearest(toy):
    with pytest.raises(MethodError, match=r"no variant 'smal' \(did you mean 'small'\?\)"):
        toy(variant="smal")


def test_a_file_that_is_no_recipe_is_named(tmp_path):
    (tmp_path / "toy.yaml").write_text("default:\n  - width: 3\n")
    with pytest.raises(MethodError, match=r"toy.yaml: unknown section 'default'"):
        resolve(Toy, "toy", "f30k", file=tmp_path / "toy.yaml")
    (tmp_path / "toy.yaml").write_text("a: [")
    with pytest.raises(MethodError, match=r"toy.yaml.*YAML"):
        resolve(Toy, "toy", "f30k", file=tmp_path / "toy.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("optim.lr=3e-4", ("optim.lr", 3e-4)),
        ("text.bert=null", ("text.bert", None)),
        ("text.bert=a/b=c", ("text.bert", "a/b=c")),
        ("optim.decay_epochs=[7, 9]", ("optim.decay_epochs", [7, 9])),
        ("connection=false", ("connection", False)),
    ],
)
def test_an_override_is_read_as_a_person_means_it(text, expected):
    assert parse_override(text) == expected


@pytest.mark.parametrize(("begin", "step"), [({"epoch": 2}, 20), ({"step": 7}, 7), ({"fraction": 0.25}, 15)])
def test_a_phase_begins_at_its_step(begin, step):
    assert Begin(**begin).first_step(steps_per_epoch=10, epochs=6) == step


@pytest.mark.parametrize("name", method_names())
@pytest.mark.parametrize("dataset", ["f30k", "coco", "f8k", "demo"])
def test_every_shipped_recipe_is_valid_and_starts_every_phase(name, dataset):
    for variant in find_method(name).method.variants:
        entry = find_method(name, variant)
        recipe = resolve_entry(entry, dataset, variant)
        assert set(recipe.phases) == set(entry.method.phases)
        assert {key for key, _, _ in recipe.rows()} >= {"optim.lr", "train.epochs"}
        assert all(source for _, _, source in recipe.rows())


def test_every_key_of_a_recipe_can_be_set():
    for name in method_names():
        entry = find_method(name)
        recipe = resolve_entry(entry, "f30k")
        shown = {key for key, _, _ in recipe.rows()}
        assert shown - set(known_keys(entry.method)) == set()


def test_what_a_method_reads_is_known_without_building_it():
    inputs = inputs_by_method()
    assert inputs["gpo"].regions
    assert inputs["gpo"].image_sidecars == ()
    assert inputs["gsmn"].image_sidecars == ("boxes",)
