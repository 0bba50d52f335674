import dataclasses

import numpy as np
import pytest
import torch

from neuro_decorr import data
from neuro_decorr.errors import InvalidValue


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_modes_are_orthogonal_with_peak_one() -> None:
    modes = data.modes((8, 6))
    gram = modes @ modes.T
    torch.testing.assert_close(gram, torch.diag(gram.diagonal()), atol=1e-12, rtol=0)
    assert modes.abs().amax(dim=1).tolist() == [1, 1, 1, 1]
    image = modes.reshape(4, 8, 6)
    assert (image[1, 0] - image[1, 5]).abs().max() == 0  # the horizontal gradient is the same in every row
    assert image[1, 0, 0] == -1
    assert image[2, 0, 0] == -1
    assert image[2, -1, 0] == 1
    torch.testing.assert_close(image[3], image[1] * image[2])


def test_channels_share_the_modes() -> None:
    modes = data.modes((3, 4, 5)).reshape(4, 3, 20)
    for channel in range(3):
        assert torch.equal(modes[:, channel], data.modes((4, 5)))


def test_the_added_covariance_is_the_analytic_one_of_rank_four() -> None:
    strength, shape = 0.7, (5, 4)
    added = data.common_modes(torch.zeros(200_000, 20), strength, generator(), shape).double()
    modes = data.modes(shape)
    expected = strength**2 * modes.T @ modes
    # Standard error of an entry: at most sqrt(2 / samples) of the variances, 0.003 of the largest one.
    torch.testing.assert_close(torch.cov(added.T), expected, atol=5 * 0.0032 * float(expected.max()), rtol=0)
    assert added.mean(dim=0).abs().max() < 0.01
    spectrum = torch.linalg.eigvalsh(torch.cov(added.T)).flip(0)
    sizes = (strength**2 * modes.square().sum(dim=1)).sort(descending=True).values
    torch.testing.assert_close(spectrum[:4], sizes, rtol=0.03, atol=0)
    assert spectrum[4:].abs().max() < 1e-9 * spectrum[0]


def test_strength_zero_changes_nothing() -> None:
    inputs = torch.rand(6, 20, generator=generator())
    assert torch.equal(data.common_modes(inputs, 0, generator(), (5, 4)), inputs)
    digits = data.digits()
    assert torch.equal(data.with_common_modes(digits, 0.0).test.inputs, digits.test.inputs)


def test_strengths_differ_in_nothing_else() -> None:
    inputs = torch.zeros(6, 20, dtype=torch.float64)
    one, two = (data.common_modes(inputs, s, generator(), (5, 4)) for s in (1.0, 2.0))
    torch.testing.assert_close(two, 2 * one)


def test_every_image_has_amplitudes_of_its_own_and_keeps_its_kind() -> None:
    inputs = torch.rand(6, 20, generator=generator())
    before = inputs.clone()
    changed = data.common_modes(inputs, 1.0, generator(), (5, 4))
    assert torch.linalg.matrix_rank((changed - inputs).double(), rtol=1e-5) == 4
    assert changed.dtype == torch.float32
    assert torch.equal(inputs, before)


def test_splits_have_independent_amplitudes_that_the_seed_decides() -> None:
    digits = data.digits()
    first, again, other = (data.with_common_modes(digits, 1.0, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.test.inputs, again.test.inputs)
    assert not torch.equal(first.test.inputs, other.test.inputs)
    assert torch.equal(first.test.targets, digits.test.targets)
    modes = data.modes((8, 8))
    amplitudes = [
        (getattr(first, name).inputs - getattr(digits, name).inputs).double() @ torch.linalg.pinv(modes)
        for name in ("train", "validation", "test")
    ]
    n = len(amplitudes[2])
    for a, b in ((0, 1), (0, 2), (1, 2)):
        r = np.corrcoef(amplitudes[a][:n].T.numpy(), amplitudes[b][:n].T.numpy())[:4, 4:]
        assert abs(r).max() < 4 / np.sqrt(n)
    assert all(abs(float(a.std()) - 1) < 0.1 for a in amplitudes)
    assert "strength 1" in first.source


def test_the_test_amplitudes_do_not_depend_on_the_other_splits() -> None:
    digits = data.digits()
    shorter = dataclasses.replace(digits, train=data.Split(digits.train.inputs[:50], digits.train.targets[:50]))
    a, b = (data.with_common_modes(dataset, 1.0).test.inputs for dataset in (digits, shorter))
    assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("inputs", "strength", "shape", "message"),
    [
        (torch.zeros(3, 20), -1.0, (5, 4), "strength: got -1.0"),
        (torch.zeros(3, 20), float("nan"), (5, 4), "strength: got nan"),
        (torch.zeros(3, 20), 1.0, (4, 4), r"\(3, 20\); images of shape \(4, 4\) need \(samples, 16\)"),
        (torch.zeros(20), 1.0, (5, 4), r"got shape \(20,\)"),
        (torch.zeros(3, 20), 1.0, (20, 1), "at least 2 x 2 pixels"),
        (torch.zeros(3, 20), 1.0, (20,), "at least 2 x 2 pixels"),
        (torch.zeros(3, 20, dtype=torch.uint8), 1.0, (5, 4), "uint8; allowed is floating point"),
    ],
)
def test_bad_arguments(inputs: torch.Tensor, strength: float, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        data.common_modes(inputs, strength, generator(), shape)


def test_data_that_are_no_images() -> None:
    rng = np.random.default_rng(0)
    dataset = data.from_arrays(rng.normal(size=(30, 4)), np.arange(30) % 2, source="my rates")
    with pytest.raises(InvalidValue, match=r"my rates. has no image_shape"):
        data.with_common_modes(dataset, 1.0)
