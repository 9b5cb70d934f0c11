"""Nothing on the page moves by itself: what is drawn late has its room before."""

from collections.abc import Callable
from typing import Any

import pytest
from page_in_browser import settle

pytestmark = pytest.mark.browser

Opener = Callable[..., Any]

PLACES = """() => Object.fromEntries(
  Array.from(document.querySelectorAll('main *')).filter((node) => node.matches(
    '.section, .figure, .panel, .panel-head, .panel canvas, .plot, .key, .question,' +
    'figcaption, p, summary'
  ) && node.getClientRects().length).map((node, i) => {
    const box = node.getBoundingClientRect();
    const owner = node.closest('[id]'), name = [i, node.tagName, owner ? owner.id : ''];
    return [name.join(' '), [box.top + scrollY, box.height].map((v) => Math.round(v * 10) / 10)];
  }))"""

AT_READY = f"""new MutationObserver((_, observer) => {{
  if (document.documentElement.dataset.ready !== '1') return;
  observer.disconnect();
  window.placesAtReady = ({PLACES})();
}}).observe(document, {{ attributes: true, subtree: true, attributeFilter: ['data-ready'] }})"""


def moved(before: dict[str, list[float]], after: dict[str, list[float]]) -> dict[str, object]:
    """Name what has another place or height than before, by more than half a pixel."""
    return {
        name: (place, after.get(name))
        for name, place in before.items()
        if name not in after
        or max(abs(a - b) for a, b in zip(place, after[name], strict=True)) > 0.5
    }


@pytest.mark.parametrize("width", [1280, 560])
def test_panels_that_are_drawn_late_do_not_move_the_page(visit: Opener, width: int) -> None:
    page = visit(viewport={"width": width, "height": 700}, before=AT_READY)
    settle(page)
    at_ready = page.evaluate("window.placesAtReady")
    assert len(at_ready) > 100
    assert moved(at_ready, page.evaluate(PLACES)) == {}


@pytest.mark.parametrize("width", [1280, 560])
def test_unfolding_gives_room_at_once(visit: Opener, width: int) -> None:
    page = visit(viewport={"width": width, "height": 700})
    settle(page)
    few = page.evaluate(PLACES)
    page.evaluate(
        "document.querySelectorAll('details:not(.numbers)').forEach((d) => d.open = true)"
    )
    at_once = page.evaluate(
        f"new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(({PLACES})()))))"
    )
    settle(page)
    assert len(at_once) > len(few)
    assert moved(at_once, page.evaluate(PLACES)) == {}


def test_the_page_keeps_its_place_while_the_step_changes(visit: Opener) -> None:
    page = visit("#step=0")
    settle(page)
    before = page.evaluate(PLACES)
    for step in (3, 14, 24, 40):
        page.evaluate(f"change({{ step: {step} }})")
        settle(page)
        assert moved(before, page.evaluate(PLACES)) == {}, f"step {step}"
