"""What an endpoint that serves `enrol` answers: nobody is asked for a certificate here."""

from django.urls import path

from pki.views import enrol, health, publish

urlpatterns = [
    path("", enrol.home, name="enrol_home"),
    path("enrol/<str:token>/", enrol.enrol, name="enrol"),
    path("ca/<slug:slug>.cer", publish.ca_certificate),
    path("healthz", health.healthz),
]
