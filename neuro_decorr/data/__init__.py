"""Data sets in three splits, correlated sources, and the validation of a user's own data."""

from neuro_decorr.data.arrays import from_arrays, from_file
from neuro_decorr.data.batches import Batches, batches
from neuro_decorr.data.cifar import cifar10, cifar100
from neuro_decorr.data.common_modes import common_modes, modes, with_common_modes
from neuro_decorr.data.dataset import Dataset, Split
from neuro_decorr.data.digits import TRAINING_DIGITS, digits
from neuro_decorr.data.fashion import fashion
from neuro_decorr.data.mnist import fashion_mnist, mnist
from neuro_decorr.data.seeds import stream
from neuro_decorr.data.sources import covariance_with_condition, gaussian
from neuro_decorr.data.spike_processes import compound_poisson_process, single_interaction_process

__all__ = [
    # data sets
    "TRAINING_DIGITS",
    "Dataset",
    "Split",
    "cifar10",
    "cifar100",
    "digits",
    "fashion",
    "fashion_mnist",
    "mnist",
    # a user's own data
    "from_arrays",
    "from_file",
    # correlations added or made
    "common_modes",
    "covariance_with_condition",
    "gaussian",
    "modes",
    "with_common_modes",
    # correlated spike trains
    "compound_poisson_process",
    "single_interaction_process",
    # passes and seeds
    "Batches",
    "batches",
    "stream",
]
