"""Layers by layers and the path of the update, in a browser: one state drives them too."""

from collections.abc import Callable
from typing import Any

import pytest
from page_in_browser import picture, placed, settle

pytestmark = pytest.mark.browser

Opener = Callable[..., Any]
SQUARES = "canvas[data-squares][aria-label*='negative head']"
TRAIL = "canvas[data-trail][aria-label*='negative head']"


def shape(page: Any) -> Any:
    """Where the squares lie in their canvas, as the page computes it."""
    return page.evaluate(
        f'(() => {{ const c = document.querySelector("{SQUARES}");'
        "return shapeOfSquares(mapOf(c.dataset.squares), c.clientWidth); })()"
    )


def at_pair(page: Any, row: int, other: int, square: int = 0) -> tuple[float, float]:
    """Place a pair of layers of the planted run: embed is 0."""
    box, form = placed(page, page.locator(SQUARES)), shape(page)
    left = form["left"] + square * (form["side"] + form["left"] + 20)
    return (box["x"] + left + form["cell"] * (other + 0.5),
            box["y"] + form["top"] + form["side"] - form["cell"] * (row + 0.5))  # fmt: skip


def test_the_square_follows_the_slider_and_says_what_parted(visit: Opener) -> None:
    page = visit("#step=3")
    settle(page)
    early = picture(page, SQUARES)
    assert "At step 3, 24 examples, least alike neighbours: layer 0 and embed: 0.8187" in str(
        page.locator(SQUARES).get_attribute("aria-label")
    )
    page.locator("#step").focus()
    page.keyboard.press("End")
    settle(page)
    assert picture(page, SQUARES) != early
    page.evaluate("change({ layer: 3 })")
    settle(page)
    label = str(page.locator(SQUARES).get_attribute("aria-label"))
    assert "most alike: layer 3 and layer 2: 0.8187 (at step 0: 0.8187)" in label


def test_pointing_at_a_pair_names_both_layers_and_their_base(visit: Opener) -> None:
    page = visit("#step=40")
    settle(page)
    page.mouse.move(*at_pair(page, 4, 1))
    settle(page)
    tip = page.locator("#tip").inner_text()
    assert tip == "step 40, layer 3 and layer 0: 0.3012 (at step 0: 0.5488)"
    assert page.evaluate("focus().layer") == 3
    page.mouse.move(*at_pair(page, 4, 1, square=1))
    settle(page)
    assert page.locator("#tip").inner_text() == "step 0, layer 3 and layer 0: 0.5488"
    page.mouse.click(*at_pair(page, 2, 0))
    page.mouse.move(2, 2)
    settle(page)
    assert "layer=1" in page.url
    assert page.locator("#layer").input_value() == "1"


def test_a_dot_of_the_path_sets_the_step_and_the_step_moves_the_ring(visit: Opener) -> None:
    page = visit("#step=0")
    settle(page)
    before = picture(page, TRAIL)
    assert page.locator("canvas[data-trail]").count() == 2
    assert page.locator("canvas[data-trail][aria-label*='positive head']").is_visible()
    box = placed(page, page.locator(TRAIL))
    form = page.evaluate(
        f'(() => {{ const c = document.querySelector("{TRAIL}"), s = mapOf(c.dataset.trail),'
        "f = shapeOfTrail(s, c.clientWidth);"
        "return [f.x(s.values[0][32]), f.y(s.values[1][32])]; })()"
    )
    page.mouse.move(box["x"] + form[0] + 1, box["y"] + form[1] - 1)
    settle(page)
    assert page.evaluate("state.step") == 32
    assert page.locator("#tip").inner_text() == "step 32, 256 examples: at 0 and \u22121"
    assert picture(page, TRAIL) != before
    page.locator("#step").focus()
    page.keyboard.press("ArrowRight")
    settle(page)
    assert "Step 33, 264 examples: at" in str(page.locator(TRAIL).get_attribute("aria-label"))


def test_the_jump_lies_between_the_dots_of_its_steps(visit: Opener) -> None:
    page = visit()
    spec = "{steps: [0, 10, 20], values: [[0, 2, 4], [0, 2, 0]]}"
    found = page.evaluate(f"[5, 15, 99, -1].map((step) => trailPoint({spec}, step))")
    assert found == [[1, 1], [3, 1], [4, 0], [0, 0]]


def test_labels_of_the_path_do_not_cover_each_other(visit: Opener) -> None:
    page = visit("#step=2")
    settle(page)
    drawn = page.evaluate(
        """() => { const seen = [], context = { strokeText: () => {},
          measureText: () => ({ width: 40 }), fillText: (text, x, y) => seen.push([text, x, y]) };
        const dots = [[60, 60], [64, 62], [68, 64]];
        placeLabels(context, dots.map((dot, i) => [dot, 'step ' + i]), dots,
          { left: 0, top: 0, wide: 300, tall: 300 });
        return seen; }"""
    )
    for i, (_, x, y) in enumerate(drawn):
        for _, other, line in drawn[:i]:
            assert abs(x - other) > 40 or abs(y - line) >= 14


def test_the_numbers_behind_both_open_as_tables(visit: Opener) -> None:
    page = visit()
    for canvas, rows in ((SQUARES, 15), (TRAIL, 4)):
        details = page.locator("#" + str(page.locator(canvas).get_attribute("aria-describedby")))
        details.locator("summary").press("Enter")
        details.locator("tbody tr").nth(rows - 1).wait_for()
        assert details.locator("tbody tr").count() == rows


def test_a_narrow_square_keeps_to_its_column(visit: Opener) -> None:
    page = visit("#step=24", viewport={"width": 360, "height": 700})
    settle(page)
    assert shape(page)["two"] is False
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_what_is_below_zero_or_missing_can_be_told_without_colour(visit: Opener) -> None:
    page = visit()
    settle(page)
    drawn = page.evaluate(
        """() => { const seen = [], context = { fillRect: (x, y) => seen.push([x, y]) };
        const spec = { palette: 'vlag', row_name: 'layer', rows: ['0', '1'],
          values: [[-1, 1], [1, null]] };
        const shape = { left: 0, top: 0, width: 24, height: 24, cell: 12, line: 12 };
        drawBelowZero(context, spec, shape);
        const count = seen.length;
        drawBelowZero(context, { ...spec, palette: 'viridis' }, shape);
        return [count, seen.length, seen.every(([x, y]) => x < 12 && y > 11)]; }"""
    )
    assert drawn == [4, 4, True]  # layer 0 is the lower row
    signed = page.locator("#sparsity-sparsity-hoyer-map .scale").inner_text()
    assert "dotted: below zero; ruled: no value" in signed
    plain = page.locator("#linear-probes-probe-top1-map .scale").inner_text()
    assert "below zero" not in plain
    assert "no value" not in plain
    colours = page.evaluate(
        """() => { const c = document.createElement('canvas'); c.width = c.height = 12;
        const context = c.getContext('2d'); drawMissing(context, 0, 0, 12, 12);
        const d = context.getImageData(0, 0, 12, 12).data, seen = new Set();
        for (let i = 0; i < d.length; i += 4) seen.add(d[i]);
        return seen.size; }"""
    )
    assert colours > 1
