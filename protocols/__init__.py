"""Experiments: one file a protocol, read top to bottom like a methods section."""
