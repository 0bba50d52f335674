"""Experiments: a file or a folder each, read top to bottom like a methods section; what starts with _ is shared."""
