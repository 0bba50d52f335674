"""Decorrelation of spikes as a cell, between any two cells of Norse or alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from norse.torch import Lift
from torch import Tensor, nn

from neuro_decorr import checks, rate
from neuro_decorr.errors import InvalidValue, shown
from neuro_decorr.libraries import check_not_traced_by_nirtorch
from neuro_decorr.norse._shapes import check_size, check_state, checked_input, checked_tensor, spatial_problem
from neuro_decorr.rate.cell import DecorrelationCell
from neuro_decorr.rate.traces import Signal, Trace, TraceState


@final
class Decorrelation(DecorrelationCell):
    r"""Decorrelate spikes: $x_t = D z_t$ at every time step, or with `center` $D (z_t - \mu)$.

    The transform always acts on the spikes. The option `signal` chooses the signal whose statistics D removes:

    - `spikes`: every time step is one sample, and there is no state. The variance of single spikes is mostly private
      noise, on the diagonal of the covariance, which damps the rule.
    - `trace`: low-pass filtered spikes. A current-based synapse is linear, so that a D that decorrelates filtered
      spikes also decorrelates the synaptic currents of the transformed spikes.
    - `rate`: mean of the spikes since the sequence began, a slow signal; at the last step it is the count of a trial.

    Whole sequences and single steps give the same outputs, up to the rounding of a product of another size, and the
    same rows for the plasticity. Train and eval mode compute the same; only a `Plasticity` changes D. The outputs are
    graded currents, not spikes.

    Shapes: z (..., features) with the signal `spikes`, which needs no time dimension; with a trace (steps, batch,
    features), or one step, (batch, features) or (features,), with `sequences=False`. x has the shape of z.

    Cost: 2 features^2 flop per row and step with a dense D, 4 k features with k interneurons; a trace adds 2 features.

    Source: Ahmad (2024), Correlations are ruining your gradient descent, arXiv:2407.10780.

    Example:
        >>> import torch
        >>> import norse.torch
        >>> import neuro_decorr as nd
        >>> network = norse.torch.SequentialState(
        ...     nd.norse.Decorrelation(20, signal="trace"), torch.nn.Linear(20, 5), nd.norse.LIF(5)
        ... )
        >>> plasticity = nd.Plasticity(network, nd.rules.get("norm_preserving"))
        >>> spikes, state = network((torch.rand(25, 8, 20) < 0.1).float())
        >>> plasticity.step()
        >>> spikes.shape
        torch.Size([25, 8, 5])

    Attributes:
        sequences: True for inputs that are sequences, False for one time step; used only with a trace.
        spatial: Number of dimensions of space after the channels.
        decorrelation: The `neuro_decorr.Decorrelation` that a `Plasticity` changes.
    """

    def __init__(
        self,
        features: int,
        center: bool = False,
        *,
        signal: Signal | Trace = "spikes",
        row_fraction: float = 0.1,
        sequences: bool = True,
        spatial: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Make a decorrelation that starts as the identity, with mean zero.

        Args:
            features: Number of units, the last dimension of the input; of channels if there are dimensions of space.
            center: True subtracts the running mean. This is a constant current into the next layer: at equal accuracy a
                silent input made three times as many spikes with it as without it, see the page on Norse.
            signal: Signal of the statistics: `spikes`, `trace` (of 5 ms at steps of 1 ms), `rate`, or a
                `Trace(time, dt)`.
            row_fraction: Fraction of the rows of every time step that is remembered for the plasticity, in (0, 1].
            sequences: True: inputs are sequences (steps, batch, features). False: inputs are one time step, (batch,
                features) or (features,). `set_sequences` changes it in a whole network.
            spatial: Number of dimensions of space, 0 to 3, after the channels: with 2, inputs are (steps, batch,
                features, height, width), or without the steps. D acts on the channels at every place, and every place
                is one sample.
            device: Device of the buffers.
            dtype: float32 or float64.

        Raises:
            InvalidValue: `features` is no whole number above 0, `row_fraction` is outside (0, 1], or the dtype, the
                signal or another option is not allowed.
        """
        super().__init__()
        checks.refuse(
            "Decorrelation",
            checks.flag("sequences", sequences),
            spatial_problem(spatial),
        )
        self.sequences = sequences
        self.spatial = spatial
        self.decorrelation = rate.Decorrelation(
            features, center, row_fraction=row_fraction, signal=signal, device=device, dtype=dtype
        )

    @property
    def matrix(self) -> Tensor:
        """Decorrelation matrix D, shape (features, features)."""
        return self.decorrelation.matrix

    @property
    def mean(self) -> Tensor:
        """Running mean of the spikes, shape (features,)."""
        return self.decorrelation.mean

    def initial_state(
        self,
        batch: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        size: Sequence[int] = (),
    ) -> TraceState | None:
        """State at the start of a sequence, the same as `state=None`.

        Args:
            batch: Number of sequences in parallel.
            device: Device of the state; None: that of the buffers.
            dtype: Floating type of the state, float32 or wider; None: that of the buffers.
            size: Size of space, one number per dimension.

        Returns:
            An empty trace, shape (batch, features, *size); None with the signal `spikes`.

        Raises:
            InvalidValue: `size` has another number of dimensions than the space of the inputs.
        """
        held, mean = self.decorrelation, self.mean
        check_size("Decorrelation", size, self.spatial)
        if held.trace is None:
            return None
        shape = batch, held.features, *size
        return held.trace.start(torch.zeros(shape, device=device or mean.device, dtype=dtype or mean.dtype))

    def forward(self, inputs: Tensor, state: TraceState | None = None) -> tuple[Tensor, TraceState | None]:
        """Transform a sequence, or one time step.

        Args:
            inputs: z, shape (steps, batch, features), or (batch, features) or (features,) with `sequences=False`; any
                (..., features) without a trace; with `spatial` followed by the dimensions of space. Bools and whole
                numbers are converted to floating point.
            state: State after the step before; None at the start of a sequence.

        Returns:
            x = D (z - mean), of the same shape and floating dtype, and the state after the last step.

        Raises:
            InvalidValue: The input has another shape or is empty, or the state is that of another batch.
            Unsupported: An exporter of another library traces the network, which would omit D.
        """
        check_not_traced_by_nirtorch("Decorrelation")
        checked_tensor("Decorrelation", inputs)
        held, values, channel = self.decorrelation, inputs, -1 - self.spatial
        if not (inputs.is_floating_point() or inputs.is_complex()):
            values = inputs.to(held.mean.dtype)
        if held.trace is not None:
            checked_input("Decorrelation", values, held.features, self.sequences, self.spatial, held.mean.dtype)
        elif values.dim() <= self.spatial or values.shape[channel] != held.features:
            raise InvalidValue(_wrong_features(tuple(inputs.shape), held.features, self.spatial))
        single = not self.sequences if held.trace is not None else values.dim() == 2 + self.spatial
        steps = values.unsqueeze(0) if single else values
        if state is not None:
            if held.trace is None:
                raise InvalidValue(f"Decorrelation: state must be None, since there is no trace, got {shown(state)}.")
            check_state("Decorrelation", TraceState, state, steps.shape[1:])
            state = TraceState(state.mean.movedim(channel, -1), state.weight)
        outputs, state = held.run_steps(steps.movedim(channel, -1), state)
        if state is not None:
            state = TraceState(state.mean.movedim(-1, channel), state.weight)
        outputs = outputs.movedim(-1, channel)
        return outputs[0] if single else outputs, state

    def plain(self, linear: nn.Linear) -> nn.Module:
        """Plain layer of a Linear: a 1 x 1 convolution if there is space, lifted by Norse over sequences."""
        if not self.spatial:
            return linear
        kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[self.spatial - 1]
        width, weight = linear.in_features, linear.weight
        convolution = kind(width, width, 1, device=weight.device, dtype=weight.dtype)
        convolution.train(self.training).requires_grad_(False)
        convolution.weight.copy_(weight.view_as(convolution.weight))
        convolution.bias.copy_(linear.bias)  # type: ignore[union-attr]  # it has one
        return Lift(convolution) if self.sequences else convolution


def _wrong_features(shape: tuple[int, ...], features: int, spatial: int) -> str:
    told = f"Decorrelation of {features} features got an input of shape {shape}; its "
    if spatial:
        return f"{told}dimension {-1 - spatial}, the channels, must be {features}."
    told += f"last dimension must be {features}."
    return f"{told} For images with channels first give spatial=2." if len(shape) > 3 else told
