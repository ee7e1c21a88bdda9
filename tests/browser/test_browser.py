"""The report page as people use it: it loads, sorts, filters, shows the right pictures, works by keyboard and phone."""

import re

import numpy as np
import pytest

from itm_harness.benchmarks.analysis.compare import most_different
from itm_harness.benchmarks.analysis.retrieval import answer, open_gallery
from itm_harness.benchmarks.report.viewer import packed_gallery
from itm_tests.pages import HOSTILE, HOSTILE_TEXT, page_store, write_data

pytestmark = pytest.mark.browser
WIDTHS = (1280, 390, 320)
OUTLINE = """(() => {
  const focused = document.activeElement;
  return getComputedStyle(focused.matches(".choice input") ? focused.nextElementSibling : focused).outlineStyle;
})()"""


@pytest.fixture(scope="module")
def details():
    """Method -> what the viewer's run of it retrieved."""
    store = page_store()
    runs = {"first": {"seed": 0, "overrides": {}}, "second": {}}
    found = {}
    for method, wanted in runs.items():
        record = next(r for r in store.records if r.method == method and wanted.items() <= dict(r).items())
        found[method] = store.details[record.id]["f30k-1k"]
    return found


def names(page):
    return page.locator(".board:not([hidden]) .leaders tbody tr:not([hidden]) .method").all_inner_texts()


def sort_by(page, heading):
    """Clicks a heading and returns the order that is told to screen readers."""
    head = page.locator(".board:not([hidden]) .leaders thead th:visible", has_text=re.compile(rf"^{heading}$"))
    head.locator("button").click()
    return head.get_attribute("aria-sort")


def test_everything_is_drawn_and_nothing_complains(open_page):
    page = open_page()
    assert page.title().endswith("text matching: results")
    for chart in ("cost", "recall-i2t", "recall-t2i", "learning"):
        assert page.locator(f"#{chart} svg path").count() > 4
    assert page.locator("#cost svg [aria-roledescription=point]").count() == 2  # third's training time is unknown
    assert "third" in page.locator("#cost").locator("xpath=..").locator(".left-out").inner_text()
    page.get_by_label("parameters").check()
    page.wait_for_function("document.querySelectorAll('#cost svg [aria-roledescription=point]').length === 3")


def test_columns_sort_both_ways(open_page):
    page = open_page()
    best_first = names(page)
    assert best_first == ["first", "second fusion", "third"]
    assert sort_by(page, re.escape("rsum (95 % interval)")) == "descending"
    assert names(page) == best_first
    assert sort_by(page, re.escape("rsum (95 % interval)")) == "ascending"
    assert names(page) == ["second fusion", "first", "third"]  # each track by itself
    assert sort_by(page, "Method") == "ascending"
    assert names(page) == best_first
    assert page.locator(".board:not([hidden]) .leaders [aria-sort]").count() == 1


def test_rows_without_a_value_sort_last_in_both_orders(open_page):
    page = open_page()
    page.locator(".board:not([hidden])").get_by_label("What it cost").check()
    for order in ("descending", "ascending"):
        assert sort_by(page, "Train min") == order
        assert names(page)[-1] == "third"


def test_views_change_the_columns(open_page):
    page = open_page()
    board = page.locator(".board:not([hidden])")
    assert board.get_by_role("button", name="i2t R@1", exact=True).is_visible()
    board.get_by_label("How it came about").check()
    assert not board.get_by_role("button", name="i2t R@1", exact=True).is_visible()
    assert board.get_by_role("button", name="Selection").is_visible()
    assert board.get_by_role("button", name="rsum").is_visible()


def test_search_and_filters_narrow_the_rows(open_page):
    page = open_page()
    board = page.locator(".board:not([hidden])")
    board.get_by_label("Search").fill("first")
    assert names(page) == ["first"]
    assert board.locator(".shown").inner_text() == "1 of 3 rows"
    board.get_by_label("Search").fill("nothing of that name")
    assert names(page) == []
    board.get_by_role("button", name="Show all rows").click()
    assert len(names(page)) == 3
    board.get_by_label("Text encoder").select_option("BERT")
    assert names(page) == ["third"]
    board.get_by_label("Text encoder").select_option("")
    board.get_by_role("button", name="simulated").click()
    assert names(page) == ["first", "second fusion"]


