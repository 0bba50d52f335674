"""Plasticity rules for lateral weights: every rule is a frozen description with its update, found by its name."""

from neuro_decorr.rules import connectivity, suite
from neuro_decorr.rules._factor import DenseFactor, InverseFactor, LowRankFactor, Replacement
from neuro_decorr.rules._registry import get, names, register, table
from neuro_decorr.rules._rule import Rule
from neuro_decorr.rules._state import Change, Joint, Needs, Sample, State, Structure
from neuro_decorr.rules._transform import dense_matrix, transform
from neuro_decorr.rules.anti_hebbian import AntiHebbian
from neuro_decorr.rules.center import Center
from neuro_decorr.rules.decorrelating import Decorrelating
from neuro_decorr.rules.gain_modulation import GainModulation
from neuro_decorr.rules.interneuron import Interneuron
from neuro_decorr.rules.interneuron_local import InterneuronLocal
from neuro_decorr.rules.iterative_norm import IterativeNorm
from neuro_decorr.rules.lateral import Lateral
from neuro_decorr.rules.norm_preserving import NormPreserving
from neuro_decorr.rules.variance_weighted import VarianceWeighted
from neuro_decorr.rules.whitening import Whitening
from neuro_decorr.rules.zca import ZCA

__all__ = [
    # by name
    "get",
    "names",
    "register",
    "table",
    # the rules
    "AntiHebbian",
    "Center",
    "Decorrelating",
    "GainModulation",
    "Interneuron",
    "InterneuronLocal",
    "IterativeNorm",
    "Lateral",
    "NormPreserving",
    "VarianceWeighted",
    "Whitening",
    "ZCA",
    # which units are connected
    "connectivity",
    # to write a rule and to check it
    "suite",
    "Change",
    "DenseFactor",
    "InverseFactor",
    "Joint",
    "LowRankFactor",
    "Needs",
    "Replacement",
    "Rule",
    "Sample",
    "State",
    "Structure",
    "dense_matrix",
    "transform",
]
