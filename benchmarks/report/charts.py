"""The charts: Vega-Lite by Altair, compiled to Vega here, so that the page carries one library and compiles nothing.

A chart has named, empty data; the page fills them in. Colours are the style sheet's variables: charts follow light and
dark without being drawn again. Colour, shape and dashes come with the data (benchmarks/report/styles.py).
"""

from __future__ import annotations

import base64
import zlib
from functools import cache
from typing import Any

HEIGHT = 320
BAND = 46  # pixels of an ablation bar with its label
HAS_PRINTED = "isValid(datum.published)"
INK, MUTED, RULE, PAPER, ACCENT = (f"var(--{name})" for name in ("ink", "muted", "rule", "paper", "accent"))
CONFIG = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "domainColor": RULE,
        "gridColor": RULE,
        "gridOpacity": 0.7,
        "tickColor": RULE,
        "labelColor": MUTED,
        "labelFontSize": 12,
        "titleColor": MUTED,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
    },
}
RECALL_TICKS = [1, 2, 5, 10, 20, 50, 100]


@cache
def chart_specs() -> dict[str, dict[str, Any]]:
    """Vega specifications by name."""
    import vl_convert

    charts = {
        "minutes": _cost("Training time, minutes"),
        "parameters": _cost("Trained parameters, millions"),
        "recall": _recall(),
        "learning": _learning(),
        "ablation": _ablation(),
    }
    return {name: vl_convert.vegalite_to_vega(chart.to_dict()) for name, chart in charts.items()}


@cache
def vega_library() -> str:
    """Vega and its embedder: a script that gives `self.vegaEmbed`, deflated and in base64 (two fifths of its size)."""
    import vl_convert

    script = vl_convert.javascript_bundle("self.vegaEmbed = vegaEmbed;")
    return base64.b64encode(zlib.compress(script.encode(), 9)).decode()


def _cost(title: str) -> Any:
    """rsum against a cost; a dotted line through the rows that nothing cheaper beats, which are named."""
    import altair as alt

    x = alt.X("x:Q", title=title, scale=alt.Scale(type="sqrt", nice=True), axis=alt.Axis(tickCount=6, grid=False))
    rows = alt.Chart(alt.NamedData("rows")).encode(x=x)
    mean = alt.Y("rsum:Q", title="rsum", scale=alt.Scale(zero=False, padding=12))
    frontier = alt.Chart(alt.NamedData("frontier")).mark_line(
        interpolate="step-after", stroke=MUTED, strokeDash=[1, 4], strokeCap="round", strokeWidth=2
    )
    named = rows.encode(y=mean, text="name:N")
    return _finished(
        frontier.encode(x=x, y=mean),
        rows.mark_rule(strokeWidth=1.5, opacity=0.6).encode(
            y=alt.Y("low:Q", title="rsum"), y2="high:Q", stroke=_as_given("Stroke", "colour")
        ),
        rows.mark_point(filled=True, size=150, stroke=PAPER, strokeWidth=1, opacity=1).encode(
            y=mean, shape=_as_given("Shape", "shape"), fill=_as_given("Fill", "colour"), tooltip="tip:N"
        ),
        *_haloed(named, dx=10, dy=-10),
    )


def _recall() -> Any:
    import altair as alt

    x = alt.X(
        "k:Q",
        title="K",
        scale=alt.Scale(type="log", nice=False),
        axis=alt.Axis(values=RECALL_TICKS, grid=False, format="d"),
    )
    y = alt.Y("recall:Q", title="R@K, percent", scale=alt.Scale(zero=False, nice=True))
    return _lines(x, y)


def _learning() -> Any:
    """Dev rsum per epoch, with a band from the lowest to the highest seed."""
    import altair as alt

    x = alt.X("epoch:Q", title="Epoch", axis=alt.Axis(tickMinStep=1, grid=False, format="d"))
    y = alt.Y("rsum:Q", title="rsum on dev", scale=alt.Scale(zero=False, nice=True))
    band = alt.Chart(alt.NamedData("lines")).mark_area(opacity=0.14, strokeWidth=0)
    fill = {"detail": "key:N", "fill": _as_given("Fill", "colour")}
    return _lines(x, y, band.encode(x=x, y=alt.Y("low:Q", title="rsum on dev"), y2="high:Q", **fill))


def _lines(x: Any, y: Any, *below: Any) -> Any:
    """A line per row with its dashes, and its shape at the marked points."""
    import altair as alt

    base = alt.Chart(alt.NamedData("lines")).encode(x=x, y=y, detail="key:N")
    stroke, fill = _as_given("Stroke", "colour"), _as_given("Fill", "colour")
    line = base.mark_line(strokeWidth=2, strokeJoin="round").encode(
        stroke=stroke, strokeDash=_as_given("StrokeDash", "dash")
    )
    marked = base.transform_filter("datum.marked").mark_point(
        filled=True, size=80, stroke=PAPER, strokeWidth=1, opacity=1
    )
    return _finished(*below, line, marked.encode(shape=_as_given("Shape", "shape"), fill=fill, tooltip="tip:N"))


def _ablation() -> Any:
    """A bar per row below its label: the change, its interval, and a diamond for the printed change."""
    import altair as alt

    base = alt.Chart(alt.NamedData("bars"), height=alt.Step(BAND))
    y = alt.Y("label:N", sort=None, axis=None)
    x = alt.X("change:Q", title="Change of rsum against the full row", axis=alt.Axis(tickCount=6))
    return _finished(
        base.mark_bar(height=13, yOffset=9, fill=ACCENT, opacity=0.85).encode(x=x, y=y, tooltip="tip:N"),
        base.mark_rule(yOffset=9, stroke=INK, strokeWidth=1.5).encode(x=alt.X("low:Q"), x2="high:Q", y=y),
        # a place for every bar: where none has a printed change, a scale without any value would complain
        base.transform_calculate(printed=f"{HAS_PRINTED} ? datum.published : datum.change")
        .mark_point(filled=True, shape="diamond", size=110, yOffset=9, fill=PAPER, stroke=INK, strokeWidth=1.5)
        .encode(
            x=alt.X("printed:Q"),
            y=y,
            tooltip="tip:N",
            opacity=alt.condition(HAS_PRINTED, alt.value(1), alt.value(0)),
        ),
        base.mark_rule(stroke=MUTED).encode(x=alt.datum(0)),
        *_haloed(base.encode(x=alt.value(0), y=y, text="label:N"), dx=0, dy=-10),
        height=None,
    )


def _haloed(texts: Any, dx: int, dy: int) -> tuple[Any, Any]:
    """Texts that stay readable on lines. They stand on the left of what is marked as late."""
    import altair as alt

    place = {
        "align": alt.expr("datum.late ? 'right' : 'left'"),
        "baseline": "middle",
        "dx": alt.expr(f"datum.late ? {-dx} : {dx}"),
        "dy": dy,
        "fontSize": 12.5,
    }
    return texts.mark_text(**place, stroke=PAPER, strokeWidth=4, fill=PAPER), texts.mark_text(**place, fill=INK)


def _as_given(channel: str, field: str) -> Any:
    """A channel that takes what the data say, without a scale."""
    import altair as alt

    return getattr(alt, channel)(f"{field}:N", scale=None, legend=None)


def _finished(*layers: Any, height: int | None = HEIGHT) -> Any:
    import altair as alt

    chart = alt.layer(*layers).properties(
        width="container", autosize=alt.AutoSizeParams(type="fit-x", contains="padding")
    )
    if height:
        chart = chart.properties(height=height)
    return chart.configure(**CONFIG)
