"""Checks that no value knows its future.

Begin at `checks`.

    checks   the past must not change when the future does
    records  clocks, births, folds and look-backs of stored rows
    scores   shuffled labels, shifted calendars, the sessions of a label

Imports: fpm, fpm.evaluation.
"""
