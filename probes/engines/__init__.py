"""Engines run tasks in worker processes: here, on a Ray cluster, or as a Slurm array.

They know nothing of models: what a worker does is the `Work` that it is given.
"""

from critical_phase.probes.engines.contract import Engine, Result
from critical_phase.probes.engines.devices import Place, places, visible_devices
from critical_phase.probes.engines.local import LocalEngine
from critical_phase.probes.engines.ray_engine import RayEngine
from critical_phase.probes.engines.serial import SerialEngine
from critical_phase.probes.engines.slurm_engine import SlurmEngine

ENGINES = {
    "serial": SerialEngine,
    "local": LocalEngine,
    "ray": RayEngine,
    "slurm": SlurmEngine,
}

__all__ = [
    "ENGINES",
    "Engine",
    "LocalEngine",
    "Place",
    "RayEngine",
    "Result",
    "SerialEngine",
    "SlurmEngine",
    "places",
    "visible_devices",
]
