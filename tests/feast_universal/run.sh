#!/usr/bin/env bash
# Feast's universal tests on our stores, then our own comparison with Feast's DuckDB store: run.sh PYTHON CHECKOUT.
# Which apply and why: docs/feast.md.
set -euo pipefail
python=$(realpath -s "$1")
here=$(cd "$(dirname "$0")" && pwd)
cd "$2/sdk/python"

# A `feast` package of the checkout must not hide the installed one, so the tests run in a folder of their own.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ln -s "$PWD/tests" "$work/tests"
cp pytest.ini "$work"
cd "$work"

export FEAST_IS_LOCAL_TEST=True FULL_REPO_CONFIGS_MODULE=fpm_stores PYTHONPATH="$work:$here" FEAST_USAGE=False
tests() { "$python" -m pytest -p no:cacheprovider -W ignore --override-ini=addopts= -q -rs --integration "$@"; }

as() { echo "== $1: $2"; export FEAST_UNIVERSAL_AS=$1; }
status=0
at=tests/integration

as postgres "historical frames, types, materialisation, online reads and writes"
tests -n "${FEAST_UNIVERSAL_WORKERS:-2}" "$at"/offline_store/test_universal_{historical_retrieval,types,materialization}.py \
    "$at"/online_store/test_universal_{online,e2e}.py "$at"/online_store/test_push_features_to_online_store.py \
    "$at"/materialization/test_universal_materialization.py \
    -k "not dynamo and not connection_pool and not non_entity_retrieval" || status=1

as redis "a write older than what is stored loses"
tests "$at"/online_store/test_universal_online.py -k "event_check or store_cleanup" || status=1

as sqlite "every type through the online store"
tests "$at"/online_store/test_universal_online_types.py || status=1

echo "== the same answers as Feast's DuckDB store"
cd "$here/../.."
"$python" -m pytest -p no:cacheprovider -W ignore -q tests/fpm/store/frames/test_offline_duckdb.py 2>&1 | grep -v "leaked\|nanobind\|remainder" || status=1
exit $status
