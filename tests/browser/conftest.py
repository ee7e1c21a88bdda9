"""A page of miniature records, opened in Debian's chromium."""

import shutil

import pytest

from itm_harness.benchmarks.report.render import write_report
from itm_tests.pages import page_store, write_data


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """The page's address; f30k's miniature is in it."""
    place = tmp_path_factory.mktemp("report")
    write_data(place / "data")
    page_store().write(place / "results")
    path, _, _ = write_report(place / "results", None, ["f30k"], place / "data")
    return path.as_uri()


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium")
    assert found, "these tests need Debian's chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, address):
    """Opens the page at a fragment; at the end nothing may have gone wrong, and nothing left the machine."""
    complaints, contexts = [], []

    def call(fragment: str = "", **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request", lambda r: complaints.append(r.url) if not r.url.startswith(("file:", "data:", "blob:")) else None
        )
        page.goto(address + fragment)
        page.wait_for_selector("#learning svg")
        page.wait_for_selector(".answer")
        return page

    yield call
    for context in contexts:
        context.close()
    assert complaints == []
