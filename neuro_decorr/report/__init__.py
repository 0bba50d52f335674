"""Figures, tables and pages of studies and of recordings."""

from neuro_decorr.report.figures import save_figure
from neuro_decorr.report.sweeps import save_sweep
from neuro_decorr.report.tables import save_table, table_text

__all__ = ["save_figure", "save_sweep", "save_table", "table_text"]
