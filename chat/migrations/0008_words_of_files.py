"""Messages are found by the names of their files too.

A message has them in `names`, each after a line break. That is the work of triggers on
chat_attachment, and from there the words go the way of migration 0003, whose triggers and column
are made anew. No phrase goes from the text to a name, nor from one name to the next: on SQLite text
and names are columns, and between two words stands one that nobody can look for.
A later migration that makes chat_message or chat_attachment anew on SQLite calls `drop_words`
before it and `make_words` after it.
"""

from importlib import import_module

from django.db import migrations, models

earlier = import_module("chat.migrations.0003_search")

NUMBER = earlier.NUMBER
LEFT_OUT = "INSERT INTO chat_message_words(chat_message_words, rowid, body, names) "
BETWEEN = "\ue000"  # a word to SQLite; the query that is asked for never has it


def added(row):
    """The row's words, to be put into the index, or taken out of it as they were put in."""
    names = f"replace({row}.names, char(10), ' {BETWEEN} ')"
    return f"{NUMBER.format(row=row)}, {row}.body, {names}"


# Each trigger sees one file; what it writes is what there is of them all.
NAMES_SQLITE = """UPDATE chat_message SET names = coalesce((
    SELECT group_concat(char(10) || name, '') FROM (
        SELECT name FROM chat_attachment WHERE message_id = chat_message.event_id
        ORDER BY created_at, id)), '')"""
SQLITE = [
    f"{NAMES_SQLITE} WHERE event_id IN (SELECT message_id FROM chat_attachment)",
    """CREATE VIRTUAL TABLE chat_message_words USING fts5(
        body, names, content='', prefix='2 3', tokenize="unicode61 remove_diacritics 2")""",
    f"""INSERT INTO chat_message_words(rowid, body, names)
        SELECT {added("chat_message")} FROM chat_message""",
    f"""CREATE TRIGGER chat_message_words_new AFTER INSERT ON chat_message BEGIN
        INSERT INTO chat_message_words(rowid, body, names) SELECT {added("NEW")};
        END""",
    f"""CREATE TRIGGER chat_message_words_gone AFTER DELETE ON chat_message BEGIN
        {LEFT_OUT} SELECT 'delete', {added("OLD")};
        END""",
    f"""CREATE TRIGGER chat_message_words_changed AFTER UPDATE OF body, names ON chat_message
        WHEN OLD.body <> NEW.body OR OLD.names <> NEW.names BEGIN
        {LEFT_OUT} SELECT 'delete', {added("OLD")};
        INSERT INTO chat_message_words(rowid, body, names) SELECT {added("NEW")};
        END""",
    f"""CREATE TRIGGER chat_attachment_names_new AFTER INSERT ON chat_attachment
        WHEN NEW.message_id IS NOT NULL BEGIN
        {NAMES_SQLITE} WHERE event_id = NEW.message_id;
        END""",
    f"""CREATE TRIGGER chat_attachment_names_gone AFTER DELETE ON chat_attachment
        WHEN OLD.message_id IS NOT NULL BEGIN
        {NAMES_SQLITE} WHERE event_id = OLD.message_id;
        END""",
    f"""CREATE TRIGGER chat_attachment_names_changed
        AFTER UPDATE OF message_id, name ON chat_attachment BEGIN
        {NAMES_SQLITE} WHERE event_id IN (OLD.message_id, NEW.message_id);
        END""",
]
SQLITE_UNDONE = [
    "DROP TRIGGER IF EXISTS chat_attachment_names_new",
    "DROP TRIGGER IF EXISTS chat_attachment_names_gone",
    "DROP TRIGGER IF EXISTS chat_attachment_names_changed",
    *earlier.SQLITE_UNDONE,
]


def folded(text):
    """As migration 0003 has it: without accents, and blanks for what is no letter or digit."""
    signs, blanks = earlier.PUNCTUATION.replace("'", "''"), " " * len(earlier.PUNCTUATION)
    plain = f"regexp_replace(normalize({text}, NFKD), '{earlier.ACCENTS}', '', 'g')"
    return f"translate({plain}, '{signs}', '{blanks}')"


BORDER = "replace({}, chr(10), ' \u00e9 ')"  # this letter is in no text without accents
WORDS = f"to_tsvector('simple', {folded('body')} || {BORDER.format(folded('names'))})"
POSTGRESQL = [
    f"ALTER TABLE chat_message ADD COLUMN words tsvector GENERATED ALWAYS AS ({WORDS}) STORED",
    "CREATE INDEX chat_message_words ON chat_message USING gin (words)",
    """CREATE FUNCTION chat_names(message uuid) RETURNS text LANGUAGE sql STABLE AS $$
        SELECT coalesce(string_agg(chr(10) || name, '' ORDER BY created_at, id), '')
        FROM chat_attachment WHERE message_id = message $$""",
    """CREATE FUNCTION chat_attachment_names() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        UPDATE chat_message SET names = chat_names(event_id)
        WHERE event_id IN (OLD.message_id, NEW.message_id) AND names <> chat_names(event_id);
        RETURN NULL;
        END $$""",
    """CREATE TRIGGER chat_attachment_names
        AFTER INSERT OR DELETE OR UPDATE OF message_id, name ON chat_attachment
        FOR EACH ROW EXECUTE FUNCTION chat_attachment_names()""",
    """UPDATE chat_message SET names = chat_names(event_id)
        WHERE event_id IN (SELECT message_id FROM chat_attachment)""",
]
POSTGRESQL_UNDONE = [
    "DROP TRIGGER IF EXISTS chat_attachment_names ON chat_attachment",
    "DROP FUNCTION IF EXISTS chat_attachment_names()",
    "DROP FUNCTION IF EXISTS chat_names(uuid)",
    *earlier.POSTGRESQL_UNDONE,
]


def make_words(apps, schema_editor):
    statements = {"sqlite": SQLITE, "postgresql": POSTGRESQL}
    for statement in statements[schema_editor.connection.vendor]:
        schema_editor.execute(statement, params=None)


def drop_words(apps, schema_editor):
    statements = {"sqlite": SQLITE_UNDONE, "postgresql": POSTGRESQL_UNDONE}
    for statement in statements[schema_editor.connection.vendor]:
        schema_editor.execute(statement, params=None)


class Migration(migrations.Migration):
    dependencies = [("chat", "0007_pinned")]

    operations = [
        migrations.RunPython(earlier.drop_words, earlier.make_words),
        migrations.AddField(
            model_name="message",
            name="names",
            field=models.TextField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                help_text="Of its files, each after a line break. The database writes them.",
            ),
        ),
        migrations.RunPython(make_words, drop_words),
    ]
