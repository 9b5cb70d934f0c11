"""The page of an analysed run: its own sections for score rules, difficulty and side effects."""

import re
from typing import Any

import numpy as np
import pytest

from critical_phase.analysis import MEASURES, AnalysisSettings, planted_run, to_json
from critical_phase.reports.elements import Measure, measure_from_json
from critical_phase.reports.load import Results
from critical_phase.reports.page import render
from critical_phase.reports.sections import sections
from critical_phase.reports.tables import MOST_SHOWN, csv_text, table_rows, table_view

NAMES = ("normalisations", "difficulty", "calibration", "weight_sweep", "side_effects")


def measured(**options: Any) -> dict[str, Measure]:
    """Run the five measures on a planted run."""
    arrays = planted_run("switch", np.random.default_rng(0), width=0, **options)
    settings = AnalysisSettings(draws=50)
    return {
        name: measure_from_json(to_json(MEASURES[name](arrays, settings)), name) for name in NAMES
    }


def page_of(measures: dict[str, Measure]) -> str:
    """Render the page without its print figures, which take long to draw."""
    arranged = sections(measures)
    drawn = {chart.id: "<svg></svg>" for part in arranged for chart in part.charts}
    run = {"name": "planted", "created_utc": "2026-01-02T03:04:05Z"}
    return render(Results(run, {"jump": None}, measures), arranged, drawn)


def section(page: str, name: str) -> str:
    start = f'<details class="section"(?: open)? id="{name}">'
    found = re.search(rf"{start}.*?(?=<details class=.section|</section>)", page, re.DOTALL)
    assert found
    return found[0]


@pytest.fixture(scope="module")
def full() -> str:
    contexts = ("answer_only", "domain", "shots-5", "second")
    return page_of(measured(contexts=contexts, effects=True))


def test_every_part_has_a_plain_title(full: str) -> None:
    for title in ("Accuracy of PMI_DC", "Accuracy after other texts", "Quarters of difficulty",
                  "Brier score", "Accuracy by weight of the negative head",
                  "Distance to the base on neutral text", "Gradient noise scale"):  # fmt: skip
        assert f"<h3>{title}</h3>" in full or f"Table: {title} " in full


def test_what_a_number_must_not_be_taken_for_stands_beside_it(full: str) -> None:
    assert "the wording of the answers decides and not the question" in full
    assert "regression to the mean" in section(full, "difficulty")
    assert "chosen on the same questions" in section(full, "weight-sweep")


def test_ids_stay_unique(full: str) -> None:
    ids = re.findall(r'\sid="([^"]+)"', full)
    assert sorted(ids) == sorted(set(ids))


def test_without_contexts_and_effects_there_are_notes_and_no_empty_parts() -> None:
    page = page_of(measured())
    rules, effects = section(page, "normalisations"), section(page, "side-effects")
    assert rules.count("<b>Note:</b>") == effects.count("<b>Note:</b>") == 1
    assert "stands before" not in rules
    assert effects.count('<figure class="figure chart"') == 1
    assert "Nothing to list" not in rules + effects


def test_a_long_table_is_cut_on_the_page_and_whole_in_its_file() -> None:
    table = measured(questions=260)["difficulty"].tables[1]
    view = table_view(table)
    assert len(view.rows) == MOST_SHOWN
    assert view.caption.endswith("the first 200 rows; 60 more are in the CSV file.")
    assert len(csv_text(table_rows(table)).splitlines()) == 261


def test_a_table_of_many_cells_starts_folded() -> None:
    tables = {t.id: table_view(t) for m in measured().values() for t in m.tables}
    assert tables["normalisations"].large
    assert not tables["strata"].large
