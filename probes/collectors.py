"""The collectors by name: a new one is one file and one line here."""

from critical_phase.probes.attention import Attention
from critical_phase.probes.collector import Collector
from critical_phase.probes.residual import Residual
from critical_phase.probes.sparsity import Sparsity

COLLECTORS: dict[str, type[Collector]] = {
    "residual": Residual,
    "attention": Attention,
    "sparsity": Sparsity,
}
