"""`probe sites`: list the places of a model that can be read."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from critical_phase.cli.console import result, result_json
from critical_phase.cli.site_options import site_paths, sites_file_option

if TYPE_CHECKING:
    from critical_phase.probes import Site, Sites

_SOURCES = {
    "user": "named by the sites file",
    "table": "known to our table",
    "transformer_lens": "known to TransformerLens",
}


@click.command("sites")
@click.argument("model")
@sites_file_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(*, model: str, sites_file: str | None, as_json: bool) -> None:
    """List the places of MODEL that can be read, by TransformerLens name.

    MODEL is a folder, a name on the Hugging Face hub, `organism`, a folder or file with
    config.json alone, or a class of transformers such as LlamaForCausalLM.
    """
    from critical_phase.cli.site_model import proved_sites  # these load torch
    from critical_phase.probes import sites

    loaded, found, proved = proved_sites(model, site_paths(sites_file, {}))
    listed = sites(loaded, found)
    if as_json:
        result_json(_json(model, type(loaded).__name__, listed, found, proved))
        return
    proof = "proved by a forward pass" if proved else "not proved: there are no weights"
    result(f"{type(loaded).__name__}: {found.layers} blocks, {_SOURCES[found.source]}, {proof}")
    for site in listed:
        readers = site.collector.replace(", ", ",")
        result(f"{site.name:30} {site.side:7} {readers:46} {site.shape:50} {site.module}")
    for name, why in found.missing.items():
        result(f"missing {name}: {why}")


def _json(
    model: str, architecture: str, listed: "tuple[Site, ...]", found: "Sites", proved: bool, /
) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "model": model,
        "architecture": architecture,
        "source": found.source,
        "proved": proved,
        "sites": [asdict(site) for site in listed],
        "missing": [{"name": name, "why": why} for name, why in found.missing.items()],
    }
