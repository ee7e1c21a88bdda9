"""What the site holds beside docs/: the command reference, the packages' docstrings, documents of other folders."""

import subprocess
import sys
import tempfile
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
RESULTS = [path for pattern in ("*.*", "records/*.json") for path in sorted((ROOT / "results").glob(pattern))]
BESIDE = ["CONTRIBUTING.md", "CHANGELOG.md", *(path.relative_to(ROOT).as_posix() for path in RESULTS)]
PACKAGE = tempfile.TemporaryDirectory(prefix="itm-harness-site-")


@event_priority(100)  # before mkdocstrings looks at its own configuration
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Show mkdocstrings one package in one folder: it reads files, and knows nothing of setuptools' package-dir."""
    package = Path(PACKAGE.name, "itm_harness")
    package.mkdir(exist_ok=True)
    for part in ("itm_harness/__init__.py", "methods", "datasets", "benchmarks"):
        link = package / Path(part).name
        if not link.exists():
            link.symlink_to(ROOT / part)
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [PACKAGE.name]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page that is generated, and those that lie beside docs/, under their own names."""
    files.append(File.generated(config, "commands.md", content=command_reference()))
    for name in BESIDE:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links lead from docs/ to its neighbours and back in the repository; in the site all lie in one folder."""
    return markdown.replace("](../", "](").replace("](docs/", "](")


def command_reference() -> str:
    """Every command with its options, in Markdown, as typer writes it."""
    module = "itm_harness.benchmarks.commands.app"
    command = [sys.executable, "-m", "typer", module, "utils", "docs", "--name", "itm", "--title", "Commands"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
