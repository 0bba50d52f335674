"""
# Does the circuit settle?

A matrix decorrelates at once. A circuit of neurons inhibits itself through activities that its inhibition changes: it
has to settle, and with delays or strong common modes it may not.
"""

# %%
# ## Lateral inhibition that whitens a common mode

import matplotlib.pyplot as plt
import torch

import neuro_decorr as nd

units, strength = 20, 8.0
covariance = torch.eye(units) + strength * torch.ones(units, units) / units * 4
powers, directions = torch.linalg.eigh(covariance / covariance.diagonal().mean())
lateral = (directions * (powers.sqrt() - 1)) @ directions.T  # (I + M)^-1 whitens, up to one scalar
drive = torch.linalg.cholesky(covariance) @ torch.randn(units, generator=torch.Generator().manual_seed(0))
target = torch.linalg.solve(torch.eye(units) + lateral, drive)
extremes = torch.linalg.eigvalsh(torch.eye(units) + lateral)[[0, -1]]
print(f"eigenvalues of I + M: {extremes[0]:.2f} to {extremes[1]:.2f}")

# %%
# ## The course, with inhibition that arrives later and later

figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
for delay, colour in zip((0.0, 0.3, 0.6, 1.2), ("#000000", "#0072B2", "#009E73", "#D55E00"), strict=True):
    times, course = nd.settling_course(drive, lateral, duration=12.0, step=0.05, delay=delay)
    distance = (course - target).norm(dim=-1) / target.norm()
    axes.semilogy(times, distance.clamp_min(1e-6), color=colour, label=f"delay {delay:g} tau")
axes.set(xlabel="time (time constants)", ylabel="relative distance from the fixed point", ylim=(1e-3, 1e2))
axes.legend(fontsize=8)
plt.show()

# %%
# ## An iteration that settles, and one that does not
#
# `damped` chooses its step from the eigenvalues and always settles here; `naive` diverges as soon as the spectral
# radius of M exceeds one, and says so before anything runs.

settled = nd.settle(drive, lateral, "damped", tolerance=1e-6)
print("damped:", f"{(settled - target).norm() / target.norm():.1e}")
try:
    nd.settle(drive, lateral, "naive")
except nd.errors.Diverged as error:
    print("naive:", error)

# %%
# ## What to try next
#
# - `nd.Recurrent(layer, "continuous", hold=5.0)` runs a learnt `Decorrelation` as a circuit, cut off after 5 tau.
# - `nd.LateralWeights.through_interneurons(V)`: inhibition of low rank, without forming M.
# - `neuro-decorr run settling_limits` draws how long a stimulus must be held and how late inhibition may come.
