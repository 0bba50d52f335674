"""Implicit steps: in closed form for squared errors of a linear layer, and for any loss by an inner solver."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import final

import torch
from torch import Tensor, nn


def linear_step(errors: Tensor, inputs: Tensor, step: float) -> Tensor:
    r"""The implicit step of a linear layer on squared errors, in closed form.

    $$
    \Delta W = \arg\min_{\Delta} \tfrac12 |\Delta|^2 + \tfrac{\alpha}{2} |E + X \Delta^T|^2
    = -\alpha\, E^T (I + \alpha X X^T)^{-1} X = -E^T X (X^T X + I / \alpha)^{-1}
    $$

    One sample has the step of normalised least mean squares, `alpha e x^T / (1 + alpha |x|^2)`. The right-hand form is
    the gradient divided by the second moment of the inputs, as `nd.conditioning.foof` divides it, with a damping of
    1 / alpha: what decorrelation does to the explicit step.

    Source: Nagumo, Noda (1967), A learning method for system identification, doi:10.1109/TAC.1967.1098599 (one sample);
    Toulis, Airoldi (2017), Asymptotic and finite-sample properties of estimators based on stochastic gradients,
    arXiv:1408.2923.

    Args:
        errors: E, answers less targets, shape (samples, outputs).
        inputs: X, what the weights received, shape (samples, features).
        step: alpha, positive.

    Returns:
        The change of the weights, shape (outputs, features). Cost: samples^2 (features + outputs) + samples^3 / 3.
    """
    gram = step * inputs @ inputs.T
    gram.diagonal().add_(1)
    change: Tensor = -step * torch.linalg.solve(gram, errors).T @ inputs
    return change


def contraction(curvatures: Tensor, step: float, *, implicit: bool) -> Tensor:
    r"""By what a step multiplies the error along each eigenvector of a quadratic loss.

    $$\text{explicit: } 1 - \alpha \lambda_i, \qquad \text{implicit: } \frac{1}{1 + \alpha \lambda_i}$$

    The explicit one is stable for alpha < 2 / lambda_max, the implicit one for every alpha.

    Args:
        curvatures: lambda, of any shape.
        step: alpha.
        implicit: True for an implicit step.

    Returns:
        The factors, of the shape of the curvatures.
    """
    return 1 / (1 + step * curvatures) if implicit else 1 - step * curvatures


@final
class ProximalStep:
    r"""Implicit step of any parameters on any loss, by L-BFGS.

    $$\theta_{n+1} = \arg\min_\theta \tfrac12 |\theta - \theta_n|^2 + \alpha L(\theta)$$

    Source: Li, Chen, Huang (2023), Implicit stochastic gradient descent for training physics-informed neural networks,
    arXiv:2303.01767.

    Args:
        parameters: theta.
        step: alpha, positive.
        evaluations: Largest number of evaluations of the loss and its gradient in one step.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], step: float, evaluations: int) -> None:
        self._parameters = [one for one in parameters if one.requires_grad]
        self._step = step
        self._evaluations = evaluations
        self.evaluated = 0
        """Number of evaluations of the loss so far."""

    def __call__(self, loss: Callable[[], Tensor]) -> None:
        """Take the step.

        Args:
            loss: L of the present parameters, the same function each time that it is called.
        """
        start = [one.detach().clone() for one in self._parameters]
        solver = torch.optim.LBFGS(
            self._parameters, max_iter=self._evaluations, max_eval=self._evaluations, history_size=self._evaluations,
            tolerance_grad=1e-12, tolerance_change=1e-14, line_search_fn="strong_wolfe",
        )  # fmt: skip

        def closure() -> Tensor:
            solver.zero_grad()
            self.evaluated += 1
            distance = sum((one - old).square().sum() for one, old in zip(self._parameters, start, strict=True))
            # Divided by alpha: the same minimum, and a first step of L-BFGS that does not depend on it.
            whole = loss() + distance / (2 * self._step)
            torch.autograd.backward(whole)
            return whole

        solver.step(closure)  # type: ignore[no-untyped-call]  # of torch
