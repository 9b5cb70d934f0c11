"""Workers are actors of a Ray cluster: an existing one, or one that lives as long as the call."""

import contextlib
import os
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from critical_phase.errors import ConfigError
from critical_phase.probes.engines.contract import Result, Stop, Tell
from critical_phase.probes.engines.crew import drive
from critical_phase.probes.engines.devices import threads_per_worker, visible_devices
from critical_phase.probes.engines.ray_crew import RayCrew
from critical_phase.worker import Work


class RayEngine:
    """Workers wherever the cluster has a GPU, or processors, to spare."""

    def __init__(
        self,
        *,
        tell: Tell,
        jobs: int | None = None,
        devices: Sequence[str] | None = None,
        address: str | None = None,
        retries: int = 0,
    ) -> None:
        """Decide how many workers are asked for; the cluster is joined when work begins.

        Args:
            tell: Told where every worker lives.
            jobs: Number of workers; None is one per GPU of the cluster.
            devices: GPUs of this machine, for a cluster started here; None asks the
                machine, and an empty list keeps workers off the GPUs of any cluster.
            address: Of an existing cluster; None reads RAY_ADDRESS, else starts one here.
            retries: How often a task that went wrong is tried again.

        Raises:
            ConfigError: Ray is not installed, or the number of workers is below 1.
        """
        try:
            import ray
        except ImportError as error:
            raise ConfigError(
                "the engine ray needs the package ray",
                fix="pip install 'critical-phase[ray]', or use --engine local",
            ) from error
        if jobs is not None and jobs < 1:
            raise ConfigError(f"asked for {jobs} workers", fix="give --jobs a positive number")
        self._ray: Any = ray
        self._jobs, self._tell, self._retries = jobs, tell, retries
        self._address = address or os.environ.get("RAY_ADDRESS")
        self._use_gpu = devices is None or bool(devices)
        self._devices = visible_devices() if devices is None else tuple(devices)

    def map(
        self, work: Work, tasks: Sequence[Any], *, first: Sequence[Any] = (), stop: Stop
    ) -> Generator[Result, None, None]:
        """Do tasks in actors; see `Engine.map`."""
        with self._cluster():
            gpus = int(self._ray.cluster_resources().get("GPU", 0)) if self._use_gpu else 0
            jobs = self._jobs or gpus
            if not jobs:
                raise ConfigError(
                    "the cluster has no GPU in use, so the number of workers is open",
                    fix="say how many share the processors with --jobs N",
                )
            # By the workers asked for: what is resumed is computed as before.
            threads = threads_per_worker(self._jobs or max(1, len(self._devices)))
            per_worker = {"num_cpus": threads, "num_gpus": min(1.0, gpus / jobs)}

            def start(workers: int) -> RayCrew:
                return RayCrew(self._ray, work, workers, per_worker, self._tell)

            yield from drive(start, jobs, first, tasks, retries=self._retries, stop=stop)

    @contextlib.contextmanager
    def _cluster(self) -> Iterator[None]:
        if self._ray.is_initialized():  # by the caller, who ends it too
            yield
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        quiet = {"log_to_driver": True, "logging_level": "warning"}
        if self._address:
            self._ray.init(address=self._address, **quiet)
        else:
            self._ray.init(
                address="local",
                num_cpus=self._threads_in_all(),
                num_gpus=len(self._devices),
                include_dashboard=False,
                object_store_memory=200_000_000,  # what is sent is a plan of rows
                _node_ip_address="127.0.0.1",
                **quiet,
            )
        try:
            yield
        finally:
            self._ray.shutdown()

    def _threads_in_all(self) -> int:
        jobs = self._jobs or max(1, len(self._devices))
        return jobs * threads_per_worker(jobs)
