"""Counters for Prometheus, in its text format. They count and never quote: no prompt, no key and no client is in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Metrics:
    """What a server has done since it began."""

    requests: Counter[Labels] = field(default_factory=Counter)
    # by strategy and status
    outcomes: Counter[Labels] = field(default_factory=Counter)
    samples: Counter[Labels] = field(default_factory=Counter)
    tokens: Counter[Labels] = field(default_factory=Counter)
    usd: dict[Labels, float] = field(default_factory=dict)
    cancelled: Counter[Labels] = field(default_factory=Counter)
    in_flight: int = 0
    _buckets: Counter[float] = field(default_factory=Counter)
    _seconds: float = 0.0
    _count: int = 0

    def done(self, strategy: str, status: int, seconds: float) -> None:
        """A request has been answered."""
        self.requests[labels(strategy=strategy, status=str(status))] += 1
        self._seconds += seconds
        self._count += 1
        for bound in _BUCKETS_S:
            self._buckets[bound] += seconds <= bound

    def text(self) -> str:
        """The page at /metrics."""
        out: list[str] = []
        for name, what, table in (
            ("requests_total", "Requests answered", self.requests),
            ("outcomes_total", "Exchanges by outcome", self.outcomes),
            ("samples_total", "Samples drawn", self.samples),
            ("tokens_total", "Tokens used", self.tokens),
            ("cost_usd_total", "US dollars spent, where a price is known", self.usd),
            ("cancelled_requests_total", "Upstream requests cut short by a PASS", self.cancelled),
        ):
            out += _head(name, what, "counter")
            rows: Mapping[Labels, float] = table
            out += [f"vervet_{name}{_shown(key)} {value:g}" for key, value in sorted(rows.items())]
        out += [*_head("in_flight", "Requests being worked on", "gauge"), f"vervet_in_flight {self.in_flight}"]
        out += _head("request_seconds", "Seconds from a request to its reply", "histogram")
        out += [f'vervet_request_seconds_bucket{{le="{b:g}"}} {self._buckets[b]}' for b in _BUCKETS_S]
        out.append(f'vervet_request_seconds_bucket{{le="+Inf"}} {self._count}')
        out += [f"vervet_request_seconds_sum {self._seconds:g}", f"vervet_request_seconds_count {self._count}"]
        return "\n".join(out) + "\n"


def labels(**pairs: str) -> Labels:
    return tuple(sorted(pairs.items()))


def _head(name: str, what: str, kind: str) -> list[str]:
    return [f"# HELP vervet_{name} {what}.", f"# TYPE vervet_{name} {kind}"]


def _shown(key: Labels) -> str:
    quoted = (f'{name}="{_escape(value)}"' for name, value in key)
    return "{" + ",".join(quoted) + "}" if key else ""


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
