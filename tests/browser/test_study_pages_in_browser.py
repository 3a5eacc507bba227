"""Study pages and their list in a browser: keys, scrolling, filters, paper."""

import re
from pathlib import Path
from typing import Any

import pytest
from conftest import Open
from looks import EVERY_LOOK, assert_sound, cut_tables
from made_pages import (
    MILD,
    PRIOR,
    SEVERE,
    STUDIES,
    make_lone_study,
    make_studies,
)

pytestmark = pytest.mark.browser
CANAL = "l4_l5-spinal_canal_stenosis"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of three studies."""
    return make_studies(tmp_path_factory.mktemp("studies"))


@EVERY_LOOK
@pytest.mark.parametrize("name", ["index", *STUDIES])
def test_a_page_is_sound(
    pages: Path, open_page: Open, name: int | str, width: int, scheme: str
) -> None:
    page = open_page(pages / f"{name}.html", width, scheme)
    assert_sound(page, scheme)
    assert page.get_by_text("Not for clinical use").first.is_visible()


@EVERY_LOOK
def test_a_lone_study_without_grades_is_sound(
    tmp_path: Path, open_page: Open, width: int, scheme: str
) -> None:
    """Its canals are shown, the other sites on no series of their own."""
    path = make_lone_study(tmp_path)
    page = open_page(path, width, scheme, anchor=f"#site-{CANAL}")
    assert_sound(page, scheme)
    assert own_view(page).locator("svg.crop").count() == 1
    page.locator(".cell[data-key=l4_l5-left_subarticular_stenosis]").click()
    assert own_view(page).count() == 0
    assert page.locator("nav.turn a[rel=next], nav.turn a[rel=prev]").count() == 0
    address = page.url
    page.keyboard.press("n")
    assert page.url == address


def chosen(page: Any) -> str:
    """The key of the chosen cell, whose site alone is shown."""
    key = page.locator("table.grades .cell[aria-current=true]").get_attribute(
        "data-key"
    )
    assert page.locator("article.site:visible").count() == 1
    assert page.locator(f"#site-{key}").is_visible()
    return key


def test_arrow_keys_go_from_cell_to_cell(pages: Path, open_page: Open) -> None:
    """A row's end is an end: the keys do not go on in the next row."""
    page = open_page(pages / f"{MILD}.html")
    cells = page.locator("table.grades .cell")
    assert cells.count() == 25
    keys = [cells.nth(number).get_attribute("data-key") for number in range(25)]
    cells.nth(6).click()
    for press, number in (
        ("ArrowRight", 7),
        ("ArrowDown", 12),
        ("ArrowLeft", 11),
        ("ArrowUp", 6),
        ("ArrowLeft", 5),
        ("ArrowLeft", 5),
        ("ArrowUp", 0),
        ("ArrowRight", 1),
        ("ArrowUp", 1),
        ("ArrowLeft", 0),
        ("ArrowLeft", 0),
        *(("ArrowRight", number) for number in (1, 2, 3, 4, 4)),
    ):
        page.keyboard.press(press)
        assert chosen(page) == keys[number]
        focused = page.evaluate("() => document.activeElement.dataset.key")
        assert focused == keys[number]


def test_keys_go_from_study_to_study_and_to_the_list(
    pages: Path, open_page: Open
) -> None:
    page = open_page(pages / f"{MILD}.html")
    for press, name in (
        ("n", SEVERE),
        ("ArrowRight", PRIOR),
        ("p", SEVERE),
        ("ArrowLeft", MILD),
        ("i", "index"),
    ):
        page.keyboard.press(press)
        page.wait_for_url(f"**/{name}.html")


def test_an_address_chooses_its_site(pages: Path, open_page: Open) -> None:
    page = open_page(pages / f"{SEVERE}.html", anchor=f"#site-{CANAL}")
    assert chosen(page) == CANAL
    assert page.locator("#overview .level.is-chosen").count() >= 1


def own_view(page: Any) -> Any:
    return page.locator("article.site:visible .view--own")


def picture(page: Any) -> str:
    return own_view(page).locator("svg.crop use").first.get_attribute("href")


