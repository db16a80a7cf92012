"""The synthetic exchange: seeded sessions with a known answer.

Begin at `simulate`.

    simulate        raw files of the exchange, as a vendor would deliver them
    days            prices and events from day to day
    day_bars        daily bars without minutes
    styles          latent intraday styles, invisible in any daily total
    lottery         styles that a seed draws, beside the planted ones
    prices          the price path of a session
    bends           prices that a style changes and no daily price shows
    quotes          bars and mean prices of a session's rows
    minutes         the day's volume over the minutes
    spreads         whole numbers by weight, within bounds, at a given mean price
    flows           trades, taker sides, order sizes
    orders          orders entered and cancelled
    tables          raw tables as delivered, including late and wrong first copies
    defects         the defects of a real feed
    ideals          the best single-session estimate of every style
    lottery_ideals  the same for the styles of a lottery
    ticks           Level-2 orders, trades and cancels of one symbol
    tape            ticks as both exchanges publish them

Imports: fpm.
"""
