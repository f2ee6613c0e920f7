"""How an API answers what the database refuses: docs/errors.md as code, to be copied into a project.

For Django REST framework name `exception_handler` in its settings; for `ATOMIC_REQUESTS`, where a COMMIT fails after
the view, add `RefusalMiddleware` as well.
"""

import re
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from rest_framework.response import Response
from rest_framework.views import exception_handler as default_handler
from rest_framework.views import set_rollback

OUR_FAULT = "Something is wrong on our side. Nothing was changed."
CHANGED = "This application or its participant was changed at the same moment. Reload the page and try again."
TOGETHER = "Somebody joined or left this quest at the same moment. Reload the page and try again."
TWICE = "You take part in this quest already."

# By constraint: the HTTP status, and what to tell the user.
REFUSALS = {
    "integrity_approved_application_has_participant": (
        409,
        CHANGED,
    ),
    "integrity_assignee_is_participant": (409, TOGETHER),
    "integrity_participant_has_assigned_quest": (409, TOGETHER),
    "integrity_approved_application_key": (409, "This person has an approved application to this quest already."),
    "integrity_active_participant_key": (409, TWICE),
    "integrity_participant_key": (409, TWICE),
    "integrity_application_status_known": (400, "An application has no such status."),
    "integrity_participant_status_known": (400, "A participant has no such status."),
    "integrity_quest_status_known": (400, "A quest has no such status."),
    "integrity_status_matches_assignment": (500, OUR_FAULT),
    "integrity_application_marker": (500, OUR_FAULT),
    "integrity_participant_marker": (500, OUR_FAULT),
    "integrity_quest_marker": (500, OUR_FAULT),
    "integrity_quest_key": (500, OUR_FAULT),
    "integrity_participant_has_approved_application": (409, "Taking part in this quest needs an approved application."),
    "integrity_pending_application_key": (409, "You have applied to this quest already."),
    "integrity_quest_has_one_participant": (409, "Somebody takes part in this quest already."),
}
# The app's own unique key, whose name ends in a hash.
PARTICIPANTS = "quests_questparticipant"
RETRY = {"40001", "40P01"}


def refused_by(cause: Any) -> str | None:
    """Return the constraint that an error names. Citus names it in the message only, with the number of a shard."""
    if cause.diag.constraint_name:
        return str(cause.diag.constraint_name)
    found = re.search(r'"(integrity_\w+?)(_\d+)?"', cause.diag.message_primary or "")
    return found[1] if found else None


def refusal(error: DatabaseError) -> tuple[int, str] | None:
    """Return what to answer, None for an error that is not ours to explain."""
    cause: Any = error.__cause__
    state = getattr(cause, "sqlstate", None)
    if state in RETRY:
        return 503, "Somebody else was in the way. Try again."
    name = refused_by(cause) if state else None
    if state == "23505" and name not in REFUSALS and cause.diag.table_name == PARTICIPANTS:
        return 409, TWICE
    return REFUSALS.get(name or "")


def _headers(status: int) -> dict[str, str]:
    return {"Retry-After": "1"} if status == 503 else {}


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer for the exceptions that leave a view of Django REST framework."""
    answer = refusal(error) if isinstance(error, DatabaseError) else None
    if answer is None:
        return default_handler(error, context)
    # With ATOMIC_REQUESTS the request's transaction is still open.
    set_rollback()
    status, detail = answer
    return Response({"detail": detail}, status=status, headers=_headers(status))


class RefusalMiddleware:
    """Answer for what a COMMIT refuses after the view has returned."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_exception(self, _request: HttpRequest, error: Exception) -> HttpResponse | None:
        answer = refusal(error) if isinstance(error, DatabaseError) else None
        if answer is None:
            return None
        status, detail = answer
        return JsonResponse({"detail": detail}, status=status, headers=_headers(status))
