"""Parquet by session, replaced by rename only, and small files beside it.

Begin at `files`.

    files         the partitions: read, stage, rename
    checksums     checksums by column, inside each file
    small_files   small files that appear whole or not at all
    quarantine    refused rows and files
    tick_buckets  a day of ticks by symbol, larger than memory

Imports: fpm.
"""
