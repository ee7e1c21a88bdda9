"""The page's leaderboards: the tables of LEADERBOARD.md as one, with views, and values to sort by."""

import pytest

from itm_harness.benchmarks.leaderboard.page import make_page
from itm_harness.benchmarks.report.boards import make_board
from itm_harness.benchmarks.report.styles import styles_of
from itm_tests.pages import page_store
from itm_tests.stores import make_published


@pytest.fixture
def board():
    """f30k-1k, with a printed row."""
    store = page_store()
    (measured,) = store.boards()
    page, _ = make_page([measured], [make_published(benchmark="f30k-1k")])
    (section,) = page.sections
    return make_board(section, measured.standings, styles_of(standing.row for standing in measured.standings))


def column(board, name, over="", view=""):
    fitting = [i for i, h in enumerate(board.heads) if (h.text, h.over) == (name, over) and view in ("", h.view)]
    (number,) = fitting
    return [line.cells[number] for line in board.lines]


def test_rows_are_those_of_the_leaderboard_in_its_order(board):
    assert [line.name for line in board.lines] == ["first", "second fusion", "third"]
    assert column(board, "Rank")[0].text == "unranked"  # two seeds
    rsums = [cell.sort for cell in column(board, "rsum (95 % interval)")]
    assert rsums == sorted(rsums, reverse=True)
    assert column(board, "R@1", "i2t", "headline")[0].text == "100.0"


def test_columns_come_in_views_without_repetition(board):
    heads = [(head.view, head.over, head.text) for head in board.heads]
    assert len(set(heads)) == len(heads)
    assert heads[:3] == [("always", "", name) for name in ("Rank", "Group", "rsum (95 % interval)")]
    headline = [(over, text) for view, over, text in heads if view == "headline"]
    assert headline == [("i2t", "R@1"), ("t2i", "R@1"), ("", "Seeds"), ("", "Train min")]
    assert [text for view, over, text in heads if (view, over) == ("recalls", "t2i")] == ["R@1", "R@5", "R@10", "medR"]
    views = {head.text: head.view for head in board.heads}
    assert (views["medR"], views["Selection"], views["Train min"]) == ("recalls", "origin", "cost")
    assert not {"Method", "Track", "GPU GB"} & set(views)  # in the name, or nothing to say
    assert sum(count for _, _, count in board.overs) == len(board.heads)


def test_values_that_are_missing_sort_as_nothing(board):
    minutes = column(board, "Train min", view="cost")
    assert [cell.sort for cell in minutes][-1] is None
    assert minutes[1].sort == pytest.approx(10.0)
    assert column(board, "Selection")[0].sort == "dev"


def test_search_finds_names_overrides_encoders_and_marks(board):
    last = board.lines[-1]
    assert "third" in last.found
    assert "bert" in last.found
    assert "simulated" in last.found
    assert board.texts == ["BERT", "BiGRU"]
    assert [mark for mark, _ in board.marks] == ["simulated_inputs"]


def test_lines_stand_in_their_tracks(board):
    tracks = [(track, [line.name for line in lines]) for track, lines in board.tracks]
    assert tracks == [
        ("One model", ["first", "second fusion"]),
        ("With extra pre-training or simulated inputs", ["third"]),
    ]


def test_other_tables_stand_below(board):
    printed = next(table for table in board.more if table.title == "Published")
    assert printed.rows[0][0].text == "GPO"
    assert printed.heads[-1].text == "Source"


def test_a_benchmark_without_records_has_its_published_rows_alone():
    page, _ = make_page([], [make_published(benchmark="coco-5k")])
    board = make_board(page.sections[0], [], {})
    assert (board.lines, board.heads) == ((), ())
    assert board.more[0].title == "Published"
