"""All groups of a layer at once learn what each would learn alone."""

import pytest
import torch

from neuro_decorr import rules
from neuro_decorr.rules import Sample, State

GROUPS, UNITS, ROWS = 5, 4, 12


@pytest.mark.parametrize(
    "rule",
    [
        rules.get("whitening"),
        rules.get("whitening", preserve_power=False),
        rules.get("whitening", damping=0.0),
        rules.get("norm_preserving"),
        rules.get("interneuron", interneurons=2, every=1),
    ],
    ids=lambda rule: f"{rule.name}, {rule.parameters()}"[:60],
)
def test_groups_together_learn_what_each_learns_alone(rule: rules.Rule) -> None:
    """One group is silent in the first and the last updates, another hears a loud batch."""
    generator = torch.Generator().manual_seed(0)
    mixes = torch.randn(GROUPS, UNITS, UNITS, generator=generator, dtype=torch.float64)
    alone = [rule.initial_state(UNITS, dtype=torch.float64) for _ in range(GROUPS)]
    together: State = {name: torch.stack([state[name] for state in alone]) for name in alone[0]}
    weights = torch.randn(GROUPS, 3, UNITS, generator=generator, dtype=torch.float64)
    kept_alone, kept_together = weights.clone(), weights.clone()
    mean = torch.zeros(GROUPS, UNITS, dtype=torch.float64)
    for update in range(30):
        inputs = torch.randn(GROUPS, ROWS, UNITS, generator=generator, dtype=torch.float64) @ mixes
        inputs[2] *= 10 <= update < 25
        inputs[3] *= 1e9 if update == 20 else 1.0
        changes = rule.update_groups_(together, Sample(inputs, rules.transform(together, inputs), mean), rule.rate)
        for group, state in enumerate(alone):
            change = rule.update_(
                state, Sample(inputs[group], rules.transform(state, inputs[group]), mean[group]), rule.rate
            )
            if change is not None:
                change.compensate_(kept_alone[group])
            if (change := changes[group]) is not None:
                change.compensate_(kept_together[group])
    for name, stacked in together.items():
        torch.testing.assert_close(stacked, torch.stack([state[name] for state in alone]), rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(kept_together, kept_alone, rtol=1e-7, atol=1e-9)