def test_slices_are_scrolled_by_key_wheel_and_slider(
    pages: Path, open_page: Open
) -> None:
    """Each picture is of its own; the way back leads to the first."""
    page = open_page(pages / f"{SEVERE}.html", anchor=f"#site-{CANAL}")
    first = picture(page)
    assert own_view(page).locator(".where").inner_text() == "own slice"
    page.keyboard.press("j")
    after = picture(page)
    assert after != first
    assert re.match(r"\+1, 4\.0 mm away", own_view(page).locator(".where").inner_text())
    page.keyboard.press("k")
    assert picture(page) == first
    own_view(page).locator("svg.crop").hover()
    page.mouse.wheel(0, 120)
    page.wait_for_function(
        "href => document.querySelector('.site.is-chosen .view--own svg.crop use')"
        ".getAttribute('href') === href",
        arg=after,
    )
    slider = own_view(page).locator("input[type=range]")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert picture(page) == first
    page.keyboard.press("Home")
    assert picture(page) not in (first, after)
    assert slider.get_attribute("aria-valuetext").endswith("mm away")


def test_marks_for_review_are_on_their_cells_alone(
    pages: Path, open_page: Open
) -> None:
    """A study without any has not even a sentence about them."""
    marked = open_page(pages / f"{SEVERE}.html").locator(".cell [data-review]:visible")
    assert marked.count() == 5
    other = open_page(pages / f"{MILD}.html")
    assert other.locator("[data-review]:visible").count() == 0


@pytest.mark.parametrize("name", ["index", *STUDIES])
def test_no_table_is_cut_off_at_1280_px(
    pages: Path, open_page: Open, name: int | str
) -> None:
    page = open_page(pages / f"{name}.html")
    assert cut_tables(page) == []
    wide = page.locator(".table-box").evaluate_all(
        "boxes => boxes.filter(b => b.scrollWidth > b.clientWidth + 1).length"
    )
    assert wide == 0


def listed(page: Any) -> list[int]:
    """The studies that the list shows, in its order."""
    heads = page.locator(".study-rows tbody tr:visible th")
    return [int(text.split()[0]) for text in heads.all_inner_texts()]


def test_the_list_is_filtered(pages: Path, open_page: Open) -> None:
    page = open_page(pages / "index.html")
    everyone = listed(page)
    assert everyone[0] == PRIOR  # nothing is known of it
    assert sorted(everyone) == sorted(STUDIES)
    page.locator("select[name=severity]").select_option("2")
    assert listed(page) == [SEVERE]
    assert page.locator("form output").inner_text() == "1 of 3 shown"
    page.locator("select[name=severity]").select_option("")
    page.locator("input[name=text]").fill("no readable series")
    assert listed(page) == [PRIOR]
    page.locator("input[name=text]").fill("nothing of that kind")
    assert listed(page) == []
    page.locator("input[name=text]").fill("")
    assert listed(page) == everyone


def test_the_list_is_sorted_by_a_column_either_way(
    pages: Path, open_page: Open
) -> None:
    page = open_page(pages / "index.html")
    button = page.locator(".study-rows thead button", has_text="Study")
    button.click()
    assert listed(page) == [PRIOR, SEVERE, MILD]
    button.press("Enter")
    assert listed(page) == [MILD, SEVERE, PRIOR]
    head = page.locator(".study-rows thead th").first
    assert head.get_attribute("aria-sort") == "ascending"
    page.locator(".study-rows thead button", has_text="Grades").click()
    assert listed(page)[0] == SEVERE


def test_the_list_leads_to_the_studies(pages: Path, open_page: Open) -> None:
    page = open_page(pages / "index.html")
    page.locator(f"a[href='{SEVERE}.html']").click()
    page.wait_for_url(f"**/{SEVERE}.html")


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_prints_on_at_most_two_pages(
    pages: Path, open_page: Open, study: int
) -> None:
    """Counted in the PDF itself: its page objects."""
    page = open_page(pages / f"{study}.html")
    paper = page.pdf(format="A4", print_background=True)
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", paper)) <= 2


def test_everything_can_be_read_without_scripts(pages: Path, open_page: Open) -> None:
    page = open_page(pages / f"{SEVERE}.html", script=False)
    assert page.locator("article.site:visible").count() == 25
    assert page.locator("svg.crop:visible").count() >= 25
    page.locator(f"a.cell[href='#site-{CANAL}']").click()
    assert page.url.endswith(f"#site-{CANAL}")
    page = open_page(pages / "index.html", script=False)
    assert listed(page)[0] == PRIOR
    assert not page.locator("form.filters").is_visible()
