"""Pages in each format: what is in them, and that no text can break out of its cell."""

import csv
import io
import json
import re
from html.parser import HTMLParser

import pytest

from itm_harness.benchmarks.leaderboard.formats import FORMATS, csv_text, html_page, json_text, latex, markdown
from itm_harness.benchmarks.leaderboard.tables import Column, Link, Page, Section, Spread, Table

NASTY = "a|b & c_d <script>alert('x')</script> 50% $x$ #1 {y} ~^\\ \"q\"\nnew line"


def make_page(text: str = "gpo", note: str = "a note") -> Page:
    columns = [Column("Method", "method", left=True), Column("rsum", "rsum")]
    measured = Table(
        "measured", "Measured", columns, [[text, Spread(391.123456, 2.0)], ["b", Spread(10.0, None)]], [note]
    )
    published = Table("published", "Published", columns[:1], [["X"]])
    section = Section("f8k-1k", "40 images.", [measured, published], {"images": 40})
    return Page("Leaderboard", "Made by `x`.", [("Rank", "1 + the number.")], [section])


def test_markdown():
    assert markdown(make_page()) == (
        "# Leaderboard\n\nMade by `x`.\n\n- **Rank.** 1 + the number.\n\n## f8k-1k\n\n40 images.\n\n### Measured\n\n"
        "| Method | rsum |\n| --- | ---: |\n| gpo | 391.1 ± 2.0 |\n"
        "| b | 10.0 |\n\na note\n\n### Published\n\n| Method |\n| --- |\n| X |\n"
    )


def parted_page() -> Page:
    """Two parts, a section that pages do not show, groups of rows, links, and a table without rows."""
    columns = [Column("Rank", "rank"), Column("Method", "method", left=True), Column("Track", "track", group=True)]
    columns.append(Column("Records", "records", left=True))
    rows = [[1, "gpo", "single", (Link("0", "records/a.json"),)], [2, "x|y", "<both>", ()]]
    shown = [Table("measured", "Measured", columns, rows, first=None), Table("host", "Host", columns, [], ["none"])]
    hidden = Section("demo-100", "", [Table("measured", "Folds", columns, rows)], part="Smoke test", shown=False)
    return Page("L", "S", [], [Section("f8k", "40.", shown, part="Real data"), hidden])


def test_markdown_has_parts_groups_and_links():
    assert markdown(parted_page()) == (
        "# L\n\nS\n\n## Real data\n\n### f8k\n\n40.\n\n#### Measured\n\n"
        "| Rank | Method | Records |\n| ---: | --- | --- |\n|  | **single** |  |\n| 1 | gpo | [0](records/a.json) |\n"
        "|  | **&lt;both>** |  |\n| 2 | x\\|y | – |\n\n#### Host\n\nnone\n"  # noqa: RUF001
    )


def test_html_and_latex_have_parts_groups_and_links():
    text = html_page(parted_page())
    assert '<a href="records/a.json">0</a>' in text
    assert "&lt;both&gt;" in text
    assert "Real data" in text
    assert "Smoke test" not in text
    text = latex(parted_page())
    assert r"\multicolumn{3}{l}{\emph{\textless{}both\textgreater{}}} \\" in text
    assert r"\caption{Real data. f8k: Measured.}" in text


def test_other_programs_get_what_pages_leave_out():
    found = json.loads(json_text(parted_page()))["benchmarks"]
    assert [b["benchmark"] for b in found] == ["f8k", "demo-100"]
    assert found[0]["measured"][0] == {"rank": 1, "method": "gpo", "track": "single", "records": "records/a.json"}


def test_text_cannot_break_a_markdown_table():
    (line,) = [line for line in markdown(make_page(NASTY)).splitlines() if "script" in line]
    assert len(re.findall(r"(?<!\\)\|", line)) == 3
    assert "<script" not in line
    assert "a\\|b &amp; c_d &lt;script>" in line


def test_latex_is_a_table_per_kind():
    text = latex(make_page())
    assert text.count(r"\begin{table*}") == text.count(r"\end{table*}") == 2
    assert r"\begin{tabular}{lr}" in text
    assert r"gpo & 391.1 $\pm$ 2.0 \\" in text
    assert r"\caption{f8k-1k: Measured. a note}" in text


def test_text_cannot_break_latex():
    (line,) = [line for line in latex(make_page(NASTY)).splitlines() if "script" in line]
    assert line == (
        r"a\textbar{}b \& c\_d \textless{}script\textgreater{}alert('x')\textless{}/script\textgreater{} 50\% \$x\$ "
        r"\#1 \{y\} \textasciitilde{}\textasciicircum{}\textbackslash{} " + '"q" new line & 391.1 $\\pm$ 2.0 \\\\'
    )


@pytest.mark.parametrize("text", ["[2cm]", "*starred"])
def test_a_row_cannot_begin_with_an_option_of_the_line_end_before_it(text):
    (line,) = [line for line in latex(make_page(text)).splitlines() if text[1:] in line]
    assert line.startswith("{" + text[0] + "}")


class Reader(HTMLParser):
    """Tags and cells, as a browser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.cells = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data):
        if self.cells and self.tags[-1] == "td":
            self.cells[-1] += data


def test_html_is_one_page_that_shows_text_as_text():
    text = html_page(make_page(NASTY, note="<b>bold</b>"))
    reader = Reader(text)
    assert reader.cells[0] == NASTY
    assert reader.cells[1].strip() == "391.1 ± 2.0"
    assert not {"script", "b", "link", "img"} & set(reader.tags)
    assert "http" not in text  # nothing is loaded
    assert text.count("<table>") == text.count("</table>") == 2


def test_json_has_every_number():
    assert json.loads(json_text(make_page())) == {
        "benchmarks": [
            {
                "benchmark": "f8k-1k",
                "images": 40,
                "measured": [
                    {"method": "gpo", "rsum": 391.1235, "rsum_std": 2.0},
                    {"method": "b", "rsum": 10.0, "rsum_std": None},
                ],
                "published": [{"method": "X"}],
            }
        ]
    }


def test_csv_has_a_line_per_row_of_any_kind():
    rows = list(csv.DictReader(io.StringIO(csv_text(make_page(NASTY)))))
    assert [(r["benchmark"], r["kind"], r["rsum"], r["rsum_std"]) for r in rows] == [
        ("f8k-1k", "measured", "391.1235", "2.0"),
        ("f8k-1k", "measured", "10.0", ""),
        ("f8k-1k", "published", "", ""),
    ]
    assert rows[0]["method"] == NASTY
    assert csv_text(Page("", "", [], [])) == "benchmark,kind\n"


@pytest.mark.parametrize("formula", ["=HYPERLINK(1)", "+1", "-1", "@x"])
def test_a_spreadsheet_takes_no_text_for_a_formula(formula):
    rows = list(csv.DictReader(io.StringIO(csv_text(make_page(formula)))))
    assert rows[0]["method"] == f"'{formula}"


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_page_can_be_written(name):
    assert FORMATS[name][1](Page("Leaderboard", "", [], []))
