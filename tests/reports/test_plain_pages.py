"""The index of runs and the page of a sweep in a browser: accessible, closed, quiet, narrow."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from page_in_browser import violations
from report_parts import HOSTILE, write_run
from sweep_parts import with_kinds

from critical_phase.reports import policy, write_index, write_sweep_page

pytestmark = pytest.mark.browser

Opener = Callable[..., Any]
NAMES = ("index", "sweep")


@pytest.fixture(scope="module")
def pages(planted: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An index with a whole run, one without a page, an empty and a broken one; and a sweep."""
    runs, sweep = tmp_path_factory.mktemp("index"), tmp_path_factory.mktemp("sweep")
    shutil.copytree(planted.parents[1], runs / "whole")
    fresh = write_run(runs / "fresh", kept=())
    facts = json.loads((fresh / "run.json").read_text())
    facts |= {"name": HOSTILE, "headline": HOSTILE, "questions": "x" * 300}
    (fresh / "run.json").write_text(json.dumps(facts))
    (runs / "broken").mkdir()
    (runs / "broken" / "run.json").write_text("{")
    value = with_kinds()
    value["cells"][1]["state"] = "failed"
    (sweep / "sweep.json").write_text(json.dumps(value))
    return {"index": write_index(runs), "sweep": write_sweep_page(sweep)}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_accessibility_rules_hold(
    visit: Opener, pages: dict[str, Path], name: str, theme: str
) -> None:
    page = visit(report=pages[name], scripted=False, color_scheme=theme)
    assert page.locator("html").get_attribute("data-theme") == theme
    assert violations(page) == []


def test_accessibility_rules_catch_faint_text_and_a_nameless_picture(
    visit: Opener, pages: dict[str, Path]
) -> None:
    page = visit(report=pages["index"], scripted=False)
    page.evaluate(
        "document.querySelector('.facts').style.color = '#ddd';"
        "document.querySelector('.spark svg').removeAttribute('aria-label')"
    )
    assert {"color-contrast", "svg-img-alt"} <= {rule for rule, _ in violations(page)}


@pytest.mark.parametrize("name", NAMES)
def test_the_policy_comes_first_and_lists_the_only_script(
    pages: dict[str, Path], name: str
) -> None:
    text = pages[name].read_text()
    found = re.search(
        r'<head>\s*<meta http-equiv="Content-Security-Policy" content="([^"]+)"', text
    )
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    assert found
    assert policy.script_hash(script).replace("'", "&#39;") in found[1]
    assert "unsafe-inline" not in found[1].split("script-src")[1].split(";")[0]
    assert found[1].startswith("default-src &#39;none&#39;")


@pytest.mark.parametrize("name", NAMES)
def test_the_policy_refuses_what_was_not_ours(
    visit: Opener, pages: dict[str, Path], name: str, tmp_path: Path, trouble: list[str]
) -> None:
    evil = "<script>window.evil = 1</script><img src='https://example.org/x.png' onerror='evil=2'>"
    changed = tmp_path / "changed.html"
    changed.write_text(pages[name].read_text().replace("<main", evil + "<main", 1))
    page = visit(report=changed, scripted=False)
    assert page.evaluate("window.evil") is None
    for part in ("script-src", "img-src"):
        assert any("Content Security Policy" in line and part in line for line in trouble)
    trouble.clear()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_wider_than_a_narrow_screen_and_hostile_names_stay_text(
    visit: Opener, pages: dict[str, Path], name: str, theme: str
) -> None:
    page = visit(
        report=pages[name],
        scripted=False,
        color_scheme=theme,
        viewport={"width": 320, "height": 700},
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert page.locator("img").count() == 0
    assert "<script>alert(1)</script>" in page.locator("main").inner_text()
