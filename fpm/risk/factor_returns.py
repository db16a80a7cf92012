"""Factor returns of a session: weighted least squares of its returns on the exposures known the evening before.

Model: Menchero, Orr, Wang 2011, "USE4 Methodology Notes", section 4: a country factor, industries, styles; weights
proportional to the square root of size; industry returns weighted by size sum to zero. The score, standardised, may be
one more factor: what all high scores share is risk that no style carries.
Shapes: N symbols, K factors, S styles, I industries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fpm.cross_section import mad_winsorise, z_score
from fpm.schema import STYLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm.panels import Floats, Integers
    from fpm.risk.market_panel import Bools

COUNTRY, SCORE, INDUSTRY = "country", "score", "industry:"
DETERMINED = 0.9  # leverage above which a name sets its factor's return itself and its residual says nothing


@dataclass(frozen=True)
class CrossSection:
    """One session's regression.

    `return_K`: NaN where no name had the factor. `noise_K`: variance of its estimation error. `residual_N`: return less
    the factors' share, NaN without a return and above `DETERMINED`. `leverage_N`: 0 for names that the regression did
    not use.
    """

    return_K: Floats
    noise_K: Floats
    residual_N: Floats
    leverage_N: Floats


def factor_names(industries: Sequence[str], score: bool) -> tuple[str, ...]:
    """Names of the K factors, in the order of the exposures' columns."""
    return (COUNTRY, *(INDUSTRY + name for name in industries), *STYLES, *([SCORE] if score else []))


def exposures(
    style_NS: Floats, industry_N: Integers, industries: Sequence[str], score_N: Floats | None = None
) -> Floats:
    """Exposures (N, K): 1 to the country, 1 to the own industry, the styles, the score if there is one."""
    belongs_NI = (industry_N[:, None] == np.arange(len(industries))).astype(float)
    columns = [np.ones((len(style_NS), 1)), belongs_NI, style_NS]
    return np.hstack(columns if score_N is None else [*columns, standard_score(score_N)[:, None]])


def standard_score(score_N: Floats) -> Floats:
    """The score as an exposure: winsorised, mean 0 and deviation 1 over the names; 0 without one or where all agree."""
    finite_N = np.where(np.isfinite(score_N), score_N, np.nan)
    return np.nan_to_num(z_score(mad_winsorise(finite_N)))


def pure_portfolios(exposure_NK: Floats, cap_N: Floats, names: Sequence[str]) -> Floats:
    """Weights (K, N) whose returns are the factor returns: exposure 1 to their own factor and 0 to every other.

    `cap_N`: size, 0 for names outside the regression. Industries are constrained by the substitution f = R g of
    Menchero, Orr, Wang 2011, so that Σ size x industry return = 0. A factor that no name has is a row of zeros; factors
    that the names cannot tell apart share their return (Moore-Penrose).
    """
    basis_KG = _constraint(exposure_NK, cap_N, names)
    x_NG = exposure_NK @ basis_KG
    weighted_GN = (x_NG * np.sqrt(cap_N)[:, None]).T
    normal_GG = weighted_GN @ x_NG
    scale_G = np.sqrt(np.diag(normal_GG))
    scale_G[scale_G == 0] = 1.0
    inverse_GG = np.linalg.pinv(normal_GG / np.outer(scale_G, scale_G), rcond=1e-10, hermitian=True)
    weights_KN: Floats = basis_KG @ (inverse_GG @ (weighted_GN / scale_G[:, None]) / scale_G[:, None])
    return weights_KN


def cross_section(
    return_N: Floats, exposure_NK: Floats, cap_N: Floats, names: Sequence[str], seasoned_N: Bools | None = None
) -> CrossSection:
    """Regression of a session's returns on the exposures and sizes of the session before.

    `seasoned_N`: names that may enter the regression; the others get a residual all the same. The noise is White's,
    Σ p² u² / (1 - h) with p the factor's portfolio (HC2: MacKinnon and White 1985), which is unbiased where residual
    variances are as the weights say and robust where not.
    """
    known_N = np.isfinite(return_N)
    used_N = known_N & (np.nan_to_num(cap_N) > 0) & (True if seasoned_N is None else seasoned_N)
    size_N = np.where(used_N, np.nan_to_num(cap_N), 0.0)
    if not used_N.any():
        empty_K = np.full(len(names), np.nan)
        return CrossSection(empty_K, empty_K, np.full(len(return_N), np.nan), np.zeros(len(return_N)))
    pure_KN = pure_portfolios(exposure_NK, size_N, names)
    return_K = pure_KN @ np.nan_to_num(return_N)
    leverage_N = np.einsum("nk,kn->n", exposure_NK, pure_KN)
    leverage_N = np.clip(leverage_N, 0.0, 1.0)
    residual_N = np.where(known_N & (leverage_N <= DETERMINED), return_N - exposure_NK @ return_K, np.nan)
    noise_K = np.square(pure_KN) @ (np.square(np.nan_to_num(residual_N)) / np.maximum(1 - leverage_N, 1 - DETERMINED))
    absent_K = ~(np.abs(exposure_NK[used_N]) > 0).any(axis=0)
    return CrossSection(
        np.where(absent_K, np.nan, return_K), np.where(absent_K, np.nan, noise_K), residual_N, leverage_N
    )


def _constraint(exposure_NK: Floats, cap_N: Floats, names: Sequence[str]) -> Floats:
    """Basis (K, G) of the factor returns that meet the constraint: all but the largest industry are free."""
    identity_KK = np.eye(len(names))
    industry_I = np.array([k for k, name in enumerate(names) if name.startswith(INDUSTRY)])
    total_I = cap_N @ exposure_NK[:, industry_I]
    largest = int(np.argmax(total_I))
    dependent = industry_I[largest]
    identity_KK[dependent, industry_I] = -total_I / total_I[largest]
    return np.delete(identity_KK, dependent, axis=1)
