"""Values on their way from the device: written in order, whole, and not before they are there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from critical_phase.errors import ConfigError
from critical_phase.probes import (
    COLLECTORS,
    POSITION_NAMES,
    CollectSettings,
    Plan,
    collect,
    make_units,
    read_activations,
    read_scores,
    unit_path,
)
from critical_phase.probes import instrument as instruments
from critical_phase.probes.collector import Arrays
from critical_phase.probes.residual import Residual
from critical_phase.probes.transfer import Lane, Ring, Transfer, transfer_for

DTYPES = (torch.float32, torch.bfloat16, torch.float64, torch.int32, torch.bool)
ALL = CollectSettings(
    tuple(COLLECTORS),
    positions=POSITION_NAMES,
    residual_sites=("pre", "mid"),
    pattern_rows=(0, 5),
    batch_tokens=256,
)
LEAST, USUAL = 1 << 12, 1 << 24


class LateLane(Lane):
    """Copies as late as a device may: when the copy is waited for. Until then there is noise."""

    def __init__(self) -> None:
        self.memory: Tensor | None = None
        self.on_their_way = self.most = 0

    def ring(self, size: int) -> Tensor:
        self.memory = torch.full((size,), 0xA5, dtype=torch.uint8)
        return self.memory

    def copy(self, values: Tensor, host: Tensor) -> Callable[[], object]:
        self.on_their_way += 1
        self.most = max(self.most, self.on_their_way)

        def wait() -> None:
            self.on_their_way -= 1
            host.copy_(values)

        return wait


def some(sizes: list[tuple[int, int]]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    noise = [torch.randn(n, generator=generator) for n, _ in sizes]
    return [x.to(DTYPES[kind]) for x, (_, kind) in zip(noise, sizes, strict=True)]


@given(
    sizes=st.lists(st.tuples(st.integers(0, 200), st.integers(0, len(DTYPES) - 1)), max_size=40),
    room=st.sampled_from([64, 256, 1000, 1 << 16]),
)
def test_every_value_arrives_whole_and_in_order(sizes: list[tuple[int, int]], room: int) -> None:
    values, arrived = some(sizes), list[tuple[int, Tensor]]()
    with Ring(LateLane(), room) as ring:
        for number, value in enumerate(values):
            ring.send(value, lambda host, n=number: arrived.append((n, host.clone())))  # type: ignore[misc]
    assert [number for number, _ in arrived] == list(range(len(values)))
    for (_, host), value in zip(arrived, values, strict=True):
        assert host.dtype == value.dtype
        assert torch.equal(host, value)


def test_values_wait_while_there_is_room_and_no_longer() -> None:
    written: list[int] = []
    with Ring(Lane(), 1024) as ring:
        for number in range(5):
            ring.send(torch.zeros(64), lambda _, n=number: written.append(n))  # type: ignore[misc]
            assert written == list(range(max(0, number - 3)))  # four times 256 bytes fit
    assert written == list(range(5))


def test_a_value_larger_than_the_ring_comes_after_those_before_it() -> None:
    written: list[int] = []
    with Ring(LateLane(), 128) as ring:
        ring.send(torch.zeros(4), lambda x: written.append(x.numel()))
        ring.send(torch.zeros(100), lambda x: written.append(x.numel()))
        assert written == [4, 100]


def test_outside_of_a_block_nothing_waits() -> None:
    written: list[int] = []
    ring = Ring(Lane())
    ring.send(torch.zeros(4), lambda x: written.append(x.numel()))
    assert written == [4]


def test_a_run_that_fails_leaves_nothing_for_the_next() -> None:
    lane, written = LateLane(), list[str]()
    ring = Ring(lane)

    def run() -> None:
        with ring:
            ring.send(torch.zeros(4), lambda _: written.append("failed"))
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run()
    assert lane.on_their_way == 0
    with ring:
        ring.send(torch.zeros(4), lambda _: written.append("next"))
    assert written == ["next"]


def test_a_write_that_fails_ends_the_run_and_waits_for_the_rest() -> None:
    def refuse(_: Tensor) -> None:
        raise ValueError("no room")

    lane = LateLane()

    def run() -> None:
        with Ring(lane) as ring:
            ring.send(torch.zeros(4), refuse)
            ring.send(torch.zeros(4), lambda _: None)

    with pytest.raises(ValueError, match="no room"):
        run()
    assert lane.on_their_way == 0


def test_two_runs_at_once_are_refused() -> None:
    ring = Ring(Lane())
    with ring, pytest.raises(RuntimeError, match="another run"), ring:
        pass


def test_the_device_decides() -> None:
    assert type(transfer_for(torch.device("cpu"))) is Transfer
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="not there"):
            transfer_for(torch.device("cuda"))


@pytest.fixture
def calm(
    plan: Plan, make_model: Callable[..., Any], make_adapters: Callable[..., Any], tmp_path: Path
) -> tuple[Path, Any]:
    """A run whose values were written at once, and its units."""
    units = make_units({"negative": make_adapters(tmp_path / "heads", "llama", (0, 1))})
    collect(tmp_path / "calm", make_model("llama"), plan, units, settings=ALL, fail_fast=True)
    return tmp_path / "calm", units


@pytest.mark.parametrize("size", [LEAST, USUAL])
def test_all_collectors_give_the_same_files_when_values_come_late(
    size: int,
    calm: tuple[Path, Any],
    plan: Plan,
    make_model: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    lane, (run, units) = LateLane(), calm
    monkeypatch.setattr(instruments, "transfer_for", lambda device: Ring(lane, size))
    collect(tmp_path / "late", make_model("llama"), plan, units, settings=ALL, fail_fast=True)
    assert lane.on_their_way == 0
    assert lane.most > (1 if size == LEAST else 20)  # they did wait, over passes if there is room
    for unit in units:
        for kind in ("activations", "scores"):
            ours, theirs = (unit_path(r, kind, unit) for r in (tmp_path / "late", run))  # type: ignore[arg-type]
            assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("late", [False, True])
def test_memory_that_runs_out_after_the_pass_counts_no_score_twice(
    late: bool,
    plan: Plan,
    make_model: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    class Short(Residual):
        def store(self, arrays: Arrays) -> None:
            assert self._batch is not None
            super().store(arrays)
            if len(self._batch.inputs["input_ids"]) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")

    settings, (base,) = CollectSettings(("residual",)), make_units({})
    collect(tmp_path / "calm", make_model("llama"), plan, (base,), settings=settings)
    monkeypatch.setitem(COLLECTORS, "residual", Short)
    if late:
        monkeypatch.setattr(instruments, "transfer_for", lambda device: Ring(LateLane()))
    report = collect(
        tmp_path / "cut", make_model("llama"), plan, (base,), settings=settings, fail_fast=True
    )
    assert report.cuts > 0
    calm, cut = (read_scores(unit_path(tmp_path / n, "scores", base)) for n in ("calm", "cut"))
    np.testing.assert_allclose(cut.logprob_sum, calm.logprob_sum, rtol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_a_cuda_device_gives_what_the_cpu_gives(
    calm: tuple[Path, Any], plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    run, units = calm
    model = make_model("llama").to("cuda")
    collect(tmp_path / "cuda", model, plan, units, settings=ALL, fail_fast=True)
    for unit in units:
        ours, theirs = (unit_path(r, "activations", unit) for r in (tmp_path / "cuda", run))
        for name in ("residual", "attention_row"):
            np.testing.assert_allclose(
                read_activations(ours, name), read_activations(theirs, name), rtol=1e-3, atol=1e-4
            )
