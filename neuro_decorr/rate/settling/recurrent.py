"""Recurrent circuit that computes the output of a Decorrelation."""

from __future__ import annotations

from torch import Tensor, nn

from neuro_decorr.errors import InvalidValue
from neuro_decorr.rate.decorrelation import Decorrelation
from neuro_decorr.rate.settling.method import Settling
from neuro_decorr.rate.settling.settle import settling
from neuro_decorr.rate.settling.weights import LateralWeights


class Recurrent(nn.Module):
    r"""Recurrent form of a Decorrelation: x settles under lateral inhibition and is not computed by D.

    $$\tau x' = -x + (z - \mu) - M x, \qquad M = D^{-1} - I$$

    When settled, the circuit gives the output of the Decorrelation. D stays in the Decorrelation, and a `Plasticity` of
    this module moves it; in train mode D learns from the activity of the circuit, settled or not. For `anti_hebbian`,
    whose update needs nothing else, this is exactly the learning of the circuit's synapses. `lateral` and
    `norm_preserving` are derived for settled activity, and other rules have no circuit of this form.

    The lateral weights are derived from D in float64 whenever D has moved: 8/3 features^3 flop, plus the limits of the
    method.

    Attributes:
        decorrelation: The Decorrelation, shared and not copied.
        settling: Method of settling, frozen.
    """

    def __init__(self, decorrelation: Decorrelation, method: str = "solve", **parameters: float | None) -> None:
        """Wrap a Decorrelation.

        Args:
            decorrelation: Decorrelation to run as a circuit.
            method: `solve`, `damped`, `naive` or `continuous`; see `settle`.
            **parameters: Parameters of the method.

        Raises:
            InvalidValue: The argument is not a Decorrelation, or a parameter is out of range.
            UnknownName: The method does not exist.
        """
        super().__init__()
        if not isinstance(decorrelation, Decorrelation):
            raise InvalidValue(
                f"Recurrent runs an nd.Decorrelation as a circuit, got {type(decorrelation).__name__}: for a model of "
                "nd.decorrelate give the submodule 'decorrelation' of a layer."
            )
        self.decorrelation = decorrelation
        self.settling: Settling = settling(method, **parameters)
        self._derived: tuple[list[tuple[Tensor, int]], LateralWeights] | None = None

    def lateral_weights(self) -> LateralWeights:
        """Present lateral weights M, with their limits; derived anew if D has moved."""
        tensors = list(self.decorrelation.transform_state().values())
        if any(tensor.is_inference() for tensor in tensors):  # they count no changes
            return LateralWeights.of(self.decorrelation)
        if self._derived is None or not _unchanged(self._derived[0], tensors):
            versions = [(tensor, tensor._version) for tensor in tensors]
            self._derived = (versions, LateralWeights.of(self.decorrelation))
        return self._derived[1]

    def forward(self, inputs: Tensor, initial: Tensor | None = None) -> Tensor:
        """Let the circuit settle on a batch.

        Args:
            inputs: z, shape (..., features).
            initial: Activity at the start. None: rest.

        Returns:
            x, of the same shape and dtype.

        Raises:
            Diverged: The method does not settle for these weights.
            Unsupported: D is singular.
            InvalidValue: The input has another number of features, or the batch is empty in train mode.
        """
        weights = self.lateral_weights()
        return self.decorrelation.run(inputs, lambda centred: self.settling.settle(weights, centred, initial))

    def extra_repr(self) -> str:
        """Text of `print(model)`."""
        return repr(self.settling)


def _unchanged(derived: list[tuple[Tensor, int]], tensors: list[Tensor]) -> bool:
    return len(derived) == len(tensors) and all(
        before is now and version == now._version for (before, version), now in zip(derived, tensors, strict=True)
    )
