"""What the page of a run holds, without a browser."""

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from critical_phase.errors import StoreError
from critical_phase.reports import report_address, write_report

RunMaker = Callable[..., Path]


def test_page_figures_and_data_lie_side_by_side(planted: Path) -> None:
    assert planted.name == "report.html"
    text = planted.read_text()
    linked = set(re.findall(r'href="((?:figures|data)/[^"]+)"', text))
    assert len(linked) > 20
    assert all((planted.parent / name).is_file() for name in linked)


def test_every_figure_has_its_data(planted: Path) -> None:
    figures = {path.stem for path in planted.parent.glob("figures/*.svg")}
    data = {path.stem for path in planted.parent.glob("data/*.csv")}
    assert figures
    assert figures <= data


def test_a_full_page_stays_below_the_demo_budget(planted: Path) -> None:
    assert planted.stat().st_size < 500_000


def test_the_answer_comes_first(planted: Path) -> None:
    text = planted.read_text()
    first = text.index("<h1")
    assert first < text.index('id="order"') < text.index('id="controls"')
    assert text.index('id="controls"') < text.index('id="curves"')
    for fact in (
        "96, 136",
        "112 examples",
        "0.31 times the observed",
        "ramp",
        "not separable",
        "random adapter",
    ):
        assert fact in text[first : text.index('id="curves"')]


def test_sections_come_in_reading_order(planted: Path) -> None:
    names = ["answer", "order", "verdicts", "controls",
             "group-evidence-behaviour", "curves", "margins", "change-points", "changes",
             "difficulty", "weight-sweep", "side-effects", "tokens",
             "group-evidence-likelihood", "normalisations", "calibration",
             "group-inside-probes", "linear-probes", "group-inside-similarity", "similarity",
             "group-inside-attention", "attention", "group-inside-sparsity", "sparsity",
             "group-inside-weights", "weights", "group-controls", "control-runs",
             "group-methods", "caveats", "provenance"]  # fmt: skip
    text = planted.read_text()
    places = [text.index(f' id="{name}"') for name in names]
    assert places == sorted(places)


def test_headings_never_skip_a_level(planted: Path) -> None:
    levels = [int(level) for level in re.findall(r"<h([1-6])", planted.read_text())]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_ids_are_unique(planted: Path) -> None:
    ids = re.findall(r'\sid="([^"]+)"', planted.read_text())
    assert sorted(ids) == sorted(set(ids))


def test_a_missing_measure_is_said_plainly(small_run: RunMaker) -> None:
    text = write_report(small_run("curves")).read_text()
    assert "<code>analysis/attention.json</code> is missing" in text
    assert "Attention: not measured in this run." in text


def test_an_unknown_measure_is_shown_at_the_end(small_run: RunMaker) -> None:
    run = small_run("weights")
    item = json.loads((run / "analysis" / "weights.json").read_text())
    item |= {"measure": "loss_landscape", "title": "Loss landscape"}
    (run / "analysis" / "loss_landscape.json").write_text(json.dumps(item))
    assert "<h2>Loss landscape</h2>" in write_report(run).read_text()


def test_no_jump_is_an_honest_answer(small_run: RunMaker) -> None:
    run = small_run("curves")
    path = run / "analysis" / "findings.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"jump": None, "changes": []}))
    text = write_report(run).read_text()
    assert "No abrupt change was found" in text
    assert "Nothing to list." in text


def test_provenance_names_no_host_and_no_folder(planted: Path) -> None:
    folder = planted.parent
    written = [path.read_text() for path in folder.rglob("*") if path.is_file()]
    assert not any("secret-host" in text or "/home/" in text for text in written)
    assert "probe demo --out …/planted" in planted.read_text()


def test_hashes_and_warnings_of_collecting_are_shown(small_run: RunMaker) -> None:
    run = small_run("weights")
    facts = json.loads((run / "run.json").read_text())
    facts["collect"] = {"plan_sha256": "abc123", "warnings": ["two rows were cut"], "host": "here"}
    facts["dropped_questions"] = {"eval": ["q1"], "train": []}
    (run / "run.json").write_text(json.dumps(facts))
    text = write_report(run).read_text()
    for shown in ("abc123", "two rows were cut", "1 questions of eval were left out."):
        assert shown in text


def test_equal_results_give_equal_bytes(small_run: RunMaker, tmp_path: Path) -> None:
    run = small_run("curves", "sparsity")
    code = "import sys, pathlib; from critical_phase.reports import write_report as w; "
    code += "w(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))"
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", code, str(run), str(tmp_path / seed)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
        )
    files = sorted(p.relative_to(tmp_path / "1") for p in (tmp_path / "1").rglob("*.*"))
    assert len(files) > 5
    for name in files:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_figures_of_an_earlier_report_are_dropped(small_run: RunMaker) -> None:
    run = small_run("weights")
    stale = run / "report" / "figures" / "old.svg"
    stale.parent.mkdir(parents=True)
    stale.write_text("<svg/>")
    write_report(run)
    assert not stale.exists()


def test_another_folder_is_never_cleaned(small_run: RunMaker, tmp_path: Path) -> None:
    mine = tmp_path / "mine" / "figures" / "precious.svg"
    mine.parent.mkdir(parents=True)
    mine.write_text("<svg/>")
    target = write_report(small_run("weights"), tmp_path / "mine" / "page.html")
    assert target == tmp_path / "mine" / "page.html"
    assert mine.exists()


def test_no_analysis_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(
        StoreError, match=f"no analysis to report\n.*\nfix: +probe analyze {tmp_path}"
    ):
        write_report(tmp_path)


def test_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"run\.json is missing"):
        write_report(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", r"curves\.json is not readable JSON"),
        ('{"measure": "curves", "warnings": [NaN]}', "NaN is not JSON"),
        ("[]", "must hold one JSON object"),
        ("{}", "field measure is missing"),
        ('{"measure": "curves", "curves": [{}]}', "field steps is missing"),
        ('{"measure": "curves", "curves": 3}', "field curves cannot be understood"),
        (
            '{"measure": "c", "curves": [{"steps": [0, 1], "id": "a", "examples": [0, 8],'
            ' "value": [1]}]}',
            "field value: expected 2 entries, found 1",
        ),
    ],
)
def test_a_malformed_file_is_named(small_run: RunMaker, text: str, said: str) -> None:
    run = small_run("weights")
    (run / "analysis" / "curves.json").write_text(text)
    with pytest.raises(StoreError, match=rf"{said}(.|\n)*curves\.json"):
        write_report(run)


def test_malformed_findings_are_named(small_run: RunMaker) -> None:
    run = small_run("weights")
    (run / "analysis" / "findings.json").write_text('{"jump": 3}')
    with pytest.raises(StoreError, match=r"field jump(.|\n)*findings\.json"):
        write_report(run)


def test_address_of_a_report(planted: Path, tmp_path: Path) -> None:
    assert report_address(planted.parents[1]) == planted
    with pytest.raises(StoreError, match="no report yet"):
        report_address(tmp_path)
