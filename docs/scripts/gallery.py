"""Write docs/gallery.md and the screenshots of README.md from the report of a run.

`make docs` runs `.venv/bin/python docs/scripts/gallery.py runs/demo`. The figures are the print
figures of the report; the screenshots need Chromium, and are left as they are without it.
"""

import argparse
import os
import shutil
from pathlib import Path

from critical_phase.reports.load import Results, load_results
from critical_phase.reports.order import NAME, order_of_changes
from critical_phase.reports.provenance import analysed_by
from critical_phase.reports.sections import grouped, sections
from critical_phase.reports.tables import HYPOTHESES

DOCS = Path(__file__).parents[1]
CHOSEN = (
    "curves-accuracy", "curves-margin", "margins-margin-shares-map", "margins-question-margin-map",
    "difficulty-accuracy-stratum", "weight-sweep-weight-accuracy-map", "decomposition-gain",
    "linear-probes-probe-top1-map", "step-transfer-probe-carried-map", "similarity-cka-steps-map",
    "similarity-cka-layers-map", "weights-lora-path-map",
    "similarity-displacement-map", "similarity-constant-shift-map", "attention-attention-js-map",
    "sparsity-sparsity-hoyer-map", "sparsity-difficulty-sparsity-difficulty",
    "weights-lora-norm", "weights-lora-cosine-last", "side-effects-gradient-norm",
)  # fmt: skip
"""Figures of the gallery; one that the run lacks is named as missing."""


def gallery(results: Results, figures: Path, target: Path) -> str:
    """Copy the chosen figures and describe them.

    Args:
        results: The run.
        figures: `report/figures` of the run.
        target: Folder of `gallery.md`.

    Returns:
        The text of `gallery.md`.
    """
    shutil.rmtree(target / "gallery", ignore_errors=True)
    (target / "gallery").mkdir(parents=True)
    lines = [
        "# Gallery",
        "",
        "Figures of one report, as they are written beside the page for print. Made by "
        f"`{analysed_by(results.run)}`; `make docs` makes them again. On the page the same "
        "numbers follow one slider of steps, and every figure has its table and CSV.",
        "",
        "> " + str(results.findings.get("sentence") or results.run.get("headline") or ""),
        "",
    ]
    found: set[str] = set()
    lines += _order(results, figures, target)
    for group, members in grouped(sections(results.measures)):
        shown = [
            (item, section.title)
            for section in members
            for item in (*section.charts, *section.maps)
            if item.id in CHOSEN
        ]
        if shown:
            lines += [f"## {group}", ""]
        for item, section in shown:
            found.add(item.id)
            words = f"{item.caption} {item.facts}"
            lines += _figure(item.id, f"{section}: {item.title}", words, figures, target)
            lines += [f"Control: {text}\n" for text in getattr(item, "controls", ())]
    missing = [name for name in CHOSEN if name not in found]
    if missing:
        lines += ["Not measured in this run: " + ", ".join(missing) + ".", ""]
    return "\n".join([*lines, *_verdicts(results)]).rstrip() + "\n"


def _order(results: Results, figures: Path, target: Path) -> list[str]:
    order = order_of_changes(results.findings, results.measures.get("changes"))
    if order is None:
        return []
    return ["## Order of changes", "", *_figure(NAME, order.title, order.caption, figures, target)]


def _figure(name: str, title: str, words: str, figures: Path, target: Path) -> list[str]:
    shutil.copyfile(figures / f"{name}.svg", target / "gallery" / f"{name}.svg")
    return [f"### {title}", "", f"![{title}](gallery/{name}.svg)", "", words.strip(), ""]


def _verdicts(results: Results) -> list[str]:
    rows = [
        f"| {one['hypothesis']} {HYPOTHESES.get(one['hypothesis'], ('',))[0]} | {one['verdict']} |"
        for one in results.findings.get("verdicts") or ()
    ]
    return ["## Verdicts", "", "| explanation | verdict |", "|---|---|", *rows] if rows else []


def screenshots(page: Path, target: Path) -> bool:
    """Photograph the head of a report in both themes; False where there is no Chromium."""
    chromium = os.environ.get("PROBE_CHROMIUM", "/usr/bin/chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return False
    if not Path(chromium).exists():
        return False
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for theme in ("light", "dark"):
            shown = browser.new_context(
                offline=True, viewport={"width": 1280, "height": 2150}, color_scheme=theme
            ).new_page()
            shown.goto(page.resolve().as_uri())
            shown.wait_for_selector("html[data-settled='1']", timeout=60_000)
            shown.screenshot(path=target / f"report-{theme}.png")
        browser.close()
    return True


def main() -> None:
    """Read the run that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    text = gallery(load_results(run), run / "report" / "figures", DOCS)
    (DOCS / "gallery.md").write_text(text, encoding="utf-8")
    if not screenshots(run / "report" / "report.html", DOCS):
        print("no Chromium: the screenshots were left as they are")
    print(DOCS / "gallery.md")


if __name__ == "__main__":
    main()
