"""Recurrent form of decorrelation: lateral weights, methods of settling, and their limits."""

from neuro_decorr.rate.settling.continuous import Continuous, settling_course
from neuro_decorr.rate.settling.iterations import Damped, Naive, Solve
from neuro_decorr.rate.settling.limits import (
    DampedPlan,
    delay_limits,
    largest_delay,
    largest_step,
    slowest_rate,
    spectral_radius,
)
from neuro_decorr.rate.settling.method import Settling
from neuro_decorr.rate.settling.recurrent import Recurrent
from neuro_decorr.rate.settling.settle import settle, settling
from neuro_decorr.rate.settling.weights import LateralWeights

__all__ = [
    # the circuit
    "LateralWeights",
    "Recurrent",
    "settle",
    "settling_course",
    # ways of settling
    "Continuous",
    "Damped",
    "DampedPlan",
    "Naive",
    "Settling",
    "Solve",
    "settling",
    # limits
    "delay_limits",
    "largest_delay",
    "largest_step",
    "slowest_rate",
    "spectral_radius",
]
