"""Decorrelation of spikes as a cell: between any two cells of Norse, or alone."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from neuro_decorr import rate
from neuro_decorr.rate.cell import DecorrelationCell
from neuro_decorr.rate.traces import Signal, Trace, TraceState


@final
class Decorrelation(DecorrelationCell):
    r"""Centre and decorrelate spikes: $x_t = D (z_t - \mu)$ at every time step.

    It is always the spikes that are centred and transformed. What drives the statistics, and so D, is an option:

    - `spikes`: every time step is one sample. No state. The variance of single spikes is mostly their own noise, on
      the diagonal of the covariance: it damps the rule.
    - `trace`: the low-pass filtered spikes. A current-based synapse is linear, so that a D that decorrelates filtered
      spikes decorrelates what the synapse makes of the transformed spikes.
    - `rate`: their mean since the sequence began, which is slow, and at the last step the count of a trial.

    Whole sequences and single steps give the same outputs, up to the rounding of a product of another size, and leave
    the same rows for the plasticity. Train and eval mode compute the same; nothing learns but by a `Plasticity`.
    Its outputs are graded currents, no spikes.

    Shapes: z (steps, batch, features), or one step (batch, features) or (features,); x the same. Cost: 2 features^2
    flop a row and step with a dense D, 4 k features with k interneurons; a trace adds 2 features.

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
        decorrelation: The `neuro_decorr.Decorrelation` that a `Plasticity` moves.
    """

    def __init__(
        self,
        features: int,
        center: bool = True,
        *,
        signal: Signal | Trace = "spikes",
        row_fraction: float = 0.1,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Start as the identity, with mean zero.

        Args:
            features: Number of units, the last dimension of the input.
            center: Subtract the running mean.
            signal: What drives the statistics: `spikes`, `trace` (of 5 ms at steps of 1 ms), `rate`, or a
                `Trace(time, dt)`.
            row_fraction: Fraction of the rows of every time step that is remembered for the plasticity, in (0, 1].
            device: Where the buffers live.
            dtype: float32 or float64.

        Raises:
            InvalidValue: Features that are not a positive whole number, a row fraction outside (0, 1], another dtype, a
                signal that does not exist.
        """
        super().__init__()
        self.decorrelation = rate.Decorrelation(
            features, center, row_fraction=row_fraction, signal=signal, device=device, dtype=dtype
        )

    @property
    def matrix(self) -> Tensor:
        """D, shape (features, features), as of `neuro_decorr.Decorrelation`."""
        return self.decorrelation.matrix

    @property
    def mean(self) -> Tensor:
        """The running mean of the spikes, shape (features,)."""
        return self.decorrelation.mean

    def initial_state(
        self, batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> TraceState | None:
        """The state at the start of a sequence; what `state=None` stands for.

        Args:
            batch: Number of sequences side by side.
            device: Where it lives; that of the buffers where None.
            dtype: Its floating type, float32 or wider; that of the buffers where None.

        Returns:
            An empty trace, shape (batch, features), or None where the spikes themselves drive the statistics.
        """
        held, mean = self.decorrelation, self.mean
        if held.trace is None:
            return None
        return held.trace.start(
            torch.zeros(batch, held.features, device=device or mean.device, dtype=dtype or mean.dtype)
        )

    def forward(self, inputs: Tensor, state: TraceState | None = None) -> tuple[Tensor, TraceState | None]:
        """Transform one time step or a sequence.

        Args:
            inputs: z, shape (steps, batch, features), (batch, features) or (features,).
            state: Of the step before; None at the start of a sequence.

        Returns:
            x = D (z - mean), the same shape and dtype, and the state.

        Raises:
            InvalidValue: Another number of features, or an empty input.
        """
        return self.decorrelation.run_steps(inputs, state)
