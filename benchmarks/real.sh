#!/usr/bin/env bash
# The chain on real bars, through the command line alone: raw files to report. Usage: real.sh DATA [HOME_PREFIX]
set -euo pipefail
data=$1
prefix=${2:-.fpm-real}

chain() {  # name, market, first out-of-sample session, last session, bar files...
    local name=$1 market=$2 first=$3 last=$4
    shift 4
    export FPM_HOME=$prefix-$name
    fpm setup --market "$market" --preset short
    fpm ingest "$@" --market "$market"
    for job in session_totals minute_features daily_factors labels; do
        fpm backfill "$job" "$begin" "$last"
    done
    fpm walk-forward "$first" "$last"
    fpm enhance ALL "$first" "$last"
    fpm run publish "$last"
    fpm run parity "$last"
    fpm evaluate
    fpm report
    fpm status
}

begin=2018-02-16
chain us us 2018-04-02 2018-04-20 "$data"/us_equity_1min_2018/bars-*.parquet
begin=2023-02-01
chain crypto crypto 2025-02-01 2025-02-28 "$data"/crypto_1min_usdm_perp/bars-*.parquet
