"""`probe sites`: list the places of a model that can be hooked."""

from dataclasses import asdict

import click

from critical_phase.checkpoints import load_model
from critical_phase.cli.console import result, result_json
from critical_phase.probes import sites


@click.command("sites")
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(*, model: str, as_json: bool) -> None:
    """List the places of MODEL that can be hooked, by TransformerLens name."""
    loaded, _ = load_model(model)
    found = sites(loaded)
    if as_json:
        listed = [asdict(site) for site in found]
        result_json({"schema_version": 1, "model": model, "sites": listed})
        return
    for site in found:
        result(f"{site.name:32} {site.side:7} {site.collector:10} {site.module}")
