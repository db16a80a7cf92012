"""What the return of a portfolio may deviate by: a factor model of one session's returns.

Begin at `model`.

    model  the covariance of one session: exposures, factor covariance, specific variances

Imports: fpm.
"""
