"""What an endpoint that serves `console` answers: no chat."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from project import urls_own

console = [path("console/", admin.site.urls)]
urlpatterns = [
    path("", RedirectView.as_view(url="/console/")),
    *urls_own.urlpatterns,
    *console,
]
