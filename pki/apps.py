from django.apps import AppConfig


class PKIConfig(AppConfig):
    name = "pki"
    verbose_name = "Certificates"

    def ready(self) -> None:
        from pki import checks  # noqa: F401 (registers them)
