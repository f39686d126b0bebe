from django.apps import AppConfig


class ProjectConfig(AppConfig):
    name = "project"

    def ready(self) -> None:
        from pki import upkeep
        from project import checks, handshakes  # noqa: F401 (registers checks)

        upkeep.DUTIES["forget old failed handshakes"] = lambda at: handshakes.prune(at=at)
