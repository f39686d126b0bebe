"""What a person finds on every endpoint that they sign in to, whatever else it serves."""

from django.urls import path

from pki.views import devices, health, requests, whoami
from project import views

urlpatterns = [
    path("devices/", devices.devices, name="devices"),
    path("devices/<int:pk>/revoke/", devices.revoke_device, name="revoke_device"),
    path("devices/links/<int:pk>/withdraw/", devices.withdraw_link, name="withdraw_link"),
    path("devices/requests/", requests.ask, name="ask"),
    path("devices/requests/<int:pk>/withdraw/", requests.withdraw, name="withdraw_request"),
    path("devices/requests/<int:pk>/again/", requests.ask_again, name="ask_again"),
    path("devices/requests/<int:pk>.pem", requests.download, name="request_pem"),
    path("whoami", whoami.whoami, name="whoami"),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", views.metrics),
]
