"""What the return of a portfolio may deviate by: a factor model of one session's returns.

Begin at `model`.

    model           the covariance of one session: exposures, factor covariance, specific variances
    market_panel    daily bars of a whole market as arrays: returns, size, turnover, industry
    styles          the six CNE5 styles of every name and session
    factor_returns  the regression of a session's returns on the exposures of the evening before
    history         factor returns and residuals of many sessions, computed or read back from rows
    covariance      covariance of the factors from their returns
    specific        specific variances from the residuals
    estimate        the model of a session, and the settings of its estimation
    half_lives      what a mandate may set of them
    stored          models and their evidence as stored rows
    forecast_test   whether portfolios moved as much as the model said
    nights          a night's test portfolios: predicted by the decision's model, realised in the session
    bias            the same from stored nights: B of a trailing window, and its band for a perfect model
    switches        whether each switch pays, from the forecast test's rows with and without it
    ablation        the switches of the model, one at a time, judged by the forecast test

Imports: fpm.
"""
