"""What an endpoint that serves `public` answers: signed data for everybody, and the way to main."""

from django.urls import path, re_path

from pki.views import health, ocsp, publish

urlpatterns = [
    path("ca/<slug:slug>.cer", publish.ca_certificate),
    path("crl/<slug:name>.crl", publish.revocation_list),
    path("ocsp/<slug:slug>/", ocsp.ocsp_responder),
    path("ocsp/<slug:slug>/<path:encoded>", ocsp.ocsp_responder),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    re_path(r"", publish.to_main),
]
