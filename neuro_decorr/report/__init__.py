"""Figures, tables and the page of a study."""

from neuro_decorr.report.figures import save_figure
from neuro_decorr.report.tables import save_table

__all__ = ["save_figure", "save_table"]
