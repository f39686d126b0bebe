"""What an endpoint that serves `public` answers: signed data for everybody, and the way to main."""

from django.urls import path, re_path

from pki.views import health, publish

urlpatterns = [
    path("ca/<slug:slug>.cer", publish.ca_certificate),
    path("crl/<slug:slug>.crl", publish.revocation_list),
    path("ocsp/<slug:slug>/", publish.ocsp_responder),
    path("ocsp/<slug:slug>/<path:encoded>", publish.ocsp_responder),
    path("healthz", health.healthz),
    re_path(r"", publish.to_main),
]
