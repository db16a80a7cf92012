"""Vendor files become typed rows of the lake, or are refused in words.

Begin at `vendor_bars`.

    deliveries     folders and files of a delivery, in batches by session
    vendor_files   one file of a vendor: digest, first look at its bytes, refusal
    table_files    any table of a vendor, Parquet or CSV, within limits
    decoder        files decoded in a child process with limits of memory and time
    decoder_process  the child
    time_spellings   the spellings of a time in text files
    columns        a file's columns under our names, by synonym
    bar_files      bar files (Parquet, CSV) as typed columns
    cells          cells of a column as days, moments, numbers, text
    daily_files    daily bars and index members
    index_weights  weights of an index in shares of one
    member_intervals  an index's members from first to last day, as snapshots
    score_files    scores from outside
    vector_files   another encoder's vectors
    table_kinds    what a file is, by its columns
    symbol_files   who a symbol is: its companies and their days
    custody_files  the book of an index as the custodian says it
    restriction_files  what may not be bought, or not be held
    agreement      daily tables beside the minutes of the same sessions
    stamps         time stamps of a file: exchange-local, none in the future, their sessions
    stamp_side     the side of a bar that its stamp names, by every edge of the session
    units          unit of volume and price basis, by symbol and session
    scales         prices that look scaled beside the close before
    price_jumps    prices that the limits of their board do not allow
    conventions    stamp side, calls, unit of volume and price basis of one file
    slots          bars in the slots of their sessions
    vendor_bars    one file of bars as rows of the lake; several files together
    signed_deliveries  a delivery whose list of files somebody signed
    session_holes  minutes that a part of the market lacks
    quarantine     rows that may not enter the lake, each with one reason
    revisions      corrections: a stored partition keeps every version
    balance        every row by file and session: stored, quarantined, deduplicated, out of session
    ingest_report  the account of a delivery: rows in = rows out + quarantined + deduplicated

Imports: fpm, fpm.features.
"""
