"""What an endpoint that serves `main` answers: everything that people sign in for."""

from project import urls_chat, urls_console, urls_own

urlpatterns = [*urls_chat.chat, *urls_own.urlpatterns, *urls_console.console]
