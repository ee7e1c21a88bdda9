"""`report`: the contents as one HTML file, everything untrusted escaped, with a policy that lets nothing else run."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from itm_harness.benchmarks.analysis.retrieval import Gallery, open_gallery
from itm_harness.benchmarks.common.atomic import write_whole
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.leaderboard.build import read_runs_and_details
from itm_harness.benchmarks.leaderboard.eccv_table import read_eccv
from itm_harness.benchmarks.leaderboard.published import read_published
from itm_harness.benchmarks.leaderboard.rows import Run
from itm_harness.benchmarks.report.boards import MARK_NAMES, VIEW_NAMES
from itm_harness.benchmarks.report.charts import chart_specs, vega_library
from itm_harness.benchmarks.report.contents import Contents, make_contents

TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = ("page.js", "boards.js", "charts.js", "retrieval.js", "viewer.js", "main.js")  # one program, in this order
EMBEDDED = "demo"  # its pictures are drawn here and may be published


def write_report(
    results_dir: Path,
    output: Path | None = None,
    pictures: Sequence[str] = (),
    data_root: Path | None = None,
    also: Sequence[Path] = (),
) -> tuple[Path, list[str], list[str]]:
    """Write the page from a results folder's records; the same records give the same bytes.

    output: None = `<results>/index.html`. pictures: data sets beside demo whose pictures and captions are put in, by
    name or YAML. also: results folders whose records are shown as well. Returns the page's path, notes, and a sentence
    for each record that was left out. Raises RunError where all folders or a library are missing, DataError where a
    data set that was asked for is not at hand.
    """
    if missing := missing_libraries():
        raise RunError(f"the report page needs {', '.join(missing)}: pip install -e '.[report]'.")
    runs, details, damaged = read_runs_and_details(results_dir, *also)
    galleries = _galleries(runs, pictures, data_root)
    contents, conflicts = make_contents(runs, details, read_published(), read_eccv(), galleries)
    page = render(contents)
    path = output or results_dir / "index.html"
    write_whole(path, lambda file: file.write(page.encode()))
    return path, _notes(galleries, contents), damaged + conflicts


def missing_libraries() -> list[str]:
    """What the page needs and is not installed."""
    return [name for name in ("altair", "jinja2", "vl_convert") if importlib.util.find_spec(name) is None]


def _galleries(runs: Sequence[Run], pictures: Sequence[str], data_root: Path | None) -> list[Gallery]:
    drawn = [EMBEDDED] if any(run.record.dataset == EMBEDDED for run in runs) else []
    return [open_gallery(name, data_root) for name in dict.fromkeys([*drawn, *pictures])]


def _notes(galleries: Sequence[Gallery], contents: Contents) -> list[str]:
    viewed = {view["dataset"] for view in contents.data["views"]}
    notes = [f"{g.dataset}: its pictures are not shown; {g.no_pictures}" for g in galleries if g.no_pictures]
    return notes + [f"{g.dataset}: no record was measured on it." for g in galleries if g.dataset not in viewed]


def render(contents: Contents) -> str:
    """The page."""
    import jinja2
    from markupsafe import Markup

    program = "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS)
    style = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        contents=contents,
        view_names=VIEW_NAMES,
        mark_names=MARK_NAMES,
        policy=_policy(program, style),
        style=Markup(style),
        program=Markup(program),
        vega=vega_library(),
        data=Markup(json_in_html({**contents.data, "charts": chart_specs()})),
    )


def _policy(script: str, style: str) -> str:
    """A content security policy: this script, this style, pictures in the page, and no connection at all.

    unsafe-eval is for Vega, which is unpacked on first use and makes functions of the charts' expressions. Text of a
    record is never among them.
    """
    return (
        f"default-src 'none'; script-src {_hash(script)} 'unsafe-eval'; style-src {_hash(style)}; img-src data:; "
        f"base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def json_in_html(value: Any) -> str:
    """JSON that cannot end the script element it stands in, nor open a comment there."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
