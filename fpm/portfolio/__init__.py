"""Scores become index-enhanced portfolios.

Begin at `optimise`.

    risk      covariance of daily returns, exposure to size
    optimise  weights within the index's bounds
    backtest  fills, costs and the six figures of the report

Imports: fpm, fpm.evaluation.
"""
