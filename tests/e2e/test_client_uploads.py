"""Files on their way: in pieces, gone on with after a broken connection, and taken back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.modules import Run, modules

pytestmark = pytest.mark.browser
PRELUDE = """
const { upload, limits, fileUrl, thumbnailUrl } = uploads;
const clock = new cast.Clock();
const asked = [];      // method, address and what was sent
const answers = [];    // what to do with a PUT before it is answered as a server does
const server = { token: "t1", file_bytes: 100, chunk_bytes: 4, bytes: "", size: 0, gone: false };
const json = (body, status = 200) =>
  new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json" } });
async function fetch(url, { method = "GET", body, headers, signal } = {}) {
  const text = await (body instanceof Blob ? body : new Response(body)).text();
  asked.push(`${method} ${url} ${text}`.trim());
  signal?.throwIfAborted();
  if (method === "GET") return json({ csrf: server.token, file_bytes: server.file_bytes });
  if (headers["X-CSRFToken"] !== server.token) return new Response("<h1>No</h1>", { status: 400 });
  if (method === "DELETE") { server.gone = true; return new Response(null, { status: 204 }); }
  if (method === "POST") {
    server.size = JSON.parse(text).size;
    return json({ id: "f1", received: 0, chunk_bytes: server.chunk_bytes }, 201);
  }
  const answer = await answers.shift()?.(text, signal);
  if (answer) return answer;
  const offset = Number(new URLSearchParams(url.split("?")[1]).get("offset"));
  if (offset !== server.bytes.length) return json({ error: {}, received: server.bytes.length }, 409);
  server.bytes += text;
  const whole = server.bytes.length === server.size ? { attachment: { id: "f1" } } : {};
  return json({ received: server.bytes.length, ...whole });
}
const file = (text, name = "a.txt") => new File([text], name, { type: "text/plain" });
const pieces = () => asked.filter((line) => line.startsWith("PUT"))
  .map((line) => line.replace("PUT /rooms/den/files/f1/?offset=", ""));
