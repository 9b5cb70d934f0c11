"""Layers by layers, and paths in a plane, in print and in numbers."""

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_parts import HEADS, JUMP, LAYERS, STEPS, layer_pairs, measure, path_of

from critical_phase.reports import payload
from critical_phase.reports.elements import measure_from_json
from critical_phase.reports.map_svg import map_svg
from critical_phase.reports.notebook import map_html
from critical_phase.reports.panels import MapFigure
from critical_phase.reports.sections import sections
from critical_phase.reports.squares import layer_names, shown_columns, square
from critical_phase.reports.trail import between, stretch

MARK = (14.0, 12.0, 17.0)


def figure(maps: list[dict[str, Any]]) -> MapFigure:
    value = measure("similarity", "Similarity", maps=maps)
    found = sections({"similarity": measure_from_json(value, "")})
    (made,) = next(part for part in found if part.measure == "similarity").maps
    return made


@pytest.fixture(scope="module")
def squares() -> MapFigure:
    return figure([layer_pairs(head) for head in HEADS])


@pytest.fixture(scope="module")
def trail() -> MapFigure:
    return figure([path_of(head) for head in HEADS])


def test_a_square_holds_every_pair_on_both_sides_and_ones_on_its_diagonal(
    squares: MapFigure,
) -> None:
    item = squares.maps[1]
    assert layer_names(item) == tuple(LAYERS)
    found = square(item, 20)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(np.diag(found), 1)
    at = item.row_labels.index("3 and 0")
    assert found[4, 1] == item.values[at][20]


def test_printed_steps_are_the_ends_and_the_jump() -> None:
    assert [STEPS[k] for k in shown_columns(STEPS, MARK)] == [0, 12, 14, 17, 64]
    assert [STEPS[k] for k in shown_columns(STEPS, None)] == [0, 16, 32, 48, 64]
    assert shown_columns([0, 8], MARK) == [0, 1]


def test_the_print_figure_has_a_square_per_head_and_shown_step(squares: MapFigure) -> None:
    drawn = map_svg(squares, MARK)
    assert re.findall(r">step (\d+)<", drawn) == ["0", "12", "14", "17", "64"] * 2
    for head in HEADS:
        assert f">{head} head, layer<" in drawn
    assert drawn == map_svg(squares, MARK)
    assert map_svg(squares, None) != drawn


def test_the_jump_is_marked_on_the_path_between_its_dots() -> None:
    rows = np.array([[0.0, 2.0, 4.0], [0.0, 2.0, 0.0]])
    np.testing.assert_allclose(between([0, 10, 20], rows, 15.0), [3, 1])
    np.testing.assert_allclose(stretch([0, 10, 20], rows, 5.0, 15.0), [[1, 2, 3], [1, 2, 1]])
    np.testing.assert_allclose(between([0, 10, 20], rows, 99.0), [4, 0])


def test_the_print_figure_shows_run_walk_and_jump_with_the_shares(trail: MapFigure) -> None:
    drawn = map_svg(trail, MARK)
    for text in ("random walk", "the run", "jump", "step 0", "step 64", "positive head",
                 "direction 1 (80 % of variance)", "direction 2 (12 % of variance)"):  # fmt: skip
        assert f">{text}<" in drawn, text
    assert drawn == map_svg(trail, MARK)
    assert ">jump<" not in map_svg(trail, None)


def test_a_signed_map_is_dotted_below_zero_in_print() -> None:
    item = layer_pairs("negative")
    item |= {"row_name": "layer", "diverging": True, "range": [-1, 1]}
    signed = figure([{**item, "values": [[v - 0.5 for v in row] for row in item["values"]]}])
    drawn = map_svg(signed, None)
    assert drawn.count("<pattern ") == drawn.count('<circle cx="2" cy="2" r="0.5"') == 1
    assert len(re.findall(r"fill: url\(#similarity-cka-layers-map-\w+\)", drawn)) == 1
    assert drawn == map_svg(signed, None)
    assert "<pattern " not in map_svg(figure([item]), None)


def test_both_are_drawn_in_a_notebook_as_on_the_page(squares: MapFigure, trail: MapFigure) -> None:
    assert ">step 64<" in map_html(squares.maps[0])
    assert ">random walk<" in map_html(trail.maps[0])


def test_a_path_keeps_its_digits_where_maps_are_rounded(
    trail: MapFigure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payload, "EXACT_CELLS", 0)
    value = measure("similarity", "S", maps=[path_of("negative"), layer_pairs("negative")])
    carried = payload.build(sections({"similarity": measure_from_json(value, "")}), [0], [0], None)
    path, pairs = carried["maps"].values()
    assert carried["coarse"]
    assert path["bytes"] is None
    assert pairs["bytes"] is not None
    low, high = path["limits"]
    last = low + (high - low) * sum(path["changes"][0]) / payload.LEVELS
    assert last == pytest.approx(trail.maps[1].values[0][-1], abs=2e-3)


def test_captions_numbers_and_controls_stand_beside_each_figure(planted: Path) -> None:
    text = planted.read_text()
    for name, attribute in (("similarity-cka-layers-map", "squares"),
                            ("weights-lora-path-map", "trail")):  # fmt: skip
        (found,) = re.findall(rf'<figure class="figure maps wide" id="{name}">.*?</figure>', text,
                              re.DOTALL)  # fmt: skip
        assert found.count(f"<canvas data-{attribute}=") == 2
        assert found.count("<b>Control:</b>") >= 1
        assert found.count('<details class="numbers"') == 2
        with (planted.parent / f"data/{name}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["head"] for row in rows} == set(HEADS)
        assert len(rows) == 2 * 65 * {"squares": 15, "trail": 4}[attribute]
        assert (planted.parent / f"figures/{name}.svg").is_file()
    assert text.count("Lora path") == 0
    with (planted.parent / "data/similarity-cka-layers-map.csv").open(newline="") as file:
        late = [row for row in csv.DictReader(file) if row["pair"] == "3 and 0"
                and row["head"] == "negative" and int(row["step"]) in (JUMP - 1, JUMP)]  # fmt: skip
    assert [float(row["value"]) for row in late] == [0.5488, 0.3012]
