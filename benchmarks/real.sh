#!/usr/bin/env bash
# The chain on real bars, through the command line alone: raw files to report, then a linear model and LightGBM on the
# same folds. Usage: real.sh DATA [HOME_PREFIX]; of the folders below, those that DATA holds.
set -euo pipefail
data=$1
prefix=${2:-.fpm-real}

chain() {  # name, market, preset, first out-of-sample session, last session, deliveries...
    local name=$1 market=$2 preset=$3 first=$4 last=$5
    shift 5
    export FPM_HOME=$prefix-$name
    echo "== $name"
    fpm setup --market "$market" --preset "$preset"
    fpm ingest "$@" --market "$market"
    fpm walk-forward "$first" "$last"
    fpm enhance ALL "$first" "$last"
    fpm run publish "$last"
    fpm run parity "$last"
    fpm evaluate
    fpm evaluate peers
    fpm report
    fpm status
}

if [ -d "$data/us_equity_1min_2018" ]; then
    chain us us short 2018-04-02 2018-04-20 "$data"/us_equity_1min_2018/bars-*.parquet
fi
if [ -d "$data/a_share_15min_2025" ]; then
    python "$(dirname "$0")/a_share_daily.py" "$data/a_share_15min_2025" "$prefix-cn15/delivery"
    chain cn15 cn15 demo 2025-07-01 2026-04-01 "$prefix-cn15/delivery"
fi
if [ -d "$data/crypto_1min_usdm_perp" ]; then
    chain crypto crypto short 2025-02-01 2025-02-28 "$data"/crypto_1min_usdm_perp/bars-*.parquet
fi
if [ -d "$data/nse_equity_15min_2024_2025" ]; then  # the last fifth of both panels stays unlooked at
    python "$(dirname "$0")/first_sessions.py" "$data"/nse_equity_15min_2024_2025/*.parquet "$prefix-nse15/first.parquet"
    chain nse15 nse15 short 2025-03-03 2025-05-27 "$prefix-nse15/first.parquet"
fi
if [ -d "$data/crypto_5min_spot_2022_2023" ]; then
    python "$(dirname "$0")/first_sessions.py" "$data"/crypto_5min_spot_2022_2023/bars-*.parquet "$prefix-crypto5/first.parquet"
    chain crypto5 crypto5 short 2023-05-01 2023-07-03 "$prefix-crypto5/first.parquet"
fi
