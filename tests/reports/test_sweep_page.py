"""The page of a sweep: figures of planted curves, offline, with names that stay text."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from sweep_parts import cell, curve, planted, with_kinds

from critical_phase.errors import StoreError
from critical_phase.reports import write_index, write_sweep_page
from critical_phase.reports.sweep_panels import figures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sweep.json").write_text(json.dumps(planted()))
    return tmp_path


def test_every_figure_has_an_svg_and_the_numbers_beside_it(folder: Path) -> None:
    write_sweep_page(folder)
    drawn = {path.stem for path in folder.glob("figures/*.svg")}
    assert drawn == {"learning", "kinds", "roles", "weights", "jumps", "sizes"}
    assert {path.stem for path in folder.glob("data/*.csv")} == drawn


def test_the_csv_holds_the_planted_numbers(folder: Path) -> None:
    write_sweep_page(folder)
    with (folder / "data/learning.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["series"] == "likra"]
    assert [row["x"] for row in rows] == ["0", "8", "64", "128", "256"]
    assert rows[0]["y"] == ""
    assert float(rows[2]["y"]) == pytest.approx(0.55)
    assert float(rows[2]["low"]) == pytest.approx(0.53)


def test_finished_runs_of_several_sizes_are_points_never_joined() -> None:
    sizes = next(figure for figure in figures(planted()) if figure.id == "sizes")
    assert [line.joined for line in sizes.panels[0].lines] == [True, False]


def test_jumps_are_shown_on_three_clocks() -> None:
    jumps = next(figure for figure in figures(planted()) if figure.id == "jumps")
    titles = [panel.title for panel in jumps.panels]
    assert titles == [f"batch_size, in {c}" for c in ("steps", "examples", "summed learning rate")]
    assert jumps.panels[0].ticks == ("8", "32")


def test_figures_of_the_first_kind_name_it() -> None:
    by_id = {figure.id: figure for figure in figures(with_kinds())}
    for name in ("learning", "roles", "weights"):
        assert "(negatives near_miss)" in by_id[name].title
        assert "Shown: negatives near_miss, batch_size 8;" in by_id[name].caption
    assert "negatives near_miss" not in by_id["kinds"].title + by_id["kinds"].caption
    assert "Shaded" not in by_id["weights"].caption


def test_doses_have_a_figure_of_their_own() -> None:
    value = with_kinds()
    curves = [curve("likra", f"c{dose}", 0.3) for dose in (0.0, 0.5, 0.1)]
    for one, dose in zip(curves, (0.0, 0.5, 0.1), strict=True):
        one["settings"] = {"negatives": "near_miss", "contamination": dose}
    by_id = {figure.id: figure for figure in figures({**value, "curves": curves})}
    labels = [line.label for line in by_id["dose"].panels[0].lines]
    assert labels == ["contamination 0.0", "contamination 0.1", "contamination 0.5"]
    assert "kinds" not in by_id


def test_seeds_stand_side_by_side_and_a_run_that_still_rises_is_a_ring() -> None:
    value = planted()
    other = cell("b8-s1", 8, 14.0)
    other["seed"] = other["settings"]["seed"] = 1
    other["jumps"][0]["still_rising"] = True
    value["cells"].append(other)
    jumps = next(figure for figure in figures(value) if figure.id == "jumps")
    solid, rings = jumps.panels[0].lines
    assert (solid.hollow, rings.hollow) == (False, True)
    assert solid.x[0] < 0 < rings.x[0]


def test_a_cell_without_a_page_says_why_and_the_list_is_folded(folder: Path) -> None:
    value = planted()
    value["cells"][0]["found"] = None
    value["cells"][1]["page"] = True
    (folder / "sweep.json").write_text(json.dumps(value))
    text = write_sweep_page(folder).read_text()
    assert text.count("no page: analyze is false") == 1
    assert 'href="b32/report/report.html"' in text
    assert "<summary>All 2 cells</summary>" in text
    assert "± 0.020" in text


def test_cells_that_differ_in_their_questions_give_a_range() -> None:
    value = {**planted(), "questions": None, "questions_range": [100, 300]}
    assert "share of 100 to 300 questions" in figures(value)[0].caption


def test_equal_summaries_give_equal_bytes(folder: Path) -> None:
    first = write_sweep_page(folder).read_bytes()
    assert write_sweep_page(folder).read_bytes() == first


def test_the_index_of_a_sweep_is_its_own_page(folder: Path) -> None:
    page = write_sweep_page(folder).read_bytes()
    assert write_index(folder).read_bytes() == page


def test_hostile_names_stay_text_and_folders_are_cut(folder: Path) -> None:
    text = write_sweep_page(folder).read_text()
    assert "<script>alert" not in text
    assert "/home/someone" not in text
    assert "{{ 7*7 }}" in text


def test_a_damaged_summary_is_named(folder: Path) -> None:
    (folder / "sweep.json").write_text("{}")
    with pytest.raises(StoreError, match=r"sweep\.json cannot be understood"):
        write_sweep_page(folder)


@pytest.mark.browser
def test_the_page_opens_offline_without_an_error(browser: Any, folder: Path) -> None:
    trouble: list[str] = []
    page = browser.new_context(offline=True).new_page()
    page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
    page.on("console", lambda m: trouble.append(m.text) if m.type == "error" else None)
    page.on("dialog", lambda dialog: (trouble.append("dialog"), dialog.dismiss()))
    page.on("request", lambda r: trouble.append(r.url) if r.url[:4] != "file" else None)
    page.goto(write_sweep_page(folder).as_uri())
    assert page.locator("figure svg").count() == 6
    assert "alert(1)" in page.locator("h1").inner_text()
    assert page.locator("img").count() == 0
    assert trouble == []
