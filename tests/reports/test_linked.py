"""One state, every panel: hover, attention heads, ridges, order and contents in a browser."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from page_in_browser import MAP, picture, placed, settle, wait

pytestmark = pytest.mark.browser

Opener = Callable[..., Any]


def test_a_deep_link_names_an_attention_head_and_an_adapter(visit: Opener) -> None:
    page = visit("#step=24&layer=3&head=2&adapter=positive")
    assert page.locator("#attention-head").input_value() == "2"
    assert page.locator("input[name=head]:checked").get_attribute("value") == "positive"
    page.locator("#step").focus()
    page.keyboard.press("ArrowRight")
    settle(page)
    assert page.url.endswith("#step=25&layer=3&head=2&adapter=positive")
    page.evaluate("location.hash = '#step=25&layer=3&head=99'")
    wait(page, "document.getElementById('attention-head').value === ''")


def test_hover_is_linked_between_curves_and_maps(visit: Opener) -> None:
    page = visit()
    box = placed(page, page.locator(MAP))
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
    settle(page)
    tip = page.locator("#tip").inner_text()
    assert re.fullmatch(r"layer 3, step \d+, \d+ examples: 0\.\d{3,4}", tip)
    from_map = page.locator("#now").inner_text()
    assert from_map in tip
    plot = page.locator("[data-chart='curves-accuracy'] .u-over")
    edges = placed(page, plot)
    page.mouse.move(edges["x"] + edges["width"] * 0.25, edges["y"] + 60)
    settle(page)
    assert page.locator("#now").inner_text() == "step 16, 128 examples"
    page.mouse.move(2, 2)
    settle(page)
    assert page.locator("#now").inner_text() == "step 16, 128 examples"
    assert "step 16," in str(page.locator(MAP).get_attribute("aria-label"))


GRID = "canvas.head-grid[aria-label*='Attention change, negative head']"


def at_head(page: Any, layer: int, head: int) -> tuple[float, float]:
    """Place an attention head on the grid of the planted run, four layers of four heads."""
    box = placed(page, page.locator(GRID))
    cell = (box["height"] - 18) / 4
    return box["x"] + 22 + cell * (head + 0.5), box["y"] + cell * (3 - layer + 0.5)


def test_an_attention_head_of_the_grid_is_followed_by_every_panel(visit: Opener) -> None:
    page = visit("#step=14")
    settle(page)
    shown = page.locator(".question:not([hidden]) .token").nth(1)
    mean, mapped = shown.get_attribute("title"), picture(page, MAP)
    page.mouse.move(*at_head(page, 3, 2))
    settle(page)
    assert page.locator("#tip").inner_text().startswith("attention head L3H2, step 14")
    assert page.locator("#token-colour").input_value() == "1"
    assert shown.get_attribute("title") != mean
    assert picture(page, MAP) != mapped
    assert "head=" not in page.url.replace("adapter", "")
    page.mouse.click(*at_head(page, 3, 2))
    page.mouse.move(2, 2)
    settle(page)
    assert "layer=3&head=2" in page.url
    assert page.locator("#token-colour").input_value() == "1"
    page.mouse.click(*at_head(page, 0, 0))
    page.mouse.move(2, 2)
    settle(page)
    assert "attention head 0 was not saved" in page.locator("#token-note").inner_text()


def test_choosing_a_row_of_attention_sets_layer_and_head(visit: Opener) -> None:
    page = visit("#step=14")
    page.locator("#token-colour").select_option("0")
    settle(page)
    assert "layer=3&head=1" in page.url
    assert page.locator("#layer").input_value() == "3"


def test_a_line_under_the_pointer_names_its_layer_everywhere(visit: Opener) -> None:
    page = visit("#step=40")
    page.locator("[data-charts] > summary").first.click()
    plot = page.locator("[data-chart='similarity-displacement-negative'] .u-over")
    plot.wait_for()
    edges = placed(page, plot)
    before = picture(page, MAP)
    page.mouse.move(edges["x"] + edges["width"] * 0.8, edges["y"] + 20)
    settle(page)
    assert page.locator(".key .chosen").first.inner_text().startswith("3")
    assert picture(page, MAP) != before
    page.mouse.move(2, 2)
    settle(page)
    assert page.locator(".key .chosen").count() == 0


def test_ridges_follow_the_step_and_set_it(visit: Opener) -> None:
    page = visit("#step=0")
    ridges = "[data-ridges]"
    settle(page)
    before = picture(page, ridges)
    assert "% of questions right of zero" in str(page.locator(ridges).get_attribute("aria-label"))
    box = placed(page, page.locator(ridges))
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.6)
    settle(page)
    assert page.evaluate("state.step") > 20
    assert picture(page, ridges) != before


def test_a_question_of_the_map_is_shown_token_by_token(visit: Opener) -> None:
    page = visit()
    settle(page)
    rows = page.locator("canvas[aria-label*='Margin of each question']")
    middle = placed(page, rows)["width"] / 2
    rows.click(position={"x": middle, "y": 10})
    settle(page)
    assert page.locator("#question").input_value() == "1"
    rows.click(position={"x": middle, "y": 2 + 3.5 * 24})
    settle(page)
    assert page.locator("#question").input_value() == "1"
    assert "⟨U+202E⟩" in page.locator("#tip").inner_text()


def test_contents_follow_the_reader_and_unfold_what_they_name(visit: Opener) -> None:
    page = visit()
    assert page.locator(".contents [aria-current]").inner_text() == "The answer"
    assert not page.evaluate("document.getElementById('change-points').open === false")
    page.locator("#fold").click()
    assert page.locator("details.section[open]").count() == 0
    page.locator(".contents a[href='#group-inside-sparsity']").click()
    page.locator(".contents a[href='#sparsity']").click()
    wait(page, "document.getElementById('sparsity').open")
    page.locator("#unfold").click()
    assert page.locator("details.section:not([open])").count() == 0
    settle(page)
    page.evaluate("document.getElementById('weights').scrollIntoView({ behavior: 'instant' })")
    wait(page, "document.querySelector('.contents [aria-current]').hash === '#weights'")


def test_a_link_to_a_folded_part_unfolds_it(visit: Opener) -> None:
    page = visit("#table-findings-verdicts")
    assert page.locator("#table-findings-verdicts-table").is_visible()


def test_the_order_of_changes_leads_to_each_change(visit: Opener) -> None:
    page = visit()
    leads = page.locator("#order .leads li")
    assert leads.count() == 4
    assert "4 [2, 6] before" in leads.first.inner_text()
    leads.nth(2).locator("a").click()
    wait(page, "document.getElementById('now').textContent.startsWith('step 14,')")
    assert (page.evaluate("state.layer"), page.evaluate("state.attention")) == (2, 1)
