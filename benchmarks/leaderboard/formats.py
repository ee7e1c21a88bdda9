"""A page of tables as Markdown, LaTeX, HTML, CSV and JSON: text in, nothing but text."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import textwrap
from collections.abc import Callable
from typing import Any

from itm_harness.benchmarks.leaderboard.tables import Page, Section, Table


def markdown(page: Page) -> str:
    """GitHub's Markdown."""
    about = [textwrap.fill(f"- **{term}.** {text}", 120, subsequent_indent="  ") for term, text in page.about]
    parts = [f"# {page.title}", _markdown_text(page.source), "\n".join(about)]
    for section in page.sections:
        parts += [f"## {_markdown_text(section.title)}", section.intro]
        for table in section.tables:
            parts += [f"### {table.title}", _markdown_table(table)]
            parts += ["  \n".join(map(_markdown_text, table.notes))] if table.notes else []
    return "\n\n".join(parts) + "\n"


def _markdown_table(table: Table) -> str:
    import pandas as pd

    frame = pd.DataFrame(
        [[_markdown_text(cell) for cell in row] for row in table.texts()],
        columns=[c.heading for c in table.columns],
        dtype=object,
    )
    align = ["left" if c.left else "right" for c in table.columns]
    return frame.to_markdown(index=False, tablefmt="github", disable_numparse=True, colalign=align)


def _markdown_text(text: str) -> str:
    """Text that stays one cell of a table, and plain."""
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").split())


def latex(page: Page) -> str:
    """Tables to \\input into a document that loads booktabs, amssymb and graphicx."""
    parts = [f"% {page.title}. {page.source}", "% \\usepackage{booktabs,amssymb,graphicx}"]
    parts += [_latex_table(section, table) for section in page.sections for table in section.tables]
    return "\n\n".join(parts) + "\n"


def _latex_table(section: Section, table: Table) -> str:
    rule = "".join("l" if c.left else "r" for c in table.columns)
    rows = [" & ".join(map(_latex_text, row)) + r" \\" for row in table.texts()]
    caption = _latex_text(f"{section.title}: {table.title}. {' '.join(table.notes)}".strip())
    return "\n".join(
        [
            r"\begin{table*}",
            rf"\caption{{{caption}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{{rule}}}",
            r"\toprule",
            " & ".join(_latex_text(c.heading) for c in table.columns) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table*}",
        ]
    )


LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "*": "{*}",  # behind \\ these two are no text
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "±": r"$\pm$", "–": "--", "−": "$-$", "∞": r"$\infty$", "→": r"$\to$", "†": r"$\dagger$",  # noqa: RUF001
    "‡": r"$\ddagger$", "§": r"\S{}", "¶": r"\P{}", "‖": r"$\Vert$", "◆": r"$\blacklozenge$", "△": r"$\triangle$",
    "▽": r"$\triangledown$", "◇": r"$\lozenge$", "○": r"$\circ$", "⊗": r"$\otimes$",
}  # fmt: skip


def _latex_text(text: str) -> str:
    return "".join(LATEX.get(c, c) for c in " ".join(text.split()))


STYLE = (
    "body{font:15px/1.5 sans-serif;margin:2em}table{border-collapse:collapse;margin:1em 0}"
    "th,td{padding:.2em .6em;border-bottom:1px solid #ccc;text-align:right;white-space:nowrap}"
    ".text{text-align:left}.wide{overflow-x:auto}"
)


def html_page(page: Page) -> str:
    """One file that needs nothing else."""
    about = [f"<dt>{html.escape(term)}</dt><dd>{html.escape(text)}</dd>" for term, text in page.about]
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>{html.escape(page.title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{html.escape(page.title)}</h1>",
        f"<p>{html.escape(page.source)}</p>",
        "<dl>",
        *about,
        "</dl>",
    ]
    for section in page.sections:
        parts += [f"<h2>{html.escape(section.title)}</h2>", f"<p>{html.escape(section.intro)}</p>"]
        parts += [_html_table(table) for table in section.tables]
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _html_table(table: Table) -> str:
    classes = [' class="text"' if c.left else "" for c in table.columns]
    heads = "".join(
        f'<th scope="col"{kind}>{html.escape(c.heading)}</th>' for kind, c in zip(classes, table.columns, strict=True)
    )
    rows = [
        "<tr>" + "".join(f"<td{k}>{html.escape(cell)}</td>" for k, cell in zip(classes, row, strict=True)) + "</tr>"
        for row in table.texts()
    ]
    notes = [f"<p>{'<br>'.join(map(html.escape, table.notes))}</p>"] if table.notes else []
    opened = [f"<h3>{html.escape(table.title)}</h3>", '<div class="wide"><table>', f"<thead><tr>{heads}</tr></thead>"]
    return "\n".join([*opened, "<tbody>", *rows, "</tbody></table></div>", *notes])


def json_text(page: Page) -> str:
    """Every number, by benchmark and kind of table."""
    benchmarks = [{"benchmark": s.title, **s.about, **s.data()} for s in page.sections]
    return json.dumps({"benchmarks": benchmarks}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def csv_text(page: Page) -> str:
    """One line per row of any kind; the columns are those of all kinds, empty where a kind has them not."""
    rows = page.rows()
    names = dict.fromkeys(name for row in rows for name in row)
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, names or ["benchmark", "kind"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _plain(value) for name, value in row.items()} for row in rows)
    return file.getvalue()


def _plain(value: Any) -> Any:
    """A spreadsheet takes a text that begins with =, +, - or @ for a formula: it gets an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and re.match(r"[=+\-@\t\r]", value) else value


FORMATS: dict[str, tuple[str, Callable[[Page], str]]] = {  # name: suffix, renderer
    "md": ("md", markdown),
    "csv": ("csv", csv_text),
    "latex": ("tex", latex),
    "html": ("html", html_page),
    "json": ("json", json_text),
}
