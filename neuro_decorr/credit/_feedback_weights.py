"""Feedback weights: drawn once, kept as buffers of a credit, sent through for the duration of a pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from neuro_decorr.credit._feedback_path import ErrorBroadcast, FeedbackPath
from neuro_decorr.credit._layers import replaced_forwards, transforms_input
from neuro_decorr.credit.base import Credit

FeedbackSite = Literal["pre_decorrelation", "post_decorrelation"]


def draw(credit: Credit, layer: str, shape: tuple[int, int], size: float, generator: torch.Generator) -> str:
    """Draw Gaussian feedback weights of a root mean square `size`, float64 on the CPU, as a buffer of the credit.

    The same seed gives the same feedback on every device and in every precision.

    Returns:
        The name of the buffer.
    """
    # Unlike a layer's, the name of a buffer may hold no dots.
    name = f"feedback/{layer.replace('.', '/')}" if layer else "feedback"
    while name in credit._buffers:  # only if a module's own name holds a slash
        name += "'"
    credit.register_buffer(name, torch.randn(shape, generator=generator, dtype=torch.float64) * size)
    return name


def make_paths(
    credit: Credit,
    layers: Iterable[tuple[str, nn.Linear]],
    generator: torch.Generator,
    scale: float,
    rows: Callable[[nn.Linear], int],
) -> list[FeedbackPath]:
    """Draw the feedback weights of linear layers, (rows, in_features), in the precision and the place of each."""
    paths = []
    for name, layer in layers:
        weight = layer.weight.detach()
        size = weight.double().square().mean().sqrt().item() or (3 * layer.in_features) ** -0.5
        buffer = draw(credit, name, (rows(layer), layer.in_features), scale * size, generator)
        credit._buffers[buffer] = credit.get_buffer(buffer).to(weight)
        paths.append(FeedbackPath(layer, buffer))
    return paths


def feedback_near(credit: Credit, buffer: str, weight: Tensor | None) -> Tensor:
    """Feedback weights, after the credit has followed a model that moved to another device."""
    feedback = credit._buffers[buffer]
    assert feedback is not None
    if weight is not None and weight.device != feedback.device:
        feedback = credit._buffers[buffer] = feedback.to(weight.device)
    return feedback


@contextmanager
def sending_feedback(
    credit: Credit, paths: list[FeedbackPath], site: FeedbackSite, broadcast: ErrorBroadcast | None
) -> Iterator[None]:
    """Let the linear layers send their feedback signals, for the duration of one forward and backward pass."""
    hooks = []
    skips = site == "pre_decorrelation"
    try:
        for path in paths:
            path.feedback = feedback_near(credit, path.buffer, path.layer._parameters.get("weight"))
            path.broadcast = broadcast
            has_hooks = bool(path.layer._forward_pre_hooks)
            path.skips_transforms = skips and (has_hooks or transforms_input(path.layer))
            if skips and has_hooks:
                hooks.append(path.layer.register_forward_pre_hook(path.remember, prepend=True, with_kwargs=True))
        with replaced_forwards([(path.layer, path.forward) for path in paths]):
            yield
    finally:
        for hook in hooks:
            hook.remove()
        for path in paths:
            path.feedback = path.broadcast = path.receiver = None
