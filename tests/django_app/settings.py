"""Settings of the test application; tests name the database with `database.use`, a shell by environment."""

import os

from tests.django_app.conninfo import database_entry

SECRET_KEY = "only tests ever run this project"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "rest_framework",
    "tests.django_app.users",
    "tests.django_app.quests",
    "tests.django_app.applications",
]
AUTH_USER_MODEL = "users.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
DATABASES = {"default": database_entry(os.environ.get("DJANGO_APP_DATABASE_URL", "dbname=postgres"))}
# All that docs/django.md asks for.
TEST_RUNNER = "checks.django.IntegrityRunner"
ROOT_URLCONF = "tests.django_app.api"
MIDDLEWARE = ["tests.django_app.errors.RefusalMiddleware"]
REST_FRAMEWORK = {
    "EXCEPTION_HANDLER": "tests.django_app.errors.exception_handler",
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}
