"""Every injection of the corpus at every place that text from data can reach."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_texts import ELEMENTS, INJECTIONS
from report_parts import curve, findings, heat, measure, rise, write_run

from critical_phase.reports import write_index
from critical_phase.reports.load import load_results
from critical_phase.reports.page import render
from critical_phase.reports.sections import sections
from critical_phase.reports.tables import csv_text, table_rows
from critical_phase.reports.text import scrub, visible

Json = dict[str, Any]


def everywhere(run: Path) -> Path:
    """Write a run whose every name, label, caption and text is hostile."""
    all_of_them = " ".join(INJECTIONS)
    write_run(run, kept=())
    steps = list(range(65))
    lines = [curve(f"evil.{k}", text, rise(0.1 + 0.01 * k), caption=text, interval=text,
                   title=text, unit=text, references=[{"label": text, "value": 0.5}])
             for k, text in enumerate(INJECTIONS)]  # fmt: skip
    grid = np.linspace(0, 1, len(INJECTIONS) * 65).reshape(-1, 65)
    maps = [heat("evil.map", all_of_them, row, list(INJECTIONS), grid, control=all_of_them,
                 caption=all_of_them, unit=all_of_them, id=f"evil_{row}.x", head=None)
            for row in ("layer", "question", "attention_head")]  # fmt: skip
    columns = [{"key": "name", "label": all_of_them, "unit": all_of_them, "kind": "text"}]
    table = {"id": all_of_them, "title": all_of_them, "caption": all_of_them, "columns": columns,
             "rows": [[text] for text in INJECTIONS]}  # fmt: skip
    short = {**table, "id": "short", "rows": table["rows"][:8]}
    tokens = [
        {"id": f"tokens.{k}", "question": text, "question_id": text, "steps": steps,
         "candidates": [{"text": text, "correct": c == 0, "tokens": [text, all_of_them],
                         "base": -1.0, "positive": [-1.0] * 65, "negative": [-2.0] * 65,
                         "attention": [{"layer": 0, "attention_head": 0, "head": text,
                                        "values": [[0.5, 0.5]] * 65}]} for c in range(2)]}
        for k, text in enumerate(INJECTIONS)
    ]  # fmt: skip
    parts = {
        "curves": measure("curves", all_of_them, curves=lines, warnings=list(INJECTIONS)),
        "sparsity": measure("sparsity", all_of_them, maps=maps, tables=[short, table],
                            settings={text: text for text in INJECTIONS}, about=all_of_them),
        "tokens": measure("tokens", all_of_them, tokens=tokens),
        "evil": measure("evil", all_of_them, reference=all_of_them),
    }  # fmt: skip
    for name, item in parts.items():
        (run / "analysis" / f"{name}.json").write_text(json.dumps(item))
    facts = json.loads((run / "run.json").read_text())
    told = ("name", "model", "questions", "git_commit", "headline", "created_utc")
    facts |= dict.fromkeys(told, all_of_them)
    facts |= {"commands": list(INJECTIONS), "versions": {text: text for text in INJECTIONS}}
    (run / "run.json").write_text(json.dumps(facts))
    (run / "analysis" / "findings.json").write_text(json.dumps(_hostile_findings(all_of_them)))
    return run


def _hostile_findings(text: str) -> Json:
    found = findings()
    found["sentence"] = found["jump"]["sentence"] = text
    found["changes"] = [
        {**found["changes"][0], "quantity": one, "title": one, "interval_kind": one, "order": one}
        for one in INJECTIONS
    ]
    found["verdicts"] = [
        {**found["verdicts"][0], "hypothesis": one, "claim": one, "evidence": [one], "verdict": one,
         "effect_name": one, "effect_unit": one, "p_name": one} for one in INJECTIONS
    ]  # fmt: skip
    found["controls"], found["warnings"] = list(INJECTIONS), list(INJECTIONS)
    return found


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of the hostile page, without its print figures."""
    run = everywhere(tmp_path_factory.mktemp("evil") / "run")
    results = load_results(run)
    arranged = sections(results.measures)
    drawn = {chart.id: "<svg></svg>" for part in arranged for chart in part.charts}
    page = run / "report" / "report.html"
    page.parent.mkdir()
    page.write_text(render(results, arranged, drawn))
    return page


@pytest.mark.browser
def test_a_page_of_injections_does_nothing_and_shows_them(
    evil: Path, visit: Callable[..., Any]
) -> None:
    page = visit("#step=<script>&layer=__proto__&head=constructor&adapter=x", report=evil)
    page.locator("#unfold").click()
    for details in page.locator("details.more[data-table], details.numbers").all()[:12]:
        details.evaluate("node => { node.open = true; }")
    chooser = page.locator("#question")
    for at in range(len(INJECTIONS)):
        chooser.select_option(str(at))
    page.evaluate("new Promise(done => setTimeout(done, 400))")
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("({}).pwned") is None
    assert page.locator(ELEMENTS).count() == 0
    assert page.locator("script").count() == 4
    assert page.locator("body style, body script:not([type])").count() == 2
    shown = page.locator("#table-sparsity-short-table tbody td").all_inner_texts()
    assert [text.strip() for text in shown] == [visible(text).strip() for text in INJECTIONS[:8]]
    prompts = page.locator(".prompt").all_text_contents()
    assert prompts == [visible(text) for text in INJECTIONS]


@pytest.mark.browser
def test_an_index_of_injections_does_nothing(evil: Path, browser: Any, tmp_path: Path) -> None:
    page = browser.new_context(offline=True).new_page()
    seen: list[str] = []
    page.on("console", lambda message: seen.append(message.text))
    page.on("dialog", lambda dialog: (seen.append("dialog"), dialog.dismiss()))
    page.goto(write_index(evil.parents[2]).as_uri())
    assert page.locator(ELEMENTS).count() == 0
    assert (page.evaluate("window.pwned"), seen) == (None, [])
    assert "<script>window.pwned = 1</script>" in page.locator("h2").inner_text()
    page.context.close()


def test_a_csv_of_injections_reads_back_and_runs_nothing(evil: Path) -> None:
    found = load_results(evil.parents[1]).measures["sparsity"].tables[1]
    rows = list(csv.reader(csv_text(table_rows(found)).splitlines(keepends=True)))
    assert not any(cell[:1] in "=+-@" for row in rows for cell in row if len(cell) > 1)
    assert [row[0].lstrip("'") for row in rows[1:6]] == list(INJECTIONS[:5])


def test_no_text_keeps_a_hidden_character() -> None:
    for text in INJECTIONS:
        shown = visible(scrub(text))
        assert not set(shown) & set("\x00\x07\x1b\x7f\u200b\u2028\u2029\u202e\u2066\ufeff")
