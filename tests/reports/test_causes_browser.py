"""The causal section in a browser: hostile text stays text, both themes can be read by all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from causes_parts import (
    answer,
    cell,
    cells,
    donor_cells,
    generation,
    points,
    training,
    write_causes,
)
from hostile_texts import ELEMENTS, INJECTIONS
from report_parts import write_run

from critical_phase.reports import write_report

pytestmark = pytest.mark.browser
ALL = " ".join(INJECTIONS)


def violations(page: Any) -> list[tuple[str, list[str]]]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe-playwright")
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    only = {"runOnly": {"type": "tag", "values": tags}}
    found = axe.Axe().run(page, "#interventions", options=only).response
    return [(item["id"], [str(node["target"]) for node in item["nodes"]])
            for item in found["violations"]]  # fmt: skip


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a page with every part of the section."""
    run = write_run(tmp_path_factory.mktemp("causes") / "run", kept=())
    graft = answer(cells=[*cells(), *donor_cells()])
    lost = answer("frozen_attention", lost=True, cells=[], control_interval=[-9.0, 9.0])
    return write_report(write_causes(run, graft=graft, frozen=lost, t=training(),
                                     summary=generation()))  # fmt: skip


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a page whose interventions have hostile names, notes and words everywhere."""
    run = write_run(tmp_path_factory.mktemp("causes") / "evil", kept=())
    places = [cell(text, 0.5, set="module", direction="denoise", layer=k % 3, module=text)
              for k, text in enumerate(INJECTIONS)]  # fmt: skip
    hostile = [{**one, "asks": ALL, "found": ALL} for one in points()]
    texts = dict.fromkeys(("about", "control", "head", "mode", "normalisation", "other_term",
                           "from", "to", "ends_chosen", "sentence"), ALL)  # fmt: skip
    files = {
        f"evil_{k}": answer(ALL, intervention="graft", points=hostile, notes=list(INJECTIONS),
                            cells=places, **texts) if k == 0
        else answer(text, about=text, points=[], cells=[], doses=None)
        for k, text in enumerate(INJECTIONS)
    }  # fmt: skip
    ways = [{**way, "name": ALL} for way in generation()["ways"]]
    tests = training(about=ALL, sentence=ALL, control=ALL)
    return write_report(write_causes(run, **files, t=tests, summary=generation(
        ways=ways, sentences=list(INJECTIONS), step=ALL)))  # fmt: skip


def test_hostile_names_and_notes_stay_text(evil: Path, visit: Callable[..., Any]) -> None:
    page = visit(report=evil)
    page.locator("#unfold").click()
    for details in page.locator("#interventions details").all():
        details.evaluate("node => { node.open = true; }")
    page.evaluate("new Promise(done => setTimeout(done, 300))")
    assert page.evaluate("window.pwned") is None
    assert page.locator(ELEMENTS).count() == 0
    assert page.locator("script").count() == 4
    assert page.locator("body style, body script:not([type])").count() == 2
    said = page.locator("#interventions .said-first").inner_text()
    assert "<script>window.pwned = 1</script>" in said
    nodes = "[...document.querySelectorAll('#interventions *')].flatMap(n => [...n.childNodes])"
    lines = f"{nodes}.filter(n => n.nodeType === 3).map(n => n.textContent)"
    assert [text for text in page.evaluate(lines) if "\u202e" in text] == []
    for drawing in evil.parent.glob("figures/interventions-*.svg"):
        assert "<script" not in drawing.read_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_accessibility_rules_hold(visit: Callable[..., Any], shown: Path, theme: str) -> None:
    page = visit("#interventions", report=shown, color_scheme=theme)
    for details in page.locator("#interventions details").all():
        details.evaluate("node => { node.open = true; }")
    assert violations(page) == []


def test_a_narrow_screen_needs_no_sideways_scrolling(
    visit: Callable[..., Any], shown: Path
) -> None:
    page = visit("#interventions", report=shown, viewport={"width": 320, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_the_slider_frames_a_step_of_the_map(visit: Callable[..., Any], shown: Path) -> None:
    page = visit("#step=8", report=shown)
    heat = page.locator("#interventions canvas[data-map]")
    heat.scroll_into_view_if_needed()
    heat.evaluate("node => new Promise(done => setTimeout(done, 200))")
    assert "At step 8" in str(heat.get_attribute("aria-label"))
    assert "0.15" in str(heat.get_attribute("aria-label"))
    page.evaluate("location.hash = '#step=32'")
    heat.evaluate("node => new Promise(done => setTimeout(done, 300))")
    assert "0.6" in str(heat.get_attribute("aria-label"))
