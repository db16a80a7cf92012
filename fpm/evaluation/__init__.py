"""The figures of a factor and their confidence intervals.

Begin at `evaluate`.

    evaluate   every figure of one factor
    figures    the figures as plain data
    labelled_panel scores and labels on common axes, with what else figures need
    breakdown  RankIC by year, month, industry, size, lag and basis
    costs      the long-short portfolio after costs, and its capacity
    group_books two books of score groups after costs
    pooling    one estimate from several
    outer_names highest and lowest scores of one session
    comparison two factors on the same sessions and symbols
    rank_ic    rank correlation of scores and forward returns
    groups     membership, returns and turnover of score groups
    long_short top group minus bottom group on the weekly grid
    sharpe     probabilistic and deflated Sharpe ratios
    intervals  Newey-West and block-bootstrap intervals
    execution  execution bases, and names that could be bought
    neutral    residuals of scores on industries and styles
    analogues  the most similar stock-days and their outcomes
    conformal  intervals of a score's forward rank that cover
    coverage   how often such an interval held, by part
    drift      today's vectors beside those of a training window
    peers      a ridge regression and LightGBM on the scorer's inputs

Imports: fpm.
"""
