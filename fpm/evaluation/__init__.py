"""How good a factor is, and how sure one can be of it.

Begin at `evaluate`.

    evaluate   every figure of one score stream
    figures    the figures as plain data
    rank_ic    rank correlation of scores and forward returns
    groups     portfolios by score group
    long_short top group minus bottom group on the weekly grid
    sharpe     probabilistic and deflated Sharpe ratios
    intervals  Newey-West and block-bootstrap intervals
    execution  bases of execution; names that could be bought
    neutral    scores without industries and styles
    analogues  the stock-days most like one, and what happened next
    peers      a ridge regression and LightGBM on the scorer's inputs

Imports: fpm, fpm.features.
"""
