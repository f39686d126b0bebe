"""What an endpoint that serves `main` answers."""

from django.contrib import admin
from django.urls import include, path

from pki.views import devices, health, whoami

urlpatterns = [
    path("", include("chat.urls")),
    path("devices/", devices.devices, name="devices"),
    path("devices/<int:pk>/revoke/", devices.revoke_device, name="revoke_device"),
    path("whoami", whoami.whoami, name="whoami"),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("console/", admin.site.urls),
]
