"""Saved findings in, pages out: one offline HTML page per run, and an index of runs.

A page is a pure function of `run.json` and `analysis/*.json`: equal results give
equal bytes, without a GPU, a network or a clock.
"""

from critical_phase.reports.index import write_index
from critical_phase.reports.load import report_address
from critical_phase.reports.page import write_report
from critical_phase.reports.sweep import write_sweep_page

__all__ = ["report_address", "write_index", "write_report", "write_sweep_page"]
