"""The pages of the chat."""

from django.urls import path

from chat import views

urlpatterns = [
    path("", views.chat, name="chat"),
    path("rooms/<slug:slug>/", views.chat, name="room"),
]
