"""What tests of a page in a browser share."""

from typing import Any

import pytest

MAP = "canvas[aria-label*='Linear-probe accuracy, negative head, answer end']"


def settle(page: Any) -> None:
    """Wait until every panel has been drawn, those off the screen too."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    wait(page, "document.documentElement.dataset.settled === '1'")


def wait(page: Any, condition: str) -> None:
    """Wait for a condition; the page's policy forbids the browser to poll a text of its own."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(25)
    pytest.fail(f"never came true: {condition}")


def placed(page: Any, place: Any) -> dict[str, float]:
    """Bring an element into view and return its box on the screen."""
    place.scroll_into_view_if_needed()
    settle(page)
    return dict(place.bounding_box())


def picture(page: Any, selector: str) -> str:
    return str(page.evaluate("s => document.querySelector(s).toDataURL()", selector))


def violations(page: Any) -> list[tuple[str, list[str]]]:
    """List the WCAG 2.2 AA rules that a page breaks, with the places."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe-playwright")
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = axe.Axe().run(page, options={"runOnly": {"type": "tag", "values": tags}}).response
    return [
        (item["id"], [str(node["target"]) for node in item["nodes"]])
        for item in found["violations"]
    ]
