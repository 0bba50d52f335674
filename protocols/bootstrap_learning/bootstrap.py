"""The bootstrap algorithm: hidden layers that learn by regression on states borrowed from other samples."""

from __future__ import annotations

import itertools
from typing import final

import torch
from torch import Tensor

import neuro_decorr as nd
from protocols.bootstrap_learning.refinement import Arm, Refinement, refine, transform_of

NEAREST = 10
"""Samples of a batch that a state may be borrowed from."""
FIRST, LAST = 3.0, 0.1
"""Standard deviation of the first weights, of the first layer and of the others."""


@final
class Bootstrap:
    r"""A network whose layers learn apart from each other, without derivatives.

    Sample i takes over the hidden states of a sample j of the batch whose input and prediction are near to its own
    input and target; each layer then regresses what it should give on what it gets.

    $$
    p(j) \propto e^{-d_{ij} / T}, \quad d_{ij}^2 = |x_i - x_j|^2 + |y_i - \hat y_j|^2; \qquad
    A_l \leftarrow (1 - w) A_l + w \langle h_{l - 1} h_{l - 1}^T \rangle, \quad
    b_l \leftarrow (1 - w)\, b_l + w \langle z_l h_{l - 1}^T \rangle
    $$

    over the 10 nearest j, with the inputs x themselves before the first layer and the targets y behind the last one,
    else the pre-activations z and activities h = tanh z of j; w = 1 in the first batch, then 1/2, the batch counting as
    much as all before. Then every layer is refined, see `refine`. x and y are to be standardised: the distance mixes
    them. Of several hidden layers only the first one learns: what the others get and should give is borrowed from the
    same sample, whose z is W h already.

    Source: Kouritzin, Styles, Vritsiou (2023), A bootstrap algorithm for fast supervised learning, arXiv:2305.03099.

    Attributes:
        weights: Weights of every layer, shape (outputs, inputs + 1), the last column the bias.

    Args:
        sizes: Units from input to output.
        arm: Transform of the inputs of every layer except the first, before the layer learns. `whitening`: a
            Decorrelation with the rule `whitening`, whose floor equals the ridge, and whose rate is that of A.
        batch: Samples of a batch.
        temperature: T.
        ridge: Ridge of every regression, relative to the mean power of the inputs.
        tolerance: See `refine`.
        most: See `refine`.
        generator: Draws weights and partners.
    """

    def __init__(
        self,
        sizes: list[int],
        arm: Arm,
        *,
        batch: int,
        temperature: float,
        ridge: float,
        tolerance: float,
        most: int,
        generator: torch.Generator,
    ) -> None:
        self.arm, self.temperature, self.ridge, self.tolerance, self.most = arm, temperature, ridge, tolerance, most
        self._generator = generator
        self.weights = initial_weights(sizes, generator)
        self._moments: list[Tensor] = []
        self._products: list[Tensor] = []
        self._layers: list[tuple[nd.Decorrelation, nd.Plasticity]] = []
        for size in sizes[1:-1] if arm == "whitening" else []:
            layer = nd.Decorrelation(size + 1, center=False, dtype=torch.float64)
            # The newest batch of k rows weighs rate / (1 + rate d / k) in the rule, and a half in A.
            rate = min(1.0, 0.5 / (1 - 0.5 * (size + 1) / batch))
            rule = nd.rules.get("whitening", rate=rate, damping=0.0, floor=ridge)
            self._layers.append((layer, nd.Plasticity(layer, rule, row_fraction=1.0)))

    def states(self, inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Inputs of every layer, with the constant beside them, and its outputs before the activation."""
        received, given = [], []
        activity = inputs
        for weight in self.weights:
            received.append(torch.cat([activity, activity.new_ones(len(activity), 1)], dim=1))
            given.append(received[-1] @ weight.T)
            activity = given[-1].tanh()
        return received, given

    def predict(self, inputs: Tensor) -> Tensor:
        """Predictions, shape (samples, outputs)."""
        return self.states(inputs)[1][-1]

    def partners(self, inputs: Tensor, targets: Tensor, predictions: Tensor) -> Tensor:
        """Choose for every sample the sample of the batch from which it borrows."""
        nearest = min(NEAREST, len(inputs))
        distances = (torch.cdist(inputs, inputs).square() + torch.cdist(targets, predictions).square()).sqrt()
        least, indices = distances.topk(nearest, dim=1, largest=False)
        shares = (-least / self.temperature).softmax(dim=1)
        drawn = torch.multinomial(shares, 1, generator=self._generator)
        return indices.gather(1, drawn).squeeze(1)

    def learn(self, inputs: Tensor, targets: Tensor) -> list[Refinement]:
        """Learn from one batch.

        Args:
            inputs: Shape (batch, features), float64.
            targets: Shape (batch, outputs), float64.

        Returns:
            What became of the regression of every layer.
        """
        received, given = self.states(inputs)
        chosen = self.partners(inputs, targets, given[-1])
        received = [received[0], *(activity[chosen] for activity in received[1:])]
        wanted = [*(state[chosen] for state in given[:-1]), targets]
        found = []
        for place, (got, want) in enumerate(zip(received, wanted, strict=True)):
            moment, product = got.T @ got / len(got), want.T @ got / len(got)
            if len(self._moments) <= place:
                self._moments.append(moment)
                self._products.append(product)
            else:
                self._moments[place] = (self._moments[place] + moment) / 2
                self._products[place] = (self._products[place] + product) / 2
            transform = self._transform(place, got)
            found.append(
                refine(
                    self.weights[place], self._moments[place], self._products[place], transform, self.ridge,
                    self.tolerance, self.most,
                )
            )  # fmt: skip
            self.weights[place] = found[-1].weight
        return found

    def _transform(self, place: int, got: Tensor) -> Tensor:
        moment = self._moments[place]
        if place == 0:
            return torch.eye(len(moment), dtype=moment.dtype)
        if self.arm != "whitening":
            return transform_of(self.arm, moment, self.ridge)
        layer, plasticity = self._layers[place - 1]
        layer(got)
        plasticity.step()
        return layer.matrix


def initial_weights(sizes: list[int], generator: torch.Generator) -> list[Tensor]:
    """Gaussian weights and biases, large in the first layer, so that its units are spread over the inputs."""
    return [
        torch.randn(after, before + 1, generator=generator, dtype=torch.float64) * (FIRST if place == 0 else LAST)
        for place, (before, after) in enumerate(itertools.pairwise(sizes))
    ]