def test_a_benchmark_without_records_shows_what_is_published(open_page):
    page = open_page()
    page.get_by_label("Benchmark").select_option("coco-5k")
    assert page.url.endswith("#board?benchmark=coco-5k")
    assert page.locator(".board:not([hidden])").get_attribute("data-benchmark") == "coco-5k"
    assert page.locator(".board:not([hidden]) details[open] tbody tr").count() > 5
    assert page.get_by_text("there is nothing to draw").is_visible()
    page.locator(".board:not([hidden])").get_by_label("Search").fill("gpo bigru")
    assert page.locator(".board:not([hidden]) tbody tr:not([hidden])").all_inner_texts()
    assert all(
        "BiGRU" in text for text in page.locator(".board:not([hidden]) tbody tr:not([hidden])").all_inner_texts()
    )
    page.reload()
    assert page.locator(".board:not([hidden])").get_attribute("data-benchmark") == "coco-5k"
    page.get_by_label("Benchmark").select_option("f30k-1k")
    page.wait_for_selector("#learning svg")


def test_rows_join_and_leave_the_curves(open_page):
    page = open_page()
    buttons = page.locator("#curves .rows button")
    assert [b.get_attribute("aria-pressed") for b in buttons.all()] == ["true", "true", "true"]
    count = "document.querySelectorAll('#recall-i2t svg .mark-line path').length"
    assert page.evaluate(count) == 3
    buttons.nth(2).click()
    page.wait_for_function(f"{count} === 2")
    buttons.nth(0).click()
    page.wait_for_function(f"{count} === 1")
    buttons.nth(2).click()
    page.wait_for_function(f"{count} === 2")


def test_the_viewer_shows_the_pictures_that_were_retrieved(open_page, details, tmp_path):
    pictures = packed_gallery(open_gallery("f30k", write_data(tmp_path)))["pictures"]
    page = open_page("#view?run=first-f30k-s0&against=second&direction=t2i&query=23")
    for panel, method in zip(page.locator(".answer").all(), ("first", "second"), strict=True):
        found = answer(details[method], "t2i", 23)
        shown = panel.locator("li img").evaluate_all("all => all.map((image) => image.src.split(',')[1])")
        assert shown == [pictures[hit.item] for hit in found.hits]
        right = [bool(item.locator(".right").count()) for item in panel.locator("li").all()]
        assert right == [hit.right for hit in found.hits]
        assert panel.locator(".rank").inner_text() == f"rank {found.rank}"
        scores = [float(text) for text in panel.locator(".score").all_inner_texts()]
        np.testing.assert_allclose(scores, [hit.score for hit in found.hits], atol=0.01)
    assert page.locator(".query .tile img").get_attribute("src").endswith(pictures[4])


def test_the_viewer_shows_the_captions_that_were_retrieved(open_page, details, tmp_path):
    gallery = open_gallery("f30k", write_data(tmp_path))
    page = open_page("#view?run=second&direction=i2t&query=5")
    found = answer(details["second"], "i2t", 5)
    assert page.locator(".answer .caption").all_inner_texts() == [gallery.captions[hit.item] for hit in found.hits]
    marked = [bool(item.locator(".right").count()) for item in page.locator(".answer li").all()]
    assert marked == [hit.right for hit in found.hits]
    assert page.locator(".query .caption").all_inner_texts() == gallery.captions_of(5)


def test_boxes_are_drawn_on_the_picture_where_they_are(open_page, tmp_path):
    boxes = open_gallery("f30k", write_data(tmp_path)).boxes[5]
    page = open_page("#view?run=second&direction=i2t&query=5")
    assert page.locator(".query rect").count() == 0
    page.get_by_label("region boxes").check()
    drawn = page.locator(".query rect").evaluate_all(
        "all => all.map((r) => ['x', 'y', 'width', 'height'].map((name) => Number(r.getAttribute(name)) / 255))"
    )
    expected = np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    np.testing.assert_allclose(drawn, expected, atol=1 / 255)
    picture, overlay = (page.locator(f".query {name}").bounding_box() for name in (".picture img", ".boxes"))
    assert picture == pytest.approx(overlay, abs=1)


def test_hostile_captions_are_text(open_page):
    page = open_page(f"#view?run=first-f30k-s0&direction=t2i&query={HOSTILE_TEXT}")
    assert page.locator("blockquote").inner_text() == HOSTILE
    assert page.title().endswith("text matching: results")
    assert page.locator("#view img[src=x]").count() == 0
    page.locator(".query .tile").click()
    assert HOSTILE in page.locator(".query .caption").all_inner_texts()


