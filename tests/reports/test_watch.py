"""A page that is written again while a run goes on: after each change, once it holds still."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from critical_phase.cli.report import command, watch_run
from critical_phase.errors import ConfigError
from critical_phase.reports.watch import signature, watch

RunMaker = Callable[..., Path]


class Clock:
    """Time that passes only while somebody sleeps, with events at set times."""

    def __init__(self, events: dict[float, Callable[[], object]] | None = None) -> None:
        self.now, self.events = 0.0, dict(events or {})

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now = round(self.now + seconds, 6)
        for at in [at for at in self.events if at <= self.now]:
            self.events.pop(at)()


def results(run: Path, name: str, text: str) -> Callable[[], object]:
    (run / "analysis").mkdir(parents=True, exist_ok=True)
    return lambda: (run / "analysis" / name).write_text(text)


def pages(run: Path, clock: Clock, limit: float) -> list[float]:
    """Watch a folder; return the times at which a page was written."""
    times: list[float] = []
    count = watch(run, lambda: times.append(clock.now), stopped=lambda: False, every=1.0,
                  limit=limit, clock=clock, sleep=clock.sleep)  # fmt: skip
    assert count == len(times)
    return times


def test_nothing_new_writes_one_page(tmp_path: Path) -> None:
    results(tmp_path, "curves.json", "{}")()
    assert pages(tmp_path, Clock(), 10.0) == [0.0]


def test_a_change_is_written_once_it_has_held_still(tmp_path: Path) -> None:
    events = {2.5 + 0.7 * k: results(tmp_path, f"m{k}.json", "{}") for k in range(4)}
    assert pages(tmp_path, Clock(events), 10.0) == [0.0, 6.0]


def test_two_changes_apart_are_two_pages(tmp_path: Path) -> None:
    events = {1.5: results(tmp_path, "a.json", "{}"), 5.5: results(tmp_path, "a.json", "{ }")}
    assert pages(tmp_path, Clock(events), 12.0) == [0.0, 3.0, 7.0]


def test_a_watch_ends_when_it_is_told_to(tmp_path: Path) -> None:
    clock, asked = Clock(), []
    stop = {3.0: lambda: asked.append(True)}
    clock.events.update(stop)
    watch(tmp_path, lambda: None, stopped=lambda: bool(asked), every=60.0, clock=clock,
          sleep=clock.sleep)  # fmt: skip
    assert clock.now < 3.5


def test_only_results_count(tmp_path: Path) -> None:
    results(tmp_path, "a.json", "{}")()
    before = signature(tmp_path)
    results(tmp_path, "a.csv", "1")()
    results(tmp_path, ".a.json.host.1.tmp", "{")()
    assert signature(tmp_path) == before
    results(tmp_path, "a.json", "{ }")()
    assert signature(tmp_path) != before


def test_results_that_cannot_be_read_are_named_and_waited_for(
    small_run: RunMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small_run("margins")
    (run / "analysis" / "margins.json").write_text("{")
    assert watch_run(run, None, every=0.1, limit=0.1) == 0
    assert "not written: margins.json is not readable JSON" in capsys.readouterr().err


def test_ctrl_c_ends_a_watch_cleanly(small_run: RunMaker) -> None:
    run = small_run("control_runs")
    code = "import sys; from critical_phase.cli.report import command; command(sys.argv[1:])"
    watching = subprocess.Popen(
        [sys.executable, "-c", code, str(run), "--watch", "--every", "0.2", "--for", "60"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert watching.stderr is not None
    assert "page 1 written" in watching.stderr.readline()
    findings = run / "analysis" / "findings.json"
    fresh = findings.with_suffix(".fresh")
    fresh.write_text(findings.read_text() + "\n")
    fresh.replace(findings)
    assert "page 2 written" in watching.stderr.readline()
    started = time.monotonic()
    os.kill(watching.pid, signal.SIGINT)
    out, _ = watching.communicate(timeout=30)
    assert (watching.returncode, out) == (0, "2 pages written; the watch has ended\n")
    assert time.monotonic() - started < 10
    assert not list(run.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--index", "--watch"], "--index writes the index"), (["--every", "3"], "belong to a watch")],
)
def test_options_that_do_not_belong_together(tmp_path: Path, options: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        CliRunner().invoke(command, [str(tmp_path), *options], catch_exceptions=False)


def test_an_index_is_written_for_a_folder_of_runs(small_run: RunMaker) -> None:
    folder = small_run("margins").parent
    done = CliRunner().invoke(command, ["--index", str(folder)], catch_exceptions=False)
    assert done.output == f"{folder / 'index.html'}\n"
    assert (folder / "index.html").is_file()
