"""The page of a planted run, and the browser that opens it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from report_parts import write_run


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of the report of the whole planted run."""
    from critical_phase.reports import write_report

    return write_report(write_run(tmp_path_factory.mktemp("runs") / "planted"))


@pytest.fixture
def small_run(tmp_path: Path) -> Callable[..., Path]:
    """Write a planted run with a few measures only, which is quick to draw."""
    return lambda *kept: write_run(tmp_path / "runs" / "small", kept=kept)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, once per test run; without it the browser tests are skipped."""
    strict = os.environ.get("CI", "").lower() == "true"
    complain = pytest.fail if strict else pytest.skip
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        complain("playwright is missing: pip install 'critical-phase[dev]'")
    path = os.environ.get("PROBE_CHROMIUM", "/usr/bin/chromium")
    if not Path(path).exists():
        complain(f"no Chromium at {path}: apt install chromium, or set PROBE_CHROMIUM")
    with sync_playwright() as driver:
        shown = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield shown
        shown.close()


@pytest.fixture
def trouble() -> list[str]:
    """Collect what a page must never do; a test that provokes it empties the list."""
    return []


@pytest.fixture
def visit(browser: Any, planted: Path, trouble: list[str]) -> Iterator[Callable[..., Any]]:
    """Open a page offline, and see that it never fails, asks or reaches out."""
    contexts = []

    def open_page(part: str = "", *, report: Path = planted, **settings: Any) -> Any:
        size = settings.pop("viewport", {"width": 1280, "height": 900})
        script, scripted = settings.pop("before", None), settings.pop("scripted", True)
        context = browser.new_context(offline=True, viewport=size, **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(8000)
        page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (trouble.append("dialog"), dialog.dismiss()))
        page.on("console", lambda m: trouble.append(m.text) if m.type == "error" else None)
        page.on("request", lambda r: trouble.append(r.url) if r.url[:4] != "file" else None)
        if script:
            page.add_init_script(script)
        page.goto(report.as_uri() + part)
        if scripted:
            page.wait_for_selector("html[data-ready='1']")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert trouble == []
