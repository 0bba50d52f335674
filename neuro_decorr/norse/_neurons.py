"""Integrate-and-fire neurons: their parameters and one time step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, TypeVar, get_args

import torch
from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue, shown
from neuro_decorr.libraries import check_not_traced_by_nirtorch, in_backward
from neuro_decorr.norse._parameters import PerNeuron, ResetMethod, check_learnt, per_neuron, whole_steps
from neuro_decorr.norse._record import NeuronRecord, added, mapped, summed
from neuro_decorr.norse._shapes import check_size, check_state, checked_input, spatial_problem
from neuro_decorr.norse._surrogate import SurrogateGradient, spike
from neuro_decorr.norse.homeostasis import Homeostasis, ThresholdHomeostasis
from neuro_decorr.rate.record import check_can_leave, in_transform, unwrapped

OwnRule = TypeVar("OwnRule")
"""Rule of the neurons' local plasticity."""
OwnState = TypeVar("OwnState")
"""State of the neurons; its first part is the potential."""


class Neurons(nn.Module, ABC, Generic[OwnRule, OwnState]):
    r"""Current-based leaky integrate-and-fire neurons, by Euler steps, as in Norse.

    $$
    i_t = (1 - \Delta t / \tau_s)\, i_{t-1} + I_t, \qquad
    v_t = v_{t-1} + \frac{\Delta t}{\tau_m} (v_\text{leak} - v_{t-1} + i_t), \qquad
    z_t = \Theta(v_t - \theta), \quad v_t \leftarrow v_\text{reset} \text{ where } z_t = 1
    $$

    Without a synapse (`synapse_time=None`) i equals I, as in Norse's `LIFBoxCell`; with a synapse the equations are
    those of its `LIFCell`. With `reset_method="subtract"` a spike subtracts the threshold, $v_t - \theta$. For the
    refractory time after a spike v keeps its value after the reset and the neuron does not spike, while i continues, as
    in Norse's `LIFRefracCell`. No gradient goes through the spike of a reset.

    The parameters, one per neuron or per channel, are buffers. They stay float32 or wider if the model is cast to a
    narrower type, and autocast changes neither them nor the state. A parameter that is given as a nn.Parameter, of
    shape () or (features,), is learnt by gradient; its gradient includes every use of it in the equations.

    Attributes:
        features: Number of neurons, or of channels if there are dimensions of space.
        dt: Time step (s).
        refractory_time: Refractory time (s).
        reset_method: Effect of a spike on the potential.
        sequences: True for inputs that are sequences, False for inputs of one time step.
        spatial: Number of dimensions of space after the channels.
        surrogate: Shape of the surrogate derivative of a spike.
        slope: Slope of the surrogate derivative, per unit of the potential.
        rule: Rule by which a `NeuronPlasticity` changes the neurons.
        remembers: True if passes in train mode are remembered; see `neuro_decorr.rate.unremembered`.
        threshold: Threshold $\theta$, shape (features,); like all parameters below a buffer, or the nn.Parameter that
            was given.
        leak: Potential without input, shape (features,).
        reset: Potential after a spike, shape (features,).
        membrane_time: $\tau_m$ (s), shape (features,).
        synapse_time: $\tau_s$ (s), shape (features,); dt without a synapse.
    """

    state_class: ClassVar[type[tuple[Tensor, ...]]]
    leaky: ClassVar[bool] = True

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
        refractory_time: float = 0.0,
        reset_method: ResetMethod = "value",
        dt: float = 1e-3,
        sequences: bool = True,
        spatial: int = 0,
        surrogate: SurrogateGradient = "superspike",
        slope: float = 10.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Make neurons.

        Args:
            features: Number of neurons, or of channels if there are dimensions of space.
            rule: Rule by which a `NeuronPlasticity` changes the neurons. For `LIF`: a `ThresholdHomeostasis`, or None
                for no plasticity; for `LateralLIF`: a `LateralCovariance`, or None for the default one.
            threshold: Threshold above which a neuron spikes.
            leak: Potential without input.
            reset: Potential after a spike, below the threshold; 0 if the threshold is subtracted.
            membrane_time: Time constant of the membrane (s), at least dt.
            synapse_time: Time constant of the synapse (s), at least dt; None for a current that acts in its own step
                only.
            refractory_time: Time after a spike without another spike (s), a multiple of dt.
            reset_method: `value`: a spike sets the potential to the reset; `subtract`: it subtracts the threshold.
            dt: Time step (s).
            sequences: True: inputs are sequences (steps, batch, features). False: inputs are one time step, (batch,
                features) or (features,). `set_sequences` changes it in a whole network.
            spatial: Number of dimensions of space, 0 to 3, after the channels: with 2, inputs are (steps, batch,
                features, height, width), or without the steps. All places of a channel have its parameters.
            surrogate: Shape of the surrogate derivative of a spike.
            slope: Slope of the surrogate derivative, per unit of the potential.
            device: Device of the parameters.
            dtype: float32 or float64.

        Raises:
            InvalidValue: A number of neurons, a parameter, a time or an option is not allowed.
        """
        super().__init__()
        name = type(self).__name__
        checks.refuse(
            name,
            checks.whole_number("features", features, least=1, hint="the number of neurons"),
            checks.number("dt", dt, above=0, hint="in seconds"),
            checks.flag("sequences", sequences),
            spatial_problem(spatial),
            checks.word("reset_method", reset_method, get_args(ResetMethod)),
            checks.number("refractory_time", refractory_time, least=0, hint="in seconds"),
            checks.word("surrogate", surrogate, get_args(SurrogateGradient)),
            checks.number("slope", slope, above=0),
        )
        if dtype not in (torch.float32, torch.float64):
            raise InvalidValue(f"{name}: dtype must be float32 or float64, got {dtype}.")
        self.features = features
        self.dt = dt
        self.sequences = sequences
        self.spatial = spatial
        self.reset_method: ResetMethod = reset_method
        self.refractory_time = refractory_time
        self.refractory_steps = whole_steps(name, refractory_time, dt)
        self.surrogate: SurrogateGradient = surrogate
        self.slope = slope
        self._learnt: dict[str, float] = {}
        given = {"threshold": threshold, "reset": reset}
        if self.leaky:
            given |= {"leak": leak, "membrane_time": membrane_time}
            given["synapse_time"] = dt if synapse_time is None else synapse_time
        for parameter, value in given.items():
            self._hold(parameter, value, dt if parameter.endswith("_time") else -math.inf, device, dtype)
        if not bool((self.reset < self.threshold).all()):
            raise InvalidValue(
                f"{name}: the reset must lie below the threshold for every neuron, got reset={reset!r} and "
                f"threshold={threshold!r}."
            )
        if reset_method == "subtract" and (isinstance(reset, nn.Parameter) or bool(self.reset.any())):
            raise InvalidValue(
                f"{name}: reset must be 0 with reset_method='subtract', which does not use it, got {reset!r}."
            )
        self.rule = self._own_rule(rule)
        homeostasis = self.homeostasis
        if isinstance(homeostasis, ThresholdHomeostasis):
            if isinstance(threshold, nn.Parameter):
                raise InvalidValue(
                    f"{name}: threshold must be plain numbers, got a nn.Parameter, since the homeostasis moves the "
                    "thresholds; detach it, or leave out the homeostasis."
                )
            if float(self.reset.max()) >= homeostasis.smallest_threshold:
                raise InvalidValue(
                    f"{name}: the reset must lie below smallest_threshold of the homeostasis, "
                    f"{homeostasis.smallest_threshold:g}, got {reset!r}."
                )
        self.remembers = True
        self._record: NeuronRecord | None = None

    def _hold(
        self, name: str, value: PerNeuron, least: float, device: torch.device | str | None, dtype: torch.dtype
    ) -> None:
        """Register a parameter of the neurons as a buffer, or as the nn.Parameter that was given."""
        values = per_neuron(f"{type(self).__name__}: {name}", value, self.features, least, device, dtype)
        if isinstance(values, nn.Parameter):
            self.register_parameter(name, values)
            if least > -math.inf:
                self._learnt[name] = least
        else:
            self.register_buffer(name, values)

    def _own_rule(self, given: Any) -> OwnRule:
        """Check the rule and register the buffers that it needs."""
        if given is None or isinstance(given, ThresholdHomeostasis):
            return given  # type: ignore[return-value]  # for all but LateralLIF, which has another rule
        raise InvalidValue(
            f"{type(self).__name__}: rule must be a nd.norse.ThresholdHomeostasis(...) or None, got {shown(given)}."
        )

    @property
    def homeostasis(self) -> Homeostasis | ThresholdHomeostasis | None:
        """Homeostasis that keeps every neuron's rate; None for none."""
        return self.rule  # type: ignore[return-value]

    @property
    def learns(self) -> bool:
        """True if a `NeuronPlasticity` changes these neurons."""
        return self.rule is not None

    @abstractmethod
    def _at_rest(self, potential: Tensor) -> OwnState:
        """State with this potential, shape (..., features, *space), and zeros elsewhere."""

    @abstractmethod
    def _run(self, steps: Tensor, state: OwnState) -> tuple[Tensor, OwnState]:
        """Run currents (steps, ..., features, *space), remember the pass; returns spikes and the state at the end."""

    @property
    def resting(self) -> Tensor:
        """Potential at the start of a sequence."""
        return self.leak

    def initial_state(
        self,
        batch: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        size: Sequence[int] = (),
    ) -> OwnState:
        """State of neurons at their resting potential, the same as `state=None`.

        Args:
            batch: Number of sequences in parallel.
            device: Device of the state; None: that of the parameters.
            dtype: Floating type of the state, float32 or wider; None: that of the parameters.
            size: Size of space, one number per dimension.

        Returns:
            The state; its tensors have the shape (batch, features, *size).

        Raises:
            InvalidValue: `size` has another number of dimensions than the neurons' space.
        """
        check_size(type(self).__name__, size, self.spatial)
        resting = self.placed(self.resting.to(device=device, dtype=dtype))
        return self._at_rest(resting.expand(batch, self.features, *size))

    def forward(self, inputs: Tensor, state: OwnState | None = None) -> tuple[Tensor, OwnState]:
        """Run a sequence, or one time step.

        Args:
            inputs: Currents I in units of the potential, shape (steps, batch, features); with `sequences=False` (batch,
                features) or (features,); with `spatial` followed by the dimensions of space. Bools and whole numbers
                are converted to floating point.
            state: State after the step before; None at the start of a sequence.

        Returns:
            Spikes (0 or 1), of the same shape and floating dtype, and the state after the last step.

        Raises:
            InvalidValue: The input has another shape or is empty, the state is that of another batch, or a parameter
                was learnt out of its range.
            Unsupported: nirtorch traces the network, which would omit the neurons' plasticity.
        """
        name = type(self).__name__
        check_not_traced_by_nirtorch(name)
        if self._learnt:
            check_learnt(self, self._learnt)
        currents = checked_input(name, inputs, self.features, self.sequences, self.spatial, self.threshold.dtype)
        steps = currents if self.sequences else currents.unsqueeze(0)
        if state is None:  # mapped wherever the inputs are
            state = self._at_rest(self.placed(self.resting) + torch.zeros_like(steps[0]))
        else:
            check_state(name, self.state_class, state, steps.shape[1:])
        spikes, state = self._run(steps, state)
        outputs = spikes if self.sequences else spikes[0]
        return outputs.to(inputs.dtype if inputs.is_floating_point() else currents.dtype), state

    def placed(self, parameter: Tensor) -> Tensor:
        """Reshape a parameter, one number or one per channel, to act on (..., features, *space)."""
        return parameter.view(-1, *(1,) * self.spatial) if self.spatial and parameter.dim() else parameter

    def integrated(self, potential: Tensor, current: Tensor, refractory: Tensor) -> Tensor:
        """Potential after one time step of a current, before the threshold."""
        moved = self._moved(potential, current)
        return torch.where(refractory > 0, potential, moved) if self.refractory_steps else moved

    def _moved(self, potential: Tensor, current: Tensor) -> Tensor:
        share = self.placed(self.dt / self.membrane_time).to(potential.dtype)
        return torch.lerp(potential, self.placed(self.leak) + current, share)

    def fired(self, potential: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Spikes, potential after the reset, and number of refractory steps that remain for each neuron.

        Args:
            potential: Potential before the threshold.
            *state: Number of refractory steps that remained before.

        Returns:
            Spikes, potential and refractory steps, all of the shape of the potential.
        """
        return self._fired(potential, potential - self.placed(self.threshold), *state)

    def _fired(self, potential: Tensor, distance: Tensor, refractory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        spikes = spike(distance, self.surrogate, self.slope)
        if self.refractory_steps:
            spikes = torch.where(refractory > 0, 0.0, spikes)
            refractory = torch.where(spikes.detach() > 0, float(self.refractory_steps), (refractory - 1).clamp(min=0))
        if self.reset_method == "subtract":
            return spikes, potential - spikes.detach() * self.placed(self.threshold), refractory
        return spikes, torch.where(spikes.detach() > 0, self.placed(self.reset), potential), refractory

    def decayed(self, current: Tensor) -> Tensor:
        """Synaptic current that remains in the next time step."""
        return current * self.placed(1 - self.dt / self.synapse_time)

    def is_observed(self) -> bool:
        """True if the running forward pass is to be remembered for the plasticity."""
        return self.training and self.remembers and self.learns and not in_backward()

    def _remember(self, spikes: Tensor, *traces: Tensor) -> None:
        """Remember a pass; every place in space counts as a sequence."""
        trains = (spikes, *traces)
        self._add_record(summed(*(train.movedim(-1 - self.spatial, -1) for train in trains)))

    def take_record(self) -> NeuronRecord | None:
        """Return the record of the forward passes in train mode since the last call, and forget it."""
        record = self._record
        object.__setattr__(self, "_record", None)
        return record

    def _add_record(self, record: NeuronRecord) -> None:
        check_can_leave()
        record = added(self._record, record)
        if in_transform():  # inside torch.func.grad every result is seen through it
            record = mapped(record, unwrapped)
        # Not by nn.Module's own assignment, which searches all of its registries.
        object.__setattr__(self, "_record", record)

    def extra_repr(self) -> str:
        """Text of `print(model)`."""
        kept = "" if self.homeostasis is None else f", homeostasis={self.homeostasis}"
        told = f"{self.features}, dt={self.dt:g}, surrogate={self.surrogate}, slope={self.slope:g}{kept}"
        for name, usual in (("reset_method", "value"), ("refractory_time", 0), ("spatial", 0), ("sequences", True)):
            value = getattr(self, name)
            told += "" if value == usual else f", {name}={value}"
        return told

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Neurons[OwnRule, OwnState]:
        """Move and cast like any module, but never to a type narrower than float32."""

        def at_least_float32(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return tensor.to(moved.device) if moved.dtype in (torch.float16, torch.bfloat16) else moved

        self._record = None
        super()._apply(at_least_float32, recurse)  # type: ignore[no-untyped-call]  # torch types it not
        return self
