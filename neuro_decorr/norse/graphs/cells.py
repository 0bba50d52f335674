"""Modules for nodes of NIR that neither torch nor Norse has: scale, threshold, delay, integrators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Generic, NamedTuple, TypeVar, final

import torch
from torch import Tensor, nn

from neuro_decorr.errors import InvalidValue
from neuro_decorr.norse._shapes import checked_tensor
from neuro_decorr.norse._surrogate import SurrogateGradient, spike

State = TypeVar("State")


@final
class Scale(nn.Module):
    r"""Scale every element of a sample, $y = s \odot x$.

    Attributes:
        scale: Parameter, s, of the shape of one sample.
    """

    def __init__(self, scale: Tensor) -> None:
        """Hold the factors.

        Args:
            scale: s, of the shape of one sample.
        """
        super().__init__()
        self.scale = nn.Parameter(scale)

    def forward(self, inputs: Tensor) -> Tensor:
        """Scale inputs (..., *shape)."""
        return inputs * self.scale


@final
class Threshold(nn.Module):
    r"""Spike in every time step in which the input is above a threshold, without a state, $z = \Theta(x - \theta)$.

    Attributes:
        threshold: Buffer, $\theta$, of the shape of one sample.
        surrogate: Shape of the surrogate derivative.
        slope: Slope of the surrogate derivative.
    """

    threshold: Tensor

    def __init__(self, threshold: Tensor, surrogate: SurrogateGradient = "superspike", slope: float = 10.0) -> None:
        """Hold the thresholds.

        Args:
            threshold: Thresholds, of the shape of one sample.
            surrogate: Shape of the surrogate derivative.
            slope: Slope of the surrogate derivative.
        """
        super().__init__()
        self.register_buffer("threshold", threshold)
        self.surrogate: SurrogateGradient = surrogate
        self.slope = slope

    def forward(self, inputs: Tensor) -> Tensor:
        """Spikes of inputs (..., *shape)."""
        return spike(inputs - self.threshold, self.surrogate, self.slope)


class Cell(nn.Module, ABC, Generic[State]):
    """Module `(input, state) -> (output, state)` whose units have any shape.

    Attributes:
        shape: Shape of one sample.
        sequences: True for inputs that are sequences (steps, batch, *shape), False for one time step (batch, *shape) or
            (*shape,).
    """

    def __init__(self, shape: tuple[int, ...], sequences: bool) -> None:
        """Store the shape of inputs.

        Args:
            shape: Shape of one sample.
            sequences: True: inputs are sequences; False: one time step.
        """
        super().__init__()
        self.shape = shape
        self.sequences = sequences

    @abstractmethod
    def start(self, like: Tensor) -> State:
        """State before the first step, for samples like these, shape (..., *shape)."""

    @abstractmethod
    def _run(self, steps: Tensor, state: State) -> tuple[Tensor, State]:
        """Run steps (steps, ..., *shape); returns their outputs and the state after the last step."""

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run a sequence, or one time step.

        Args:
            inputs: Inputs, shape (steps, batch, *shape); with `sequences=False` (batch, *shape) or (*shape,).
            state: State after the step before; None at the start of a sequence.

        Returns:
            Outputs of the same shape, and the state after the last step.

        Raises:
            InvalidValue: The input has another shape or is empty.
        """
        steps = as_steps(type(self).__name__, inputs, self.shape, self.sequences)
        outputs, state = self._run(steps, self.start(steps[0]) if state is None else state)
        return (outputs if self.sequences else outputs[0]), state

    def extra_repr(self) -> str:
        """Text of `print(model)`."""
        return ", ".join(map(str, self.shape)) + ("" if self.sequences else ", sequences=False")


