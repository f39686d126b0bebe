"""An index over the words of people's names, by which one finds whom to write to.

On SQLite there is none: its installations have as many people as can be looked through.
"""

from django.conf import settings
from django.db import migrations

MAKE = "CREATE INDEX chat_words_of_names ON {} USING gin (to_tsvector('simple', name))"
DROP = "DROP INDEX IF EXISTS chat_words_of_names"


def make_index(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        table = apps.get_model(settings.AUTH_USER_MODEL)._meta.db_table
        schema_editor.execute(MAKE.format(schema_editor.quote_name(table)), params=None)


def drop_index(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(DROP, params=None)


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("chat", "0005_certificate_index"),
    ]

    operations = [migrations.RunPython(make_index, drop_index)]
