"""What the service counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class Metrics:
    """One service's numbers, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "anygpt_requests", "Finished HTTP requests.", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "anygpt_request_seconds",
            "Time from request to end of reply.",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge("anygpt_requests_in_flight", "Requests being answered.", registry=self.registry)
        self.tokens = Counter("anygpt_tokens", "Tokens read and written.", ["kind"], registry=self.registry)
        self.media = Counter("anygpt_media", "Media made or lost.", ["modality", "result"], registry=self.registry)
        self.stage_seconds = Histogram(
            "anygpt_stage_seconds",
            "Time of a request inside a stage.",
            ["stage"],
            buckets=SECONDS,
            registry=self.registry,
        )

    def count_reply(self, usage: Mapping[str, int], timings: Mapping[str, float]) -> None:
        """Add a finished reply's tokens and stage times."""
        self.tokens.labels("prompt").inc(usage["prompt_tokens"])
        self.tokens.labels("completion").inc(usage["completion_tokens"])
        for stage, seconds in timings.items():
            if stage != "total":
                self.stage_seconds.labels(stage).observe(seconds)

    def page(self) -> bytes:
        """All numbers in Prometheus' text format."""
        return generate_latest(self.registry)