def as_steps(name: str, inputs: Tensor, shape: tuple[int, ...], sequences: bool) -> Tensor:
    """Check inputs, and return them as steps (steps, ..., *shape); one time step becomes a sequence of one.

    Args:
        name: Name of the cell for messages.
        inputs: Inputs, shape (steps, batch, *shape) for sequences, else (batch, *shape) or (*shape,).
        shape: Shape of one sample.
        sequences: True if inputs are sequences.

    Returns:
        The steps.

    Raises:
        InvalidValue: The input has another shape or is empty.
    """
    checked_tensor(name, inputs)
    found, most = tuple(inputs.shape), len(shape) + 1 + sequences
    fits = inputs.dim() == most or (inputs.dim() == len(shape) and not sequences)
    if not fits or found[len(found) - len(shape) :] != shape:
        units = ", ".join(map(str, shape))
        told = f"sequences must be (steps, batch, {units})." if sequences else f"a time step must be (batch, {units})."
        if sequences and inputs.dim() == most - 1:
            told += " For one sequence add a batch dimension, unsqueeze(1). For one time step give sequences=False, or "
            told += "call nd.norse.set_sequences(network, False)."
        elif not sequences and inputs.dim() == most + 1:
            told += " For a sequence give sequences=True, or call nd.norse.set_sequences(network, True)."
        raise InvalidValue(f"{name} got an input of shape {found}; {told}")
    if inputs.numel() == 0:
        raise InvalidValue(f"{name} got an empty input of shape {found}; give it one time step and one sequence.")
    return inputs if sequences else inputs.unsqueeze(0)


def sample_shape(name: str, shape: object) -> tuple[int, ...]:
    """Convert the shape of a sample to a tuple.

    Args:
        name: Name of the caller for messages.
        shape: Shape that the user gave.

    Returns:
        The shape.

    Raises:
        InvalidValue: The shape is no sequence of whole numbers above zero.
    """
    sizes = tuple(shape) if isinstance(shape, Iterable) and not isinstance(shape, str) else ()
    if not sizes or any(int(size) != size or size < 1 for size in sizes):
        raise InvalidValue(
            f"{name}: input_shape must be the shape of one sample, without time and batch, such as (64,) or "
            f"(2, 34, 34), got {shape!r}."
        )
    return tuple(int(size) for size in sizes)


