"""The test app's settings and the two packages."""

from tests.django_app.settings import *  # noqa: F403
from tests.django_app.settings import INSTALLED_APPS as APPS

INSTALLED_APPS = [*APPS, "pgtrigger", "pghistory", "benchmarks.peer_app"]
