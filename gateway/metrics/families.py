"""The words for a metric: a gauge, a counter, a histogram, each of one value or of several by their labels."""

from collections.abc import Iterable, Mapping
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from gateway.core.histograms import Histogram

PREFIX = "gateway_"

Labels = tuple[str, ...]


def gauge(name: str, meaning: str, value: float) -> Metric:
    """Return a number that rises and falls."""
    return GaugeMetricFamily(PREFIX + name, meaning, value=value)


def counter(name: str, meaning: str, value: float) -> Metric:
    """Return a number that only grows."""
    return CounterMetricFamily(PREFIX + name, meaning, value=value)


def histogram(name: str, meaning: str, values: Histogram) -> Metric:
    """Return a histogram."""
    return histograms(name, meaning, (), [((), values)])


def gauges(name: str, meaning: str, labels: Labels, values: Iterable[tuple[Labels, float]]) -> Metric:
    """Return numbers that rise and fall, by their labels."""
    family = GaugeMetricFamily(PREFIX + name, meaning, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family


def counters(name: str, meaning: str, labels: Labels, values: Iterable[tuple[Labels, float]]) -> Metric:
    """Return numbers that only grow, by their labels."""
    family = CounterMetricFamily(PREFIX + name, meaning, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family


def histograms(name: str, meaning: str, labels: Labels, values: Iterable[tuple[Labels, Histogram]]) -> Metric:
    """Return histograms by their labels."""
    family = HistogramMetricFamily(PREFIX + name, meaning, labels=labels)
    for label_values, value in values:
        bounds = (*map(str, value.bounds), "+Inf")
        family.add_metric(label_values, list(zip(bounds, accumulate(value.counts), strict=True)), value.total)
    return family


def by_label(values: Mapping[str, float]) -> Iterable[tuple[Labels, float]]:
    """Yield values that have one label."""
    for label, value in values.items():
        yield (label,), value
