"""Common names of rules and credits, by which an error finds the name here; `docs/names.md` shows them."""

from __future__ import annotations

from typing import Final

COMMON: Final = {
    "center": ("centring", "mean subtraction", "centering"),
    "norm_preserving": ("Ahmad 2024", "norm-preserving decorrelation"),
    "decorrelating": ("COPI", "constrained parameter inference", "off-diagonal decorrelation"),
    "variance_weighted": ("DBP", "decorrelated backpropagation", "kappa"),
    "whitening": ("EASI", "relative gradient", "adaptive whitening", "serial whitening"),
    "lateral": ("lateral inhibition", "lateral rate units"),
    "anti_hebbian": ("anti-Hebbian learning", "Plumbley", "Goodall", "anti-Hebbian rate units"),
    "interneuron": ("interneurons", "low-rank whitening", "Lipshutz", "Pehlevan", "Chklovskii"),
    "interneuron_local": (
        "Sanger",
        "generalised Hebbian algorithm",
        "GHA",
        "Oja",
        "PCA network",
        "interneurons of rate units",
    ),
    "gain_modulation": ("gain modulation", "Duong", "Simoncelli", "frame"),
    "zca": ("ZCA", "ZCA whitening", "decorrelated batch normalisation", "DBN"),
    "iterative_norm": ("iterative normalisation", "IterNorm", "Newton-Schulz whitening"),
    "foldiak": ("Foldiak", "Földiák", "SAILnet", "sparse coding"),
    "vogels": ("Vogels", "inhibitory STDP", "iSTDP", "inhibitory plasticity", "E/I balance"),
    "correlation_measuring": ("King 2013", "correlation-measuring rule", "Dale's law"),
    "lateral_covariance": ("covariance rule", "spike decorrelation"),
    "feedback_inhibition": ("feedback inhibition", "inhibitory interneurons", "E-I circuit"),
    "backprop": ("backpropagation", "backprop", "BP", "BPTT"),
    "feedback_alignment": ("FA", "feedback alignment", "random feedback", "Lillicrap"),
    "direct_feedback_alignment": ("DFA", "direct feedback alignment", "Nøkland", "Nokland"),
    "sign_symmetry": ("uSF", "sign concordant feedback", "sign symmetry"),
    "kolen_pollack": ("KP", "Kolen-Pollack", "Akrout"),
    "weight_mirror": ("WM", "weight mirror", "weight transport"),
    "eprop": ("e-prop", "eligibility propagation", "eligibility traces"),
    "node_perturbation": ("NP", "node perturbation"),
    "activity_perturbation": ("ANP", "activity-based node perturbation"),
    "weight_perturbation": ("WP", "weight perturbation", "MeZO", "SPSA", "evolution strategies", "zeroth order"),
    "likelihood_ratio": ("LR", "REINFORCE", "score function", "policy gradient"),
    "forward_gradient": ("FG", "forward gradient", "forward-mode differentiation", "directional derivative"),
    "local_forward_gradient": ("local losses", "LocalMixer", "greedy layer-wise learning", "forward-only learning"),
    "semi_implicit": ("proximal back propagation", "implicit back propagation", "target propagation"),
    "sketched_backprop": ("XConv", "randomised trace estimation", "random projections", "low-memory gradients"),
}
"""Common names by the name here."""
