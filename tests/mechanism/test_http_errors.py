"""What an API answers when the database refuses, wherever in the request that is: the example of docs/errors.md."""

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connections
from django.test import Client, override_settings
from psycopg.conninfo import make_conninfo
from pytest_postgresql import factories

from checks import migrate
from checks.target import Target
from tests.django_app import database
from tests.django_app.flows import Application, QuestParticipant, World
from tests.support.database import copy_of, url_of
from tests.support.programs import ROOT

from rest_framework.test import APIClient  # isort: skip  # after Django is set up

_Connection = psycopg.Connection[Any]


def _load(*, autocommit: bool, **where: Any) -> None:
    database.create_app_tables(make_conninfo(**where))
    migrate.upgrade(Target(make_conninfo(**where), "test template"))


http_server = factories.postgresql_noproc(dbname="django_http", load=[_load])

http = copy_of("http_server")


@pytest.fixture
def world(http: _Connection) -> Iterator[World]:
    """A world on a database with the layer, through Django."""
    http.autocommit = True
    with database.use(url_of(http)):
        yield World()


@pytest.fixture(params=["autocommit", "atomic", "ATOMIC_REQUESTS"])
def applications(request: pytest.FixtureRequest, world: World) -> str:
    """The URL of the applications' endpoint, with each of the places where a request's transaction can end."""
    if request.param == "ATOMIC_REQUESTS":
        connections["default"].settings_dict["ATOMIC_REQUESTS"] = True
    return "/atomic/applications" if request.param == "atomic" else "/applications"


def patch(url: str, **data: Any) -> Any:
    return APIClient(raise_request_exception=False).patch(url, data, format="json")


def test_what_is_allowed_is_done(world: World, applications: str) -> None:
    world.apply("ann")
    answer = patch(f"{applications}/{world.application('ann').pk}", status="approved")
    assert answer.status_code == 200
    assert world.participant("ann").status == "joined"


def test_a_second_approval(world: World, applications: str) -> None:
    world.admit("ann")
    world.apply("ann")
    second = world.application("ann")
    answer = patch(f"{applications}/{second.pk}", status="approved")
    assert answer.status_code == 409
    assert answer.json() == {"detail": "This person has an approved application to this quest already."}
    assert Application.objects.get(pk=second.pk).status == "pending"


# The handler of docs/errors.md that a project can paste, as it stands there.
DOCUMENTED = re.search(
    r"^```python\n(?P<code>from django.*?)^```", (ROOT / "docs" / "errors.md").read_text(), re.M | re.S
)
REFUSED = {"a second approval": "approved", "an unknown status": "archived"}


def documented_handler(error: Exception, context: dict[str, Any]) -> Any:
    assert DOCUMENTED is not None
    names: dict[str, Any] = {}
    exec(DOCUMENTED["code"], names)
    return names["exception_handler"](error, context)


@pytest.mark.parametrize(
    ("handler", "status"),
    [("rest_framework.views.exception_handler", 500), (f"{__name__}.documented_handler", 409)],
    ids=["unmodified", "with the ten lines"],
)
@pytest.mark.parametrize("what", REFUSED)
def test_in_the_unmodified_app_and_with_the_ten_lines(world: World, what: str, handler: str, status: int) -> None:
    world.admit("ann")
    world.apply("ann")
    with override_settings(MIDDLEWARE=[], REST_FRAMEWORK={**settings.REST_FRAMEWORK, "EXCEPTION_HANDLER": handler}):
        answer = patch(f"/applications/{world.application('ann').pk}", status=REFUSED[what])
        invalid = APIClient().get("/participants")
    assert answer.status_code == status
    assert world.application("ann").status == "pending"
    # What is none of its business is answered as before.
    assert invalid.status_code == 405


