"""Options shared by the credits that perturb nodes."""

from __future__ import annotations

from typing import get_args

from torch import nn

from neuro_decorr import checks
from neuro_decorr.credit._noise import Distribution, Noise
from neuro_decorr.credit._passes import Passes
from neuro_decorr.credit._structure import is_spiking
from neuro_decorr.credit._time import Hold, layout_problems
from neuro_decorr.credit.base import Credit


def default_sigma(model: nn.Module, hold: Hold) -> float:
    """Default sigma of a perturbation, at which the loss of such a network answers linearly.

    Args:
        model: The network. It counts as spiking if it holds neurons of `nd.norse` or of Norse.
        hold: Time for which noise is held.

    Returns:
        1e-3 without spikes; with spikes 0.1 for noise that is held over a pass, else 0.5. These were measured by
        `linearity` with thresholds of 0.5 and membranes of 10 steps.
    """
    if not is_spiking(model):
        return 1e-3
    return 0.1 if hold == "pass" else 0.5


def perturbed_passes(
    credit: Credit,
    sigma: float | None,
    noise: Distribution,
    hold: Hold,
    time_first: bool | None,
    seed: int,
    *problems: str | None,
    side_by_side: bool = False,
) -> Passes:
    """Make the passes of a credit, which becomes the owner of their noise.

    Args:
        credit: The credit, for its model, its name in messages, and to save the state of the noise.
        sigma: Standard deviation of the noise. None: `default_sigma`.
        noise: Distribution of the noise.
        hold: Time for which the noise is held.
        time_first: True if layers run over sequences. None: as declared by the neurons.
        seed: Seed of the noise.
        *problems: Problems of other options.
        side_by_side: True runs the perturbed passes as one.

    Raises:
        InvalidValue: An option is out of range.
        Unsupported: The model holds layers that perturbation cannot treat.
    """
    checks.refuse(
        credit.name,
        None if sigma is None else checks.number("sigma", sigma, above=0),
        checks.word("noise", noise, get_args(Distribution)),
        checks.whole_number("seed", seed, least=0),
        *layout_problems(time_first, hold),
        *problems,
    )
    credit.noise = Noise(noise, seed)
    sigma = default_sigma(credit.model, hold) if sigma is None else sigma
    return Passes(credit.model, sigma, credit.noise, time_first, hold, side_by_side, tells=True)
