"""Decorrelation as plasticity: rules, layers, credit assignment, studies and analysis.

A name is loaded at its first use, so that the command line starts fast and no part loads a library that it does not
need.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuro_decorr import brian, conditioning, credit, data, metrics, norse, rate, recording, rules
    from neuro_decorr.rate import (
        Decorrelation,
        LateralWeights,
        Plasticity,
        Recurrent,
        settle,
        settling_course,
    )
    from neuro_decorr.rate.coverage import coverage
    from neuro_decorr.rate.decorrelate import decorrelate, fold
    from neuro_decorr.whitener import Whitener

__version__ = "0.2.0"

__all__ = [
    # rules for lateral weights
    "rules",
    # structure and plasticity
    "Decorrelation",
    "Plasticity",
    "coverage",
    "decorrelate",
    "fold",
    "rate",
    # the recurrent circuit of a decorrelation
    "LateralWeights",
    "Recurrent",
    "settle",
    "settling_course",
    # spiking populations in Brian2
    "brian",
    # trainable spiking networks
    "norse",
    # credit for all other weights
    "credit",
    "conditioning",
    # data and measures
    "Whitener",
    "data",
    "metrics",
    # recordings and their files
    "recording",
]

_IN_RATE = (
    "Decorrelation",
    "LateralWeights",
    "Plasticity",
    "Recurrent",
    "coverage",
    "decorrelate",
    "fold",
    "settle",
    "settling_course",
)
_HOMES = {**dict.fromkeys(_IN_RATE, "neuro_decorr.rate"), "Whitener": "neuro_decorr.whitener"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in __all__:
        return importlib.import_module(f"neuro_decorr.{name}")
    raise AttributeError(f"module 'neuro_decorr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
