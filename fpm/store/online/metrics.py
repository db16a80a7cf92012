"""The figures of `serving.metrics` as Prometheus text: one query, one pass, nothing is computed here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.core import Metric

QUERY: LiteralString = "SELECT name, labels, value FROM serving.metrics ORDER BY name, labels::text"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
HELP = {
    "fpm_job_duration_seconds": "seconds of each job's newest published attempt",
    "fpm_job_rows": "rows that it wrote, of all versions",
    "fpm_job_last_success_timestamp_seconds": "when it ended",
    "fpm_attempts": "attempts in the ledger by job and status",
    "fpm_table_rows": "rows of each table's newest session in the lake, of all versions",
    "fpm_table_session_timestamp_seconds": "that session, as its midnight in UTC",
    "fpm_served_session_timestamp_seconds": "the session online, as its midnight in UTC",
    "fpm_served_age_seconds": "seconds since its publication",
    "fpm_served_stale_days": "calendar days since the session online",
    "fpm_served_symbols": "symbols with a score online by stream",
    "fpm_tracking_error_predicted": "tracking error a year that the newest decision of an index expects",
    "fpm_tracking_error_realised": "tracking error a year realised up to that decision",
    "fpm_tracking_error_cap": "bound of the mandate on it",
    "fpm_nights": "nights by state, as the newest look saw them",
    "fpm_open_steps": "steps of these nights that have not ended",
    "fpm_last_look_timestamp_seconds": "when schedule or nightly last looked: an old one means that nobody watches",
    "fpm_alerts_undelivered": "alerts that no channel took yet",
    "fpm_models": "models by kind and status",
    "fpm_null_share": "share of empty cells by table, newest session",
    "fpm_quarantined_rows": "quarantined rows of the newest session by table and code",
    "fpm_quarantined_rows_sum": "quarantined rows of the newest session",
    "fpm_universe_symbols": "symbols of the newest session by table: delivered, with a fingerprint, scored",
    "fpm_rank_ic": "RankIC of the scores as served, newest session whose labels are known, by stream",
    "fpm_rank_ic_mean": "its mean over the last 60 labelled sessions",
    "fpm_rank_ic_low": "lower end of the mean's 95 % band (Newey-West)",
    "fpm_rank_ic_high": "upper end of the band",
    "fpm_rank_ic_sessions": "labelled sessions in the mean",
    "fpm_fingerprint_drift": "squared MMD of the session's fingerprints from the training window, given volatility",
    "fpm_fingerprint_drift_band": "largest of the training window's own sessions against its others",
    "fpm_fingerprint_drift_covered": "share of symbols in bins of volatility that the training window knows",
    "fpm_disk_free_bytes": "bytes that were free on the disk of the home at the newest night",
    "fpm_disk_session_bytes": "bytes of a session in the lake, median of the last ones",
    "fpm_disk_full_days": "calendar days until that disk is full at their rate",
    "fpm_risk_bias": "bias statistic of the risk model's forecasts by index and kind of portfolio",
    "fpm_risk_low": "lower end of the band of a perfect model",
    "fpm_risk_high": "upper end of that band",
    "fpm_risk_share": "share of portfolios within their own band",
    "fpm_risk_share_low": "lower end of that share's band",
    "fpm_risk_share_high": "upper end of that share's band",
    "fpm_risk_sessions": "sessions of the test",
    "fpm_risk_windows": "windows of the test",
    "fpm_risk_inside": "1 where the bias lies in its band",
}


def exposition(rows: Iterable[tuple[str, dict[str, str], float]]) -> bytes:
    """Rows of `QUERY` in Prometheus' text format 0.0.4; a name without a help text has none to show."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(list(rows)))
    return bytes(generate_latest(registry))


class _Collector:
    """The rows as metric families, in order."""

    def __init__(self, rows: list[tuple[str, dict[str, str], float]]) -> None:
        self._rows = rows

    def describe(self) -> list[Any]:
        """Nothing before it is asked."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One family a name."""
        from prometheus_client.core import GaugeMetricFamily

        families: dict[str, GaugeMetricFamily] = {}
        for name, labels, value in self._rows:
            names = sorted(labels)
            family = families.setdefault(name, GaugeMetricFamily(name, HELP.get(name, ""), labels=names))
            family.add_metric([labels[key] for key in names], value)
        yield from families.values()
