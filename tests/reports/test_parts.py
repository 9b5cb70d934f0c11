"""The small parts of a page: policy, payload, text, tables, figures, library, index."""

import base64
import gzip
import hashlib
import importlib.resources
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from critical_phase.errors import StoreError
from critical_phase.reports import (
    answer,
    figures,
    jump_facts,
    payload,
    policy,
    ranked,
    style,
    tables,
    text,
    write_index,
)
from critical_phase.reports.elements import Measure, measure_from_json
from critical_phase.reports.sections import SECTIONS, sections

UPLOT = {
    "uPlot.iife.js": "655bc8aa33781e8721c5af6b59f1699c03c9bda951aa74a6ab518ac20cc4326d",
    "uPlot.min.css": "3f121cd4a997b634e07a887658850018e475c26f0bddd874109a8d382c19de87",
}
"""Files of uplot-python 1.1.1 that a page carries; check a new version before pinning it."""


@pytest.mark.parametrize("name", UPLOT)
def test_the_inlined_library_is_the_one_that_was_checked(name: str) -> None:
    assert importlib.metadata.version("uplot-python") == "1.1.1"
    found = (importlib.resources.files("uplot") / "static" / name).read_bytes()
    assert hashlib.sha256(found).hexdigest() == UPLOT[name]


def test_the_room_loads_no_model_and_no_arrays_of_activations() -> None:
    code = "import sys, critical_phase.reports; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(out.stdout.split())
    rooms = {f"critical_phase.{name}" for name in ("analysis", "checkpoints", "probes")}
    assert not loaded & ({"torch", "h5py", "transformers", "peft"} | rooms)


def test_policy_comes_first_and_lists_every_script(planted: Path) -> None:
    page = planted.read_text()
    found = re.search(
        r'<head>\s*<meta http-equiv="Content-Security-Policy" content="([^"]+)"', page
    )
    assert found
    scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    hashes = {policy.script_hash(script).replace("'", "&#39;") for script in scripts}
    assert len(hashes) == 3
    assert all(name in found[1] for name in hashes)
    assert "unsafe-inline" not in found[1].split("script-src")[1].split(";")[0]


def test_the_page_asks_for_nothing_outside(planted: Path) -> None:
    page = re.sub(r"<script.*?</script>", "", planted.read_text(), flags=re.DOTALL)
    assert not re.findall(r'(?:src|href|action|data)="(?:https?:)?//', page)
    assert "@import" not in page
    assert "url(http" not in page


def test_inner_html_is_never_written() -> None:
    for path in (importlib.resources.files("critical_phase.reports") / "assets").iterdir():
        assert "innerHTML" not in path.read_text()
        assert "insertAdjacentHTML" not in path.read_text()


def test_a_large_payload_is_compressed_to_the_same_bytes() -> None:
    value = {"numbers": list(range(30_000))}
    block = payload.encode(value)
    assert block["encoding"] == "gzip+base64"
    assert json.loads(gzip.decompress(base64.b64decode(block["data"]))) == value
    assert block == payload.encode(value)


def test_a_small_payload_stays_readable_and_nan_is_refused() -> None:
    assert payload.encode({"a": [1, None]}) == {"encoding": "json", "data": {"a": [1, None]}}
    with pytest.raises(ValueError, match="not JSON compliant"):
        payload.encode({"a": float("nan")})


@given(st.lists(st.none() | st.floats(-1, 1), min_size=1, max_size=30))
def test_coarse_cells_are_within_half_a_level(values: list[float | None]) -> None:
    coded = base64.b64decode(payload.cells_to_bytes((tuple(values),), (-1.0, 1.0)))
    for value, byte in zip(values, coded, strict=True):
        assert (value is None) == (byte == payload.BLANK)
        if value is not None:
            assert abs(-1 + 2 * byte / 254 - value) <= 1 / 254 + 1e-9


