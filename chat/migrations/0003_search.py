"""Events that no person did, rights of the console, and the words of messages for the search.

The words are kept by the database itself, so that no verb can forget them. On SQLite that is the
work of triggers on chat_message: a later migration that makes this table anew (as one that adds a
constraint does there) loses them, and has to call `make_words` of migration 0008 again.
"""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

NUMBER = "{row}.room_id * 4294967296 + {row}.seq"  # of a message among all, as 32 and 32 bits
LEFT_OUT = "INSERT INTO chat_message_words(chat_message_words, rowid, body) "

SQLITE = [
    """CREATE VIRTUAL TABLE chat_message_words USING fts5(
        body, content='', prefix='2 3', tokenize="unicode61 remove_diacritics 2")""",
    f"""INSERT INTO chat_message_words(rowid, body)
        SELECT {NUMBER.format(row="chat_message")}, body FROM chat_message""",
    f"""CREATE TRIGGER chat_message_words_new AFTER INSERT ON chat_message BEGIN
        INSERT INTO chat_message_words(rowid, body)
            VALUES ({NUMBER.format(row="NEW")}, NEW.body);
        END""",
    f"""CREATE TRIGGER chat_message_words_gone AFTER DELETE ON chat_message BEGIN
        {LEFT_OUT} VALUES ('delete', {NUMBER.format(row="OLD")}, OLD.body);
        END""",
    f"""CREATE TRIGGER chat_message_words_changed AFTER UPDATE OF body ON chat_message
        WHEN OLD.body <> NEW.body BEGIN
        {LEFT_OUT} VALUES ('delete', {NUMBER.format(row="OLD")}, OLD.body);
        INSERT INTO chat_message_words(rowid, body)
            VALUES ({NUMBER.format(row="NEW")}, NEW.body);
        END""",
]
SQLITE_UNDONE = [
    "DROP TRIGGER IF EXISTS chat_message_words_new",
    "DROP TRIGGER IF EXISTS chat_message_words_gone",
    "DROP TRIGGER IF EXISTS chat_message_words_changed",
    "DROP TABLE IF EXISTS chat_message_words",
]

# Accents are taken off, and what is no letter or digit is a blank: otherwise addresses, file names
# and words with a dash would be one word.
PUNCTUATION = "".join(chr(n) for n in range(33, 127) if not chr(n).isalnum())
ACCENTS = r"[\u0300-\u036f]"
POSTGRESQL = [
    f"""ALTER TABLE chat_message ADD COLUMN words tsvector GENERATED ALWAYS AS (
        to_tsvector('simple', translate(
            regexp_replace(normalize(body, NFKD), '{ACCENTS}', '', 'g'),
            '{PUNCTUATION.replace("'", "''")}', '{" " * len(PUNCTUATION)}'))) STORED""",
    "CREATE INDEX chat_message_words ON chat_message USING gin (words)",
]
POSTGRESQL_UNDONE = ["ALTER TABLE chat_message DROP COLUMN IF EXISTS words"]


def make_words(apps, schema_editor):
    statements = {"sqlite": SQLITE, "postgresql": POSTGRESQL}
    for statement in statements[schema_editor.connection.vendor]:
        schema_editor.execute(statement, params=None)


def drop_words(apps, schema_editor):
    statements = {"sqlite": SQLITE_UNDONE, "postgresql": POSTGRESQL_UNDONE}
    for statement in statements[schema_editor.connection.vendor]:
        schema_editor.execute(statement, params=None)


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("chat", "0002_messages_and_more"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="room",
            options={
                "ordering": ["name"],
                "permissions": [("export_room", "Can export what was said in rooms and by people")],
            },
        ),
        migrations.AlterModelOptions(
            name="report",
            options={
                "ordering": ["-at"],
                "permissions": [
                    ("moderate_report", "Can read reported messages and settle reports")
                ],
            },
        ),
        migrations.AlterField(
            model_name="event",
            name="by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="events",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(fields=["at", "event"], name="messages_in_time"),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("deleted_at", None), ("expired_at", None)),
                fields=["room", "at"],
                name="messages_that_say_something",
            ),
        ),
        migrations.RunPython(make_words, drop_words),
    ]
