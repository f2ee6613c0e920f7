"""A few of the app's endpoints, as REST framework views: they explain nothing by themselves."""

from django.db import transaction
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from tests.django_app import endpoints
from tests.django_app.applications.models import Application
from tests.django_app.quests.models import QuestParticipant


class ApplicationView(APIView):
    def patch(self, request: Request, application_id: int) -> Response:
        endpoints.patch(Application, application_id, status=request.data["status"])
        return Response({})


class ApplicationInOneTransactionView(APIView):
    def patch(self, request: Request, application_id: int) -> Response:
        with transaction.atomic():
            endpoints.patch(Application, application_id, status=request.data["status"])
        return Response({})


class ParticipantsView(APIView):
    def post(self, request: Request) -> Response:
        QuestParticipant.objects.create(quest_id=request.data["quest"], user_id=request.data["user"])
        return Response({}, status=201)


class ParticipantView(APIView):
    def delete(self, request: Request, participant_id: int) -> Response:
        QuestParticipant.objects.filter(pk=participant_id)._raw_delete("default")
        return Response(status=204)


urlpatterns = [
    path("applications/<int:application_id>", ApplicationView.as_view()),
    path("atomic/applications/<int:application_id>", ApplicationInOneTransactionView.as_view()),
    path("participants", ParticipantsView.as_view()),
    path("participants/<int:participant_id>", ParticipantView.as_view()),
]
