"""Parquet by session, replaced by rename only, and small files beside it.

Begin at `files`.

    files         the partitions: read, stage, rename
    checksums     checksums by column, inside each file
    footers       rows and nulls, without reading a value
    seals         a file is the one that the ledger published, or it is refused
    small_files   small files that appear whole or not at all
    quarantine    refused rows and files
    inbox         deliveries that appear in a folder, and their way out of it
    tick_buckets  a day of ticks by symbol, larger than memory

Imports: fpm, fpm.store.
"""
