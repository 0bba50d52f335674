"""The protocol of deep spiking networks, small: its blocks against loops and other libraries, its budgets, a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr import study
from neuro_decorr.errors import InvalidValue
from protocols import deep_spiking as protocol
from protocols.deep_spiking.alignment import alignments
from protocols.deep_spiking.configuration import FULL, CreditName
from protocols.deep_spiking.local_forward_gradient import LocalForwardGradient
from protocols.deep_spiking.network import BatchNormalisation, DeepSpiking, deep_spiking
from tests.protocols.execution import whole

SMALL = {"depths": (2,), "width": 16, "interneurons": 4, "epochs": 1, "batch_size": 30, "aligned": 20}
pytestmark = pytest.mark.usefixtures("few_images")


def made(sizes: tuple[int, ...] = (6, 8, 8, 3), **options: object) -> DeepSpiking:
    return deep_spiking(list(sizes), 3, seed=0, **options).double()


def samples(number: int = 5, features: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(number, features, generator=generator).double(), torch.arange(number) % 3


def test_the_network_is_its_equations_step_by_step() -> None:
    model, (inputs, _) = made(), samples()
    weights = [
        (m.weight.detach().numpy(), m.bias.detach().numpy()) for m in model.modules() if isinstance(m, nn.Linear)
    ]
    potentials = [np.zeros((5, 8)), np.zeros((5, 8))]
    total = np.zeros((5, 3))
    for _ in range(3):
        signal = inputs.numpy()
        for layer, (weight, bias) in enumerate(weights[:-1]):
            potentials[layer] += 0.5 * (signal @ weight.T + bias - potentials[layer])
            signal = (potentials[layer] > 0.5).astype(float)
            potentials[layer][signal == 1] = 0
        total += signal @ weights[-1][0].T + weights[-1][1]
    np.testing.assert_allclose(model(inputs).detach(), total / 3, rtol=1e-12, atol=1e-12)
    rates = model.rates(inputs)
    assert len(rates) == 2 and all(0 < rate < 1 and 0 <= silent < 1 for rate, silent in rates)


def test_batch_normalisation_is_torchs_over_steps_and_samples_together() -> None:
    ours, theirs = BatchNormalisation(4).double(), nn.BatchNorm1d(4).double()
    currents = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0)).double()
    for training in (True, False):
        ours.train(training), theirs.train(training)
        expected = theirs(currents.reshape(15, 4)).reshape(3, 5, 4)
        torch.testing.assert_close(ours(currents), expected, rtol=1e-12, atol=1e-12)


def test_the_gain_and_the_slope_keep_the_size_of_the_exact_gradient() -> None:
    """Why these were taken: over twelve untrained layers it neither vanishes nor explodes, by 30 at the most."""
    model = deep_spiking([64, *[64] * 12, 10], 3, seed=0)
    generator = torch.Generator().manual_seed(0)
    F.cross_entropy(model(torch.rand(100, 64, generator=generator)), torch.arange(100) % 10).backward()
    norms = [float(block.weights.weight.grad.norm()) for block in model.blocks]
    assert max(norms) < 30 * min(norms)


@pytest.mark.parametrize("arm", ["none", "batch_normalisation", "interneuron"])
def test_local_forward_gradients_are_forward_derivatives_of_losses_of_single_layers(arm: str) -> None:
    """Against forward-mode differentiation of each layer alone, group by group, and weights that take its product."""
    model = made(normalised=arm == "batch_normalisation")
    inputs, targets = samples()
    if arm == "interneuron":
        model = nd.decorrelate(model, signal="spikes")
        plasticity = nd.Plasticity(model, nd.rules.get("interneuron", interneurons=2, damping=3.0))
        model(inputs)
        plasticity.step()
    credit = LocalForwardGradient(model, groups=2, seed=3).double()
    for parameter in credit.parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(4))
    model.eval()
    loss = credit.backward(F.cross_entropy, inputs, targets)
    torch.testing.assert_close(loss, F.cross_entropy(model(inputs), targets).detach())
    directions = nd.data.stream(3, "directions 0")
    before = model.sequence(inputs)
    for number, block in enumerate(model.blocks):
        behind = model.blocks[number + 1].weights if number == 0 else model.readout
        held = behind._modules.get("decorrelation")
        noise = torch.randn(5, 8, generator=directions, dtype=torch.float64)
        currents = block.currents(before).detach()

        def single(current: Tensor, sample: int, block=block, held=held, number=number, currents=currents) -> Tensor:
            spikes = block.neurons(currents[:, sample : sample + 1] + current)[0]
            seen = spikes if held is None else held.transform_centred(spikes - held.subtracted())
            return F.cross_entropy(credit.readouts[number](seen).mean(0), targets[sample : sample + 1]) / 5

        delta = torch.zeros(5, 8).double()
        for sample in range(5):
            for group in (slice(0, 4), slice(4, 8)):
                direction = torch.zeros(1, 8).double()
                direction[0, group] = noise[sample, group]
                _, along = torch.func.jvp(
                    lambda current, sample=sample: single(current, sample), (torch.zeros(1, 8).double(),), (direction,)
                )
                delta[sample, group] = along.detach() * noise[sample, group]
        given = block.weights.weight.grad.clone()
        block.zero_grad()
        block.currents(before).backward(delta.expand(3, 5, 8))
        torch.testing.assert_close(given, block.weights.weight.grad, rtol=1e-9, atol=1e-12)
        before = block(before).detach()


def test_local_forward_gradients_scatter_around_the_gradient_of_the_local_loss_by_the_size_of_a_group() -> None:
    """Mean delta, and E|estimate - delta|^2 = (N_g + 1) |delta|^2, over many directions."""
    credit = LocalForwardGradient(made(), groups=2, seed=0)
    slopes = torch.randn(1, 8, generator=torch.Generator().manual_seed(5)).double()
    draws = 40_000
    noise = torch.randn(draws, 8, generator=torch.Generator().manual_seed(6)).double()
    estimates = credit.estimate(slopes.expand(draws, 8), noise)
    by_group = (estimates - slopes).reshape(draws, 2, 4).square().sum(-1).mean(0)
    power = slopes.reshape(2, 4).square().sum(-1)
    # Squares of fourth-order products of normal numbers: their relative deviation is about 4 / sqrt(draws), 0.02.
    torch.testing.assert_close(by_group, 5 * power, rtol=0.1, atol=0)
    bound = 5 * float((5 * power.max() / draws).sqrt())
    torch.testing.assert_close(estimates.mean(0), slopes[0], rtol=0, atol=bound)


def test_of_exact_credits_the_alignment_is_one_and_nothing_is_left_behind() -> None:
    model, (inputs, targets) = made(), samples(20)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    assert alignments(model, nd.credit.get("backprop", model), inputs, targets) == pytest.approx([1.0] * 3)
    eprop = alignments(model, nd.credit.get("eprop", model), inputs, targets)
    assert eprop[1:] == pytest.approx([1.0] * 2)  # one spiking layer below a readout without spikes: exact
    assert -1 < eprop[0] < 0.9999
    local = LocalForwardGradient(model, groups=2).double()
    found = alignments(model, local, inputs, targets)
    assert found[:2] == [0.0] * 2 and found[2] == pytest.approx(1.0)  # its readouts start at zero
    assert int(local.counter) == 0 and model.training
    assert all(parameter.grad is None for parameter in [*model.parameters(), *local.parameters()])
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_the_projector_of_a_layer_is_that_of_all_its_inputs_so_far() -> None:
    model = nn.Sequential(nn.Linear(4, 3)).double()
    signals, projectors = nd.conditioning.Signals(model), {}
    generator = torch.Generator().manual_seed(0)
    passes = [torch.randn(6, 4, generator=generator).double() for _ in range(3)]
    strength = 2.0 * float(passes[0].square().sum()) / 4
    total = strength * torch.eye(4).double()
    for rows in passes:
        model.zero_grad()
        model(rows).square().sum().backward()
        gradient = model[0].weight.grad.clone()
        protocol.project(signals, projectors, 2.0)
        total += rows.T @ rows
        torch.testing.assert_close(model[0].weight.grad, gradient @ torch.linalg.inv(total) * strength)


def test_every_arm_has_the_weights_of_its_seed_and_as_many_selection_runs() -> None:
    configuration = protocol.PROTOCOL.configure({**SMALL, "arms": FULL["arms"]})
    starts = []
    for arm in configuration.arms:
        model, _ = protocol.network_of(configuration, arm, [784, 16, 16, 10], 0)
        starts.append([m.weight for m in model.modules() if isinstance(m, nn.Linear)])
    assert all(torch.equal(a, b) for start in starts for a, b in zip(start, starts[0], strict=True))
    chosen = protocol.SELECTION.selection_runs(
        protocol.PROTOCOL.configure({**SMALL, "depths": (2, 5, 10)}), [0], study.Tables()
    )
    counts: dict[tuple[object, ...], int] = {}
    for condition in chosen:
        key = tuple(condition.factors[name] for name in ("credit", "arm", "depth"))
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 4 * 6 and set(counts.values()) == {3} and {depth for _, _, depth in counts} == {5}


@pytest.mark.parametrize("credit", CreditName.__args__)
@pytest.mark.parametrize("arm", FULL["arms"])
def test_every_credit_trains_every_arm(credit: str, arm: str) -> None:
    configuration = protocol.PROTOCOL.configure({**SMALL, "arms": FULL["arms"], "credits": (credit,)})
    levels = {"credit": credit, "arm": arm, "depth": 2, "learning_rate": 0.01}
    recorder = study.Recorder(levels)
    protocol.run(configuration, study.Condition("measure", 0, levels), recorder)
    assert recorder.reason is None
    rows = recorder.rows["alignment"]
    assert [(row["when"], row["layer"]) for row in rows] == [(w, n) for w in ("before", "after") for n in (1, 2, 3)]
    # The readout gets its exact gradient from all of them, but for the noise of node perturbation.
    if credit != "node_perturbation":
        assert rows[-1]["cosine"] == pytest.approx(1.0, abs=1e-5)
    assert recorder.rows["tests"][0]["test_accuracy"] >= 0


def test_neurons_learn_to_inhibit_each_other_and_fire_less_or_as_much() -> None:
    configuration = protocol.PROTOCOL.configure({**SMALL, "epochs": 8})
    model, plasticity = protocol.network_of(configuration, "lateral_inhibition_centered", [784, 16, 16, 10], 0)
    images = nd.data.fashion(0).train.inputs[:30]
    for _ in range(20):
        model(images)
        for one in plasticity:
            one.step()
    inhibition = model.blocks[0].neurons.weight
    assert float(inhibition.max()) > 0 and float(inhibition.min()) >= 0


def test_a_study_ends_in_its_table_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = {**SMALL, "depths": (1, 2), "credits": ("eprop", "local_forward_gradient"), "selection_runs": 2}
    arms = ("none", "center", "batch_normalisation")
    configuration, tables = whole(protocol.PROTOCOL, {**values, "arms": arms})
    protocol.report(configuration, tables, tmp_path)
    table = pd.read_csv(tmp_path / "tables" / "deep_spiking.csv")
    assert len(table) == 2 * 2 * 3
    tests = tables.of("measure")["tests"].set_index(["credit", "depth", "arm", "seed"])["test_accuracy"].sort_index()
    for _, row in table.iterrows():
        own = tests[row["credit"], row["depth"], row["arm"]]
        beside = tests[row["credit"], row["depth"], "batch_normalisation"]
        assert row["accuracy"] == pytest.approx(own.mean()) and row["seeds"] == 2
        assert row["minus BN"] == pytest.approx((own - beside).mean())
    for name in ("deep_spiking", "deep_spiking_alignment"):
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 10_000
    assert "spiking layers" in capsys.readouterr().out
    assert set(tables.of("select")["runs"]["seed"]).isdisjoint({0, 1})
    starts = tables.of("measure")["curves"].query("epoch == 0 and arm != 'batch_normalisation'")
    assert (starts.groupby(["depth", "seed"])["validation_accuracy"].nunique() == 1).all()


def test_everything_that_does_not_fit_is_told_at_once() -> None:
    bad = {"arms": ("none", "interneuron"), "depths": (0, 2), "width": 12, "batch_size": 5_000}
    with pytest.raises(InvalidValue) as caught:
        protocol.PROTOCOL.configure(bad)
    for option in ("--arms", "--depths", "--width: got 12, allowed is at least", "--width: got 12, allowed are multi"):
        assert option in str(caught.value)
    assert "--batch-size" in str(caught.value)
