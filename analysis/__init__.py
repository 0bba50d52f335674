"""Figures and tables of studies, one file each; `neuro-decorr report DIR` makes them again from the stored tables."""
