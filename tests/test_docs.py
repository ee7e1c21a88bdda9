"""What the documents name is there: files, modules, commands with their options, links; and the site builds."""

import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from itm_tests.command_lines import parse
from itm_tests.places import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = r"(?:methods|datasets|benchmarks|itm_harness|tests|docs|results|\.ci|\.github)/"
WRITTEN_BY_RUNS = "results/local"
GENERATED = {"commands.md"}  # pages that only the site has
documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())


def code(document: Path) -> list[str]:
    """Lines of the code blocks, continued ones as one, and what stands between backticks in the text."""
    text = document.read_text(encoding="utf-8")
    fenced = re.compile(r"^```.*?\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in fenced.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    return lines + [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", fenced.sub("", text))]


def commands(line: str) -> list[list[str]]:
    """The words behind `itm`, or behind a launched harness.py, for each such command of a shell's line."""
    if not re.search(r"\bitm |harness\.py ", line):
        return []
    parts = [shlex.split(part, comments=True) for part in line.split("&&")]
    launched = [p for p in parts if "harness.py" in p and p[0] in ("python", "accelerate", "torchrun")]
    return [p[1:] for p in parts if p[:1] == ["itm"]] + [p[p.index("harness.py") + 1 :] for p in launched]


@documents
def test_named_files_are_there(document):
    for line in code(document):
        for path in re.findall(rf"(?<![\w./{{-]){FOLDERS}[\w./*-]*", line):
            found = path.startswith(WRITTEN_BY_RUNS) or list(ROOT.glob(path.rstrip("./")))
            assert found, f"{document.name} names {path}"


@documents
def test_named_modules_are_there(document):
    for line in code(document):
        for module in re.findall(r"python3? -m ([\w.]+)", line) + re.findall(r"itm_harness\.[\w.]+\w", line):
            assert importlib.util.find_spec(module), f"{document.name} names {module}"


@documents
def test_commands_parse(document):
    for line in code(document):
        for words in commands(line):
            parse(words)


@documents
def test_links_lead_somewhere(document):
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        there = (document.parent / target).exists() or target in GENERATED
        assert target.startswith("https://") or there, f"{document.name} links {target}"


@pytest.mark.parametrize("line", ["itm run --methods gpo", "itm runs", "itm show gpo", "itm run --method gpo --jobs x"])
def test_a_wrong_command_is_noticed(line):
    (words,) = commands(f"pip install -e . && {line}  # why")
    with pytest.raises(Exception, match=r"No such|Missing|valid integer"):
        parse(words)


def test_the_citation_is_of_this_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (version, "Apache-2.0")


def test_the_site_builds(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert "itm data check" in (tmp_path / "commands" / "index.html").read_text(encoding="utf-8")
    reference = (tmp_path / "python" / "index.html").read_text(encoding="utf-8")
    assert "embed_images" in reference
    assert (tmp_path / "results" / "index.html").stat().st_size == (ROOT / "results" / "index.html").stat().st_size
