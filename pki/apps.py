from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


class PKIConfig(AppConfig):
    name = "pki"
    verbose_name = "Certificates"

    def ready(self) -> None:
        from pki import checks  # noqa: F401 (registers them)

        post_migrate.connect(make_built_in_profiles, sender=self)


def make_built_in_profiles(*, using: str, **news: Any) -> None:
    """After every migration, so that a profile which comes with a new version is there at once."""
    from pki import catalogue  # models are not ready when this module is read

    # Older versions of the tables, migrated to on the way back, have no profiles.
    if "pki_certificateprofile" in connections[using].introspection.table_names():
        catalogue.ensure_built_in(using)
