"""Credit assignment: ways in which the error reaches the weights of an unmodified network.

A `Credit` fills the `.grad` of a model's parameters, as `loss.backward()` does, so that every optimiser, gradient
clipping and schedule of torch works with it. The model stays as it is: it may be any `torch.nn.Module`, with any
forward pre-hooks (which may hold a decorrelating transform).

Example:
    >>> import torch
    >>> from neuro_decorr import credit
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> inputs, targets = torch.randn(16, 4), torch.randint(3, (16,))
    >>> perturbation = credit.get("node_perturbation", model, sigma=1e-3)
    >>> loss = perturbation.backward(torch.nn.functional.cross_entropy, inputs, targets)
    >>> model[0].weight.grad.shape
    torch.Size([8, 4])
"""

from neuro_decorr.credit._perturbing import default_sigma
from neuro_decorr.credit._time import Hold
from neuro_decorr.credit.backprop import Backprop
from neuro_decorr.credit.base import Credit, LossFunction
from neuro_decorr.credit.eprop import EProp
from neuro_decorr.credit.feedback import DirectFeedbackAlignment, FeedbackAlignment
from neuro_decorr.credit.forward import ForwardGradient
from neuro_decorr.credit.learned_feedback import KolenPollack, WeightMirror
from neuro_decorr.credit.likelihood_ratio import LikelihoodRatio
from neuro_decorr.credit.linearity import Response, linearity
from neuro_decorr.credit.local_forward_gradient import LocalForwardGradient
from neuro_decorr.credit.perturbation import ActivityPerturbation, NodePerturbation
from neuro_decorr.credit.registry import get, names, register, table
from neuro_decorr.credit.semi_implicit import SemiImplicit
from neuro_decorr.credit.sign_symmetry import SignSymmetry
from neuro_decorr.credit.sketched_backprop import SketchedBackprop
from neuro_decorr.credit.stateful import Stateful
from neuro_decorr.credit.weight_perturbation import WeightPerturbation

__all__ = [
    "ActivityPerturbation",
    "Backprop",
    "Credit",
    "DirectFeedbackAlignment",
    "EProp",
    "FeedbackAlignment",
    "ForwardGradient",
    "Hold",
    "KolenPollack",
    "LikelihoodRatio",
    "LocalForwardGradient",
    "LossFunction",
    "NodePerturbation",
    "Response",
    "SemiImplicit",
    "SignSymmetry",
    "SketchedBackprop",
    "Stateful",
    "WeightMirror",
    "WeightPerturbation",
    "default_sigma",
    "get",
    "linearity",
    "names",
    "register",
    "table",
]
