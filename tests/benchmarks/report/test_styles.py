"""How rows look: the same everywhere, methods told apart by shape as well as by colour."""

from itm_harness.benchmarks.report.styles import SHAPES, key_of, styles_of
from itm_tests.stores import Store


def test_methods_have_a_colour_and_a_shape_and_their_rows_dashes():
    store = Store()
    for method in "abc":
        store.add(method=method)
    store.add(method="b", recipe={"x": 1}, overrides={"x": 1})
    rows = store.rows()
    styles = styles_of(rows)
    by_method = {
        row.first.method: [styles[key_of(r)] for r in rows if r.first.method == row.first.method] for row in rows
    }
    assert len({s.colour for found in by_method.values() for s in found}) == 3
    assert len({s.shape for found in by_method.values() for s in found}) == 3
    one, other = by_method["b"]
    assert (one.colour, one.shape) == (other.colour, other.shape)
    assert one.dash != other.dash


def test_more_methods_than_colours_still_differ():
    store = Store()
    for number in range(30):
        store.add(method=f"m{number:02}")
    styles = styles_of(store.rows()).values()
    assert len({(s.colour, s.shape) for s in styles}) == 30
    assert len({s.shape for s in styles}) == len(SHAPES)


def test_styles_do_not_depend_on_the_order_of_rows():
    store = Store()
    for method in "abcd":
        store.add(method=method, skill=0.1 * ord(method[0]) % 1)
    rows = store.rows()
    assert styles_of(rows) == styles_of(reversed(rows))
