"""Order of changes, groups of sections, short cells, ridges: new figures without a browser."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_parts import findings, margins_measure

from critical_phase.reports import write_report
from critical_phase.reports.elements import Measure, measure_from_json
from critical_phase.reports.order import MOST, order_of_changes
from critical_phase.reports.order_svg import order_svg
from critical_phase.reports.panels import map_figures
from critical_phase.reports.provenance import analysed_by
from critical_phase.reports.ranked import state_link
from critical_phase.reports.ridge_svg import ridges_svg
from critical_phase.reports.sections import GROUPS, OPEN, SECTIONS, grouped, sections
from critical_phase.reports.style import LONGEST_NAME, slug
from critical_phase.reports.svg_cells import short_cells

RunMaker = Callable[..., Path]


def table_of_changes() -> Measure:
    columns = [{"key": key} for key in ("quantity", "verdict", "tau_step", "low", "high", "layer")]
    rows = [["margin.likra", "abrupt", 9.0, 8.0, 11.0, None],
            ["probe_top1.negative", "abrupt", 4.0, 3.0, 5.0, "2"],
            ["lora_norm.negative", "smooth", 2.0, 1.0, 3.0, None]]  # fmt: skip
    table = {"id": "changes", "columns": columns, "rows": rows}
    return measure_from_json({"measure": "changes", "tables": [table]}, "changes.json")


def test_changes_come_in_order_of_time_around_the_jump() -> None:
    order = order_of_changes(findings(), None)
    assert order is not None
    assert order.title == "What moved first"
    assert [lead.order for lead in order.leads] == ["before", "before", "after", "after"]
    times = [lead.at for lead in order.leads]
    assert times == sorted(times)
    assert all(0 <= lead.low <= lead.at <= lead.high <= 100 for lead in order.leads)
    assert order.jump is not None
    zero = dict(order.ticks)["0"]
    assert zero == pytest.approx(order.jump[0])
    assert order.leads[0].text == "4 [2, 6] before"
    assert order.rows[0][:3] == ("quantity", "layer", "attention_head")


def test_without_a_jump_changes_stand_at_their_steps() -> None:
    order = order_of_changes({"jump": None, "changes": []}, table_of_changes())
    assert order is not None
    assert order.jump is None
    assert [lead.text for lead in order.leads] == ["step 4 [3, 5]", "step 9 [8, 11]"]
    assert "nothing leads or follows it" in order.caption


def test_without_changes_there_is_no_chart() -> None:
    assert order_of_changes({"jump": None, "changes": []}, None) is None
    unplaced = [{**findings()["changes"][0], "lead_steps": None}]
    assert order_of_changes({**findings(), "changes": unplaced}, None) is None


def test_what_is_not_drawn_is_said_and_is_in_the_file() -> None:
    many = [{**findings()["changes"][k % 4], "layer": k} for k in range(MOST + 9)]
    order = order_of_changes({**findings(), "changes": many}, None)
    assert order is not None
    assert len(order.leads) == MOST
    assert f"Shown: the {MOST} least likely under a smooth curve, of {MOST + 9}." in order.caption
    assert len(order.rows) == 1 + MOST + 9


def test_a_hollow_dot_claims_no_order() -> None:
    changes = [{**findings()["changes"][0], "order": name} for name in ("before", "unresolved")]
    order = order_of_changes({**findings(), "changes": changes}, None)
    assert order is not None
    drawn = order_svg(order)
    ET.fromstring(drawn)
    assert "hollow dot claims no order" in order.caption
    assert drawn.count("fill: #ffffff; stroke: #0173b2") == 1


def test_a_link_names_step_layer_attention_head_and_adapter() -> None:
    change = {"quantity": "attention_js.negative", "tau_step": 12.4, "layer": 3, "head": 0}
    assert state_link(change) == "#step=12&layer=3&head=0&adapter=negative"
    assert state_link({"quantity": "margin.likra", "tau_step": 12.6}) == "#step=13"
    assert state_link({"quantity": "margin.likra", "tau_step": None}) == ""


def test_every_section_has_a_group_and_groups_come_in_order() -> None:
    arranged = sections({})
    names = [name for name, _ in grouped(arranged)]
    listed = {name for name, _, _ in SECTIONS}
    assert names == [group for group, first in GROUPS if first in listed]
    assert sum(len(members) for _, members in grouped(arranged)) == len(SECTIONS)
    assert listed >= OPEN
    assert "Causes" in [group for group, _ in GROUPS]


def test_an_unlisted_measure_has_a_group_of_its_own() -> None:
    found = measure_from_json({"measure": "landscape", "title": "Landscape"}, "landscape.json")
    name, members = grouped(sections({"landscape": found}))[-1]
    assert (name, members[0].title, members[0].open) == ("Other measures", "Landscape", True)


def test_each_section_names_the_command_that_made_it(small_run: RunMaker) -> None:
    text = write_report(small_run("margins")).read_text()
    made = "Made by <code>probe demo --out …/planted</code> with draws 1000, saved in "
    assert f"{made}<code>analysis/margins.json</code>." in text


def test_the_command_is_the_last_that_analysed() -> None:
    commands = [
        "probe train --out r",
        "probe analyze r",
        "probe analyze r --seed 1",
        "probe report r",
    ]
    assert analysed_by({"commands": commands}) == "probe analyze r --seed 1"
    assert analysed_by({}) == "probe analyze RUN"


def figure(index: int) -> Any:
    found = measure_from_json(margins_measure(np.random.default_rng(0)), "margins.json")
    return map_figures("margins", found.maps)[index]


def test_ridges_are_drawn_one_per_shown_step() -> None:
    drawn = ridges_svg(figure(0))
    ET.fromstring(drawn)
    assert figure(0).ridges
    assert not figure(1).ridges
    assert len(re.findall(r'id="margins-margin-shares-map-FillBetween', drawn)) == 17


def test_short_cells_draw_the_same_rectangles() -> None:
    cell = ('    <path d="M 1.5 20.0 \\nL 3.0 20.0 \\nL 3.0 10.0 \\nL 1.5 10.0 \\nL 1.5 20.0 \\n"'
            ' clip-path="url(#c)" style="{}"/>\\n').replace("\\n", "\n")  # fmt: skip
    full = cell.format("fill: #440154; stroke: #440154; stroke-width: 0.4")
    given = f'<g id="x-QuadMesh_1">\n{full}{cell.format("fill: none")}   </g><g id="y">{full}</g>'
    found = short_cells(given)
    assert '<path fill="#440154" stroke="#440154" d="M1.5 20.0H3.0V10.0H1.5z"/>' in found
    assert '<g id="x-QuadMesh_1" clip-path="url(#c)" stroke-width="0.4">' in found
    assert "none" not in found
    assert f'<g id="y">{full}</g>' in found


def test_cells_of_another_form_are_left_alone() -> None:
    given = '<g id="x-QuadMesh_1">\n<path d="M 0 0 L 1 1 z" style="fill: #440154"/></g>'
    assert short_cells(given) == given


def test_a_long_id_gives_a_file_name_that_disks_take() -> None:
    first, second = slug("a" * 400), slug("a" * 401)
    assert first != second
    assert len(first) == LONGEST_NAME + 9
    assert slug("Accuracy, likra") == "accuracy-likra"


def test_the_jump_itself_neither_leads_nor_follows() -> None:
    own = {"quantity": "accuracy.likra", "lead_steps": 0.0, "lead_interval": [-1.0, 1.0],
           "tau_step": 20.0, "order": "", "p_adjusted": 0.01}  # fmt: skip
    found = {"jump": {"tau_step": 20.0, "tau_examples": 160.0, "interval_examples": [150, 170]},
             "changes": [own]}  # fmt: skip
    order = order_of_changes(found, None)
    assert order is not None
    assert [(lead.text, lead.order) for lead in order.leads] == [("the jump itself", "")]
