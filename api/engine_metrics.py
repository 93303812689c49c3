"""The run engine's numbers in Prometheus' text format; docs/operations.md says what each means."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from core.engine_state import EngineState
from core.runs.types import QUEUES


def render_metrics(state: EngineState, *, storage_errors: int) -> bytes:
    """`storage_errors`: those of this process."""
    registry = CollectorRegistry()
    registry.register(_StateCollector(state, storage_errors))
    return generate_latest(registry)


class _StateCollector(Collector):
    def __init__(self, state: EngineState, storage_errors: int) -> None:
        self._state = state
        self._storage_errors = storage_errors

    def collect(self) -> Iterator[Metric]:
        yield from self._describe_queues()
        yield from self._describe_runs()
        yield from self._describe_workers()
        yield from self._describe_sweep()
        yield from self._describe_store()

    def _describe_queues(self) -> Iterator[Metric]:
        labels = ["queue", "claimable"]
        depth = GaugeMetricFamily("bitune_queued_runs", "Queued runs", labels=labels)
        wait = GaugeMetricFamily("bitune_longest_wait_seconds", "Since the oldest was queued", labels=labels)
        hint = GaugeMetricFamily(
            "bitune_hint_age_seconds", "Since the last hint for a queue with a claimable run", labels=["queue"]
        )
        for waiting in self._state.waiting:
            values = [waiting.queue, "yes" if waiting.is_claimable else "no"]
            depth.add_metric(values, waiting.runs)
            wait.add_metric(values, waiting.longest_wait_seconds)
            if waiting.is_claimable:
                hint.add_metric([waiting.queue], waiting.hint_age_seconds)
        yield from (depth, wait, hint)

    def _describe_runs(self) -> Iterator[Metric]:
        state = self._state
        yield _gauge("bitune_running_runs", "Runs that a worker holds", "kind", state.running)
        yield _counter("bitune_ended_runs", "Runs that ended", ["kind", "status"], state.ended.items())
        yield _counter("bitune_failed_runs", "Failed runs by their reason", ["kind", "code"], state.failures.items())
        attempts = [((outcome,), count) for outcome, count in state.attempts.items()]
        yield _counter("bitune_attempts", "Attempts that ended", ["outcome"], attempts)

    def _describe_workers(self) -> Iterator[Metric]:
        workers = self._state.workers
        online = {
            queue: sum(worker.is_online and worker.queue == queue for worker in workers)
            for queue in sorted(set(QUEUES.values()))
        }
        yield _gauge("bitune_online_workers", "Workers that beat lately", "queue", online)
        labels = ["worker", "queue"]
        beat = GaugeMetricFamily("bitune_worker_heartbeat_age_seconds", "Since its last beat", labels=labels)
        gpus = GaugeMetricFamily("bitune_worker_gpus", "GPUs that it lends", labels=labels)
        for worker in workers:
            beat.add_metric([worker.worker_id, worker.queue], worker.beat_seconds_ago)
            gpus.add_metric([worker.worker_id, worker.queue], worker.gpus)
        yield from (beat, gpus)

    def _describe_sweep(self) -> Iterator[Metric]:
        age = GaugeMetricFamily("bitune_sweep_age_seconds", "Since the last sweep, whoever led it")
        took = GaugeMetricFamily("bitune_sweep_seconds", "How long the last sweep took")
        if self._state.sweep is not None:
            age.add_metric([], self._state.sweep.seconds_ago)
            took.add_metric([], self._state.sweep.seconds)
        yield from (age, took)

    def _describe_store(self) -> Iterator[Metric]:
        errors = [((worker.worker_id,), worker.storage_errors) for worker in self._state.workers]
        errors.append((("api",), self._storage_errors))
        yield _counter(
            "bitune_storage_errors", "Calls of the store that failed after their retries", ["process"], errors
        )
        pending, oldest_seconds = self._state.deletions
        yield GaugeMetricFamily("bitune_pending_deletions", "Prefixes that have to leave the store", value=pending)
        yield GaugeMetricFamily(
            "bitune_oldest_deletion_seconds", "Since the oldest was asked for", value=oldest_seconds
        )
        orphans = GaugeMetricFamily(
            "bitune_orphans_collected_age_seconds", "Since a collection of orphans last finished"
        )
        if self._state.orphans_collected_seconds_ago is not None:
            orphans.add_metric([], self._state.orphans_collected_seconds_ago)
        yield orphans


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


def _counter(name: str, text: str, labels: list[str], values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, number in values:
        family.add_metric(list(key), number)
    return family
