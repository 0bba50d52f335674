"""Tests of the rules; the suite that every rule passes is `neuro_decorr.rules.suite`.

Where the theorems that pin the science stand:

| | theorem | test |
| --- | --- | --- |
| T1 | fixed point, from exact statistics of condition 1e4, to 1e-6 | `suite.check_fixed_point` |
| T2 | equivariance | `suite.check_equivariance` |
| T3 | stable just below the declared rate, unstable just above | `suite.check_stability_limit` |
| T4 | without gain an eigenvalue falls as 1 / (2 rate t) | `test_equations.test_cap_without_gain` |
| T5 | updates grow with the logarithm of the condition | `test_equations.test_updates_grow_with_the_logarithm_...` |
| T6 | the lateral form takes the course of the matrix form | `test_more_equations.test_lateral_takes_the_course_...` |
| T7 | the naive iteration diverges iff lambda_max(S) > 4 c | `tests/rate/settling/test_settle.py` |
| T8 | COPI's compensation keeps the function | `test_more_equations.test_copi_compensation_...` |
| T9 | node perturbation is unbiased with variance N + 1 | `tests/credit/test_perturbation.py` |
| T10 | a decorrelated gradient step is a FOOF step | `test_equations.test_decorrelated_gradient_is_the_natural_one` |
| T11 | gains of N (N + 1) / 2 interneurons reach C = I | `test_more_equations.test_all_gains_whiten_exactly_...` |
| T12 | the other orientation collapses | `test_equations.test_other_orientation_collapses`, `test_tracking` |
| T13 | feedback alignment is no backpropagation | `tests/credit/test_feedback.py` |
| T14 | states hold no graph, copies are independent | `suite.check_state_round_trip`, `tests/rate` |
| T15 | silent units stay bounded, unless declared | `suite.check_silent_units`, `suite.check_waking` |
"""

from neuro_decorr.rules import suite as suite