def test_queries_that_differ_most_are_those_of_compare(open_page, details):
    page = open_page("#view?run=first-f30k-s0&against=second&direction=t2i&query=0")
    expected = most_different(details["first"].t2i_ranks, details["second"].t2i_ranks, 24)
    assert page.locator(".jumps .ranks").all_inner_texts() == [f"{q.first} : {q.second}" for q in expected]
    page.locator(".jumps button").nth(1).click()
    page.wait_for_function(f"location.hash.endsWith('query={expected[1].position}')")
    assert page.locator(".query h3").inner_text() == f"Caption {expected[1].position}"
    assert page.locator(".jumps [aria-current=true]").count() == 1


def test_an_address_can_be_shared(open_page):
    page = open_page("#view?run=first-f30k-s0&against=second&direction=t2i&query=23")
    page.locator(".answer").nth(1).locator(".tile").nth(2).click()
    page.wait_for_selector(".query h3:has-text('Picture')")
    again = open_page("#" + page.url.partition("#")[2])
    for part in (".query", ".answers"):
        assert again.locator(part).inner_text() == page.locator(part).inner_text()
    again.wait_for_function("document.querySelector('#viewer').getBoundingClientRect().top < 100")  # scrolls smoothly


def test_an_address_that_means_nothing_is_harmless(open_page):
    page = open_page("#view?run=none&direction=constructor&query=-7&against=%3Cb%3E")
    assert page.locator(".query h3").inner_text() == "Picture 0"
    page = open_page("#view?run=second&direction=i2t&query=99999")
    assert page.locator(".query h3").inner_text() == "Picture 11"


def test_the_keyboard_is_enough(open_page):
    page = open_page("#view?run=first-f30k-s0&against=second&direction=i2t&query=3")
    page.locator(".jumps button").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.classList.contains('query')")
    start = int(page.locator(".query h3").inner_text().split()[1])
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        f"document.querySelector('.query h3').textContent === 'Picture {(start + 1)}'" if start < 11 else "true"
    )
    page.keyboard.press("ArrowLeft")
    page.locator("input[value=i2t]").focus()
    page.keyboard.press("ArrowRight")  # of a choice: the next value, not the next query
    page.wait_for_selector(".query h3:has-text('Caption')")
    page.get_by_label("Benchmark").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator(".board:not([hidden])").get_attribute("data-benchmark") != "f30k-1k"


def test_tab_reaches_every_control_and_shows_where_it_is(open_page):
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the results"
    seen = set()
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break  # at the end
        seen.add(page.evaluate("document.activeElement.name || document.activeElement.textContent.trim().slice(0, 20)"))
        assert page.evaluate(OUTLINE) != "none"
    assert {
        "benchmark",
        "search",
        "text",
        "simulated",
        "rsum (95 % interval)",
        "run",
        "against",
        "direction",
        "query",
        "→",
    } <= seen


@pytest.mark.parametrize("size", [(1280, 800), (390, 844)])
def test_the_headline_is_on_the_first_screen(open_page, size):
    width, height = size
    page = open_page(viewport={"width": width, "height": height})
    assert page.locator(".part:visible").inner_text() == "Real data."
    boxes = [page.get_by_role("rowheader", name="first").bounding_box()]
    boxes += [page.get_by_label("Benchmark").bounding_box(), page.locator(".leaders td.always").nth(4).bounding_box()]
    assert all(box["y"] + box["height"] < height and box["x"] + box["width"] <= width for box in boxes)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_never_scrolls_sideways(open_page, width, scheme):
    size = {"width": width, "height": 800}
    page = open_page(
        "#view?run=first-f30k-s0&against=second&direction=t2i&query=23", viewport=size, color_scheme=scheme
    )
    page.evaluate("for (const fold of document.querySelectorAll('.narrow')) fold.open = true")
    for choice in ("How it came about", "What it cost", "Recalls"):
        page.locator(".board:not([hidden])").get_by_label(choice).check()
        assert page.evaluate("document.documentElement.scrollWidth") == width
    paper, ink = page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
    bright = [sum(map(int, re.findall(r"\d+", colour))) for colour in (paper, ink)]
    assert (bright[0] > bright[1]) == (scheme == "light")
    label = page.locator("#recall-i2t svg text").first.evaluate("e => getComputedStyle(e).fill")
    assert (sum(map(int, re.findall(r"\d+", label))) > 380) == (scheme == "dark")


def test_without_javascript_the_tables_are_there(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator(".board:visible").count() > 2
    assert page.locator("text=The viewer needs JavaScript").is_visible()
    context.close()
