"""Recordings with known correlations, and the script that makes them."""
