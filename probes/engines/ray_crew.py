"""Ray actors as workers: which GPU each one sees is set here, and two never share by accident."""

import contextlib
import pickle
from collections.abc import Iterator
from typing import Any

from critical_phase.probes.engines.contract import Tell
from critical_phase.worker import Actor, Answer, Fault, Work

STARTS = 2
"""How often a worker that dies before it is ready is started; then its place is given up."""


class RayCrew:
    """One actor per place; one that dies is replaced."""

    def __init__(
        self, ray: Any, work: Work, workers: int, per_worker: dict[str, Any], tell: Tell
    ) -> None:
        """Ask the cluster for actors; they open the work side by side.

        Args:
            ray: The module, joined to a cluster.
            work: Opened once by every actor.
            workers: How many.
            per_worker: `num_cpus` and `num_gpus` of each.
            tell: Told where every worker lives.
        """
        self._ray, self._tell, self._per_worker = ray, tell, per_worker
        self._kind = ray.remote(Actor)
        self._work = ray.put(pickle.dumps(work))
        self._opening: dict[Any, tuple[Any, int, int]] = {}
        self._idle: list[tuple[Any, int]] = []
        self._in_hand: dict[Any, tuple[Any, int, int]] = {}
        self._homes: dict[int, tuple[str, str]] = {}
        self._refusal: Fault | None = None
        for slot in range(workers):
            self._start(slot, 1)

    @property
    def able(self) -> bool:
        """Whether a worker is open, or may still open."""
        return bool(self._opening or self._idle or self._in_hand)

    @property
    def free(self) -> int:
        """Workers that are open and have nothing in hand."""
        return len(self._idle)

    @property
    def busy(self) -> bool:
        """Whether a worker has a task in hand."""
        return bool(self._in_hand)

    @property
    def refusal(self) -> Fault | None:
        """Why the last worker that was given up could not open."""
        return self._refusal

    def give(self, number: int, task: Any) -> None:
        """Hand a numbered task to a free worker."""
        actor, slot = self._idle.pop(0)
        self._in_hand[actor.perform.remote(task)] = (actor, slot, number)

    def answers(self, timeout_s: float) -> Iterator[tuple[int, Answer]]:
        """Wait until a worker answers or dies; yield numbers of tasks and answers."""
        pending = [*self._opening, *self._in_hand]
        for reference in self._ray.wait(pending, timeout=timeout_s)[0] if pending else ():
            try:
                answer = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                text = str(error).strip().splitlines() or [type(error).__name__]
                answer = Answer("lost", fault=Fault("WorkerLost", f"the worker died: {text[0]}"))
            if reference in self._opening:
                self._note_opening(*self._opening.pop(reference), answer)
                continue
            actor, slot, number = self._in_hand.pop(reference)
            if answer.status == "lost":
                self._start(slot, 1)
            else:
                self._idle.append((actor, slot))
            yield number, answer

    def close(self) -> None:
        """End all workers, whatever they have in hand."""
        actors = [one[0] for one in (*self._opening.values(), *self._in_hand.values(), *self._idle)]
        for actor in actors:
            with contextlib.suppress(Exception):  # the cluster may be gone with the actor
                self._ray.kill(actor)
        self._opening, self._in_hand, self._idle = {}, {}, []

    def _start(self, slot: int, starts: int) -> None:
        self._homes.pop(slot, None)
        actor = self._kind.options(max_restarts=0, **self._per_worker).remote()
        reference = actor.open.remote(self._work, self._per_worker["num_cpus"])
        self._opening[reference] = (actor, slot, starts)

    def _note_opening(self, actor: Any, slot: int, starts: int, answer: Answer) -> None:
        if answer.status == "lost" and starts < STARTS:
            self._start(slot, starts + 1)
            return
        fault = answer.fault if answer.status != "ready" else self._shared_gpu(slot, answer.value)
        if fault is None:
            self._tell(
                f"worker {slot}: {answer.value['host']}, CUDA_VISIBLE_DEVICES="
                f"{answer.value['devices'] or 'none'}, OMP_NUM_THREADS={answer.value['threads']}"
            )
            self._idle.append((actor, slot))
            return
        if answer.status != "lost":
            self._refusal = fault
        self._ray.kill(actor)
        self._tell(f"worker {slot} is given up: {fault.message}")

    def _shared_gpu(self, slot: int, place: dict[str, Any]) -> Fault | None:
        """Find a whole GPU that was given to two workers."""
        home = (place["host"], place["devices"] or "")
        if self._per_worker["num_gpus"] == 1 and home in self._homes.values():
            return Fault("ConfigError", f"GPU {home[1]} of {home[0]} was given to two workers")
        self._homes[slot] = home
        return None
