"""Conditioning of gradients: pure functions between `credit.backward` and `optimiser.step`."""

from neuro_decorr.conditioning.curvature import foof, kfac
from neuro_decorr.conditioning.projection import orthogonal_projector
from neuro_decorr.conditioning.signals import LayerSignals, Signals
from neuro_decorr.conditioning.transforms import channel_directed, match_norm, polar

__all__ = [
    # signals of the layers in a pass
    "Signals",
    "LayerSignals",
    # by the second moments of inputs and errors
    "foof",
    "kfac",
    "orthogonal_projector",
    # by the gradient alone
    "channel_directed",
    "match_norm",
    "polar",
]
