"""Figures and tables made from the tables of a study: one file each; `neuro-decorr report DIR` makes them anew."""
