"""Print the samples of integrity.metric for Prometheus."""

from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from typing import Any

import psycopg
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import generate_latest as as_text
from prometheus_client.openmetrics.exposition import generate_latest as as_openmetrics

SAMPLES = "select name, meaning, labels, value from integrity.metric order by name, labels"
FORMATS: dict[str, Callable[[CollectorRegistry], bytes]] = {"openmetrics": as_openmetrics, "text": as_text}


def exposition(connection: psycopg.Connection[Any], form: str) -> str:
    """Return every sample in a format of `FORMATS`."""
    registry = CollectorRegistry()
    for (name, meaning), samples in groupby(connection.execute(SAMPLES), itemgetter(0, 1)):
        found = [(labels, value) for _, _, labels, value in samples]
        gauge = Gauge(name, meaning, list(found[0][0]), registry=registry)
        for labels, value in found:
            (gauge.labels(**labels) if labels else gauge).set(value)
    return FORMATS[form](registry).decode()