def test_a_very_large_run_stays_below_two_megabytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grid = rng.normal(size=(1024, 65))
    maps = [
        {"id": f"entropy.{head}.{k}", "title": f"Entropy {k}", "row_name": "attention_head",
         "row_labels": [f"{i // 32}.{i % 32}" for i in range(1024)], "head": head,
         "steps": list(range(65)), "values": grid.tolist()}
        for head in ("positive", "negative") for k in range(6)
    ]  # fmt: skip
    from critical_phase.reports.elements import measure_from_json
    from critical_phase.reports.sections import sections

    arranged = sections(
        {"attention": measure_from_json({"measure": "attention", "maps": maps}, "")}
    )
    assert payload.is_coarse(arranged)
    block = payload.encode(payload.build(arranged, [0], [0], None))
    assert len(json.dumps(block)) < 1_500_000


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a\x07b", "a␇b"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("plain – ü 漢", "plain – ü 漢"),  # noqa: RUF001
        ("x" * 3000, "x" * 2000 + "… (cut; 3000 characters)"),
    ],
)
def test_hidden_characters_are_shown(given: str, shown: str) -> None:
    assert text.visible(given) == shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("probe demo --out /home/me/runs/a", "probe demo --out …/a"),
        ("--out=/home/me/runs/a", "--out=…/a"),
        (r"C:\Users\me\runs\a", "…/a"),
        ("~/runs/a b", "…/a b"),
        ("runs/a and 1/2 of https://arxiv.org/abs/2503.14391", None),
    ],
)
def test_absolute_folders_are_cut_off(given: str, shown: str | None) -> None:
    assert text.scrub(given) == (shown or given)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "\u2013"), (float("inf"), "\u2013"), (0, "0"), (-3, "\u22123"), (0.1234, "0.123"),
     (12.345, "12.3"), (123.45, "123"), (12345.6, "12346"), (0.00012, "1.2e\u22124"),
     (999_999, "999999"), (8_003_000.4, "8.00e6"), (12.5e6, "1.25e7"), (-1e12, "\u22121.00e12")],
)  # fmt: skip
def test_numbers_are_short_and_readable(value: float | None, shown: str) -> None:
    assert style.number(value) == shown


def test_a_formula_in_a_csv_file_does_nothing() -> None:
    assert tables.csv_text([["=cmd()", -1.5, "-", "ok"]]) == "'=cmd(),-1.5,-,ok\n"


def test_csv_keeps_every_digit(planted: Path) -> None:
    lines = (planted.parent / "data" / "curves-accuracy.csv").read_text().splitlines()
    assert lines[0].startswith("curve,label,head,mode,layer,n,step,examples,value,low,high")
    assert len(lines) == 1 + 4 * 65
    assert lines[1].split(",")[8] == ""
    assert len(lines[2].split(",")[8]) > 10


def test_lead_is_said_in_words() -> None:
    assert tables.lead_text({"lead_steps": -2.0}) == "2 before"
    assert tables.lead_text({"lead_steps": 1.5}) == "1.50 after"
    assert tables.lead_text({"lead_steps": 0.0}) == "same step"
    assert tables.lead_text({"lead_steps": None}) == "\u2013"
    near = {"lead_steps": 0.5, "order": "with"}
    assert tables.lead_text(near) == "0.500 after: with it"
    wide = {"lead_steps": -8.4, "order": "unresolved"}
    assert tables.lead_text(wide) == "8.40 before: order not resolved"


def test_jump_interval_is_turned_into_steps() -> None:
    jump = {"tau_step": 14.0, "tau_examples": 112.0, "interval_examples": [96.0, 136.0]}
    assert ranked.jump_mark({"jump": jump}) == (14.0, 12.0, 17.0)
    assert ranked.jump_mark({"jump": None}) is None


def test_steady_margins_are_compared_in_one_unit() -> None:
    jump = {"margin_share": 1.6, "margin_share_interval": [1.2, 2.1]}
    name, value, remark = jump_facts.margin_fact(jump)
    assert name == "Largest step under steady margins"
    assert value == "1.6 times the observed"
    assert "1.20, 2.10" in remark
    assert remark.endswith(" times")
    assert "explain" not in name + value + remark


def test_the_ranked_table_says_what_its_intervals_are() -> None:
    change = {"quantity": "margin.likra", "tau_step": 3.0, "interval_steps": [2.0, 4.0],
              "width_steps": 5.0, "width_at_limit": True,
              "interval_kind": "95 % question bootstrap"}  # fmt: skip
    view = ranked.changes_view({"changes": [change, change | {"width_at_limit": False}]})
    assert "one training run: other seeds are not included" in view.caption
    assert [row[-1].text for row in view.rows] == ["95 % question bootstrap"] * 2
    assert [row[-2].text for row in view.rows] == ["≥ 5", "5"]
    assert len(view.columns) == len(view.rows[0])


def changes_of(*verdicts: str) -> Measure:
    keys = ("quantity", "layer", "verdict", "tau_step", "low", "high", "effect", "p_adjusted")
    columns = [{"key": key} for key in keys]
    rows = [[f"margin.{i}", "embed", v, 4.0, 3.0, 5.0, 0.5, 0.01] for i, v in enumerate(verdicts)]
    table = {"id": "changes", "columns": columns, "rows": rows}
    return measure_from_json({"measure": "changes", "tables": [table]}, "changes.json")


def test_without_a_jump_abrupt_changes_are_ranked_without_a_lead() -> None:
    tested = changes_of("abrupt", "abrupt", "smooth")
    view = ranked.changes_view({"jump": None, "changes": []}, tested)
    assert view.caption.startswith("2 quantities change abruptly. Accuracy has no jump")
    assert [row[1].text for row in view.rows] == ["Margin, 0", "Margin, 1"]
    assert {(row[2].text, row[7].text) for row in view.rows} == {("embedding", "\u2013")}