@pytest.mark.parametrize(
    ("middleware", "answered"), [([], 500), (settings.MIDDLEWARE, 409)], ids=["unmodified", "with the middleware"]
)
def test_a_refused_save_in_the_admin(world: World, middleware: list[str], answered: int) -> None:
    for user in ("ann", "ben"):
        world.admit(user)
        world.apply(user)
    person = world.user("owner")
    person.is_staff = person.is_superuser = True
    person.save()
    from tests.django_app import admin_site

    apps = settings.INSTALLED_APPS + admin_site.APPS
    with override_settings(INSTALLED_APPS=apps, MIDDLEWARE=admin_site.MIDDLEWARE + middleware, **admin_site.SETTINGS):
        client = Client(raise_request_exception=False)
        client.force_login(person)
        form = f"/admin/applications/application/{world.application('ann').pk}/change/"
        shown = client.get(form)
        refused = client.post(form, {"status": "approved"})
        saved = client.post(form, {"status": "rejected"})
    assert (shown.status_code, refused.status_code, saved.status_code) == (200, answered, 302)
    assert world.application("ann").status == "rejected"


@pytest.mark.parametrize(("atomic_requests", "answered"), [(False, 409), (True, 500)])
def test_after_the_view_only_a_middleware_can_answer(
    world: World, http: _Connection, atomic_requests: bool, answered: int
) -> None:
    """The foreign key is checked at COMMIT."""
    world.admit("ann")
    http.execute("alter table quests_questparticipant disable trigger user")
    connections["default"].settings_dict["ATOMIC_REQUESTS"] = atomic_requests
    with override_settings(MIDDLEWARE=[]):
        answer = APIClient(raise_request_exception=False).delete(f"/participants/{world.participant('ann').pk}")
    assert answer.status_code == answered
    assert world.participant("ann").status == "joined"


def test_an_unknown_status(world: World, applications: str) -> None:
    """The constraint is checked at once."""
    world.apply("ann")
    application = world.application("ann")
    answer = patch(f"{applications}/{application.pk}", status="archived")
    assert answer.status_code == 400
    assert answer.json() == {"detail": "An application has no such status."}
    assert Application.objects.get(pk=application.pk).status == "pending"


def test_an_approval_whose_participant_is_removed_without_our_triggers(
    world: World, http: _Connection, applications: str
) -> None:
    """The foreign key is checked at COMMIT."""
    world.admit("ann")
    http.execute("alter table quests_questparticipant disable trigger user")
    answer = APIClient().delete(f"/participants/{world.participant('ann').pk}")
    assert answer.status_code == 409
    assert "at the same moment" in answer.json()["detail"]
    assert world.participant("ann").status == "joined"


def test_a_write_that_only_our_triggers_would_have_corrected(
    world: World, http: _Connection, applications: str
) -> None:
    world.apply("ann")
    http.execute("alter table applications_application disable trigger user")
    answer = patch(f"{applications}/{world.application('ann').pk}", status="approved")
    assert answer.status_code == 500
    assert answer.json() == {"detail": "Something is wrong on our side. Nothing was changed."}


def test_joining_twice_by_the_app_s_own_key(world: World) -> None:
    world.admit("ann")
    answer = APIClient().post(
        "/participants", {"quest": world.quest().pk, "user": str(world.user("ann").pk)}, format="json"
    )
    assert answer.status_code == 409
    assert answer.json() == {"detail": "You take part in this quest already."}
    assert QuestParticipant.objects.count() == 1


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_what_is_worth_another_try(world: World, http: _Connection, applications: str, state: str) -> None:
    world.apply("ann")
    http.execute(
        "create function lose() returns trigger language plpgsql as"
        f" $$ begin raise 'lost' using errcode = '{state}'; end $$"
    )
    http.execute("create trigger lose before update on applications_application for each row execute function lose()")
    answer = patch(f"{applications}/{world.application('ann').pk}", status="approved")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"


def test_what_is_not_ours_is_not_explained(world: World, http: _Connection, applications: str) -> None:
    world.apply("ann")
    http.execute("alter table applications_application add constraint theirs check (status <> 'rejected')")
    answer = patch(f"{applications}/{world.application('ann').pk}", status="rejected")
    assert answer.status_code == 500
    assert "detail" not in str(answer.content)
