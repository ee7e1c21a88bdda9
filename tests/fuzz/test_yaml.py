"""Bad YAML: descriptions of data sets, recipes, and values on the command line."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from itm_harness.datasets.spec import find_spec
from itm_harness.methods.gpo import GPO
from itm_harness.methods.recipe import parse_override, resolve
from itm_tests.fuzz.answers import answered, fuzzed
from itm_tests.fuzz.inputs import BOMB, DATASET, STRANGE_TEXT, VALUES, altered, damaged

RECIPE = {
    "defaults": [{"source": "ours", "optim": {"lr": 1e-3}, "embed_size": 32, "phases.max_violation": {"epoch": 1}}],
    "datasets": {"f30k": [{"when": {"variant": "gpo"}, "train.epochs": 3, "text": {"bert": None}}]},
    "variants": {"gpo": [{"source": "paper", "optim.decay_epochs": [1, 2]}]},
}
HOSTILE = st.sampled_from(
    [BOMB, "a: &a {b: *a}", "!!python/object/apply:os.system ['true']", "[" * 3000, "? " * 2000, "a: 2026-99-99", "\0",
     "a: " + "9" * 5000, "!!binary zz=", "<<: 1", "{a: 1, a: 2}", "- &x\n- *x"]
)  # fmt: skip


def as_yaml(value: object) -> bytes:
    return yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "surrogatepass")


def yaml_files(valid: dict) -> st.SearchStrategy[bytes]:
    whole = yaml.safe_dump(valid).encode()
    return (
        altered(valid).map(as_yaml) | damaged(whole) | HOSTILE.map(str.encode) | VALUES.map(as_yaml)
        | HOSTILE.map(lambda text: whole + text.encode()) | st.binary(max_size=200)
    )  # fmt: skip


@fuzzed
@given(content=yaml_files(DATASET))
def test_descriptions_of_data_sets(tmp_path, content):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    answered(lambda: find_spec(str(path)), path)


@fuzzed
@given(content=yaml_files(RECIPE))
def test_recipes(tmp_path, content):
    path = tmp_path / "gpo.yaml"
    path.write_bytes(content)
    answered(lambda: resolve(GPO, "gpo", "f30k", "gpo", {}, path).rows())


KEYS = st.sampled_from(["optim.lr", "train.epochs", "text.bert_sizes", "phases.max_violation", "optim", "variant", ""])
GIVEN = VALUES.map(lambda value: yaml.safe_dump(value, default_flow_style=True)) | HOSTILE | STRANGE_TEXT


@fuzzed
@given(overrides=st.lists(st.tuples(KEYS | STRANGE_TEXT, st.sampled_from(["=", "==", " "]), GIVEN), max_size=3))
def test_values_of_the_command_line(overrides):
    def read():
        resolve(GPO, "gpo", "f30k", None, dict(parse_override("".join(parts)) for parts in overrides)).rows()

    answered(read)
