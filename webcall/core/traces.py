"""OpenTelemetry traces: a span for each request, and in it one for each stage. For the extra `traces`.

Nothing is made, and no package of OpenTelemetry imported, unless `traces.endpoint` is set. What a span says
is of the service's own making: routes, statuses, names of stages and types of errors, never a text that
may quote a caller. What has a standard variable (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`,
`OTEL_TRACES_SAMPLER`, `OTEL_BSP_…`, `OTEL_EXPORTER_OTLP_HEADERS` and others) is set by it.

By hand, and not by opentelemetry-instrumentation-flask: that one writes paths and queries as callers
send them, and knows no stages.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog

from webcall.config.settings import TracesConfig
from webcall.core.counters import version
from webcall.errors import BackendError, LiveKitError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer
    from opentelemetry.util.types import AnyValue

log = structlog.stdlib.get_logger("webcall.traces")

_PATH = "/v1/traces"
# How long the end of a process waits for the last spans to be sent.
_LAST_WORDS_S = 3.0


class RequestSpan:
    """The span of a request that is being answered, in the thread that answers it."""

    def __init__(self, span: Span, leave: Callable[[], None]) -> None:
        self._span = span
        self._leave = leave
        context = span.get_span_context()
        self.trace_id = f"{context.trace_id:032x}"

    def answered(self, status: int) -> None:
        """Note the answer's status; a 5xx is an error, anything else the caller's affair."""
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            _mark_as_error(self._span, str(status))

    def end(self) -> None:
        """End the span. To be called once, in the thread that began it."""
        self._leave()
        self._span.end()


class Traces:
    """The traces of one process. Making it opens nothing: the first request starts the sender's thread."""

    def __init__(self, config: TracesConfig) -> None:
        self._endpoint = config.endpoint
        self._lock = threading.Lock()
        self._provider: TracerProvider | None = None
        self._made: Tracer | None = None

    def start(self) -> None:
        """Start the sender's thread, before a request has to; for a process that does not fork any more."""
        self._tracer()

    def begin(self, method: str, route: str | None, headers: Mapping[str, str]) -> RequestSpan:
        """Begin the span of a request, below the caller's own if `headers` name one (W3C Trace Context).

        Of the headers, `traceparent` and `tracestate` are looked at, in lower case.
        """
        from opentelemetry import context, trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        attributes = {"http.request.method": method}
        if route is not None:
            attributes["http.route"] = route
        span = self._tracer().start_span(
            f"{method} {route}" if route else method,
            context=TraceContextTextMapPropagator().extract(headers),
            kind=trace.SpanKind.SERVER,
            attributes=attributes,
        )
        token = context.attach(trace.set_span_in_context(span))
        return RequestSpan(span, lambda: context.detach(token))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Make the block a span of the request that this thread answers; outside of one, do nothing."""
        from opentelemetry import trace

        if not trace.get_current_span().get_span_context().is_valid:
            yield
            return
        with self._tracer().start_as_current_span(
            name, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except Exception as error:
                if isinstance(error, BackendError | LiveKitError):
                    _mark_as_error(span, type(error).__name__)
                raise

    def close(self) -> None:
        """Send what is left; in vain if that takes longer than a moment."""
        provider = self._provider
        if provider is not None:
            sending = threading.Thread(target=provider.shutdown, name="last traces", daemon=True)
            sending.start()
            sending.join(_LAST_WORDS_S)

    def _tracer(self) -> Tracer:
        if self._made is None:
            with self._lock:
                if self._made is None:
                    self._provider = _make_provider(self._endpoint)
                    self._made = self._provider.get_tracer("webcall", version())
        return self._made


def _mark_as_error(span: Span, kind: str) -> None:
    from opentelemetry.trace import StatusCode

    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)


def _make_provider(endpoint: str) -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # An address without a path is a collector's, as in OTEL_EXPORTER_OTLP_ENDPOINT.
    bare = urlsplit(endpoint).path in ("", "/")
    exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + _PATH if bare else endpoint)
    own: dict[str, AnyValue] = {
        "service.name": "webcall",
        "service.version": version(),
        "process.pid": os.getpid(),
    }
    # What the variables say wins.
    resource = Resource.create(own).merge(OTELResourceDetector().detect())
    # Not the process's own provider: tests, and whoever embeds the application, have several.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_telling(exporter)))
    return provider


def _telling(exporter: SpanExporter) -> SpanExporter:
    """Return an exporter that says once when spans cannot be sent, and once when they can be again.

    OpenTelemetry's own lines, one for each try, are held back in `webcall.logs`.
    """
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Telling(SpanExporter):
        failing = False

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            result = exporter.export(spans)
            failing = result is not SpanExportResult.SUCCESS
            if failing and not self.failing:
                log.warning("traces cannot be sent", effect="they are lost meanwhile; calls are not touched")
            elif self.failing and not failing:
                log.warning("traces are sent again")
            self.failing = failing
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

    return Telling()
