"""Indexes by which pins, and what became of a message, are found in a long log."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("chat", "0006_words_of_names")]

    operations = [
        migrations.AddIndex(
            model_name="event",
            index=models.Index(
                fields=["message", "type", "seq"],
                condition=models.Q(("message__isnull", False)),
                name="events_about_message",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                fields=["room", "seq"],
                condition=models.Q(("pinned_at__isnull", False)),
                name="messages_that_are_pinned",
            ),
        ),
    ]
