"""Newey-West standard errors by their definition, for tests."""

from math import sqrt


def slow_newey_west(values, lags):
    """Newey and West (1987) by the double sum of its definition."""
    count, mean = len(values), sum(values) / len(values)
    total = 0.0
    for i in range(count):
        for j in range(count):
            if abs(i - j) <= lags:
                total += (1 - abs(i - j) / (lags + 1)) * (values[i] - mean) * (values[j] - mean)
    return sqrt(total) / count
