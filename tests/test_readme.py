"""What README shows works as it stands, and its numbers are those of the leaderboard."""

import re

from itm_harness.benchmarks.runs.job import RunOptions
from itm_harness.benchmarks.runs.run import run
from itm_tests.places import ROOT
from itm_tests.trees import write_f30k

README = (ROOT / "README.md").read_text(encoding="utf-8")
OWN_DATA = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")


def block(text: str, language: str, containing: str) -> str:
    """The code block of a language that holds some text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    (found,) = [b for b in blocks if containing in b]
    return found


def cells(row: str) -> list[str]:
    """The cells of a row of a table in Markdown."""
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def test_the_method_of_the_readme_trains_in_under_forty_lines(tmp_path, accelerator, quiet):
    source = block(README, "python", "# mean.py")
    assert len(source.splitlines()) < 40
    (tmp_path / "mean.py").write_text(source)
    write_f30k(tmp_path / "data")
    overrides = {"train.batch_size": 8, "train.epochs": 8, "text.word_dim": 16}
    job = RunOptions(str(tmp_path / "mean.py"), "f30k", tmp_path / "data", output=tmp_path, overrides=overrides)
    (record,) = run(job, [0], accelerator, quiet)
    assert record.method == "mean"
    assert record.history[-1].loss < record.history[0].loss


def test_the_data_set_of_the_documents_is_read(tmp_path, accelerator, quiet):
    folder = write_f30k(tmp_path / "data")
    folder.parent.rename(tmp_path / "data" / "mine")
    (tmp_path / "mine.yaml").write_text(block(OWN_DATA, "yaml", "name: mine"))
    overrides = {"train.batch_size": 8, "train.epochs": 1, "text.bert": None, "embed_size": 16}
    job = RunOptions("gpo", str(tmp_path / "mine.yaml"), tmp_path / "data", output=tmp_path, overrides=overrides)
    (record,) = run(job, [0], accelerator, quiet)
    assert set(record.metrics) == {"mine-1k"}


def test_it_has_the_two_commands_in_an_environment_of_their_own():
    environment = "python3 -m venv .venv && . .venv/bin/activate && "
    assert f"{environment}pip install -e . && itm run --method gpo --dataset demo\n" in README
    assert f"{environment}pip install -e '.[test]' && pytest\n" in README


def test_it_is_short():
    assert len(README.splitlines()) < 150


def test_its_board_is_that_of_the_leaderboard():
    sections = (ROOT / "results" / "LEADERBOARD.md").read_text(encoding="utf-8").split("\n### ")
    (board,) = [section for section in sections if section.startswith("f8k-1k\n")]
    rows = [cells(line) for line in board.split("\n#### ")[1].splitlines()]  # the headline table
    shown = [row for row in map(cells, README.splitlines()) if re.fullmatch(r"[\d.]+ \([\d.]+ to [\d.]+\)", row[-1])]
    assert len(shown) >= 2
    for rank, method, seeds, rsum in shown:
        assert any(row[:2] == [rank, method] and {seeds, rsum} <= set(row) for row in rows), method
