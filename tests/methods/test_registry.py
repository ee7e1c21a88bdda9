"""What is known of a method before it is loaded, and the method itself."""

import pytest

from itm_harness.methods import registry
from itm_harness.methods.description import Description
from itm_harness.methods.gpo import GPO
from itm_harness.methods.registry import find_method, method_names


@pytest.mark.parametrize("name", method_names())
def test_a_shipped_method_inherits_its_description(name):
    entry = find_method(name)
    assert issubclass(entry.method, Description)
    assert entry.method.Config is entry.description.Config
    for said in ("name", "phases", "variants", "ensembles"):
        assert getattr(entry.method, said) == getattr(entry.description, said)
    assert entry.file.read_text(encoding="utf-8").count(f'@register("{name}")') == 1


def test_on_a_host_both_have_one_configuration():
    entry = find_method("vsd", "hrem-star")
    assert entry.method.Config is entry.description.Config
    assert entry.method.Host is entry.host.method
    assert entry.description.Host is entry.host.description


def test_a_method_without_a_description_of_its_own_describes_itself(tmp_path, monkeypatch):
    (tmp_path / "gpo.yaml").touch()
    monkeypatch.setattr(registry, "RECIPES", tmp_path)
    entry = find_method("gpo")
    assert entry.description is entry.method is GPO
