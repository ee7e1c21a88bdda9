"""A method on a host: how both are found, whose recipe value counts, and which code is behind a record."""

import pytest

from itm_harness.benchmarks.leaderboard.build import current_code_hash
from itm_harness.benchmarks.records.code_hash import code_behind, method_code_hash
from itm_harness.methods.errors import MethodError
from itm_harness.methods.hosting import resolve_entry
from itm_harness.methods.recipe import known_keys
from itm_harness.methods.registry import find_method

MINE = """
from itm_harness.methods.base import MethodConfig
from itm_harness.methods.gpo import GPO, GPOConfig
from itm_harness.methods.registry import register
{config}
@register("mine")
class Mine(GPO):
    Config = {name}
"""


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(MINE.format(config="", name="GPOConfig"))
    return tmp_path / "mine.py"


def recipe(variant, dataset="f30k", **overrides):
    return resolve_entry(find_method("vsd", variant), dataset, variant, overrides)


def test_the_variant_names_the_host():
    for variant, host in {None: "gpo", "gpo-star": "gpo", "hrem-dagger": "hrem", "clip-star": "clip"}.items():
        entry = find_method("vsd", variant)
        assert (entry.name, entry.host.name, entry.method.Host.name) == ("vsd", host, host)
        assert entry.method.phases == find_method(host).method.phases
    assert find_method("gpo", "bigru").host is None
    assert find_method("vsd", "hrem-star").method is find_method("vsd", "hrem-dagger").method


def test_any_embedding_method_can_be_named_by_hand(mine):
    assert find_method(f"vsd:{mine}").method.variants == ("mine-dagger", "mine-star")
    assert find_method(f"vsd:{mine}:Mine").host.file == mine
    assert find_method("vsd:hrem").method.variants == ("hrem-dagger", "hrem-star")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("vsd:gsmn", "vsd cannot be put on gsmn.*EmbeddingMethod"),
        ("vsd:vsd", "method vsd is put on others itself"),
        ("gpo:hrem", "method gpo is put on no other"),
        ("vsd:gpoo", "did you mean 'gpo'"),
        ("vsd:none.py", "none.py does not exist"),
    ],
)
def test_what_cannot_be_a_host_is_refused(name, sentence):
    with pytest.raises(MethodError, match=sentence):
        find_method(name)


def test_a_host_whose_configuration_has_no_default_is_refused(tmp_path):
    config = "class Own(GPOConfig):\n    size: int\n"
    (tmp_path / "mine.py").write_text(MINE.format(config=config, name="Own"))
    with pytest.raises(MethodError, match="method mine cannot be a host: its configuration gives no default for size"):
        find_method(f"vsd:{tmp_path / 'mine.py'}")


def test_the_papers_recipe():
    gpo, hrem, coco = recipe("gpo-dagger"), recipe("hrem-star"), recipe("hrem-dagger", "coco")
    for found, batch, mask_weight in ((gpo, 128, None), (hrem, 128, 1.0), (coco, 256, 1.5)):
        assert (found.train.epochs, found.train.batch_size, found.optim.lr) == (25, batch, 5e-4)
        assert (found.optim.decay_epochs, found.optim.grad_clip) == ((15, 25), 2.0)
        assert found.config.host.bert_lr_factor == 0.05
        assert getattr(found.config.host, "mask_weight", None) == mask_weight
        assert (found.config.epsilon, found.config.temperature, found.config.prototype_weight) == (0.05, 0.1, 1.0)
    assert (gpo.config.pair_loss, gpo.config.cutoff, gpo.config.prototypes) == ("trip", 1.7, 896)
    assert (coco.config.pair_loss, coco.config.host.cutoff, coco.config.prototypes) == ("host", 1.9, 2560)
    assert hrem.phases["graph"].step == 8000
    assert (gpo.config.descriptions, gpo.config.captions) == ("descriptions_dagger", "caption_vectors")
    assert (hrem.config.descriptions, hrem.config.captions) == ("descriptions_star", "caption_vectors_hrem")
    assert gpo.config.text.bert == "bert-base-uncased"


def test_what_the_method_does_not_set_is_the_hosts_with_its_source():
    on_demo, host = recipe("hrem-star", "demo"), resolve_entry(find_method("hrem"), "demo")
    assert (on_demo.optim, on_demo.augment, on_demo.phases) == (host.optim, host.augment, host.phases)
    assert on_demo.train.batch_size == host.train.batch_size
    assert on_demo.config.text == host.config.text
    for key, theirs in {"optim.lr": "optim.lr", "host.heads": "heads", "phases.graph": "phases.graph"}.items():
        assert on_demo.source(key) == host.source(theirs)
    assert on_demo.source("host.bert_lr_factor") == "VSD (released code)"
    assert on_demo.source("descriptions") == "the variant's name, hrem-star"
    assert on_demo.source("host.connection") == "this harness's default"


def test_an_override_wins_over_both():
    changed = {"host.heads": 2, "optim.lr": 1e-4, "phases.graph.step": 3, "descriptions": "descriptions_star"}
    found = recipe("hrem-dagger", "demo", **changed)
    assert (found.config.host.heads, found.optim.lr, found.phases["graph"].step) == (2, 1e-4, 3)
    assert found.phases["graph"].fraction is None
    assert found.config.descriptions == "descriptions_star"
    assert {found.source(key) for key in changed} == {"--set"}


def test_a_file_beside_a_users_host_is_its_recipe(mine):
    mine.with_suffix(".yaml").write_text("defaults:\n  - source: mine\n    margin: 0.3\n    train.epochs: 7\n")
    found = resolve_entry(find_method(f"vsd:{mine}"), "demo", "mine-star")
    assert (found.config.host.margin, found.train.epochs) == (0.3, 7)
    assert found.source("host.margin") == "mine"
    assert found.config.descriptions == "descriptions_star"
    assert found.config.pair_loss == "host"


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("host.embed", 3, "unknown key 'host.embed' .did you mean 'host.embed_size'"),
        ("host.text.bert", "x", "unknown key 'host.text.bert' .did you mean 'text.bert'"),
        ("host.embed_size", "wide", "host.embed_size = 'wide' is not valid"),
        ("prototype", 3, "did you mean 'prototypes'"),
    ],
)
def test_a_wrong_key_or_value_of_the_host_is_refused(key, value, sentence):
    with pytest.raises(MethodError, match=sentence):
        recipe("gpo-dagger", "demo", **{key: value})


def test_limits_of_the_hosts_values_stay():
    with pytest.raises(MethodError, match=r"host.dropout = 1.5 is not valid"):
        recipe("hrem-dagger", "demo", **{"host.dropout": 1.5})


def test_the_text_and_the_regions_stand_in_one_place():
    keys = known_keys(find_method("vsd").method)
    assert {"text.bert", "region_dim", "host.margin"} <= set(keys)
    assert not [key for key in keys if key.startswith(("host.text.", "host.region_dim"))]


def test_a_typo_in_the_variant_is_named():
    with pytest.raises(MethodError, match=r"no variant 'gpo-str' .did you mean 'gpo-star'"):
        recipe("gpo-str")


def test_the_code_of_both_is_behind_a_record():
    entry = find_method("vsd", "hrem-star")
    files = [entry.file, entry.host.file]
    names = {path.name for path in code_behind(files)}
    assert {"vsd.py", "hrem.py", "instance_graph.py", "kmeans.py"} <= names
    assert not {"gpo.py", "clip.py"} & names
    assert current_code_hash("vsd", "hrem-star") == method_code_hash(files)


def test_the_code_of_a_users_host_is_not_known():
    assert current_code_hash("vsd", "mine-star") is None