def test_an_empty_ranked_table_says_how_many_quantities_were_tested() -> None:
    view = ranked.changes_view({"jump": None, "changes": []}, changes_of("smooth", "smooth"))
    assert (view.rows, view.empty) == ((), "None of the 2 quantities tested changes abruptly.")
    with_jump = ranked.changes_view({"jump": {"tau_step": 1.0}}, changes_of("abrupt"))
    assert "1 of 1 quantities change abruptly, none with a place" in with_jump.empty


def test_one_head_alone_is_said_once_near_the_top() -> None:
    assert "likra and base_likra need the negative head" in answer.one_head(["positive"])
    assert "likra and sft and pos_base" in answer.one_head(["negative"])
    assert answer.one_head(["negative", "positive"]) == ""
    assert "One head only (positive)" in answer.answer({"accuracy": {"sft": {}}}).note
    assert answer.answer({"accuracy": {"likra": {}, "sft": {}}}).note == ""
    named = {"accuracy": {"sft": {}}, "names": {"sft": "my-dpo-run"}}
    assert answer.answer(named).note.startswith("sft is the score of my-dpo-run alone, a series ")


def test_accuracies_have_two_decimals_each() -> None:
    jump = {"mode": "likra", "before": 0.5, "after": 0.97, "size": 0.47}
    assert ("Accuracy", "0.50 → 0.97", "fitted levels, mode likra; a change of 0.47") in (
        jump_facts.jump_facts({"jump": jump})
    )


def test_only_a_perplexity_over_a_factor_of_ten_has_a_log_axis() -> None:
    def chart(group: str, last: float) -> str:
        curve = {"id": group, "group": group, "steps": [0, 1], "examples": [0, 8],
                 "value": [8.0, last]}  # fmt: skip
        found = measure_from_json({"measure": "side_effects", "curves": [curve]}, "here")
        charts = [c for part in sections({"side_effects": found}) for c in part.charts]
        return charts[0].facts

    assert "on a logarithmic axis" in chart("perplexity", 8e6)
    assert "logarithmic" not in chart("perplexity", 9.0) + chart("update_norm", 8e6)


def test_a_width_at_the_limit_is_a_lower_bound() -> None:
    jump = {"kind": "ramp", "width_steps": 12.0, "width_at_limit": True}
    (shape,) = [
        row for row in jump_facts.jump_facts({"jump": jump}) if row[0] == "Shape of the jump"
    ]
    assert shape[1] == "ramp, ≥ 12 steps"


def test_not_separable_claims_no_equal_fit() -> None:
    caption = answer.verdicts_view({}).caption
    assert "what was run cannot tell it from its rivals" in caption


def test_ids_of_two_figures_never_meet(planted: Path) -> None:
    seen: set[str] = set()
    for path in planted.parent.glob("figures/*.svg"):
        ids = set(re.findall(r'\bid="([^"]+)"', path.read_text()))
        assert ids
        assert not ids & seen
        seen |= ids


def test_prefix_reaches_every_reference() -> None:
    given = '<path id="a" clip-path="url(#b)"/><use xlink:href="#a"/>'
    assert figures.prefix_ids(given, "f") == (
        '<path id="f-a" clip-path="url(#f-b)"/><use xlink:href="#f-a"/>'
    )


def test_the_words_of_a_figure_are_never_cut() -> None:
    from critical_phase.reports.figures import _shorten

    given = '<path d="M 1.23456 -7.891"/><text x="1.005">0.39984</text>'
    assert _shorten(given, 2) == '<path d="M 1.23 -7.89"/><text x="1.00">0.39984</text>'


def test_figures_carry_no_date_and_no_maker(planted: Path) -> None:
    for path in planted.parent.glob("figures/*.svg"):
        assert "<dc:" not in path.read_text()
        assert "nan" not in re.findall(r' d="([^"]*)"', path.read_text())


def test_sections_are_named_once() -> None:
    names = [name for name, _, _ in SECTIONS]
    assert len(names) == len(set(names))
    assert all(title and intro.endswith(".") for _, title, intro in SECTIONS)


def test_index_lists_every_run(small_run: Callable[..., Path]) -> None:
    run = small_run("curves")
    broken = run.parent / "broken"
    broken.mkdir()
    (broken / "run.json").write_text("{")
    page = write_index(run.parent).read_text()
    assert page.count("<li>") == 2
    assert "Cannot be read" in page
    assert "Accuracy jumps at 112 examples." in page
    assert "<polyline points=" in page
    assert "no report yet" in page


def test_index_links_the_reports(planted: Path) -> None:
    page = write_index(planted.parents[2])
    link = re.search(r'href="([^"]+report\.html)"', page.read_text())
    assert link
    assert (page.parent / link[1]).is_file()


def test_index_of_nothing(tmp_path: Path) -> None:
    assert "No run here yet" in write_index(tmp_path).read_text()
    with pytest.raises(StoreError, match="no folder of runs"):
        write_index(tmp_path / "missing")
