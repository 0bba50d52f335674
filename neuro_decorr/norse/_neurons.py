"""Leaky integrate-and-fire neurons: their parameters as buffers, and one time step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeAlias, TypeVar, get_args

import torch
from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue
from neuro_decorr.norse._record import NeuronRecord, added, mapped
from neuro_decorr.norse._surrogate import SurrogateGradient, spike
from neuro_decorr.norse.homeostasis import Homeostasis, ThresholdHomeostasis
from neuro_decorr.rate.record import check_can_leave, in_backward, in_transform, unwrapped
from neuro_decorr.rate.steps import steps_of

PerNeuron: TypeAlias = float | Sequence[float] | Tensor
"""One number for all neurons, or one for each."""

OwnRule = TypeVar("OwnRule")
"""What neurons learn by themselves."""
OwnState = TypeVar("OwnState")
"""Where neurons have come to: their potential first."""


class Neurons(nn.Module, ABC, Generic[OwnRule, OwnState]):
    r"""Current-based leaky integrate-and-fire neurons, by Euler steps, as in Norse.

    $$
    i_t = (1 - \Delta t / \tau_s)\, i_{t-1} + I_t, \qquad
    v_t = v_{t-1} + \frac{\Delta t}{\tau_m} (v_\text{leak} - v_{t-1} + i_t), \qquad
    z_t = \Theta(v_t - \theta), \quad v_t \leftarrow v_\text{reset} \text{ where } z_t = 1
    $$

    Without a synapse (`synapse_time=None`) i is I itself: Norse's `LIFBoxCell`; with one its `LIFCell`. No gradient
    goes through the reset.

    The parameters, one a neuron, are buffers, float32 or wider, whatever the model is cast to; autocast changes
    neither them nor the state.

    Attributes:
        features: Number of neurons.
        dt: Time step, in seconds.
        surrogate: Shape of the surrogate derivative of a spike.
        slope: Its slope, per unit of the potential.
        rule: What a `NeuronPlasticity` moves them by.
        remembers: Whether passes in train mode are remembered; see `neuro_decorr.rate.unremembered`.
        threshold: Buffer, theta, shape (features,).
        leak: Buffer, shape (features,).
        reset: Buffer, shape (features,).
        membrane_time: Buffer, tau_m in seconds, shape (features,).
        synapse_time: Buffer, tau_s in seconds, shape (features,); dt without a synapse.
    """

    threshold: Tensor
    leak: Tensor
    reset: Tensor
    membrane_time: Tensor
    synapse_time: Tensor

    def __init__(
        self,
        features: int,
        *,
        rule: OwnRule | None = None,
        threshold: PerNeuron = 1.0,
        leak: PerNeuron = 0.0,
        reset: PerNeuron = 0.0,
        membrane_time: PerNeuron = 10e-3,
        synapse_time: PerNeuron | None = 5e-3,
        dt: float = 1e-3,
        surrogate: SurrogateGradient = "superspike",
        slope: float = 10.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Neurons at rest.

        Args:
            features: Number of neurons.
            rule: What a `NeuronPlasticity` moves them by. Of `LIF`: a `ThresholdHomeostasis`, None for nothing; of
                `LateralLIF`: a `LateralCovariance`, the default one where None.
            threshold: theta; a neuron spikes above it.
            leak: The potential without input.
            reset: The potential after a spike, below the threshold.
            membrane_time: tau_m in seconds, at least dt.
            synapse_time: tau_s in seconds, at least dt; None for a current that acts in its own step only.
            dt: Time step, in seconds.
            surrogate: Shape of the surrogate derivative of a spike.
            slope: Its slope.
            device: Where the parameters live.
            dtype: float32 or float64.

        Raises:
            InvalidValue: A number of neurons, a parameter, a time or an option outside what is allowed.
        """
        super().__init__()
        name = type(self).__name__
        checks.refuse(
            name,
            checks.whole_number("features", features, least=1, hint="the number of neurons"),
            checks.number("dt", dt, above=0, hint="in seconds"),
            checks.word("surrogate", surrogate, get_args(SurrogateGradient)),
            checks.number("slope", slope, above=0),
        )
        if dtype not in (torch.float32, torch.float64):
            raise InvalidValue(f"{name}: dtype must be float32 or float64, got {dtype}.")
        self.features = features
        self.dt = dt
        self.surrogate: SurrogateGradient = surrogate
        self.slope = slope
        given = {
            "threshold": threshold,
            "leak": leak,
            "reset": reset,
            "membrane_time": membrane_time,
            "synapse_time": dt if synapse_time is None else synapse_time,
        }
        for parameter, value in given.items():
            least = dt if parameter.endswith("_time") else -math.inf
            values = per_neuron(f"{name}: {parameter}", value, features, least, device, dtype)
            self.register_buffer(parameter, values)
        if not bool((self.reset < self.threshold).all()):
            raise InvalidValue(f"{name}: the reset must lie below the threshold, for every neuron.")
        self.rule = self._own_rule(rule)
        homeostasis = self.homeostasis
        if isinstance(homeostasis, ThresholdHomeostasis) and float(self.reset.max()) >= homeostasis.smallest_threshold:
            raise InvalidValue(f"{name}: the reset must lie below the smallest threshold of the homeostasis.")
        self.remembers = True
        self._record: NeuronRecord | None = None

    @abstractmethod
    def _own_rule(self, given: object) -> OwnRule:
        """The rule, checked, with the buffers that it needs."""

    @property
    @abstractmethod
    def homeostasis(self) -> Homeostasis | ThresholdHomeostasis | None:
        """What keeps every neuron's rate, if anything."""

    @property
    def learns(self) -> bool:
        """Whether a `NeuronPlasticity` moves something here."""
        return self.rule is not None

    @abstractmethod
    def _at_rest(self, potential: Tensor) -> OwnState:
        """The state with nothing in it but the potential, shape (..., features)."""

    @abstractmethod
    def _run(self, steps: Tensor, state: OwnState) -> tuple[Tensor, OwnState]:
        """Spikes of currents (steps, ..., features), and the state after the last step; remembers the pass."""

    def initial_state(
        self, batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> OwnState:
        """Neurons at their leak potential, with nothing else in their state; what `state=None` stands for.

        Args:
            batch: Number of sequences side by side.
            device: Where it lives; that of the parameters where None.
            dtype: Its floating type, float32 or wider; that of the parameters where None.
        """
        return self._at_rest(self.leak.to(device=device, dtype=dtype).expand(batch, -1))

    def forward(self, inputs: Tensor, state: OwnState | None = None) -> tuple[Tensor, OwnState]:
        """Run one time step or a sequence.

        Args:
            inputs: Currents I, shape (steps, batch, features), (batch, features) or (features,).
            state: Of the step before; None at the start of a sequence.

        Returns:
            Spikes, the same shape and dtype, and the state after the last step.

        Raises:
            InvalidValue: Another number of neurons, or an empty input.
        """
        currents = self._checked(inputs)
        steps = steps_of(currents)
        # Mapped wherever the inputs are.
        start = self._at_rest(self.leak + torch.zeros_like(steps[0])) if state is None else state
        spikes, state = self._run(steps, start)
        outputs = spikes if currents.dim() > 2 else spikes[0]
        return outputs.to(inputs.dtype), state

    def _checked(self, inputs: Tensor) -> Tensor:
        """The currents in float32 or wider."""
        name = type(self).__name__
        if inputs.shape[-1:] != (self.features,):
            raise InvalidValue(
                f"{name} of {self.features} neurons got an input of shape {tuple(inputs.shape)}; "
                f"its last dimension must be {self.features}."
            )
        if inputs.numel() == 0:
            raise InvalidValue(
                f"{name} got an empty input of shape {tuple(inputs.shape)}; give it at least one time step and one "
                "sequence."
            )
        return inputs.to(torch.promote_types(inputs.dtype, self.threshold.dtype))

    def integrated(self, potential: Tensor, current: Tensor) -> Tensor:
        """The potential after one time step of a current, before the threshold."""
        share = (self.dt / self.membrane_time).to(potential.dtype)
        return torch.lerp(potential, self.leak + current, share)

    def fired(self, potential: Tensor) -> tuple[Tensor, Tensor]:
        """Spikes, and the potential after their reset."""
        spikes = spike(potential - self.threshold, self.surrogate, self.slope)
        return spikes, torch.where(spikes.detach() > 0, self.reset, potential)

    def decayed(self, current: Tensor) -> Tensor:
        """The synaptic current that is left for the next time step."""
        return current * (1 - self.dt / self.synapse_time)

    def is_observed(self) -> bool:
        """Whether the forward pass that is running is one to remember."""
        return self.training and self.remembers and self.learns and not in_backward()

    def take_record(self) -> NeuronRecord | None:
        """Hand out what the forward passes in train mode since the last call left, and forget it."""
        record = self._record
        object.__setattr__(self, "_record", None)
        return record

    def _add_record(self, record: NeuronRecord) -> None:
        check_can_leave()
        record = added(self._record, record)
        if in_transform():  # inside torch.func.grad every result is seen through it
            record = mapped(record, unwrapped)
        # Past nn.Module's own assignment, which searches all of its registries.
        object.__setattr__(self, "_record", record)

    def extra_repr(self) -> str:
        """What print(model) shows."""
        kept = "" if self.homeostasis is None else f", homeostasis={self.homeostasis}"
        return f"{self.features}, dt={self.dt:g}, surrogate={self.surrogate}, slope={self.slope:g}{kept}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Neurons[OwnRule, OwnState]:
        """Moves and casts as any module, but never to less than float32."""

        def at_least_float32(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return tensor.to(moved.device) if moved.dtype in (torch.float16, torch.bfloat16) else moved

        self._record = None
        super()._apply(at_least_float32, recurse)  # type: ignore[no-untyped-call]  # torch types it not
        return self


def per_neuron(
    what: str,
    value: PerNeuron,
    features: int,
    least: float = -math.inf,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """A parameter as one number a neuron, a copy.

    Args:
        what: Its name, for messages.
        value: One number, or one a neuron.
        features: Number of neurons.
        least: The smallest that is allowed.
        device: Where it lives.
        dtype: Its type.

    Raises:
        InvalidValue: Another shape, or a number that is not finite or too small.
    """
    given = torch.as_tensor(value, dtype=torch.float64)
    if given.shape not in ((), (features,)) or not bool(torch.isfinite(given).all()) or bool((given < least).any()):
        bound = "" if least == -math.inf else f" >= {least:g}"
        raise InvalidValue(f"{what} must be one finite number{bound}, or {features} of them, got {value!r}.")
    return given.expand(features).to(device=device, dtype=dtype, copy=True).contiguous()
