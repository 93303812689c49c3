"""Which fault is on: set by the harness's thread, asked by the proxy's."""

from dataclasses import dataclass, field

from tests.chaos.http_messages import Request
from tests.chaos.s3_faults import Fault


@dataclass(frozen=True, eq=False)
class _Injection:
    """A fault from when it is set, and the requests that it has hit."""

    fault: Fault
    hit: set[Request] = field(default_factory=set)

    def concerns(self, request: Request) -> bool:
        """A request once hit stays hit past the limit."""
        is_spent = self.fault.limit is not None and len(self.hit) >= self.fault.limit
        return self.fault.matches(request) and (not is_spent or request in self.hit)


class FaultSwitch:
    def __init__(self) -> None:
        self._last: _Injection | None = None
        self._current: _Injection | None = None

    def set(self, fault: Fault | None) -> None:
        self._current = None if fault is None else _Injection(fault)
        self._last = self._current or self._last

    @property
    def hit_keys(self) -> list[str]:
        """One for each request that the fault set last has hit, also when it is healed."""
        return [] if self._last is None else [request.key for request in tuple(self._last.hit)]

    def find(self, request: Request) -> Fault | None:
        injection = self._current
        return injection.fault if injection is not None and injection.concerns(request) else None

    def is_on(self, fault: Fault) -> bool:
        injection = self._current
        return injection is not None and injection.fault is fault

    def count(self, request: Request, fault: Fault) -> None:
        injection = self._last  # a fault healed this instant still did what it did
        if injection is not None and injection.fault is fault:
            injection.hit.add(request)
