"""Sign symmetry: feedback weights with the signs of the forward weights and their own magnitudes."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, final, get_args

from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.credit._feedback_weights import FeedbackPaths, FeedbackSite, keep
from neuro_decorr.credit._noise import Noise
from neuro_decorr.credit.base import Credit, LossFunction
from neuro_decorr.credit.registry import register

Magnitudes: TypeAlias = Literal["uniform", "frozen", "batchwise"]
"""Magnitudes of the feedback weights.

`uniform`: one magnitude for all.
`frozen`: Gaussian magnitudes, drawn once.
`batchwise`: Gaussian magnitudes, drawn anew in every pass.
"""


@final
@register
class SignSymmetry(Credit):
    r"""Sign symmetry: the error travels back through the signs of the forward weights.

    $$\delta_l = f'(a_l) \odot B_{l+1}^T \delta_{l+1}, \qquad B_l = m_l \odot \operatorname{sign}(W_l)$$

    with everything else as in `FeedbackAlignment`: the shapes, the layers and the functions between them. The signs are
    those of the forward weights at every pass; a weight of exactly zero sends nothing.

    The magnitudes m have the root mean square of the layer's weight at creation times `scale`, and do not follow the
    weights. They are either all equal ("uniform", the uSF of the paper), or those of Gaussian numbers, drawn once
    ("frozen", frSF) or in every pass ("batchwise", brSF).

    Cost: as backprop, plus the signs. Memory: one magnitude per weight ("frozen").

    Source: Liao, Leibo & Poggio 2016, How important is weight symmetry in backpropagation?, arXiv:1510.05067.

    Args:
        model: A network whose layers with weights are torch's Linear and convolutions, transposed ones included.
        magnitudes: "uniform", "frozen" or "batchwise".
        seed: Seed of the magnitudes.
        scale: Root mean square of the feedback weights relative to the layer's own weights.
        feedback_site: Site at which the signal of a decorrelated layer arrives; see `FeedbackAlignment`.

    Raises:
        InvalidValue: A parameter is out of range.
        Unsupported: The model has no layer with weights, or weights of another kind, which would be transported.
    """

    name = "sign_symmetry"
    signal = "the error, fed back layer by layer through the signs of the forward weights"
    bias = "biased: the magnitudes are not those of the forward weights"
    variance = "none beyond that of the mini-batch; with batchwise magnitudes also that of their draws"
    locality = "local given a feedback pathway whose signs follow the forward weights; no magnitude is transported"
    cost = "1 forward, 1 backward"
    memory = "the activations, as for backprop; one feedback weight per weight, for a pass or (frozen) permanently"
    source = "Liao, Leibo & Poggio 2016, How important is weight symmetry in backpropagation?, arXiv:1510.05067"

    def __init__(
        self,
        model: nn.Module,
        *,
        magnitudes: Magnitudes = "uniform",
        seed: int = 0,
        scale: float = 1.0,
        feedback_site: FeedbackSite = "pre_decorrelation",
    ) -> None:
        super().__init__(model)
        problem = checks.word("magnitudes", magnitudes, get_args(Magnitudes))
        self._paths = FeedbackPaths(self, seed, scale, feedback_site, problem)
        self.magnitudes = magnitudes
        self._noise = Noise("gaussian", seed)
        self._drawn: dict[str, Tensor] = {}
        for name, layer in self._paths.layers.items():
            size = layer.weight.detach().new_tensor(self._paths.size(name))
            keep(self, name, self._paths.gaussian(name).abs() if magnitudes == "frozen" else size)

    def feedback_weights(self) -> dict[str, Tensor]:
        """Feedback weights B by the qualified name of the layer; for "batchwise" those of the last pass."""
        held = self._drawn if self.magnitudes == "batchwise" else self._paths.kept()
        return {name: size * self._paths.layers[name].weight.detach().sign() for name, size in held.items()}

    def backward(self, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        """Add the sign symmetry update to `.grad`; see `Credit.backward`."""
        model = self._checked_model(inputs)
        if self.magnitudes == "batchwise":
            layers = self._paths.layers
            self._drawn = {
                name: self._noise.draw(layers[name].weight.detach()).abs_().mul_(size)
                for name, size in self._paths.kept().items()
            }
        return self._paths.backward(model, loss_function, inputs, targets, self.feedback_weights())
