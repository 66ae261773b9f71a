"""The page with keyboard and screen reader, in both themes and at every width, in real Chromium."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.connector.playground.test_page import QUERY, search

WIDTHS = (360, 820, 1280, 1800)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overflows_and_axe_finds_no_fault(browser: Browser, url: str, theme: str, width: int) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion="reduce", bypass_csp=True
    )
    page = context.new_page()
    page.goto(url)
    faults = [_faults(page)]
    search(page, url)
    page.locator("#reranked-list .thumb").first.click()
    page.locator("#reranked-list .title").first.click()
    faults.append(_faults(page))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("button", name="Your documents").click()
    faults.append(_faults(page))
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Your index").click()
    faults.append(_faults(page))
    context.close()
    assert faults == [[], [], [], []]


def _faults(page: Page) -> list[str]:
    """Return the faults that axe finds, such as low contrast (WCAG 2 AA) and missing labels."""
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})
    assert "color-contrast" in {rule["id"] for rule in found.response["passes"]}
    return [
        f"{fault['id']}: {node['html']} {node['failureSummary']}"
        for fault in found.response["violations"]
        for node in fault["nodes"]
    ]


def test_the_page_can_be_used_without_a_mouse(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type(QUERY)
    page.keyboard.press("Enter")
    expect(page.locator("#board[data-state=reranked]")).to_be_visible()
    page.locator("#reranked-list .title").first.focus()
    page.keyboard.press("ArrowDown")
    second = page.locator("#reranked-list > li").nth(1)
    expect(second.locator(".title")).to_be_focused()
    page.keyboard.press("+")
    expect(second.locator("[data-relevance='1']")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("-")
    expect(second.locator("[data-relevance='0']")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("ArrowLeft")
    place = second.get_attribute("data-place")
    expect(page.locator(f"#first-stage-list > li[data-place='{place}'] .title")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(f"#first-stage-{place}")).to_be_visible()


def test_every_control_can_be_reached_by_tab_and_shows_its_focus(page: Page, url: str) -> None:
    page.goto(url)
    page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    controls = {"query", "depth", "deadline", "fusion", "theme", "open-own-index", "open-own-documents"}
    assert controls | {"Skip to the results"} <= set(reached)
    page.locator("#theme").focus()
    assert page.locator("#theme").evaluate("element => getComputedStyle(element).outlineStyle") == "solid"


def test_screen_readers_get_the_moves_as_text(page: Page, url: str) -> None:
    search(page, url)
    said = page.locator("#reranked-list .rank").all_inner_texts()
    assert all("unchanged" in text or "from rank" in text for text in said)
    assert page.locator("#lines").get_attribute("aria-hidden") == "true"


def test_a_phone_shows_one_list_and_switches(page: Page, url: str) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    search(page, url)
    expect(page.locator("#reranked-list")).to_be_visible()
    expect(page.locator("#first-stage-list")).to_be_hidden()
    page.get_by_role("button", name="First stage").click()
    expect(page.locator("#first-stage-list")).to_be_visible()
    expect(page.locator("#reranked-list")).to_be_hidden()


def test_a_phone_shows_folded_controls_and_the_first_result_on_the_first_screen(page: Page, url: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    search(page, url)
    first = page.locator("#reranked-list > li").first.bounding_box()
    assert first is not None and first["y"] + first["height"] < 844 * 0.75
    expect(page.get_by_label("Depth")).to_be_hidden()
    expect(page.locator("#controls-summary")).to_have_text("depth 20, no deadline, model only")
    page.get_by_text("Settings").click()
    expect(page.get_by_label("Depth")).to_be_visible()
    page.set_viewport_size({"width": 1280, "height": 844})
    expect(page.get_by_label("Depth")).to_be_visible()


@pytest.mark.parametrize("width", [390, 820, 1280])
def test_titles_wrap_and_are_shown_completely(page: Page, url: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    search(page, url, "hostile directory markup")
    for title in page.locator("#reranked-list .title").all():
        assert title.evaluate(
            "element => element.scrollWidth <= element.clientWidth && element.scrollHeight <= element.clientHeight + 1"
        )


def test_the_theme_is_switched_and_remembered(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_role("button", name="Switch to the dark theme").click()
    page.reload()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    expect(page.get_by_role("button", name="Switch to the light theme")).to_be_visible()


def test_reduced_motion_stops_every_animation(page: Page, url: str) -> None:
    search(page, url)
    assert page.evaluate("document.getAnimations().length") == 0
