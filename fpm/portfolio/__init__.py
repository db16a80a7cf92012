"""Scores become index-enhanced portfolios: a decision from the book, its fills, its marks.

Begin at `decide`.

    mandate      what one index's portfolio may do, from the manager's file
    restrictions what may not be bought, traded or held
    custody      the real book, and what it has more or less than the simulated one
    instructions approvals and holds
    decide       from the book and what is known of every name to shares to hold
    unpriced     members of the index that never had a bar
    problem      one rebalance: what is held, what may be traded, which bounds hold
    rows         rows and columns of the rebalance as a cone program
    program      the program for Clarabel
    sifting      the program over the whole market at the price of the names that matter
    duals        prices of the bounds at an optimum, name by name
    duality      by how much any portfolio within the bounds could beat the one at hand
    solve        weights within the bounds, or the bounds that conflict and the least slack
    second_solver a decision's optimum found again by another solver, or proven by its duality gap, on a sample
    lots         whole lots, bounds measured after rounding
    lot_search   single lots, moved until no bound is broken that lots can keep
    costs        dated rows of a rate and a least amount per side, to the cent
    book         whole shares, cash in cents, splits, dividends, delistings
    fills        orders of a session become trades within the exchange's rules
    reasons      orders of a decision: expected cost, and the term that speaks for each
    session      one session of one portfolio, the rows of a decision
    attribution  where an excess return came from: factors, specific, costs, blocked trades
    attribution_walk the same of many sessions at once
    performance  the six figures of the report

Imports: fpm, fpm.evaluation, fpm.risk.
"""
