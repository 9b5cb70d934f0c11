"""The command line: parses, calls one public function, prints."""

from critical_phase.cli.group import main

__all__ = ["main"]
