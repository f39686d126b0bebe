"""What an endpoint that serves `chat` answers: no console."""

from django.urls import include, path

from project import urls_own

chat = [path("", include("chat.urls"))]
urlpatterns = [*chat, *urls_own.urlpatterns]
