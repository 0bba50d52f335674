"""Channel-directed gradients, the polar factor and norms, each against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuro_decorr.conditioning import channel_directed, match_norm, polar
from neuro_decorr.errors import Diverged, InvalidValue

seeds, sizes = st.integers(0, 2**32 - 1), st.integers(1, 9)


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def metric(channels: int, weight: float, name: str) -> np.ndarray:
    """The matrix of the inner product over channels, with 1 / M for means: h0 by means, h1 by differences on a ring."""
    mean = np.full((channels, channels), 1 / channels) / channels
    if name == "h0":
        return mean + weight * (np.eye(channels) - np.full((channels, channels), 1 / channels)) / channels
    difference = channels * (np.roll(np.eye(channels), 1, axis=1) - np.eye(channels))
    return mean + weight * difference.T @ difference / channels


@given(seeds, sizes, sizes, st.floats(0.05, 20), st.sampled_from(["h0", "h1"]))
def test_it_is_the_gradient_in_the_metric(seed: int, channels: int, features: int, weight: float, name: str) -> None:
    """<transformed, k> in the metric is the mean of G k over channels, for all k: what a gradient is."""
    gradient = drawn(seed, channels, features)
    expected = np.linalg.solve(metric(channels, weight, name), gradient.numpy() / channels)
    got = channel_directed(gradient, weight=weight, metric=name)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_the_kernel_of_h1_in_closed_form() -> None:
    """K(s) = 1 + (s^2 - s + 1/6) / (2 w) on the continuous ring: with many channels the same, for a slow mode."""
    channels, weight = 512, 0.1
    place = np.arange(channels) / channels
    kernel = 1 + (place**2 - place + 1 / 6) / (2 * weight)
    slow = np.sin(2 * np.pi * place)[:, None]
    expected = np.stack([np.roll(kernel, shift) @ slow for shift in range(channels)]) / channels
    got = channel_directed(torch.from_numpy(slow), weight=weight, metric="h1")
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)  # differences for derivatives: (pi / M)^2
    np.testing.assert_allclose(got, slow / (weight * 4 * np.pi**2), rtol=1e-3, atol=1e-3)


@given(seeds, st.integers(3, 9), st.floats(2, 20))
def test_the_order_of_channels_matters_to_h1_alone(seed: int, channels: int, weight: float) -> None:
    gradient = drawn(seed, channels + 1, 3)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(channels + 1))
    permuted = channel_directed(gradient[order], weight=weight)
    torch.testing.assert_close(permuted, channel_directed(gradient, weight=weight)[order])
    swapped = gradient[[1, 0, *range(2, channels + 1)]]
    h1 = channel_directed(gradient, weight=weight, metric="h1")[[1, 0, *range(2, channels + 1)]]
    assert not torch.allclose(channel_directed(swapped, weight=weight, metric="h1"), h1, rtol=1e-6)


def test_weight_one_is_the_gradient_and_groups_stay_apart() -> None:
    gradient = drawn(0, 3, 4, 5)
    torch.testing.assert_close(channel_directed(gradient, weight=1), gradient)
    for name in ("h0", "h1"):
        each = torch.stack([channel_directed(group, weight=3, metric=name) for group in gradient])
        torch.testing.assert_close(channel_directed(gradient, weight=3, metric=name), each)


@given(seeds, sizes, sizes)
def test_the_polar_factor_against_scipy(seed: int, outputs: int, features: int) -> None:
    gradient = drawn(seed, outputs, features)
    wide = gradient if outputs <= features else gradient.T
    expected = scipy.linalg.polar(wide.numpy(), side="left")[0]
    got = polar(gradient) if outputs <= features else polar(gradient).T
    # The factor moves by rounding over the smallest singular value; drawn at random this is hardly below 1e-5.
    np.testing.assert_allclose(got, expected, atol=1e-8)


def test_the_polar_factor_keeps_directions_without_gradient_out() -> None:
    left, right = drawn(1, 6, 2), drawn(2, 2, 5)
    factor = polar((left @ right).float())
    values = torch.linalg.svdvals(factor)
    torch.testing.assert_close(values, torch.tensor([1.0, 1, 0, 0, 0]), rtol=1e-5, atol=1e-5)
    assert not polar(torch.zeros(3, 4)).any()
    groups = drawn(3, 2, 3, 4)
    torch.testing.assert_close(polar(groups), torch.stack([polar(group) for group in groups]))


def test_norms_are_matched() -> None:
    gradient, like = drawn(4, 3, 5), drawn(5, 2, 7)
    matched = match_norm(gradient, like)
    assert float(matched.norm()) == pytest.approx(float(like.norm()), rel=1e-12)
    torch.testing.assert_close(matched / matched.norm(), gradient / gradient.norm())
    assert not match_norm(torch.zeros(2, 2), like).any()


def test_what_is_refused() -> None:
    for function in (polar, lambda gradient: channel_directed(gradient, weight=1)):
        for wrong in (torch.ones(3), torch.ones(2, 2, 2, 2), torch.ones(0, 3), "gradient"):
            with pytest.raises(InvalidValue, match="the gradient must be"):
                function(wrong)
    with pytest.raises(InvalidValue, match=r"weight must be .*; metric must be one of 'h0', 'h1'"):
        channel_directed(torch.ones(2, 2), weight=0, metric="h2")
    with pytest.raises(Diverged, match="not finite"):
        polar(torch.full((2, 2), float("inf")))
    with pytest.raises(InvalidValue, match="like must be a tensor, got 2"):
        match_norm(torch.ones(2), 2)
