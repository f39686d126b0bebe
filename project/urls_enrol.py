"""What an endpoint that serves `enrol` answers: nobody is asked for a certificate here."""

from django.urls import path

from pki.views import enrol, health, publish, truststores

urlpatterns = [
    path("", enrol.home, name="enrol_home"),
    path("enrol/<str:token>/", enrol.enrol, name="enrol"),
    path("enrol/<str:token>/csr/", enrol.enrol_csr, name="enrol_csr"),
    path("enrol/<str:token>/status/", enrol.enrol_status, name="enrol_status"),
    path("truststore/<str:format>/", truststores.download, name="truststore_download"),
    path("ca/<slug:slug>.cer", publish.ca_certificate),
    path("healthz", health.healthz),
]
