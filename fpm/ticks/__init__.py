"""Level-2 trades and orders become minute flows, by the rules of each exchange.

Begin at `minute_flows`.

    tape            records of both exchanges under one set of columns
    files           Level-2 files as vendors deliver them
    records         a batch of vendor rows as tape, and the rows that may not enter it
    sequence        duplicates, clocks that run back, missing sequence numbers
    outages         minutes for which a channel lacks numbers
    shanghai        aggressors by flag; original quantities rebuilt
    shenzhen        aggressors by order number; cancels are trade records
    events          trades with their aggressor, orders, cancels
    flows           events as minute bars with every flow leg
    minute_flows    one session of some symbols, from tape to minute flows
    snapshots       the exchange's counters, and which of them are odd
    depth           books that no exchange shows
    reconciliation  sums of the trades against the exchange's totals
    report          the account of a delivery of ticks

Imports: fpm, fpm.ingest.
"""
