"""The run engine's numbers in Prometheus' text format."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from core.engine_state import EngineState


def render_metrics(state: EngineState) -> bytes:
    registry = CollectorRegistry()
    registry.register(_StateCollector(state))
    return generate_latest(registry)


class _StateCollector(Collector):
    """One look at the database: all its series are of the same moment."""

    def __init__(self, state: EngineState) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        yield from self._describe_queues()
        yield from self._describe_runs()
        yield from self._describe_workers()
        yield GaugeMetricFamily(
            "bitune_pending_deletions",
            "Prefixes that have still to leave the store",
            value=self._state.pending_deletions,
        )

    def _describe_queues(self) -> Iterator[Metric]:
        depth = GaugeMetricFamily("bitune_queue_runs", "Queued runs", labels=["queue", "claimable"])
        wait = GaugeMetricFamily("bitune_queue_longest_wait_seconds", "Since the oldest was queued", labels=["queue"])
        hint = GaugeMetricFamily(
            "bitune_queue_oldest_hint_seconds",
            "Since the last hint for a claimable run; far above 30 s no worker sweeps",
            labels=["queue"],
        )
        for queue in self._state.waiting:
            depth.add_metric([queue.queue, "yes"], queue.claimable)
            depth.add_metric([queue.queue, "no"], queue.runs - queue.claimable)
            wait.add_metric([queue.queue], queue.longest_wait)
            hint.add_metric([queue.queue], queue.oldest_hint)
        yield from (depth, wait, hint)

    def _describe_runs(self) -> Iterator[Metric]:
        running = GaugeMetricFamily("bitune_running_runs", "Runs that a worker holds", labels=["kind"])
        for kind, count in self._state.running.items():
            running.add_metric([kind], count)
        ended = CounterMetricFamily("bitune_ended_runs", "Runs that ended", labels=["kind", "status"])
        for (kind, status), count in self._state.ended.items():
            ended.add_metric([kind, status], count)
        failed = CounterMetricFamily("bitune_failed_runs", "Failed runs by their reason", labels=["kind", "code"])
        for (kind, code), count in self._state.failures.items():
            failed.add_metric([kind, code], count)
        attempts = CounterMetricFamily("bitune_attempts", "Attempts that ended", labels=["outcome"])
        for outcome, count in self._state.attempts.items():
            attempts.add_metric([outcome], count)
        yield from (running, ended, failed, attempts)

    def _describe_workers(self) -> Iterator[Metric]:
        beat = GaugeMetricFamily(
            "bitune_worker_heartbeat_age_seconds", "Since the worker's last beat", labels=["worker", "queue"]
        )
        gpus = GaugeMetricFamily("bitune_worker_gpus", "GPUs of the worker", labels=["worker", "queue"])
        for worker in self._state.workers:
            beat.add_metric([worker.worker_id, worker.queue], worker.seconds_ago)
            gpus.add_metric([worker.worker_id, worker.queue], worker.gpus)
        yield from (beat, gpus)
