"""One contract for all engines, on tasks that take no model."""

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_work import Fake

from critical_phase.errors import CheckpointError, ConfigError, CriticalPhaseError, StoreError
from critical_phase.probes.engines import ENGINES, Engine, Result, places
from critical_phase.probes.engines.contract import TaskBook
from critical_phase.probes.engines.devices import threads_per_worker, visible_devices
from critical_phase.worker import Answer, pin

TESTS = str(Path(__file__).parents[1])
WITH_WORKERS = ("local", "ray", "slurm")
Made = Callable[..., Engine]


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[str]:
    """A cluster of two processors and two pretended GPUs on this machine."""
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[ray]'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")  # writes nothing into the home folder
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        context = ray.init(
            address="local",
            num_cpus=2,
            num_gpus=2,
            include_dashboard=False,
            object_store_memory=100_000_000,
            log_to_driver=False,
            logging_level="error",
            _node_ip_address="127.0.0.1",
        )
        yield context.address_info["gcs_address"]
        ray.shutdown()


@pytest.fixture(params=ENGINES)
def make(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Make every engine in turn, with two workers on the processors."""
    name: str = request.param
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", TESTS)  # where jobs of an array find the fake work
    if name == "ray":
        request.getfixturevalue("ray_cluster")
    if name == "slurm":
        pytest.importorskip("submitit", reason="submitit is not installed: '.[slurm]'")

    def build(**given: Any) -> Engine:
        return build_engine(name, tmp_path, **given)

    build.engine = name  # type: ignore[attr-defined]
    return build


def build_engine(name: str, folder: Path, **given: Any) -> Engine:
    about: dict[str, Any] = {} if name == "serial" else {"tell": lambda text: None, "jobs": 2}
    if name in ("local", "ray"):
        about["devices"] = ()
    if name == "slurm":
        about |= {"folder": folder / "slurm", "options": {"cluster": "local"}}
    engine: Engine = ENGINES[name](**about | given)
    return engine


def without_workers(make: Made) -> bool:
    return make.engine == "serial"  # type: ignore[attr-defined]


def run(
    engine: Engine, folder: Path, tasks: dict[str, str], *, first: Sequence[str] = (), **work: Any
) -> dict[str, Result]:
    """Do tasks by name; return what became of each."""
    folder.mkdir(exist_ok=True)
    results = list(
        engine.map(
            Fake(folder, **work),
            [(name, what) for name, what in tasks.items() if name not in first],
            first=[(name, tasks[name]) for name in first],
            stop=lambda: False,
        )
    )
    assert len({result.index for result in results}) == len(results)
    return {result.task[0]: result for result in results}


def made(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".log"}


OK = {name: "ok" for name in ("base", "a", "b", "c", "d", "e")}


def test_each_task_is_done_once_by_workers_that_open_once(make: Made, tmp_path: Path) -> None:
    results = run(make(), tmp_path / "made", OK, seconds=0.02)
    assert {name: result.status for name, result in results.items()} == dict.fromkeys(OK, "done")
    assert made(tmp_path / "made") == {name: f"made of {name}\n".encode() for name in OK}
    numbers: dict[int, list[int]] = {}
    for result in results.values():
        numbers.setdefault(result.value["process"], []).append(result.value["number"])
    assert len(numbers) <= 2
    assert all(sorted(seen) == list(range(1, len(seen) + 1)) for seen in numbers.values())


def test_what_goes_first_ends_before_anything_else_begins(make: Made, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    run(make(), folder, OK, first=["base"], seconds=0.1)
    begins = {name: float((folder / f"{name}.log").read_text()) for name in OK}
    base_ended = (folder / "base").stat().st_mtime
    # The clock of files may lag behind time.time() by one tick of the system, 10 ms at most.
    assert min(begin for name, begin in begins.items() if name != "base") >= base_ended - 0.01


def test_a_task_that_fails_costs_no_other(make: Made, tmp_path: Path) -> None:
    results = run(make(), tmp_path / "made", OK | {"b": "fail"})
    failed = results.pop("b")
    assert failed.status == "failed"
    assert failed.fault is not None
    assert failed.fault.message == "b fails"
    assert "ValueError: b fails" in failed.fault.traceback
    assert {result.status for result in results.values()} == {"done"}


def test_a_killed_worker_costs_the_task_in_hand_alone(make: Made, tmp_path: Path) -> None:
    if without_workers(make):
        pytest.skip("the process that would be killed is this one")
    results = run(make(), tmp_path / "made", OK | {"b": "die"}, first=["base"])
    lost = results.pop("b")
    assert lost.status == "lost"
    assert lost.fault is not None
    assert "died" in lost.fault.message
    assert sorted(results) == sorted(OK.keys() - {"b"})
    assert {result.status for result in results.values()} == {"done"}


def test_what_went_wrong_once_is_tried_again(make: Made, tmp_path: Path) -> None:
    trouble = {"b": "fail once"} if without_workers(make) else {"b": "fail once", "c": "die once"}
    results = run(make(retries=1), tmp_path / "made", OK | trouble)
    assert {result.status for result in results.values()} == {"done"}
    assert {name for name, result in results.items() if result.attempts == 2} == set(trouble)


def test_a_task_that_keeps_failing_is_given_up(make: Made, tmp_path: Path) -> None:
    results = run(make(retries=2), tmp_path / "made", {"a": "ok", "b": "fail"})
    assert (results["b"].status, results["b"].attempts) == ("failed", 3)
    assert len((tmp_path / "made/b.log").read_text().splitlines()) == 3


def test_an_error_that_ends_everything_is_raised_as_it_was(make: Made, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="the disk is full") as caught:
        run(make(), tmp_path / "made", OK | {"a": "abandon"})
    assert caught.value.fix == "free some space"


def test_work_that_no_worker_can_open_is_refused_and_nothing_done(
    make: Made, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="no such model"):
        run(make(), tmp_path / "made", OK, refuse="no such model")
    assert made(tmp_path / "made") == {}


def test_after_a_stop_tasks_in_hand_end_and_no_other_begins(make: Made, tmp_path: Path) -> None:
    tasks = [(f"t{i}", "ok") for i in range(12)]
    work = Fake(tmp_path, seconds=0.3)
    results = list(make().map(work, tasks, stop=lambda: any(tmp_path.glob("t*"))))
    done = {result.task[0] for result in results if result.status == "done"}
    assert 0 < len(done) < len(tasks)
    assert {path.stem for path in tmp_path.glob("t*.log")} == done


def test_every_engine_keeps_to_the_protocol(make: Made) -> None:
    assert isinstance(make(), Engine)


def test_leaving_early_ends_the_workers(tmp_path: Path) -> None:
    results = build_engine("local", tmp_path).map(
        Fake(tmp_path, seconds=0.1), [(f"t{i}", "ok") for i in range(8)], stop=lambda: False
    )
    process = next(results).value["process"]
    results.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert len(made(tmp_path)) < 8


def test_workers_that_die_before_they_are_ready_end_the_call(tmp_path: Path) -> None:
    with pytest.raises(CriticalPhaseError, match="every worker died before it was ready"):
        run(build_engine("local", tmp_path), tmp_path / "made", OK, refuse="die")


def test_every_worker_of_this_machine_sees_one_gpu_and_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    said: list[str] = []
    engine = build_engine("local", tmp_path, devices=("4", "MIG-7"), jobs=None, tell=said.append)
    results = run(engine, tmp_path / "made", OK, seconds=0.3)
    assert {result.value["device"] for result in results.values()} == {"4", "MIG-7"}
    assert [line.split(", ")[0] for line in said] == [
        "worker 0: CUDA_VISIBLE_DEVICES=4",
        "worker 1: CUDA_VISIBLE_DEVICES=MIG-7",
    ]
    assert {result.value["threads"] for result in results.values()} == {str(threads_per_worker(2))}


def test_ray_workers_get_a_gpu_each(ray_cluster: str, tmp_path: Path) -> None:
    said: list[str] = []
    engine = build_engine("ray", tmp_path, devices=("0", "1"), jobs=None, tell=said.append)
    results = run(engine, tmp_path / "made", OK, seconds=0.3)
    assert {result.value["device"] for result in results.values()} == {"0", "1"}
    assert sum("CUDA_VISIBLE_DEVICES=" in line for line in said) == 2


def test_a_cluster_that_is_there_is_joined(ray_cluster: str, tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
import ray
from fake_work import Fake
from critical_phase.probes.engines import RayEngine
engine = RayEngine(tell=print, jobs=2, devices=())
results = list(engine.map(Fake(Path({str(tmp_path)!r})), [("a", "ok")], stop=lambda: False))
print(results[0].status, ray.is_initialized())
"""
    found = {"RAY_ADDRESS": ray_cluster, "PYTHONPATH": TESTS, "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | found, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1:] == ["done False"], done.stderr


def test_a_job_of_an_array_takes_the_first_gpu_it_may_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed: '.[slurm]'")
    monkeypatch.setenv("PYTHONPATH", TESTS)
    options = {"cluster": "local", "gpus_per_node": 2, "timeout_min": 5, "partition": "unused"}
    engine = build_engine("slurm", tmp_path, options=options, jobs=1)
    assert run(engine, tmp_path / "made", {"a": "ok"})["a"].value["device"] == "0"
    assert list((tmp_path / "slurm").iterdir()) == []


def test_an_option_that_slurm_does_not_know_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed: '.[slurm]'")
    engine = build_engine("slurm", tmp_path, options={"cluster": "local", "partitoin": "gpu"})
    with pytest.raises(ConfigError, match="partitoin"):
        run(engine, tmp_path / "made", OK)


def test_threads_are_shared_out_unless_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("critical_phase.probes.engines.devices.cores", lambda: 16)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [place.threads for place in places(3, ())] == [5, 5, 5]
    assert [place.device for place in places(3, ("a", "b"))] == ["a", "b", "a"]
    assert threads_per_worker(64) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert threads_per_worker(3) == 7


def test_visible_gpus_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, MIG-1")
    assert visible_devices() == ("3", "MIG-1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_devices() == ()


def test_pinning_after_torch_is_imported_is_refused() -> None:
    assert "torch" in sys.modules
    with pytest.raises(ConfigError, match="torch is imported already"):
        pin("63", None)


@pytest.mark.parametrize(("name", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_an_engine_that_is_not_installed_says_what_to_install(
    name: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=f"needs the package {package}"):
        build_engine(name, tmp_path)


@pytest.mark.parametrize("name", WITH_WORKERS)
def test_no_worker_at_all_is_refused(name: str, tmp_path: Path) -> None:
    pytest.importorskip({"slurm": "submitit"}.get(name, name if name == "ray" else "os"))
    with pytest.raises(ConfigError, match="asked for 0"):
        build_engine(name, tmp_path, jobs=0)


def test_without_a_gpu_the_number_of_workers_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the number of workers is open"):
        build_engine("local", tmp_path, jobs=None)


def test_a_book_gives_nothing_while_what_goes_first_is_tried_again() -> None:
    book = TaskBook(["base"], ["a"], retries=1)
    assert book.take() == 0
    assert book.take() is None
    assert book.note(0, Answer("lost")) is None
    assert book.take() == 0
    result = book.note(0, Answer("failed"))
    assert result is not None
    assert result.attempts == 2
    assert book.take() == 1
    assert book.take() is None


def test_an_interrupt_of_the_terminal_does_not_reach_workers(tmp_path: Path) -> None:
    code = f"""
import os, signal, time
from pathlib import Path
if __name__ == "__main__":
    from fake_work import Fake
    from critical_phase.probes.engines import LocalEngine
    asked = []
    signal.signal(signal.SIGINT, lambda number, frame: asked.append(1))
    engine = LocalEngine(tell=print, jobs=2, devices=())
    work = Fake(Path({str(tmp_path)!r}), seconds=0.5)
    tasks = [(f"t{{i}}", "ok") for i in range(9)]
    for result in engine.map(work, tasks, stop=lambda: bool(asked)):
        if not asked:
            os.killpg(0, signal.SIGINT)
        print(result.status)
"""
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": TESTS},
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    said = [line for line in done.stdout.splitlines() if not line.startswith("worker")]
    assert done.returncode == 0, done.stderr
    assert set(said) == {"done"}
    assert len(said) == len(list(tmp_path.glob("t?.log"))) < 9


# submitit leaves the log files of this executor to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_jobs_can_run_in_this_process_to_be_debugged(tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed: '.[slurm]'")
    engine = build_engine("slurm", tmp_path, options={"cluster": "debug"})
    results = run(engine, tmp_path / "made", {"a": "ok", "b": "fail"})
    assert {name: result.status for name, result in results.items()} == {"a": "done", "b": "failed"}
    assert results["a"].value["process"] == os.getpid()
    gc.collect()
