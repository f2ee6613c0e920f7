from django.apps import AppConfig


class UsersConfig(AppConfig):
    name = "tests.django_app.users"
    label = "users"
