"""Recurrent networks as a protocol, small: the task, equal budgets, what the recurrence receives, the figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import neuro_decorr as nd
from analysis import recurrent as analysis
from models.recurrent import recurrent
from neuro_decorr import study
from protocols import recurrent as protocol
from tests.protocols.execution import whole


def test_the_class_is_the_exclusive_or_of_two_bits_that_no_single_step_tells() -> None:
    made = protocol.delayed_xor(4, seed=2)
    inputs, targets = made.train.inputs.double(), made.train.targets
    assert inputs.shape == (protocol.EXAMPLES, protocol.SECOND + 1 + 4, protocol.DISTRACTORS + 2)
    assert float(inputs.square().mean()) == pytest.approx(1, rel=1e-5)
    # The bits stand in two directions of their own: the largest of the first step and of the fourth.
    bits = []
    for step in (0, protocol.SECOND):
        excess = inputs[:, step].T @ inputs[:, step] - inputs[:, -1].T @ inputs[:, -1]
        direction = torch.linalg.eigh(excess).eigenvectors[:, -1]
        projected = inputs[:, step] @ direction
        assert float(projected.abs().min()) > 0.5 * float(projected.abs().mean())
        bits.append(projected > 0)
    parity = (bits[0] ^ bits[1]).long()
    assert bool((parity == targets).all()) or bool((parity == 1 - targets).all())
    flat = torch.cat([inputs.flatten(1), torch.ones(len(inputs), 1).double()], dim=1)
    fitted = torch.linalg.lstsq(flat, targets.double() - 0.5).solution
    tested = made.test.inputs.double().flatten(1)
    right = ((tested @ fitted[:-1] + fitted[-1] > 0).long() == made.test.targets).double().mean()
    assert abs(float(right) - 0.5) < 4 * 0.5 / protocol.EXAMPLES**0.5  # no linear readout tells it


def test_digits_are_read_row_by_row() -> None:
    made, plain = protocol.sequences("digits", 1, seed=0), nd.data.digits(0)
    torch.testing.assert_close(made.test.inputs[:, 3], plain.test.inputs[:, 24:32])
    assert torch.equal(made.train.targets, plain.train.targets)


def test_every_condition_has_as_many_selection_runs() -> None:
    configuration = protocol.PROTOCOL.configure({})
    chosen = protocol.SELECTION.selection_runs(configuration, [0], study.Tables())
    keys = [tuple(condition.factors[name] for name in ("task", "credit", "arm")) for condition in chosen]
    assert len(set(keys)) == 2 * 3 * 4
    assert {keys.count(key) for key in keys} == {configuration.selection_runs}


def test_what_the_recurrent_weights_receive_is_decorrelated_by_an_exact_rule() -> None:
    model = nd.decorrelate(recurrent(8, 6, 10, seed=0))
    plasticity = nd.Plasticity(model, nd.rules.get("zca", rate=1.0, damping=0.0), row_fraction=1.0)
    inputs = protocol.sequences("digits", 1, seed=0).train.inputs[:400]
    before = nd.metrics.moments(protocol.received(model, inputs)).pairs.mean_absolute
    for _ in range(10):
        model.train()(inputs)
        plasticity.step()
    after = nd.metrics.moments(protocol.received(model, inputs)).pairs.mean_absolute
    assert after < 0.8 * before  # D changes the trajectory, and rows of the first state, zero, are learnt from too


def test_the_figure_and_the_tables_show_every_condition(tmp_path: Path) -> None:
    small = {"units": 8, "epochs": 1, "selection_epochs": 1, "selection_runs": 2, "batch_size": 256, "cells": ("gru",)}
    configuration, tables = whole(protocol.PROTOCOL, {**small, "arms": ("center", "interneuron")})
    protocol.report(configuration, tables, tmp_path)
    made = analysis.states(tables)
    assert len(made) == 2 * 3 * 2
    rows = tables.of("measure")["states"]
    for row in made.to_dict("records"):
        own = rows[(rows[[*analysis.FACTORS, "arm"]] == [row[k] for k in [*analysis.FACTORS, "arm"]]).all(axis=1)]
        assert row["correlation"] == pytest.approx(np.mean(own["correlation"]))
    assert (tmp_path / "figures" / "recurrent.png").stat().st_size > 10_000
