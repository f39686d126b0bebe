"""The pages of the chat."""

from django.urls import path

from chat import file_views, views

urlpatterns = [
    path("", views.chat, name="chat"),
    path("manifest.webmanifest", views.manifest, name="manifest"),
    path("rooms/<slug:slug>/", views.chat, name="room"),
    path("rooms/<slug:slug>/files/", file_views.uploads),
    path("rooms/<slug:slug>/files/<uuid:key>/", file_views.upload),
    path("rooms/<slug:slug>/files/<uuid:key>/thumbnail", file_views.thumbnail),
    path("rooms/<slug:slug>/files/<uuid:key>/<str:name>", file_views.download),
]
