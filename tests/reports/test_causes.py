"""The causal section: what it may say, what it draws, and what it refuses to read."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from causes_parts import (
    LAYERS,
    MODULES,
    STRONG,
    answer,
    cell,
    cells,
    donor_cells,
    generation,
    points,
    training,
    write_causes,
)

from critical_phase.errors import StoreError
from critical_phase.reports import write_report
from critical_phase.reports.causes import causes_sentence, causes_view
from critical_phase.reports.causes_drawing import drawn
from critical_phase.reports.causes_file import read_causes
from critical_phase.reports.causes_forest import forest
from critical_phase.reports.causes_grids import colour, grids
from critical_phase.reports.causes_measure import as_measure
from critical_phase.reports.causes_plots import plots, ticks
from critical_phase.reports.causes_shapes import Causes, Share
from critical_phase.reports.causes_svg import printed
from critical_phase.reports.run import Run

Json = dict[str, Any]
SEVEN = points("+++++++")
VISIBLE = {-1: 0.0, 0: 0.2, 1: 0.7, 2: 1.0}


def lens(**changes: Any) -> Json:
    """A file of the plan `lens`, which answers nothing."""
    made = [cell(f"logit/late/{layer}", share, set="logit lens", end="late", layer=layer)
            for layer, share in VISIBLE.items()]  # fmt: skip
    return answer("lens", share=None, interval=None, cells=made, points=None, sentence="", **{
        "pairs": [{"name": f"logit/{layer}", "about": "seen", "late": f"logit/late/{layer}",
                   "early": "x", "shown": True, "share": share,
                   "interval": [share - 0.1, share + 0.1]} for layer, share in VISIBLE.items()],
        **changes,
    })  # fmt: skip


def erased() -> Json:
    """Left of the change with something erased at both ends, after single layers and after all."""
    made = [cell(f"late/{layer}", 0.5, set="late erased", layer=layer) for layer in (-1, 0, 1)]
    pairs = [{"name": f"both/{layer}", "about": "left", "late": f"late/{layer}", "early": "x",
              "share": share, "interval": [share - 0.1, share + 0.1], "shown": False}
             for layer, share in ((-1, 0.4), (0, 0.9), (1, 0.8))]  # fmt: skip
    pairs.append({"name": "base", "about": "in the base", "late": "late/0", "early": "x",
                  "share": 0.3, "interval": [0.2, 0.4], "shown": True})  # fmt: skip
    return answer("erase_direction", intervention="leace", cells=made, pairs=pairs)


def read(folder: Path, **files: Json) -> Causes:
    found = read_causes(write_causes(folder / "run", **files))
    assert found is not None
    return found


@pytest.mark.parametrize("states", ["+++++++", "+++?+?-", "-------", "???????", ""])
def test_the_sentence_says_causes_only_where_the_file_does(tmp_path: Path, states: str) -> None:
    silent = causes_sentence(read(tmp_path, a=answer(points=points(states))))
    assert "causes" not in silent
    assert "0.60 [0.55, 0.65]" in silent
    assert "its control 0.01 [\u22120.02, 0.04]" in silent


def test_the_sentence_says_causes_where_all_points_are_met(tmp_path: Path) -> None:
    strong = answer("patch", about="the strong one", causes=True, points=SEVEN)
    found = read(tmp_path, a=answer(**{"share": 0.9, "interval": [0.85, 0.95]}), b=strong)
    assert causes_sentence(found).startswith(
        "By all seven points that the word asks for, this causes the jump: the strong one"
    )


def test_what_is_missing_is_named_by_number(tmp_path: Path) -> None:
    said = causes_sentence(read(tmp_path, a=answer(), b=answer(points=points("------?"))))
    assert "4 of the 7 points" in said
    assert "not met: 7; open: 4, 6" in said
    assert "of 2 answers, the one that meets most points" in said


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (answer(causes=True), r"causes is true, but points 4, 6, 7 are not met"),
        (answer(causes=True, points=[]), r"points 1-7 are not met"),
        (answer(causes=True, points=SEVEN[:3]), r"points 4, 5, 6, 7 are not met"),
        (lens(pairs=[{"name": "logit/0", "share": None}]), r"float"),
        (answer(schema_version=2), r"schema_version is not 1"),
        (answer(plan=None), r"no plan"),
        (answer(share="0.5"), r"no finite number"),
        (answer(interval=[0.7, 0.5]), r"begins at 0.7 and ends at 0.5"),
        (answer(doses={"dose": [0.0], "share": []}), r"longer|shorter"),
        (answer(points=[{"number": 1, "met": "yes"}]), r"neither met"),
        (answer(cells=[{"share": 1.0}]), r"'name'"),
        (training(training={"met": 1.5}), r"neither true, false nor null"),
    ],
)
def test_a_file_that_cannot_be_understood_is_refused(
    tmp_path: Path, value: Json, complaint: str
) -> None:
    with pytest.raises(StoreError, match=complaint) as caught:
        read(tmp_path, bad=value)
    assert "bad.json" in str(caught.value.where)


def test_nan_is_refused(tmp_path: Path) -> None:
    run = write_causes(tmp_path, a=answer())
    path = run / "interventions" / "a.json"
    path.write_text(path.read_text().replace('"weight": 1.0', '"weight": NaN'))
    with pytest.raises(StoreError, match="NaN is not JSON"):
        read_causes(run)


def test_what_is_taken_away_is_the_rest_with_its_interval_turned() -> None:
    rest = Share(0.3, 0.1, 0.4).rest
    assert (rest.value, rest.low, rest.high) == pytest.approx((0.7, 0.6, 0.9))
    assert Share(0.3, 0.1, 0.4).above
    assert not Share(0.3, -0.1, 0.4).above
    assert not Share(0.3).above


def test_the_other_direction_is_read_the_right_way_round(tmp_path: Path) -> None:
    found = read(tmp_path, a=answer(), b=answer("frozen_attention", lost=True))
    brings, lost = found.answers
    assert brings.opposite is not None
    assert lost.opposite is not None
    assert (brings.other_verb, brings.opposite.value) == ("takes away", pytest.approx(0.7))
    assert (lost.other_verb, lost.opposite.value) == ("brings", pytest.approx(0.3))


def test_the_map_finds_the_planted_place_both_ways(tmp_path: Path) -> None:
    (grid,) = grids(read(tmp_path, a=answer()))
    assert grid.columns == (*MODULES, "whole layer")
    assert grid.layers == LAYERS
    for panel in grid.panels:
        placed = {place: c.does.value for place, c in panel.cells.items() if c.does}
        modules = {place: v for place, v in placed.items() if place[1] in MODULES}
        assert max(modules, key=lambda place: modules[place]) == STRONG
        assert modules[STRONG] == pytest.approx(0.6)
        assert grid.share(panel, 9, "nowhere") is None
    assert [panel.title.split()[0] for panel in grid.panels] == ["brings", "takes"]


def test_noise_never_looks_bright(tmp_path: Path) -> None:
    weak = [cell(f"m{k}", 0.01, set="module", direction="denoise", layer=k, module="m")
            for k in LAYERS]  # fmt: skip
    (grid,) = grids(read(tmp_path, a=answer(cells=weak)))
    assert grid.limits == (0.0, 0.2)


@pytest.mark.parametrize("share", [k / 40 for k in range(-4, 45)])
def test_numbers_on_colours_have_contrast(share: float) -> None:
    def light(text: str) -> float:
        parts = [int(text[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    low, high = sorted(map(light, colour(share, (0.0, 1.0))))
    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_marks_stand_in_order_and_say_where_they_run_off(tmp_path: Path) -> None:
    wild = answer("scale", control_share=-7.0, control_interval=[-30.0, 9.0])
    figure = forest(read(tmp_path, a=answer(), b=wild))
    assert figure is not None
    own, control, other = figure.rows[0].marks
    early, late = figure.ends
    assert early < control.high < own.low < own.at < own.high < other.high < late
    assert not own.beyond
    assert figure.rows[1].marks[1].beyond == "both"
    assert (figure.rows[1].marks[1].at, figure.span) == (0.0, (-1.0, 2.0))
    assert "beyond the axis" in figure.caption


def test_a_plot_has_its_control_and_grows_with_the_dose(tmp_path: Path) -> None:
    layers, dose = plots(read(tmp_path, a=answer()))
    assert [line.label.split()[-1] for line in layers.lines] == ["below", "above", "alone"]
    assert [x for x, _ in layers.lines[0].points] == [0.0, 1.0, 2.0]
    assert dose.band is not None
    assert dose.band.value == 0.01
    shown = drawn(dose)
    heights = [dot.y for dot in shown.lines[0][2]]
    assert heights == sorted(heights, reverse=True)
    assert shown.band is not None
    assert shown.band_at is not None
    assert shown.band[0] < shown.band_at < shown.band[0] + shown.band[1]
    assert shown.levels[1] < shown.levels[0]


def test_what_rounds_to_nothing_has_no_sign() -> None:
    assert Share(-0.001, -0.2, 0.004).text == "0.00 [\u22120.20, 0.00]"


def test_a_plot_says_what_its_doses_are_of(tmp_path: Path) -> None:
    dosed = [cell(f"late/{d}", 0.6 * d, set="late scaled", dose=d) for d in (0.0, 0.5, 1.0)]
    (plot,) = plots(read(tmp_path, a=answer("scale", cells=dosed)))
    assert plot.x_name == "dose (late scaled)"


def test_axes_are_marked_at_round_distances() -> None:
    assert ticks(-0.05, 1.05, 6) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(0.0, 1.0, 9)[-1] == 1.0
    assert ticks(0.0, 31.0, 9) == [0, 5, 10, 15, 20, 25, 30]


def test_further_steps_are_a_map_of_the_slider(tmp_path: Path) -> None:
    (item,) = as_measure(read(tmp_path, a=answer(cells=[*cells(), *donor_cells()]))).maps
    assert item.steps == (8, 16, 32)
    row = item.row_labels.index(f"{STRONG[0]}.{STRONG[1]}")
    assert item.values[row] == pytest.approx((0.15, 0.3, 0.6))
    assert item.low is not None
    assert item.low[row] == pytest.approx((0.1, 0.25, 0.55))


def test_tests_in_training_and_free_answers_have_tables(tmp_path: Path) -> None:
    found = read(tmp_path, t=training(), summary=generation())
    assert (found.answers, found.best, causes_sentence(found)) == ((), None, "")
    tests, texts = as_measure(found).tables
    assert tests.rows[0][:4] == ("layer 1 frozen", "vanishes", None, None)
    assert tests.rows[0][-2:] == ("met", "it vanishes")
    assert [row[:2] for row in texts.rows] == [("base", 0.2), ("contrast-a1", 0.4)]
    view = causes_view(found)
    assert view is not None
    assert (view.forest, view.extent) == (None, "")
    assert view.notes == ("without layer 1 the jump is not made",)


def test_a_lens_alone_is_drawn_by_layer_though_it_answers_nothing(tmp_path: Path) -> None:
    found = read(tmp_path, lens=lens())
    (plot,) = plots(found)
    assert found.best is None
    assert [line.label for line in plot.lines] == ["logit lens"]
    points_ = plot.lines[0].points
    assert [x for x, _ in points_] == [-1.0, 0.0, 1.0, 2.0]
    assert [share.value for _, share in points_] == list(VISIBLE.values())
    assert [share.low for _, share in points_] == pytest.approx([-0.1, 0.1, 0.6, 0.9])
    assert plot.band is None
    assert "not what causes it" in plot.caption
    view = causes_view(found)
    assert view is not None
    assert view.extent == "1 figures"
    (table,) = as_measure(found).tables
    assert [row[2] for row in table.rows] == [-1, 0, 1, 2]


def test_a_lens_of_a_hostile_name_is_shown_as_it_is_written(tmp_path: Path) -> None:
    made = lens()
    pairs = [one | {"name": one["name"].replace("logit", "a\u202eb")} for one in made["pairs"]]
    (plot,) = plots(read(tmp_path, lens=made | {"pairs": pairs}))
    assert "\u202e" not in plot.lines[0].label
    assert plot.lines[0].label.endswith("b lens")


def test_what_is_left_after_erasing_has_all_layers_at_once_across(tmp_path: Path) -> None:
    found = read(tmp_path, a=erased())
    plot = next(one for one in plots(found) if "pairs" in one.id)
    (line,) = plot.lines
    assert [(x, share.value) for x, share in line.points] == [(0.0, 0.9), (1.0, 0.8)]
    assert plot.band is not None
    assert plot.band.value == 0.4
    assert "after every layer 0.40 [0.30, 0.50]" in drawn(plot).words
    table = next(one for one in as_measure(found).tables if one.rows[0][0] == "both/-1")
    assert [row[0] for row in table.rows] == ["both/-1", "both/0", "both/1", "base"]


def test_the_page_draws_a_lens_and_does_not_say_that_nothing_was_made(
    small_run: Callable[..., Path],
) -> None:
    page = write_report(write_causes(small_run(), lens=lens()))
    text = page.read_text()
    part = text[text.index('id="interventions"') : text.index('id="control-runs"')]
    assert "No intervention was made" not in part
    assert "Where the change can be read off, layer by layer" in part
    assert (page.parent / "figures/interventions-pairs-lens.svg").is_file()
    rows = list(csv.DictReader(io.StringIO(
        (page.parent / "data/interventions-pairs-lens.csv").read_text())))  # fmt: skip
    assert [float(row["share"]) for row in rows] == list(VISIBLE.values())


def test_print_takes_text_as_it_is() -> None:
    assert printed("a $x^{$ b\x07\n c") == r"a \$x^{\$ b" + "\u2407 c"
    assert len(printed("x" * 300)) == 90


def test_the_page_shows_answers_points_and_files_beside(small_run: Callable[..., Path]) -> None:
    run = write_causes(small_run(), graft=answer(cells=[*cells(), *donor_cells()]),
                       scale=answer("scale", cells=[]), t=training(),
                       summary=generation())  # fmt: skip
    page = write_report(run)
    text = page.read_text()
    part = text[text.index('id="interventions"') : text.index('id="control-runs"')]
    assert "The planted graft: 0.60 [0.55, 0.65] of the margin&#39;s change comes" in part
    assert "causes the jump" not in text
    assert part.count(" open</span>") >= 3
    assert "likra, w 1, sum" in part
    assert "without layer 1 the jump is not made" in part
    assert "contrast helps" in part
    for name in ("answers", "layers-graft", "dose-scale", "map-graft-module"):
        assert f'href="figures/interventions-{name}.svg"' in part
        assert (page.parent / f"figures/interventions-{name}.svg").read_text().endswith("</svg>\n")
        assert (page.parent / f"data/interventions-{name}.csv").is_file()
    for link in part.split('href="')[1:]:
        path = link.split('"')[0]
        assert path.startswith("#") or (page.parent / path).is_file(), path
    first = {path: path.read_bytes() for path in page.parent.rglob("*.*")}
    write_report(run)
    assert {path: path.read_bytes() for path in page.parent.rglob("*.*")} == first


def test_the_csv_has_the_numbers_of_the_file(small_run: Callable[..., Path]) -> None:
    made = answer(share=0.123456789, interval=[0.1, 0.2])
    page = write_report(write_causes(small_run(), graft=made))
    data = (page.parent / "data/interventions-answers.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(data)))
    assert [float(rows[0][key]) for key in ("share", "low", "high")] == [0.123456789, 0.1, 0.2]
    table = (page.parent / "data/table-interventions-cells-graft.csv").read_text()
    assert [row["cell"] for row in csv.DictReader(io.StringIO(table))] == [
        one["name"] for one in made["cells"]
    ]


def test_without_interventions_one_line_has_the_command(small_run: Callable[..., Path]) -> None:
    text = write_report(small_run()).read_text()
    part = text[text.index('id="interventions"') : text.index('id="control-runs"')]
    assert "<code>probe intervene RUN</code>" in part
    assert "probe analyze" not in part
    assert "Is it the cause?: not measured in this run." in text


def test_a_run_in_python_has_answers_and_cells(small_run: Callable[..., Path]) -> None:
    run = small_run()
    assert len(Run.open(run).interventions) == 0
    assert Run.open(run).interventions.cells().empty
    found = Run.open(write_causes(run, a=answer(), b=answer("patch", cells=[]))).interventions
    assert [one.plan for one in found] == ["graft", "patch"]
    assert found[0].share.value == 0.6
    assert "4 of the 7 points" in repr(found)
    frame = found.cells()
    assert len(frame) == len(cells())
    strong = frame[(frame["layer"] == STRONG[0]) & (frame["module"] == STRONG[1])]
    assert strong["share"].tolist() == pytest.approx([0.6, 0.4])
