"""The `probe` command and its table of commands, imported only when called."""

import importlib
import os
import sys
import traceback
from difflib import get_close_matches

import click

from critical_phase import __version__
from critical_phase.errors import CriticalPhaseError

# name -> (module, one line of help). Listed here so that `probe --help` imports no
# command, and with it no torch.
COMMANDS = {
    "demo": (
        "demo",
        "The whole way on the embedded model, offline: two to three minutes on two idle cores.",
    ),
    "train": ("train_command", "Train the heads, with a checkpoint at every step that matters."),
    "checkpoints": ("checkpoints", "List saved steps with norm, loss, duplicates and faults."),
    "control": ("control_command", "Make a control of a run: random adapters of the same norms."),
    "collect": ("collect_command", "Record scores and activations at a range of checkpoints."),
    "sweep": ("sweep_command", "Make a factorial of training settings, and compare its cells."),
    "score": ("score_command", "Print how often a model, or two heads on it, is right."),
    "effects": ("effects_command", "Measure drift from the base, another task and gradient noise."),
    "llc": ("llc_command", "Sample the local learning coefficient of a head at its checkpoints."),
    "curvature": ("curvature_command", "Measure Fisher trace and sharpness at its checkpoints."),
    "analyze": ("analyze", "Turn stored arrays into curves, change points and findings."),
    "intervene": (
        "intervene_command",
        "Graft, scale, patch or freeze between two steps: is it the cause?",
    ),
    "retrain": (
        "retrain_command",
        "Train a run again with a part withheld: does its jump move or vanish?",
    ),
    "generate": (
        "generate_command",
        "Answer freely, from the pair of heads and from each alone.",
    ),
    "compare": (
        "compare_command",
        "Hold runs against each other: overlays and paired differences.",
    ),
    "seeds": ("seeds", "Analyse several runs that differ in their seed together."),
    "report": ("report", "Write the page of a run, or the index of all runs."),
    "browse": ("browse", "Open a report, or the index of runs, in the web browser."),
    "status": ("status", "Show which units of a run are done, missing or failed."),
    "validate": ("validate", "Check stored files against the format document."),
    "export": ("export_command", "Copy stored files to float32 HDF5, npz or safetensors."),
    "sites": ("sites", "List the places of a model that can be hooked."),
    "organism": ("organism_command", "Make the embedded model, or a sibling, anew."),
    "selftest": ("selftest", "Run the analysis on worlds with a known truth: error rates."),
}


class LazyGroup(click.Group):
    """A group that imports the module of a command when that command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"critical_phase.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the table without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Look a command up, and name the nearest one where it does not exist."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"auto_envvar_prefix": "PROBE"})
@click.version_option(__version__, prog_name="probe")
@click.option("-v", "--verbose", is_flag=True, help="Show tracebacks.")
def cli(*, verbose: bool) -> None:
    """Find what changes abruptly inside a language model while it is fine-tuned."""


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit with the code of interface.md."""
    # One quiet place for the libraries' own bars and telemetry, before any is imported.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    verbose = bool({"-v", "--verbose"} & set((args or sys.argv[1:])[:1]))
    try:
        code = cli.main(args, standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(_stopped())
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(_stopped())
    except CriticalPhaseError as error:
        if verbose:
            traceback.print_exc()
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        if verbose:
            traceback.print_exc()
        hint = "this is a fault of probe; run `probe -v ...` for the traceback"
        click.echo(f"error: {type(error).__name__}: {error}\nfix:   {hint}", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _stopped() -> int:
    click.echo("stopped; repeat the command to continue", err=True)
    return 130
