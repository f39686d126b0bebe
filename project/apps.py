from django.apps import AppConfig


class ProjectConfig(AppConfig):
    name = "project"

    def ready(self) -> None:
        from chat import attachments, retention, search
        from pki import upkeep
        from project import checks, exports, handshakes  # noqa: F401 (registers checks)

        upkeep.DUTIES["forget old failed handshakes"] = lambda at: handshakes.prune(at=at)
        upkeep.DUTIES["let messages expire"] = lambda at: retention.expire_messages(
            at=at, most=retention.A_TURN
        )
        upkeep.DUTIES["forget words that nothing says"] = lambda at: search.forget_words(at=at)
        upkeep.DUTIES["remove files that nobody posted"] = lambda at: attachments.sweep(at)
        upkeep.DUTIES["remove exports after a week"] = lambda at: exports.prune(at=at)
