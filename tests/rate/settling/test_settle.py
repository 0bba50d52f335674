"""Ways of settling against linear solves, matrix exponentials and bounds in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st

import neuro_decorr as nd
from neuro_decorr.errors import Diverged, InvalidValue, UnknownName, Unsupported
from neuro_decorr.rate import settling

seeds = st.integers(0, 10_000)
features = st.integers(1, 12)


def positive(size: int, seed: int, condition: float = 30.0, skew: float = 0.0) -> np.ndarray:
    """M with I + M of the given condition, its symmetric part positive definite, plus a skew part."""
    generator = np.random.default_rng(seed)
    basis = np.linalg.qr(generator.normal(size=(size, size)))[0]
    values = np.exp(generator.uniform(0, np.log(condition), size=size)) / np.sqrt(condition)
    turning = generator.normal(size=(size, size))
    return (basis * values) @ basis.T - np.eye(size) + skew * (turning - turning.T) / 2


def drives(rows: int, size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed + 1).normal(size=(rows, size))


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array)


def fixed_point(lateral: np.ndarray, drive: np.ndarray) -> np.ndarray:
    return np.linalg.solve(np.eye(len(lateral)) + lateral, drive.T).T


@given(features=features, seed=seeds, skew=st.sampled_from([0.0, 0.5, 3.0]))
def test_solve_is_the_fixed_point(features: int, seed: int, skew: float) -> None:
    lateral, drive = positive(features, seed, skew=skew), drives(3, features, seed)
    found = nd.settle(tensor(drive), tensor(lateral)).numpy()
    np.testing.assert_allclose(found + found @ lateral.T, drive, rtol=1e-9, atol=1e-9)


@given(
    features=features,
    seed=seeds,
    skew=st.sampled_from([0.0, 1e-3, 0.2, 3.0]),
    tolerance=st.floats(1e-9, 0.5),
    fraction=st.sampled_from([None, 0.1, 0.5, 0.99]),
)
def test_damped_iteration_keeps_its_promise(
    features: int, seed: int, skew: float, tolerance: float, fraction: float | None
) -> None:
    """The distance from the fixed point, relative to that at the start, is at most the tolerance, for every row."""
    lateral, drive = positive(features, seed, skew=skew), drives(4, features, seed)
    weights = nd.LateralWeights(tensor(lateral))
    step = None if fraction is None else fraction * settling.largest_step(weights)
    initial = drives(4, features, seed + 7)
    found = nd.settle(tensor(drive), weights, "damped", tolerance=tolerance, step=step, initial=tensor(initial))
    resting = fixed_point(lateral, drive)
    distance = np.linalg.norm(found.numpy() - resting, axis=1)
    assert (distance <= tolerance * np.linalg.norm(initial - resting, axis=1) * (1 + 1e-6) + 1e-12).all()


def test_the_bound_of_damped_iteration_is_sharp_for_symmetric_weights() -> None:
    """Started along the slowest mode, one iteration fewer misses the tolerance: (kappa - 1) / (kappa + 1) is exact."""
    values = np.array([0.1, 1.0, 10.0])
    lateral = nd.LateralWeights(tensor(np.diag(values - 1)))
    plan = settling.Damped(tolerance=1e-4).plan(lateral)
    kappa = 100.0
    assert plan.contraction == pytest.approx((kappa - 1) / (kappa + 1), rel=1e-12)
    assert plan.step == pytest.approx(2 / 10.1, rel=1e-12)
    drive = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    resting = 10.0
    activity = torch.zeros_like(drive)
    for _ in range(plan.iterations - 1):
        activity = activity + plan.step * (drive - activity @ tensor(np.diag(values)))
    assert abs(float(activity[0, 0]) - resting) > 1e-4 * resting
    found = nd.settle(drive, lateral, "damped", tolerance=1e-4)
    assert abs(float(found[0, 0]) - resting) <= 1e-4 * resting


def test_damped_iteration_of_a_stable_circuit_without_positive_symmetric_part() -> None:
    """No Euclidean contraction exists; the norm of the power of the iteration is the bound."""
    lateral = np.array([[0.0, 30.0], [0.0, 0.0]])
    drive = drives(5, 2, 0)
    found = nd.settle(tensor(drive), tensor(lateral), "damped", tolerance=1e-8, step=0.9).numpy()
    resting = fixed_point(lateral, drive)
    assert (np.linalg.norm(found - resting, axis=1) <= 1e-8 * np.linalg.norm(resting, axis=1) + 1e-12).all()


@given(features=features, seed=seeds, skew=st.sampled_from([0.0, 1.0]))
def test_largest_step_parts_convergence_from_divergence(features: int, seed: int, skew: float) -> None:
    """The spectral radius of I - alpha (I + M), by numpy, is below 1 just below the limit and above 1 just above."""
    lateral = positive(features, seed, skew=skew)
    limit = settling.largest_step(nd.LateralWeights(tensor(lateral)))
    for factor, settles in ((0.999, True), (1.001, False)):
        iteration = np.eye(features) - factor * limit * (np.eye(features) + lateral)
        assert (np.abs(np.linalg.eigvals(iteration)).max() < 1) == settles


def test_a_step_beyond_the_limit_is_refused() -> None:
    lateral = tensor(np.diag([3.0, 0.0]))
    with pytest.raises(Diverged, match=r"steps must be below 0\.5"):
        nd.settle(torch.ones(2, dtype=torch.float64), lateral, "damped", step=0.5)


def test_T7_naive_iteration_diverges_beyond_four_times_the_mean_power_and_damped_settles() -> None:
    """At the whitened fixed point I + M = (S / c)^{1/2}: naive settles iff lambda_max(S) < 4 c."""
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(20, 20)))[0]
    drive = drives(6, 20, 0)
    for largest, settles in ((3.99, True), (4.01, False), (6.0, False)):
        spectrum = np.full(20, (20 - largest) / 19)  # mean power 1
        spectrum[0] = largest
        lateral = (basis * np.sqrt(spectrum)) @ basis.T - np.eye(20)
        resting = drive @ (basis / np.sqrt(spectrum)) @ basis.T
        weights = nd.LateralWeights(tensor(lateral))
        assert settling.spectral_radius(weights) == pytest.approx(np.sqrt(largest) - 1, rel=1e-9)
        if settles:
            np.testing.assert_allclose(nd.settle(tensor(drive), weights, "naive"), resting, rtol=1e-3, atol=1e-4)
        else:
            with pytest.raises(Diverged, match="below 4 times"):
                nd.settle(tensor(drive), weights, "naive")
            activity = np.zeros_like(drive)  # and it is so: the iteration by hand grows
            norms = []
            quarter = math.ceil(4 * math.log(2) / math.log(settling.spectral_radius(weights)))
            for _ in range(4 * quarter):
                activity = drive - activity @ lateral.T
                norms.append(np.linalg.norm(activity - resting))
            assert norms[-1] > 2 * norms[-quarter]
        for method in ("damped", "continuous"):
            options = {"tolerance": 1e-8} if method == "damped" else {"hold": 60.0}
            np.testing.assert_allclose(nd.settle(tensor(drive), weights, method, **options), resting, atol=1e-6)


@given(features=features, seed=seeds, size=st.floats(0.05, 0.98), tolerance=st.floats(1e-9, 0.5))
def test_naive_iteration_keeps_its_promise(features: int, seed: int, size: float, tolerance: float) -> None:
    """Also for non-normal M, whose activity grows before it settles."""
    lateral = np.random.default_rng(seed).normal(size=(features, features))
    lateral *= size / np.abs(np.linalg.eigvals(lateral)).max()
    drive = drives(3, features, seed)
    found = nd.settle(tensor(drive), tensor(lateral), "naive", tolerance=tolerance).numpy()
    resting = fixed_point(lateral, drive)
    distance = np.linalg.norm(found - resting, axis=1)
    rounding = 1e-13 * np.linalg.cond(np.eye(features) + lateral) * np.abs(drive).max()
    assert (distance <= tolerance * np.linalg.norm(resting, axis=1) * (1 + 1e-6) + rounding).all()


@given(features=features, seed=seeds, skew=st.sampled_from([0.0, 1.0]), hold=st.floats(0.01, 8.0))
def test_continuous_time_is_the_matrix_exponential(features: int, seed: int, skew: float, hold: float) -> None:
    lateral, drive, initial = (
        positive(features, seed, skew=skew),
        drives(3, features, seed),
        drives(3, features, seed + 3),
    )
    synapses = np.eye(features) + lateral
    resting = fixed_point(lateral, drive)
    expected = resting + (initial - resting) @ scipy.linalg.expm(-hold * synapses).T
    found = nd.settle(tensor(drive), tensor(lateral), "continuous", hold=hold, initial=tensor(initial))
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)


def test_euler_is_the_loop_and_tends_to_the_exact_course() -> None:
    lateral, drive = positive(5, 1, condition=4.0), drives(3, 5, 1)
    exact = nd.settle(tensor(drive), tensor(lateral), "continuous", hold=1.5).numpy()
    errors = []
    for step in (0.05, 0.025):
        activity = np.zeros_like(drive)
        for _ in range(round(1.5 / step)):
            activity = activity + step * (drive - activity - activity @ lateral.T)
        found = nd.settle(tensor(drive), tensor(lateral), "continuous", hold=1.5, step=step).numpy()
        np.testing.assert_allclose(found, activity, rtol=1e-12, atol=1e-12)
        errors.append(np.abs(found - exact).max())
    assert errors[1] == pytest.approx(errors[0] / 2, rel=0.1)  # of first order


@pytest.mark.parametrize("options", [{}, {"step": 0.1}, {"step": 0.1, "delay": 0.3}])
def test_successive_stimuli_start_where_the_last_one_ended(options: dict[str, float]) -> None:
    """One long run whose drive switches, by hand."""
    lateral, drive = positive(4, 2, condition=4.0), drives(6, 4, 2)
    found = nd.settle(tensor(drive), tensor(lateral), "continuous", hold=0.7, successive=True, **options).numpy()
    step, late = options.get("step", 1e-4), round(options.get("delay", 0.0) / 0.1)
    past = [np.zeros(4)] * (late + 1)
    for row, end in zip(drive, found, strict=True):
        for _ in range(round(0.7 / step)):
            past = [*past[1:], past[-1] + step * (row - past[-1] - lateral @ past[0])]
        np.testing.assert_allclose(end, past[-1], rtol=0, atol=1e-12 if options else 1e-3)


def test_course_ends_where_settle_does_and_shows_what_diverges() -> None:
    lateral, drive = positive(4, 3, condition=4.0), drives(2, 4, 3)
    times, course = nd.settling_course(tensor(drive), tensor(lateral), duration=2.0, step=0.1, delay=0.2)
    assert times.shape == (21,) and course.shape == (21, 2, 4) and float(times[-1]) == pytest.approx(2.0)
    end = nd.settle(tensor(drive), tensor(lateral), "continuous", hold=2.0, step=0.1, delay=0.2)
    torch.testing.assert_close(course[-1], end)
    one, unstable = torch.ones(1), torch.full((1, 1), -3.0)
    assert float(nd.settling_course(one, unstable, duration=5.0)[1][-1].abs().max()) > 1e3
    with pytest.raises(Diverged, match="left the finite numbers"):
        nd.settling_course(one, unstable, duration=500.0)


@pytest.mark.parametrize("method", ["damped", "continuous", "naive"])
def test_an_unstable_circuit_is_never_settled(method: str) -> None:
    with pytest.raises(Diverged):
        nd.settle(torch.ones(2), torch.diag(torch.tensor([-1.5, 0.2])), method)


def test_gradient_in_the_drive_is_that_of_the_solve() -> None:
    lateral = tensor(positive(4, 5))
    gradients = []
    for method, options in (("solve", {}), ("damped", {"tolerance": 1e-12}), ("continuous", {"hold": 300.0})):
        drive = tensor(drives(3, 4, 5)).requires_grad_()
        nd.settle(drive, lateral, method, **options).square().sum().backward()
        gradients.append(drive.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(gradients[2], gradients[0], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 4, 3), (0, 3)])
@pytest.mark.parametrize(
    ("method", "options"),
    [("solve", {}), ("damped", {}), ("naive", {}), ("continuous", {}), ("continuous", {"step": 1})],
)
def test_any_shape_and_dtype(shape: tuple[int, ...], method: str, options: dict[str, float]) -> None:
    lateral = tensor(positive(3, 4, condition=1.5))
    drive = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = nd.settle(drive, lateral, method, **options)
    assert found.shape == drive.shape and found.dtype == torch.float32
    for row, end in zip(drive.reshape(-1, 3), found.reshape(-1, 3), strict=True):
        torch.testing.assert_close(end, nd.settle(row, lateral, method, **options), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (UnknownName, "did you mean 'damped'", {"method": "dampd"}),
        (InvalidValue, "has no parameter 'hold'; allowed: tolerance", {"method": "damped", "hold": 1.0}),
        (InvalidValue, "allowed: none", {"method": "solve", "hold": 1.0}),
        (InvalidValue, "no initial activity", {"method": "solve", "initial": torch.zeros(2)}),
        (InvalidValue, r"tolerance must be in \[1.2e-07, 1\)", {"method": "damped", "tolerance": 1e-9}),
        (InvalidValue, "tolerance must be a finite number > 0", {"method": "naive", "tolerance": -1}),
        (InvalidValue, "more than most_iterations=3", {"method": "damped", "most_iterations": 3}),
        (InvalidValue, "more than most_iterations=3", {"method": "naive", "most_iterations": 3}),
        (InvalidValue, "needs a step", {"method": "continuous", "delay": 0.2}),
        (
            InvalidValue,
            "hold=1 is not a whole multiple of step=0.3: use 0.9 or 1.2",
            {"method": "continuous", "hold": 1, "step": 0.3},
        ),
        (InvalidValue, "delay=0.25 is not a whole", {"method": "continuous", "hold": 1, "step": 0.1, "delay": 0.25}),
        (InvalidValue, "successive stimuli must be the rows", {"method": "continuous", "successive": True}),
        (InvalidValue, "successive must be True or False, got 1.0", {"method": "continuous", "successive": 1.0}),
        (InvalidValue, "must broadcast to the shape of the drive", {"method": "damped", "initial": torch.zeros(3)}),
    ],
)
def test_bad_calls(error: type[Exception], message: str, call: dict[str, object]) -> None:
    with pytest.raises(error, match=message):
        nd.settle(torch.ones(2), torch.full((2, 2), 0.4), **call)


def test_bad_weights_and_drives() -> None:
    with pytest.raises(InvalidValue, match="square matrix"):
        nd.settle(torch.ones(2), torch.ones(2, 3))
    with pytest.raises(InvalidValue, match="finite floating-point"):
        nd.settle(torch.ones(2), torch.full((2, 2), float("nan")))
    with pytest.raises(InvalidValue, match="last dimension must be 2"):
        nd.settle(torch.ones(3), torch.zeros(2, 2))
    with pytest.raises(InvalidValue, match="float32 or float64"):
        nd.settle(torch.ones(2, dtype=torch.float16), torch.zeros(2, 2))
    with pytest.raises(Unsupported, match="singular"):
        nd.settle(torch.ones(2), -torch.eye(2))
    with pytest.raises(InvalidValue, match=r"excitation \(k, features\)"):
        nd.LateralWeights.through_interneurons(torch.ones(4, 2), torch.ones(3, 4))
