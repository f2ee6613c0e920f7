from django.apps import AppConfig


class ApplicationsConfig(AppConfig):
    name = "tests.django_app.applications"
    label = "applications"
