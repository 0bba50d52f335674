"""Seeded noise whose state can be saved."""

from __future__ import annotations

from typing import Literal, final

import torch
from torch import Tensor, nn

from neuro_decorr.errors import StateMismatch

Distribution = Literal["gaussian", "rademacher"]


@final
class Noise(nn.Module):
    """Reproducible stream of independent noise of zero mean and unit variance.

    The stream is a module, so that the state of its credit includes the position in the stream. The first draw makes
    the generator, on the device of the perturbed tensor.

    Args:
        distribution: "gaussian" (standard normal) or "rademacher" (+1 or -1 with equal probability).
        seed: Seed of the stream.
    """

    def __init__(self, distribution: Distribution, seed: int) -> None:
        super().__init__()
        self.distribution = distribution
        self._generator: torch.Generator | None = None
        # Start of a generator that is not made yet: a seed (one int64) or a saved state (bytes).
        self._start = torch.tensor(seed, dtype=torch.int64)

    def draw(self, like: Tensor) -> Tensor:
        """Draw fresh noise of the shape, precision and device of a tensor."""
        generator = self._generator
        if generator is None or generator.device != like.device:
            generator = self._begin(like.device)
        noise = torch.empty_like(like)
        if self.distribution == "gaussian":
            return noise.normal_(generator=generator)
        return noise.random_(0, 2, generator=generator).mul_(2).sub_(1)

    def get_extra_state(self) -> Tensor:
        """State from which the same noise continues, as a tensor on the CPU."""
        return (self._start if self._generator is None else self._generator.get_state()).clone()

    def set_extra_state(self, state: Tensor) -> None:
        """Continue from the state that `get_extra_state()` returned."""
        self._start = state.detach().cpu().clone()
        self._generator = None

    def _begin(self, device: torch.device) -> torch.Generator:
        if self._generator is not None:
            raise StateMismatch(
                f"the noise of this credit began on {self._generator.device}, and the model is now on {device}: "
                "make the credit after moving the model."
            )
        generator = torch.Generator(device)
        try:
            if self._start.dtype == torch.int64:
                generator.manual_seed(int(self._start))
            else:
                generator.set_state(self._start)
        except RuntimeError as error:
            raise StateMismatch(
                f"the saved state of the noise does not fit a generator on {device} ({error}): resume it on the kind "
                "of device where it was saved."
            ) from error
        self._generator = generator
        return generator