const failed = (promise) => promise.then(() => "no", (error) => [error.code ?? error.name, error.message]);
"""


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with modules(uploads="chat/uploads.js", protocol="chat/protocol.js") as evaluate:
        yield lambda body: evaluate(PRELUDE + body)


def test_a_file_goes_in_pieces_and_says_how_far_it_is(run: Run) -> None:
    assert run("""
        const steps = [];
        const progress = ({ sent, size }) => steps.push(`${sent}/${size}`);
        const attachment = await upload("den", file("hello world"), { fetch, clock, progress });
        return [attachment, server.bytes, asked, steps];
    """) == [
        {"id": "f1"},
        "hello world",
        [
            "GET /rooms/den/files/",
            'POST /rooms/den/files/ {"name":"a.txt","size":11,"type":"text/plain"}',
            "PUT /rooms/den/files/f1/?offset=0 hell",
            "PUT /rooms/den/files/f1/?offset=4 o wo",
            "PUT /rooms/den/files/f1/?offset=8 rld",
        ],
        ["0/11", "4/11", "8/11", "11/11"],
    ]


def test_limits_are_asked_once_and_told_before_anything_is_sent(run: Run) -> None:
    assert run("""
        server.file_bytes = 5;
        const refused = await failed(upload("den", file("too long"), { fetch, clock }));
        await upload("den", file("short"), { fetch, clock });
        await limits("other", { fetch });
        return [refused, asked.filter((line) => line.startsWith("GET")), asked.length];
    """) == [
        ["too_large", "a.txt is larger than 5 bytes."],
        ["GET /rooms/den/files/"],
        4,
    ]


def test_a_broken_connection_goes_on_where_the_server_says(run: Run) -> None:
    """The second piece arrives but its answer does not; then a proxy is in the way."""
    assert run("""
        answers.push(
          () => null,
          (text) => { server.bytes += text; throw new TypeError("broken"); },
          () => new Response("bad gateway", { status: 502 }),
        );
        const going = upload("den", file("hello world"), { fetch, clock });
        for (let turn = 0; turn < 20; turn += 1) {
          await new Promise((resolve) => setTimeout(resolve, 5));
          await clock.pass(20_000);
        }
        await going;
        return [server.bytes, pieces()];
    """) == ["hello world", ["0 hell", "4 o wo", "4 o wo", "4 o wo", "8 rld"]]


def test_a_server_that_stays_away_is_given_up(run: Run) -> None:
    assert run("""
        for (let turn = 0; turn < 9; turn += 1) answers.push(() => { throw new TypeError("broken"); });
        const going = failed(upload("den", file("hello"), { fetch, clock }));
        for (let turn = 0; turn < 20; turn += 1) {
          await new Promise((resolve) => setTimeout(resolve, 5));
          await clock.pass(20_000);
        }
        return [await going, pieces().length, server.gone];
    """) == [["disconnected", "The connection broke."], 6, True]


def test_what_the_server_refuses_is_not_tried_again_and_its_words_are_kept(run: Run) -> None:
    assert run("""
        const error = { code: "bad_request", detail: "The virus scanner found something in it." };
        answers.push(() => json({ error }, 400));
        return [await failed(upload("den", file("hello"), { fetch, clock })), pieces().length];
    """) == [["bad_request", "The virus scanner found something in it."], 1]


def test_a_file_that_changed_meanwhile_is_not_tried_again(run: Run) -> None:
    """Browsers refuse to read it, or read less than there was."""
    assert run("""
        const unread = () => Promise.reject(new DOMException("", "NotReadableError"));
        const blob = Object.assign(new Blob(["hell"]), { arrayBuffer: unread, text: unread });
        const ends = [];
        for (const rest of [blob, new Blob(["o"])]) {
          const changing = file("hello world");
          const slice = changing.slice.bind(changing);
          changing.slice = (from, to) => (from === 0 ? slice(from, to) : rest);
          server.bytes = "";
          const going = failed(upload("den", changing, { fetch, clock }));
          for (let turn = 0; turn < 20; turn += 1) {
            await new Promise((resolve) => setTimeout(resolve, 5));
            await clock.pass(20_000);
          }
          ends.push(await going, pieces().splice(0).length);
        }
        return ends;
    """) == [
        [
            "changed",
            "The file was changed or removed since it was chosen. Attach it again.",
        ],
        1,
        [
            "changed",
            "The file was changed or removed since it was chosen. Attach it again.",
        ],
        2,
    ]


def test_a_token_that_was_renewed_meanwhile_is_asked_for_again(run: Run) -> None:
    assert run("""
        answers.push(() => null, () => null);
        await limits("den", { fetch });
        server.token = "t2";
        await upload("den", file("hello"), { fetch, clock });
        return [server.bytes, asked.filter((line) => line.startsWith("GET")).length];
    """) == ["hello", 2]


def test_a_cancelled_upload_is_taken_back(run: Run) -> None:
    assert run("""
        const controller = new AbortController();
        answers.push(() => null, () => { controller.abort(); throw new TypeError("aborted"); });
        const options = { fetch, clock, signal: controller.signal };
        const [name] = await failed(upload("den", file("hello world"), options));
        await new Promise((resolve) => setTimeout(resolve, 5));
        const aborted = await failed(upload("den", file("hello"), options));
        return [name, pieces().length, asked.at(-1), server.gone, aborted[0]];
    """) == [20, 2, "DELETE /rooms/den/files/f1/", True, 20]


def test_addresses_bear_any_name(run: Run) -> None:
    assert run("""
        const one = { id: "f1", name: "50% #1?.txt" };
        return [fileUrl("den", one), thumbnailUrl("den", one)];
    """) == [
        "/rooms/den/files/f1/50%25%20%231%3F.txt",
        "/rooms/den/files/f1/thumbnail",
    ]


def test_sizes_are_words_that_one_reads_at_a_glance(run: Run) -> None:
    assert run("""
        const { sizeWords } = await import("/static/chat/sizes.js");
        return [0, 1, 1023, 1024, 5530, 1024 ** 2 - 1, 25 * 1024 ** 2].map(sizeWords);
    """) == ["0 bytes", "1 byte", "1023 bytes", "1 KB", "5.4 KB", "1 MB", "25 MB"]
