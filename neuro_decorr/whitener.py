"""Whitening of arrays, all at once or batch by batch, as a transformer of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self, TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue, require

require("sklearn", "study")
from sklearn.base import BaseEstimator, TransformerMixin  # noqa: E402 - after the message that names the extra
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data  # noqa: E402

__all__ = ["METHODS", "Method", "Whitener"]

Method: TypeAlias = Literal["zca", "zca_cor", "pca", "pca_cor"]
METHODS: tuple[Method, ...] = ("zca", "zca_cor", "pca", "pca_cor")
Array: TypeAlias = NDArray[np.floating[Any]]


@final
class Whitener(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn carries no types
    r"""Whiten columns, so that the transformed data have covariance I.

    With mean $m$, covariance $S = U \Lambda U^T$, variances $V = \mathrm{diag}(S)$ and correlations
    $P = V^{-1/2} S V^{-1/2} = G \Theta G^T$ the transform is $y = W (x - m)$. `method` chooses $W$:

    - `zca`: $U \Lambda^{-1/2} U^T$ gives the whitened data nearest to the data in squared distance;
    - `zca_cor`: $G \Theta^{-1/2} G^T V^{-1/2}$ gives those nearest to the standardised data; use it for columns of
      different units;
    - `pca`: $\Lambda^{-1/2} U^T$ gives principal components in order of falling variance;
    - `pca_cor`: $\Theta^{-1/2} G^T V^{-1/2}$ gives those of the standardised data.

    Directions without variance (constant columns, copies, fewer samples than columns) are zero in the output, not NaN:
    $W$ is a pseudo-inverse, and `rank_` is the number of the other directions. $W$ amplifies the noise of directions
    with little variance; `shrinkage` damps them: $S \leftarrow (1 - \rho) S + \rho\, \mathrm{tr}(S) / d\; I$.

    `partial_fit` takes one batch at a time: mean and covariance are exact, however the samples are divided into
    batches, and equal to those of `fit` on all samples. With `memory` a sample that is $a$ samples old has the weight
    $(1 - 1 / \text{memory})^a$.

    Sources: Kessy, Lewin and Strimmer (2018), Optimal whitening and decorrelation, doi:10.1080/00031305.2016.1277159
    (methods); Chan, Golub and LeVeque (1983), doi:10.1080/00031305.1983.10483115 (batches); Chen, Wiesel, Eldar and
    Hero (2010), doi:10.1109/TSP.2010.2053029 (shrinkage `oas`).

    Cost: $n d^2$ for $n$ samples of $d$ columns; $10 d^3$ at the first transform after new samples.

    Args:
        method: Kind of whitening, as above.
        shrinkage: $\rho$ between 0 and 1; `oas` computes the oracle approximating shrinkage from $S$ and the number of
            samples.
        memory: Number of samples after which the weight has fallen to 1/e, above 1; None gives all samples the same
            weight.

    Attributes:
        mean_: Mean of the columns, shape (columns,), units of the data.
        covariance_: Covariance before shrinkage, shape (columns, columns), squared units of the data.
        whitening_: $W$, shape (columns, columns).
        coloring_: Pseudo-inverse of $W$, shape (columns, columns).
        rank_: Number of directions that have variance.
        shrinkage_: Value of $\rho$ in use.
        n_samples_seen_: Number of samples seen.
        n_features_in_: Number of columns.

    Raises:
        InvalidValue: An argument is out of range, or variances leave the range of float64; raised by `fit`.
        ValueError: scikit-learn refuses the data: NaN, infinite values, another number of columns.

    Example:
        >>> import numpy as np
        >>> generator = np.random.default_rng(0)
        >>> x = generator.normal(size=(500, 3)) @ np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 0.1]])
        >>> y = Whitener().fit_transform(x)
        >>> bool(np.allclose(np.cov(y.T), np.eye(3)))
        True
    """

    def __init__(
        self, method: Method = "zca", *, shrinkage: float | Literal["oas"] = 0.0, memory: float | None = None
    ) -> None:
        self.method = method
        self.shrinkage = shrinkage
        self.memory = memory

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Compute mean and covariance of these samples, and forget those of earlier calls.

        Args:
            X: Samples, shape (samples, columns), at least two.
            y: Not used; pipelines pass it.

        Returns:
            This object.

        Raises:
            InvalidValue: As in the class.
            ValueError: As in the class, and fewer than two samples.
        """
        return self._learn(X, afresh=True, least=2)

    def partial_fit(self, X: ArrayLike, y: object = None) -> Self:
        """Update mean and covariance, so that they are those of these samples and of the samples of earlier calls.

        Args:
            X: Samples, shape (samples, columns); one is enough, but a covariance needs two in all.
            y: Not used; pipelines pass it.

        Returns:
            This object.

        Raises:
            InvalidValue: As in the class.
            ValueError: As in the class.
        """
        return self._learn(X, afresh=not hasattr(self, "mean_"))

    def transform(self, X: ArrayLike) -> Array:
        r"""Whiten every sample, $y = W (x - m)$. Cost: $n d^2$.

        Args:
            X: Samples, shape (samples, columns).

        Returns:
            Whitened samples, of the same shape; float32 stays float32.

        Raises:
            ValueError: As in the class, or no sample was fitted yet.
        """
        check_is_fitted(self)
        samples = self._validated(X)
        whitened: Array = (samples - self.mean_) @ self.whitening_.T
        return whitened.astype(samples.dtype, copy=False)

    def inverse_transform(self, X: ArrayLike) -> Array:
        r"""Samples that `transform` maps to the given ones, $x = W^+ y + m$; directions without variance get the mean.

        Args:
            X: Whitened samples, shape (samples, columns).

        Returns:
            Samples, of the same shape.

        Raises:
            InvalidValue: Another shape.
            ValueError: No sample was fitted yet.
        """
        check_is_fitted(self)
        whitened = np.asarray(X)
        if whitened.ndim != 2 or whitened.shape[1] != self.n_features_in_:
            raise InvalidValue(f"X has the shape {whitened.shape}; give (samples, {self.n_features_in_}).")
        kind = whitened.dtype if whitened.dtype == np.float32 else np.dtype(np.float64)
        samples: Array = whitened @ self.coloring_.T + self.mean_
        return samples.astype(kind, copy=False)

    def get_feature_names_out(self, input_features: Sequence[str] | None = None) -> NDArray[np.object_]:
        """Names of the columns of the output: those of the input (`zca`), or `whitener0`, `whitener1`, ... (`pca`).

        Args:
            input_features: Names of the columns of the input; needed only if the fitted data had none.

        Returns:
            Names, shape (columns,).
        """
        check_is_fitted(self)
        if self.method.startswith("zca"):
            names: NDArray[np.object_] = _check_feature_names_in(self, input_features)
            return names
        return np.array([f"whitener{number}" for number in range(self.n_features_in_)], dtype=object)

    @property
    def covariance_(self) -> NDArray[np.float64]:
        """Covariance of the samples seen, weighted by `memory`, before shrinkage."""
        check_is_fitted(self, "mean_")
        # n - 1 if all samples have the same weight.
        freedom = self._weight - self._squared_weight / self._weight
        return self._scatter / freedom if freedom > 0 else np.zeros_like(self._scatter)

    @property
    def whitening_(self) -> NDArray[np.float64]:
        """Matrix $W$ that whitens."""
        return self._solved()[0]

    @property
    def coloring_(self) -> NDArray[np.float64]:
        """Pseudo-inverse of $W$, which maps whitened samples back."""
        return self._solved()[1]

    @property
    def rank_(self) -> int:
        """Number of directions that have variance."""
        return self._solved()[2]

    @property
    def shrinkage_(self) -> float:
        """Value of the shrinkage in use."""
        if self.shrinkage != "oas":
            return float(self.shrinkage)
        return _oas(self.covariance_, self._weight**2 / self._squared_weight)

    def _check(self) -> None:
        checks.refuse(
            "Whitener",
            checks.word("method", self.method, METHODS),
            None if self.shrinkage == "oas" else checks.number("shrinkage", self.shrinkage, least=0, most=1),
            None if self.memory is None else checks.number("memory", self.memory, above=1),
        )

    def _validated(self, X: ArrayLike, reset: bool = False, least: int = 1) -> Array:
        samples: Array = validate_data(self, X, dtype=[np.float64, np.float32], reset=reset, ensure_min_samples=least)
        return samples

    def _learn(self, X: ArrayLike, afresh: bool, least: int = 1) -> Self:
        self._check()
        samples = self._validated(X, reset=afresh, least=least)
        if afresh:
            self._forget(samples.shape[1])
        return self._take(samples)

    def _forget(self, columns: int) -> None:
        self.mean_ = np.zeros(columns)
        self.n_samples_seen_ = 0
        self._scatter = np.zeros((columns, columns))
        self._weight = self._squared_weight = 0.0

    def _take(self, samples: Array) -> Self:
        rows = samples.astype(np.float64)
        ages = np.arange(len(rows))[::-1]
        keep = 1.0 if self.memory is None else 1 - 1 / self.memory
        weights = keep**ages
        old = self._weight * keep ** len(rows)
        with np.errstate(over="ignore", invalid="ignore"):
            # Sums are taken about the first sample, so that large values near each other lose no digits.
            start = rows[0]
            mean = start + weights @ (rows - start) / weights.sum()
            apart, moved = rows - mean, mean - self.mean_
            scatter = (apart * weights[:, None]).T @ apart
            total = old + weights.sum()
            scatter += self._scatter * keep ** len(rows) + np.outer(moved, moved) * (old * weights.sum() / total)
        variances = scatter.diagonal()
        # Below the smallest normal number squares lose digits; a small sum may also be that of forgotten samples.
        span, least = np.ptp(rows, axis=0), np.finfo(np.float64).tiny
        lost = (span > 0) & (span < 2 * least**0.5) & (variances < least)
        wrong = np.flatnonzero(~np.isfinite(variances) | lost)
        if len(wrong):
            raise InvalidValue(
                f"column {wrong[0]} varies by {span[wrong[0]]:.3g}, whose square leaves the range of "
                "float64: give it in another unit."
            )
        self.mean_ = self.mean_ + moved * (weights.sum() / total)
        self._scatter, self._weight = scatter, total
        self._squared_weight = self._squared_weight * keep ** (2 * len(rows)) + float(weights @ weights)
        self.n_samples_seen_ += len(rows)
        # A list of one entry: transform fills it and sets no attribute, as scikit-learn requires.
        self._found: list[tuple[NDArray[np.float64], NDArray[np.float64], int]] = []
        return self

    def _solved(self) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        check_is_fitted(self, "mean_")
        if not self._found:
            covariance, columns = self.covariance_, self.n_features_in_
            shrinkage = self.shrinkage_
            mean_variance = (covariance.diagonal() / columns).sum()  # no sum that could overflow
            covariance = (1 - shrinkage) * covariance + shrinkage * mean_variance * np.eye(columns)
            scale = np.ones(columns)
            if self.method.endswith("_cor"):
                # A constant column has no scale: its output stays zero.
                scale = np.sqrt(covariance.diagonal())
                scale[scale == 0] = 1.0
            powers, directions = np.linalg.eigh(covariance / np.outer(scale, scale))
            powers, directions = powers[::-1], directions[:, ::-1]
            # The sign of an eigenvector is arbitrary: its largest entry is made positive.
            largest = directions[np.abs(directions).argmax(axis=0), np.arange(columns)]
            directions = directions * np.where(largest < 0, -1.0, 1.0)
            present = powers > columns * np.finfo(np.float64).eps * max(powers[0], 0.0)
            roots = np.sqrt(powers, where=present, out=np.zeros(columns))
            inverse = np.divide(1.0, roots, where=present, out=np.zeros(columns))
            whitening = inverse[:, None] * directions.T / scale
            coloring = scale[:, None] * directions * roots
            if self.method.startswith("zca"):
                whitening, coloring = directions @ whitening, coloring @ directions.T
            self._found.append((whitening, coloring, int(present.sum())))
        return self._found[0]


def _oas(covariance: NDArray[np.float64], samples: float) -> float:
    # Equation 23 of Chen et al.: with s = tr S^2 and p = tr^2 S,
    # rho = ((1 - 2 / d) s + p) / ((n + 1 - 2 / d) (s - p / d)), at most one.
    columns = len(covariance)
    largest = float(covariance.diagonal().max())
    if largest == 0:
        return 1.0
    covariance = covariance / largest  # rho does not depend on the scale, whose fourth power may leave the range
    power, square = float(np.trace(covariance)) ** 2, float(np.sum(covariance**2))
    above = (1 - 2 / columns) * square + power
    below = (samples + 1 - 2 / columns) * (square - power / columns)
    return 1.0 if below <= above else above / below
