"""Minute features, labels and traditional factors, as pure functions of bars.

Begin at `minute_features`.

    bars                  the dense grid of a session, and the values of a minute without a trade
    bar_flows             formulas of the features that need only bars
    minute_features       the 32 standardised features of every minute
    session_totals        trailing totals: the scales that features are divided by
    labels                the forward returns that evaluate scores
    running_daily         the daily rows of a session that still trades
    daily_panel           daily bars of many symbols as arrays
    daily_factors         twenty classic factors and Alpha158
    alpha158              the 158 factors of Qlib's definition
    factor_columns        the factors that a model reads, named in one line
    intraday_statistics   hand-made statistics of a session

Imports: fpm.
"""
