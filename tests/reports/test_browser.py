"""What a reader meets in a browser: offline, from the disk, with keyboard and pointer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from page_in_browser import MAP, picture, settle, violations, wait

pytestmark = pytest.mark.browser

Opener = Callable[..., Any]
READY = "html[data-ready='1']"


def test_slider_by_keyboard_drives_hash_and_panels(visit: Opener) -> None:
    page = visit()
    slider = page.locator("#step")
    assert slider.get_attribute("aria-valuetext") == "step 64, 512 examples"
    settle(page)
    before = picture(page, MAP)
    values = page.locator("[data-key='curves-accuracy'] b").all_inner_texts()
    slider.focus()
    page.keyboard.press("Home")
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    settle(page)
    assert slider.get_attribute("aria-valuetext") == "step 12, 96 examples"
    assert "step=12" in page.url
    assert picture(page, MAP) != before
    assert page.locator("[data-key='curves-accuracy'] b").all_inner_texts() != values
    assert "step 12, 96 examples" in str(page.locator(MAP).get_attribute("aria-label"))
    assert page.locator("[data-now]").first.inner_text() == "step 12, 96 examples"


def test_of_equal_rows_the_middle_one_is_read_out(visit: Opener) -> None:
    page = visit()
    spec = "{row_name: 'weight', rows: ['w = 0', 'w = 0.1', 'w = 0.2', 'w = 0.3'], layers: [],"
    spec += " steps: [0], palette: 'viridis', values: [[0.2], [0.9], [0.9], [0.9]]}"
    found = page.evaluate(f"readout({spec})")
    assert found == "most: w = 0.2 (middle of 3 equal), 0.9"


def test_large_marks_of_an_axis_are_short(visit: Opener) -> None:
    found = visit().evaluate("[8e6, -12500000, 50000, 0.25].map(markText)")
    assert found == ["8e6", "\u22121.25e7", "50000", "0.25"]


def test_a_log_axis_is_marked_at_powers_of_ten(visit: Opener) -> None:
    page = visit()
    assert page.evaluate("logSplits(3, 7e6)") == [10, 100, 1000, 10_000, 100_000, 1_000_000]
    assert page.evaluate("logSplits(6, 90)") == [10, 20, 50]


def test_deep_link_is_read_at_load_and_when_it_changes(visit: Opener) -> None:
    page = visit("#step=24&layer=3&head=positive")
    assert page.locator("#now").inner_text() == "step 24, 192 examples"
    assert page.locator("#layer").input_value() == "3"
    assert page.locator(MAP).is_hidden()
    assert page.locator(MAP.replace("negative", "positive")).is_visible()
    page.evaluate("location.hash = '#step=3&layer=-1'")
    wait(page, "document.getElementById('now').textContent.startsWith('step 3,')")
    assert page.locator("#layer").input_value() == "-1"


def test_a_step_that_was_not_saved_goes_to_the_nearest_and_says_so(visit: Opener) -> None:
    page = visit("#step=999")
    assert page.locator("#now").inner_text() == "step 64, 512 examples"
    assert "Step 999 was not saved" in page.locator("#notice").inner_text()


@pytest.mark.parametrize(
    "part", ["#step=", "#step=x&layer=y", "#layer=<script>", "#%%%", "#verdicts"]
)
def test_a_senseless_link_is_ignored(visit: Opener, part: str) -> None:
    assert visit(part).locator("#now").inner_text() == "step 64, 512 examples"


def test_tables_sort_by_number_with_the_state_said(visit: Opener) -> None:
    page = visit()
    head = page.locator("#table-change-points-change-points-table th").nth(1)
    column = page.locator("#table-change-points-change-points-table tbody td:nth-child(2)")
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert column.all_inner_texts() == ["9.50", "14", "\u2013"]
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert column.all_inner_texts() == ["14", "9.50", "\u2013"]


def test_charts_that_repeat_a_map_unfold_and_follow_the_slider(visit: Opener) -> None:
    page = visit("#step=14")
    details = page.locator("[data-charts]").first
    assert details.locator("canvas").count() == 0
    details.locator("summary").first.click()
    key = details.locator("[data-key='similarity-displacement-negative'] b")
    key.nth(4).wait_for()
    wait(page, "document.querySelectorAll('[data-charts] canvas').length === 1")
    before = key.all_inner_texts()
    page.evaluate("location.hash = '#step=40'")
    wait(page, "document.getElementById('now').textContent.startsWith('step 40')")
    settle(page)
    assert key.all_inner_texts() != before


def test_a_long_table_unfolds_and_sorts(visit: Opener) -> None:
    page = visit()
    details = page.locator("[data-table='table-sparsity-layers']")
    assert details.locator("tr").count() == 0
    details.locator("summary").click()
    details.locator("tbody tr").nth(29).wait_for()
    details.locator("input[type=search]").fill("row 2")
    assert details.locator("tbody tr:visible").count() == 11
    details.locator("input[type=search]").fill("")
    details.locator("th button").nth(1).click()
    values = [float(text) for text in details.locator("tbody td:nth-child(2)").all_inner_texts()]
    assert values == sorted(values)


def test_a_change_links_to_its_step_and_layer(visit: Opener) -> None:
    page = visit()
    page.locator("#table-findings-changes-table tbody a").nth(1).click()
    wait(page, "document.getElementById('now').textContent === 'step 12, 96 examples'")
    assert page.locator("#layer").input_value() == "1"


def test_axes_switch_between_steps_and_examples_linear_and_log(visit: Opener) -> None:
    page = visit()
    line = page.locator("[data-chart='curves-accuracy'] .now-line")
    page.locator("#step").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    settle(page)
    linear = line.bounding_box()["x"]
    page.get_by_label("log", exact=True).check(force=True)
    settle(page)
    assert line.bounding_box()["x"] > linear + 50
    page.get_by_label("examples", exact=True).check(force=True)
    settle(page)
    assert page.locator(".axis-name").first.inner_text() == "examples"
    page.keyboard.press("Home")


def test_theme_follows_the_system_and_the_button(visit: Opener) -> None:
    page = visit(color_scheme="dark")
    button = page.locator("#theme")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert button.get_attribute("aria-pressed") == "true"
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.reload()
    page.wait_for_selector(READY)
    assert page.locator("html").get_attribute("data-theme") == "light"


def test_canvases_hold_a_picture(visit: Opener) -> None:
    count = """s => { const c = document.querySelector(s), d = c.getContext('2d')
        .getImageData(0, 0, c.width, c.height).data, seen = new Set();
        for (let i = 0; i < d.length; i += 4) seen.add(d[i] << 16 | d[i + 1] << 8 | d[i + 2]);
        return seen.size; }"""
    page = visit()
    settle(page)
    assert page.evaluate(count, MAP) > 40
    assert page.evaluate(count, "[data-chart='curves-accuracy'] canvas") > 40


def test_numbers_behind_a_figure_open_as_a_table(visit: Opener) -> None:
    page = visit()
    details = page.locator("#curves-accuracy-numbers")
    details.locator("summary").press("Enter")  # by keyboard: no aim that a late panel can move
    details.locator("tbody tr").nth(64).wait_for()
    assert details.locator("tbody tr").count() == 65
    assert details.locator("tbody tr").nth(20).locator("td").first.inner_text().startswith("0.8")


def test_hostile_text_stays_text(visit: Opener) -> None:
    page = visit("#step=5")
    settle(page)
    prompt = page.locator(".prompt").first.inner_text()
    assert "</script><script>alert(1)</script><img src=x onerror=alert(2)>⟨U+202E⟩evil␇" in prompt
    assert "{{ 7*7 }}" in prompt
    assert page.locator("img").count() == 0
    assert "⟨U+202E⟩" in page.locator("[data-tokens]").nth(1).inner_text()


def test_play_moves_and_reduced_motion_stops_it(visit: Opener) -> None:
    page = visit("#step=0")
    page.locator("#play").click()
    wait(page, "document.getElementById('step').value > 1")
    page.locator("#play").click()
    assert page.locator("#play").get_attribute("aria-pressed") == "false"
    calm = visit("#step=0", reduced_motion="reduce")
    calm.locator("#play").click()
    assert calm.locator("#play").get_attribute("aria-pressed") == "false"
    assert "asks for less motion" in calm.locator("#notice").inner_text()


def test_print_opens_everything_on_a_light_page(visit: Opener) -> None:
    page = visit(color_scheme="dark")
    page.locator("#sparsity summary").first.click()
    page.emulate_media(media="print")
    wait(page, "document.getElementById('sparsity').open")
    assert page.locator("html").get_attribute("data-theme") == "light"
    assert page.locator("#controls").is_hidden()
    page.emulate_media(media="screen")
    wait(page, "document.documentElement.dataset.theme === 'dark'")


def test_a_narrow_screen_needs_no_sideways_scrolling(visit: Opener) -> None:
    page = visit(viewport={"width": 320, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_without_scripts_the_findings_are_still_there(browser: Any, planted: Path) -> None:
    context = browser.new_context(offline=True, java_script_enabled=False)
    page = context.new_page()
    page.goto(planted.as_uri())
    assert "112 examples" in page.locator("h1").inner_text()
    assert page.locator(".print-figure svg").is_visible()
    assert page.locator("#controls").is_hidden()
    context.close()


def test_policy_refuses_what_was_not_ours(
    visit: Opener, planted: Path, tmp_path: Path, trouble: list[str]
) -> None:
    planted_page = tmp_path / "planted.html"
    evil = "<script>window.evil = 1</script><img src='https://example.org/x.png' onerror='evil=2'>"
    planted_page.write_text(planted.read_text().replace("<main", evil + "<main", 1))
    page = visit(report=planted_page)
    assert page.evaluate("window.evil") is None
    refused = [line for line in trouble if "Content Security Policy" in line]
    assert any("script-src" in line for line in refused)
    assert any("img-src" in line for line in refused)
    trouble.clear()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_accessibility_rules_hold(visit: Opener, theme: str) -> None:
    page = visit("#step=24", color_scheme=theme)
    assert violations(page) == []


def test_accessibility_rules_catch_a_missing_label_and_faint_text(visit: Opener) -> None:
    page = visit()
    page.evaluate(
        "document.querySelector('label[for=step]').remove();"
        "document.querySelector('.intro').style.color = '#ddd'"
    )
    assert {"label", "color-contrast"} <= {rule for rule, _ in violations(page)}
