"""Vendor files become typed rows of the lake, or are refused in words.

Begin at `vendor_bars`.

    deliveries     folders and files of a delivery, in batches by session
    bar_files      bar files (Parquet, CSV) as typed columns
    daily_files    daily bars and index members
    conventions    stamp side, calls, unit of volume and price basis, decided from the bars
    vendor_bars    bars in their slots of the session
    quarantine     rows that may not enter the lake, each with one reason
    revisions      corrections: a stored partition keeps every version
    ingest_report  the account of a delivery: rows in = rows out + quarantined + deduplicated

Imports: fpm, fpm.features.
"""
