"""Makes the console the site on which every `admin` module registers its pages."""

from django.contrib.admin.apps import AdminConfig


class ConsoleConfig(AdminConfig):
    default = False
    default_site = "pki.console.ConsoleSite"
