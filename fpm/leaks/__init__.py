"""Checks that no value knows its future.

Begin at `checks`.

    checks   the past must not move when the future does
    records  clocks, births, folds and windows of stored rows
    scores   shuffled labels, shifted calendars, a label's own sessions

Imports: fpm, fpm.evaluation.
"""
