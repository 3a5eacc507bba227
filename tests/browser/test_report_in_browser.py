"""report.html as a browser shows it: looks, contents, switch, without a script."""

from pathlib import Path

import pytest
from conftest import Open
from looks import EVERY_LOOK, assert_sound, cut_tables
from made_pages import make_report

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a few synthetic runs."""
    return make_report(tmp_path_factory.mktemp("report"))


@EVERY_LOOK
def test_the_report_is_sound(
    report: Path, open_page: Open, width: int, scheme: str
) -> None:
    assert_sound(open_page(report, width, scheme), scheme)


@pytest.mark.parametrize("width", [1280, 390])
def test_no_table_is_cut_off(report: Path, open_page: Open, width: int) -> None:
    assert cut_tables(open_page(report, width)) == []


def test_the_contents_lead_to_the_sections(report: Path, open_page: Open) -> None:
    page = open_page(report)
    links = page.locator("nav.contents a")
    assert links.count() > 3
    last = links.last
    target = page.locator(last.get_attribute("href"))
    last.click()
    page.wait_for_function(
        "id => document.getElementById(id).getBoundingClientRect().top < innerHeight",
        arg=target.get_attribute("id"),
    )
    assert target.is_visible()


def test_a_matrix_shows_counts_or_shares(report: Path, open_page: Open) -> None:
    """By mouse and by key; one of the two at a time."""
    page = open_page(report)
    count, share = (
        page.locator(f"table.matrix td .{name}").first for name in ("count", "share")
    )
    assert (count.is_visible(), share.is_visible()) == (True, False)
    page.locator("label[for=matrix-shares]").click()
    assert (count.is_visible(), share.is_visible()) == (False, True)
    page.locator("#matrix-shares").focus()
    page.keyboard.press("ArrowLeft")
    assert (count.is_visible(), share.is_visible()) == (True, False)


def test_the_report_can_be_read_without_scripts(report: Path, open_page: Open) -> None:
    page = open_page(report, script=False)
    for text in ("Contents", "Table 2", "vgg16", "Severity"):
        assert page.get_by_text(text).first.is_visible(), text
    assert page.locator("table").first.is_visible()
    page.locator("label[for=matrix-shares]").click()
    assert page.locator("table.matrix td .share").first.is_visible()
