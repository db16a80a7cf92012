"""The figures of a factor and their confidence intervals.

Begin at `evaluate`.

    evaluate   every figure of one factor
    figures    the figures as plain data
    comparison two factors on the same sessions and symbols
    rank_ic    rank correlation of scores and forward returns
    groups     membership, returns and turnover of score groups
    long_short top group minus bottom group on the weekly grid
    sharpe     probabilistic and deflated Sharpe ratios
    intervals  Newey-West and block-bootstrap intervals
    execution  execution bases, and names that could be bought
    neutral    residuals of scores on industries and styles
    analogues  the most similar stock-days and their outcomes
    drift      today's vectors beside those of a training window
    peers      a ridge regression and LightGBM on the scorer's inputs

Imports: fpm.
"""
