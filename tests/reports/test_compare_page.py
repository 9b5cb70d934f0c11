"""The page of a comparison: overlays that open from disk, and names that stay text."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from critical_phase.errors import StoreError
from critical_phase.reports.compare import write_compare_page

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> \u202eevil {{ 7*7 }}"
STEPS = list(range(0, 33, 2))

Json = dict[str, Any]


def line(group: str, label: str, height: float) -> Json:
    value = [None, *(height + 0.01 * step for step in STEPS[1:])]
    return {
        "id": f"{group}.{label}", "title": f"{group} of likra", "unit": "share", "group": group,
        "label": label, "head": None, "mode": "likra", "layer": None, "steps": STEPS,
        "examples": [8 * step for step in STEPS], "value": value,
        "low": [None if v is None else v - 0.05 for v in value],
        "high": [None if v is None else v + 0.05 for v in value],
        "interval": "95 % question bootstrap", "n": 50, "references": [], "caption": "Said once.",
    }  # fmt: skip


def table(name: str, rows: list[list[Any]]) -> Json:
    columns = [{"key": "run", "label": "run", "unit": "", "kind": "text"},
               {"key": "last", "label": "last", "unit": "share", "kind": "number"}]  # fmt: skip
    return {"id": name, "title": name, "caption": "A caption.", "columns": columns, "rows": rows}


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    names = ("one", HOSTILE)
    value = {
        "schema_version": 1, "measure": "comparison", "title": "Runs side by side",
        "about": "What it is.", "reference": "", "settings": {}, "warnings": [f"note {HOSTILE}"],
        "curves": [line(group, name, 0.3) for group in ("accuracy.likra", "difference.likra")
                   for name in names],
        "maps": [], "tokens": [], "sentence": f"one is higher than {HOSTILE}.",
        "tables": [table("settings", [["lr", 0.1]]), table("comparison", [[HOSTILE, 0.5]])],
        "runs": [{"name": name, "report": "../x/report.html", "headline": HOSTILE}
                 for name in names],
    }  # fmt: skip
    (folder / "compare.json").write_text(json.dumps(value))
    return folder


def test_figures_and_numbers_lie_beside_the_page(compared: Path) -> None:
    page = write_compare_page(compared)
    for kind in ("accuracy-likra", "difference-likra"):
        assert (compared / f"figures/compare-{kind}.svg").read_text().startswith("<?xml")
        rows = list(csv.reader((compared / f"data/compare-{kind}.csv").read_text().splitlines()))
        assert len(rows) == 1 + 2 * len(STEPS)
    assert page.read_bytes() == write_compare_page(compared).read_bytes()
    assert page.stat().st_size < 400_000


def test_no_comparison_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no comparison here") as caught:
        write_compare_page(tmp_path)
    assert "probe compare" in str(caught.value)


@pytest.mark.browser
def test_the_slider_drives_every_chart_and_names_stay_text(
    compared: Path, visit: Callable[..., Any]
) -> None:
    page = visit("#step=8", report=write_compare_page(compared))
    assert page.locator("#step").get_attribute("aria-valuetext") == "step 8, 64 examples"
    keys = page.locator("[data-key='compare-accuracy-likra'] b")
    before = keys.all_inner_texts()
    page.locator("#step").focus()
    page.keyboard.press("End")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert keys.all_inner_texts() != before
    assert "#step=32" in page.url
    assert page.locator("img").count() == 0
    assert "<script>alert(1)" in page.locator("h1").inner_text()
    assert page.locator("#comparison figure.chart").count() == 2


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_accessibility_rules_hold(compared: Path, visit: Callable[..., Any], theme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe-playwright")
    page = visit(report=write_compare_page(compared))
    if theme == "dark":
        page.locator("#theme").click()
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
    found = axe.Axe().run(page, options={"runOnly": {"type": "tag", "values": tags}}).response
    assert [(v["id"], [n["target"] for n in v["nodes"]]) for v in found["violations"]] == []
