"""A page of tables as Markdown, LaTeX, HTML, CSV and JSON: text in, nothing but text."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import textwrap
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

from itm_harness.benchmarks.leaderboard.tables import Column, Page, Section, Table, Visible

WIDTH = 120  # of a line of text


def markdown(page: Page) -> str:
    """GitHub's Markdown."""
    about = [textwrap.fill(f"- **{term}.** {text}", WIDTH, subsequent_indent="  ") for term, text in page.about]
    parts = [f"# {page.title}", _markdown_text(page.source), "\n".join(about)]
    for part, sections in groupby((s for s in page.sections if s.shown), key=lambda section: section.part):
        level = "##"
        if part:
            parts.append(f"## {part}")
            level = "###"
        for section in sections:
            parts += [f"{level} {_markdown_text(section.title)}", textwrap.fill(section.intro, WIDTH)]
            parts += [text for table in section.tables for text in _markdown_table(table, f"{level}#")]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_table(table: Table, level: str) -> list[str]:
    """Title, rows and notes; the notes alone where there are no rows."""
    seen = table.visible()
    notes = [_markdown_text(note) for note in (*seen.notes, *_left_out(seen))]
    told = "  \n".join(textwrap.fill(note, WIDTH) for note in notes)
    rows = "\n".join(_markdown_rows(seen)) if seen.rows else ""
    return [f"{level} {table.title}", rows, told]


def _markdown_rows(seen: Visible) -> list[str]:
    lines = [_line(c.heading for c in seen.columns), _line("---" if c.left else "---:" for c in seen.columns)]
    for number, row in enumerate(seen.rows):
        if number in seen.groups:
            name = f"**{_markdown_text(seen.groups[number])}**"
            lines.append(_line(name if c is _names(seen) else "" for c in seen.columns))
        lines.append(_line(_markdown_cell(c, value) for c, value in zip(seen.columns, row, strict=True)))
    return lines


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _names(seen: Visible) -> Column:
    """The column that headings of groups stand in: the first one of text."""
    return next((c for c in seen.columns if c.left), seen.columns[0])


def _left_out(seen: Visible) -> list[str]:
    return [f"{seen.left_out} more rows stand in the formats csv and json."] if seen.left_out else []


def _markdown_cell(column: Column, value: Any) -> str:
    if isinstance(value, tuple) and value:
        return " ".join(f"[{_markdown_text(link.text)}]({link.target})" for link in value)
    return _markdown_text(column.text(value))


def _markdown_text(text: str) -> str:
    """Text that stays one cell of a table, and plain."""
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").split())


def latex(page: Page) -> str:
    """Tables to \\input into a document that loads booktabs, amssymb and graphicx."""
    parts = [f"% {page.title}. {page.source}", "% \\usepackage{booktabs,amssymb,graphicx}"]
    parts += [_latex_table(section, table) for section in page.sections if section.shown for table in section.tables]
    return "\n\n".join(parts) + "\n"


def _latex_table(section: Section, table: Table) -> str:
    seen = table.visible()
    rule = "".join("l" if c.left else "r" for c in seen.columns)
    told = " ".join([*seen.notes, *_left_out(seen)])
    part = f"{section.part}. " if section.part else ""
    caption = _latex_text(f"{part}{section.title}: {table.title}. {told}".strip())
    return "\n".join(
        [
            r"\begin{table*}",
            rf"\caption{{{caption}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{{rule}}}",
            r"\toprule",
            " & ".join(_latex_text(c.heading) for c in seen.columns) + r" \\",
            r"\midrule",
            *_latex_rows(seen),
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table*}",
        ]
    )


def _latex_rows(seen: Visible) -> list[str]:
    lines = []
    for number, row in enumerate(seen.rows):
        if number in seen.groups:
            name = rf"\emph{{{_latex_text(seen.groups[number])}}}"
            lines.append(rf"\multicolumn{{{len(seen.columns)}}}{{l}}{{{name}}} \\")
        lines.append(" & ".join(_latex_text(c.text(v)) for c, v in zip(seen.columns, row, strict=True)) + r" \\")
    return lines


LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "*": "{*}",  # behind \\ these two are no text
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "±": r"$\pm$", "–": "--", "−": "$-$", "∞": r"$\infty$", "→": r"$\to$",  # noqa: RUF001
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
    for part, sections in groupby((s for s in page.sections if s.shown), key=lambda section: section.part):
        parts += [f"<h2>{html.escape(part)}</h2>"] if part else []
        for section in sections:
            parts += [f"<h3>{html.escape(section.title)}</h3>", f"<p>{html.escape(section.intro)}</p>"]
            parts += [_html_table(table) for table in section.tables]
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _html_table(table: Table) -> str:
    seen = table.visible()
    classes = [' class="text"' if c.left else "" for c in seen.columns]
    heads = "".join(
        f'<th scope="col"{kind}>{html.escape(c.heading)}</th>' for kind, c in zip(classes, seen.columns, strict=True)
    )
    rows = []
    for number, row in enumerate(seen.rows):
        if number in seen.groups:
            name = html.escape(seen.groups[number])
            rows.append(f'<tr><th class="text" scope="rowgroup" colspan="{len(seen.columns)}">{name}</th></tr>')
        cells = (f"<td{k}>{_html_cell(c, v)}</td>" for k, c, v in zip(classes, seen.columns, row, strict=True))
        rows.append(f"<tr>{''.join(cells)}</tr>")
    told = [*seen.notes, *_left_out(seen)]
    notes = [f"<p>{'<br>'.join(map(html.escape, told))}</p>"] if told else []
    opened = [f"<h4>{html.escape(table.title)}</h4>", '<div class="wide"><table>', f"<thead><tr>{heads}</tr></thead>"]
    return "\n".join([*opened, "<tbody>", *rows, "</tbody></table></div>", *notes])


def _html_cell(column: Column, value: Any) -> str:
    if isinstance(value, tuple) and value:
        return " ".join(f'<a href="{html.escape(link.target)}">{html.escape(link.text)}</a>' for link in value)
    return html.escape(column.text(value))


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
