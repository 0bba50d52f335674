"""Decorrelation in rate networks (PyTorch): the structure, its plasticity, and the way back to a plain network."""

from neuro_decorr.rate.decorrelate import decorrelate, decorrelated_layers, fold
from neuro_decorr.rate.decorrelation import Decorrelation, Record
from neuro_decorr.rate.plasticity import Plasticity

__all__ = ["Decorrelation", "Plasticity", "Record", "decorrelate", "decorrelated_layers", "fold"]
