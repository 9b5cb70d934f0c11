"""Options of training-time tests: what is withheld from a training, and for how long."""

import click

WITHHOLD_OPTIONS = (
    click.option("--freeze", help="No update for these layers or modules: 2, 0-1.mlp, down_proj."),
    click.option("--only", help="No update for all other layers and modules."),
    click.option(
        "--project-out", help="Take a direction out: FILE.npz, .safetensors or random:SEED."
    ),
    click.option(
        "--project-mode",
        type=click.Choice(["state", "write"]),
        help="Out of the states that training reads (default), or of what B writes.",
    ),
    click.option("--layer", help="After which layers (as the file says): 2, 0-1, all."),
    click.option(
        "--window",
        help="Between which checkpoints, in steps: 8:32 (all); examples:64:256 in examples.",
    ),
    click.option("--withhold-heads", help="Heads that it is withheld from (positive,negative)."),
)
