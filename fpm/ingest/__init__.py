"""Vendor files become typed rows of the lake, or are refused in words.

Begin at `vendor_bars`.

    deliveries     folders and files of a delivery, in batches by session
    vendor_files   one file of a vendor: digest, first look at its bytes, refusal
    columns        a file's columns under our names, by synonym
    bar_files      bar files (Parquet, CSV) as typed columns
    daily_files    daily bars and index members
    stamps         time stamps of a file: exchange-local, none in the future, their sessions
    conventions    stamp side, calls, unit of volume and price basis, detected from the bars
    vendor_bars    bars in their slots of the session
    quarantine     rows that may not enter the lake, each with one reason
    revisions      corrections: a stored partition keeps every version
    ingest_report  the account of a delivery: rows in = rows out + quarantined + deduplicated

Imports: fpm, fpm.features.
"""
