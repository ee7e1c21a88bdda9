"""What README shows works as it stands."""

import re

from itm_harness.benchmarks.runs.job import RunOptions
from itm_harness.benchmarks.runs.run import run
from itm_tests.places import ROOT
from itm_tests.trees import write_f30k

README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str, containing: str) -> str:
    """The code block of a language that holds some text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
    (found,) = [b for b in blocks if containing in b]
    return found


def test_the_method_of_the_readme_trains_in_under_forty_lines(tmp_path, accelerator, quiet):
    source = block("python", "# mean.py")
    assert len(source.splitlines()) < 40
    (tmp_path / "mean.py").write_text(source)
    write_f30k(tmp_path / "data")
    overrides = {"train.batch_size": 8, "train.epochs": 8, "text.word_dim": 16}
    job = RunOptions(str(tmp_path / "mean.py"), "f30k", tmp_path / "data", output=tmp_path, overrides=overrides)
    (record,) = run(job, [0], accelerator, quiet)
    assert record.method == "mean"
    assert record.history[-1].loss < record.history[0].loss


def test_the_data_set_of_the_readme_is_read(tmp_path, accelerator, quiet):
    folder = write_f30k(tmp_path / "data")
    folder.parent.rename(tmp_path / "data" / "mine")
    (tmp_path / "mine.yaml").write_text(block("yaml", "name: mine"))
    overrides = {"train.batch_size": 8, "train.epochs": 1, "text.bert": None, "embed_size": 16}
    job = RunOptions("gpo", str(tmp_path / "mine.yaml"), tmp_path / "data", output=tmp_path, overrides=overrides)
    (record,) = run(job, [0], accelerator, quiet)
    assert set(record.metrics) == {"mine-1k"}


def test_it_has_the_two_commands():
    assert "pip install -e . && python harness.py run --method gpo --dataset demo" in README
    assert "pip install -e '.[test]' && pytest" in README