@final
class Delay(Cell[Tensor]):
    r"""Delay every element of a sample by k whole time steps, $y_t = x_{t - k}$; zero before the first input.

    Attributes:
        steps: Buffer, k, int64, of the shape of one sample.
        dt: Time step (s).
    """

    steps: Tensor

    def __init__(self, steps: Tensor, dt: float, sequences: bool = True) -> None:
        """Store the delays.

        Args:
            steps: Number of time steps k of each element, at least zero, of the shape of one sample.
            dt: Time step (s).
            sequences: True: inputs are sequences; False: one time step.
        """
        super().__init__(tuple(steps.shape), sequences)
        self.register_buffer("steps", steps)
        self.dt = dt
        self.longest, self.shortest = int(steps.max()), int(steps.min())

    def start(self, like: Tensor) -> Tensor:
        """Inputs of the last steps, all zero, shape (longest, ..., *shape)."""
        return like.new_zeros(self.longest, *like.shape)

    def due(self, state: Tensor) -> Tensor:
        """Output of the next step; its own input does not change it if every delay is one step or more."""
        return self._at(state, 1)[0]

    def _run(self, steps: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        known = torch.cat([state, steps])
        return self._at(known, len(steps)), known[len(known) - self.longest :]

    def _at(self, known: Tensor, length: int) -> Tensor:
        """Outputs of `length` steps from inputs that are known since `longest` steps before the first of them."""
        first = (self.longest - self.steps).expand(known.shape[1:])
        index = first + torch.arange(length, device=known.device).view(-1, *[1] * (known.dim() - 1))
        return known.gather(0, index)


class IntegratorState(NamedTuple):
    """State of integrators after a time step.

    Attributes:
        potential: v, shape (..., *shape).
        current: i that remains for the next step, the same shape.
    """

    potential: Tensor
    current: Tensor


@final
class Integrator(Cell[IntegratorState]):
    r"""Leaky integrators, which do not spike, by Euler steps; the output is the potential v.

    $$
    i_t = (1 - \Delta t / \tau_s)\, i_{t-1} + \frac{\Delta t}{\tau_s} w S_t, \qquad
    v_t = v_{t-1} + \frac{\Delta t}{\tau_m} (v_\text{leak} - v_{t-1} + r\, i_t)
    $$

    Without a synapse i equals the input S. Without a leak the potential is a sum, $v_t = v_{t-1} + \Delta t\, r\, i_t$.

    Attributes:
        resistance: Buffer, r.
        leak: Buffer, $v_\text{leak}$.
        membrane_time: Buffer, $\tau_m$ (s); infinite without a leak.
        synapse_time: Buffer, $\tau_s$ (s); None without a synapse.
        input_gain: Buffer, w; None without a synapse.
        dt: Time step (s).
    """

    resistance: Tensor
    leak: Tensor
    membrane_time: Tensor
    synapse_time: Tensor | None
    input_gain: Tensor | None

    def __init__(
        self,
        resistance: Tensor,
        *,
        dt: float,
        leak: Tensor | None = None,
        membrane_time: Tensor | None = None,
        synapse_time: Tensor | None = None,
        input_gain: Tensor | None = None,
        sequences: bool = True,
    ) -> None:
        """Make integrators; all parameters have the shape of one sample.

        Args:
            resistance: Resistance r.
            dt: Time step (s).
            leak: Potential without input; None: zero.
            membrane_time: Time constant of the membrane (s); None: no leak.
            synapse_time: Time constant of the synapse (s); None: no synapse.
            input_gain: Gain w of the input; None: one.
            sequences: True: inputs are sequences; False: one time step.

        Raises:
            InvalidValue: A time constant is below dt.
        """
        super().__init__(tuple(resistance.shape), sequences)
        for name, times in (("membrane_time", membrane_time), ("synapse_time", synapse_time)):
            if times is not None and float(times.min()) < dt * (1 - 1e-6):
                raise InvalidValue(f"Integrator: {name} must be at least dt, {dt:g} s, got {float(times.min()):g} s.")
        self.dt = dt
        self.register_buffer("resistance", resistance)
        self.register_buffer("leak", torch.zeros_like(resistance) if leak is None else leak)
        never = torch.full_like(resistance, torch.inf)
        self.register_buffer("membrane_time", never if membrane_time is None else membrane_time)
        gain = torch.ones_like(resistance) if input_gain is None else input_gain
        self.register_buffer("synapse_time", synapse_time)
        self.register_buffer("input_gain", None if synapse_time is None else gain)

    @property
    def leaks(self) -> bool:
        """True if there is a leak."""
        return bool(torch.isfinite(self.membrane_time).all())

    def start(self, like: Tensor) -> IntegratorState:
        """State with potentials at the leak and no current."""
        nothing = torch.zeros_like(like)
        return IntegratorState(self.leak + nothing, nothing)

    def _run(self, steps: Tensor, state: IntegratorState) -> tuple[Tensor, IntegratorState]:
        potential, current = state
        share = self.dt / self.membrane_time  # 0 without a leak
        weight = share * self.resistance if self.leaks else self.dt * self.resistance
        potentials = []
        for arriving in steps.unbind():
            if self.synapse_time is None or self.input_gain is None:
                current = arriving
            else:
                current = current + self.dt / self.synapse_time * (self.input_gain * arriving - current)
            potential = potential + share * (self.leak - potential) + weight * current
            potentials.append(potential)
        return torch.stack(potentials), IntegratorState(potential, current)


@final
class Positions(Cell[Any]):
    """Neurons with different parameters at every position of an image: one cell holds all units in a row.

    Attributes:
        cell: Neurons with as many features as a sample has elements.
    """

    def __init__(self, cell: nn.Module, shape: tuple[int, ...], sequences: bool = True) -> None:
        """Hold the neurons.

        Args:
            cell: Neurons of prod(shape) features, for sequences.
            shape: Shape of one sample.
            sequences: True: inputs are sequences; False: one time step.
        """
        super().__init__(shape, sequences)
        self.cell = cell

    def start(self, like: Tensor) -> Any:
        """State at the start; None lets the cell make its own."""
        return None

    def _run(self, steps: Tensor, state: Any) -> tuple[Tensor, Any]:
        units = steps.flatten(steps.dim() - len(self.shape))
        outputs, state = self.cell(units if units.dim() > 2 else units.unsqueeze(1), state)
        return outputs.reshape(steps.shape), state
