"""The app's admin as URLs of their own: its apps are installed by the test that sends requests to it."""

from typing import Any

from django.contrib import admin
from django.urls import path

from tests.django_app.applications.models import Application

# What the admin needs beside the app; the session is in the cookie, so that there is no table for it.
APPS = ["django.contrib.admin", "django.contrib.messages", "django.contrib.sessions"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
SETTINGS: dict[str, Any] = {
    "ROOT_URLCONF": "tests.django_app.admin_site",
    "ALLOWED_HOSTS": ["testserver"],
    "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
}


class ApplicationAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A form with the status, and no log, whose table the test application has not."""

    fields = ("status",)

    def log_change(self, *arguments: Any) -> None:
        """Write nothing."""


site = admin.AdminSite()
site.register(Application, ApplicationAdmin)
urlpatterns = [path("admin/", site.urls)]
