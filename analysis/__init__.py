"""Figures and tables made from a study's results: one file each, runnable on a study's directory."""
