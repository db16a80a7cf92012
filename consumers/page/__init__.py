"""What the views of `fpm page` show, gathered from a home that is only read.

Begin at `served`.

    served    the scores as served and what followed, as panels
    factor    figures of the factor as labels mature
    names     one symbol, and the search for one
    likes     its fingerprint explained, and its nearest stock-days
    portfolio the portfolios of a session
    lineage   a partition's attempt, inputs, models, readers
    answers   answers kept by what they were made of

Imports: consumers, consumers.questions, fpm, fpm.evaluation, fpm.page, fpm.report, fpm.store.jobs, fpm.store.lake,
fpm.store.ledger.
"""
