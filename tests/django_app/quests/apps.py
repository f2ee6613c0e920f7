from django.apps import AppConfig


class QuestsConfig(AppConfig):
    name = "tests.django_app.quests"
    label = "quests"

    def ready(self) -> None:
        from tests.django_app.quests import signals  # noqa: F401  importing connects the receivers
