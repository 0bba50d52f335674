"""A Decorrelation run as the recurrent circuit that it stands for."""

from __future__ import annotations

from torch import Tensor, nn

from neuro_decorr.errors import InvalidValue
from neuro_decorr.rate.decorrelation import Decorrelation
from neuro_decorr.rate.settling.method import Settling
from neuro_decorr.rate.settling.settle import settling
from neuro_decorr.rate.settling.weights import LateralWeights


class Recurrent(nn.Module):
    r"""The recurrent form of a Decorrelation: x settles under lateral inhibition instead of being computed by D.

    $$\tau x' = -x + (z - \mu) - M x, \qquad M = D^{-1} - I$$

    Settled, it gives what the Decorrelation gives. D stays where it is and a `Plasticity` of this module moves it; in
    train mode it learns from the activity that the circuit has, settled or not. For `anti_hebbian`, whose update needs
    nothing else, that is exactly what the circuit's synapses do; `lateral` and `norm_preserving` are derived for
    settled activity, and other rules have no circuit of this form.

    The lateral weights are derived from D, in double precision, when D has moved since: 8/3 features^3 flop, and the
    limits of the method in addition.

    Attributes:
        decorrelation: The Decorrelation, shared and not copied.
        settling: The way of settling, frozen.
    """

    def __init__(self, decorrelation: Decorrelation, method: str = "solve", **parameters: float | None) -> None:
        """Wrap a Decorrelation.

        Args:
            decorrelation: What to run as a circuit.
            method: `solve`, `damped`, `naive` or `continuous`; see `settle`.
            **parameters: Of the method.

        Raises:
            InvalidValue: Not a Decorrelation, or a parameter out of range.
            UnknownName: No such method.
        """
        super().__init__()
        if not isinstance(decorrelation, Decorrelation):
            raise InvalidValue(
                f"Recurrent runs an nd.Decorrelation as a circuit, got {type(decorrelation).__name__}; of a model from "
                "nd.decorrelate take a layer's submodule 'decorrelation'."
            )
        self.decorrelation = decorrelation
        self.settling: Settling = settling(method, **parameters)
        self._derived: tuple[list[tuple[Tensor, int]], LateralWeights] | None = None

    def lateral_weights(self) -> LateralWeights:
        """The lateral weights M at this moment, with their limits; derived anew when D has moved."""
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
            initial: Activity at the start; rest where None.

        Returns:
            x, the same shape and dtype.

        Raises:
            Diverged: The method does not settle for these weights.
            Unsupported: D is singular.
            InvalidValue: Another number of features, or an empty batch in train mode.
        """
        weights = self.lateral_weights()
        return self.decorrelation.run(inputs, lambda centred: self.settling.settle(weights, centred, initial))

    def extra_repr(self) -> str:
        """What print(model) shows."""
        return repr(self.settling)


def _unchanged(derived: list[tuple[Tensor, int]], tensors: list[Tensor]) -> bool:
    return len(derived) == len(tensors) and all(
        before is now and version == now._version for (before, version), now in zip(derived, tensors, strict=True)
    )
