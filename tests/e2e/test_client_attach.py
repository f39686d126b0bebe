"""Files of a message that is being written: taken, refused with numbers, handed over, tried again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.modules import Run, modules

pytestmark = pytest.mark.browser
PRELUDE = """
const { Tray, Slots } = attach;
const file = (name, size = 3, type = "text/plain") =>
  new File([new Uint8Array(size)], name, { type });
const under = new Map(); // name → what ends its upload
const made = (options = {}) => new Tray({
  slots: new Slots(2), changed() {}, limits: () => ({ file_bytes: 1024, per_message: 3 }),
  send: ({ name }, { progress, signal }) => new Promise((resolve, reject) => {
    under.set(name, { progress, reject, arrive: () => resolve({ id: `id of ${name}`, name }) });
    signal.addEventListener("abort", () => reject(signal.reason));
  }),
  ...options,
});
const states = (tray) => tray.uploads.map(({ name, state }) => `${name} ${state}`);
"""


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with modules(attach="chat/attach.js") as evaluate:
        yield lambda body: evaluate(PRELUDE + body)


def test_what_is_too_large_empty_or_too_much_is_refused_with_the_numbers(run: Run) -> None:
    assert run("""
        const tray = made();
        const small = ["a", "b", "c", "d"].map((name) => file(name));
        const said = tray.add([file("big", 2048), file("none", 0), ...small]);
        await cast.settled();
        return [said, tray.uploads.map(({ name }) => name), [...under.keys()]];
    """) == [
        [
            "“big” has 2 KB; a file may have 1 KB.",
            "“none” is empty.",
            "A message takes 3 files at most.",
        ],
        ["a", "b", "c"],
        ["a", "b"],
    ]


def test_uploads_take_turns_and_tell_how_far_they_are(run: Run) -> None:
    assert run("""
        const tray = made();
        tray.add([file("a"), file("b"), file("c")]);
        await cast.settled();
        under.get("a").progress(0.5);
        const before = [states(tray), tray.uploads[0].progress];
        under.get("a").arrive();
        await cast.settled();
        return [...before, states(tray), tray.attachments];
    """) == [
        ["a uploading", "b uploading", "c waiting"],
        0.5,
        ["a done", "b uploading", "c uploading"],
        [{"id": "id of a", "name": "a"}],
    ]


def test_one_that_is_taken_off_makes_way_for_the_next(run: Run) -> None:
    assert run("""
        const tray = made();
        tray.add([file("a"), file("b"), file("c")]);
        await cast.settled();
        tray.remove(tray.uploads[0]);
        await cast.settled();
        return states(tray);
    """) == ["b uploading", "c uploading"]


def test_a_failed_upload_says_why_and_is_tried_again(run: Run) -> None:
    assert run("""
        const tray = made();
        tray.add([file("a")]);
        await cast.settled();
        under.get("a").reject(new Error("No space is left."));
        await cast.settled();
        const [upload] = tray.uploads;
        const before = [upload.state, upload.error];
        tray.retry(upload);
        await cast.settled();
        under.get("a").arrive();
        await cast.settled();
        return [...before, upload.state, upload.error];
    """) == ["failed", "No space is left.", "done", None]


def test_what_has_arrived_is_handed_over_at_once_and_the_rest_as_a_parcel(run: Run) -> None:
    assert run("""
        const tray = made();
        tray.add([file("a"), file("b")]);
        await cast.settled();
        under.get("a").arrive();
        await cast.settled();
        const { parcel } = tray.take();
        under.get("b").reject(new Error("No."));
        const refused = await parcel.whole().catch(({ message }) => message);
        const again = parcel.whole();
        await cast.settled();
        under.get("b").arrive();
        return [tray.isEmpty, parcel.names, refused, (await again).map(({ id }) => id)];
    """) == [True, ["b"], "“b” was not uploaded. No.", ["id of a", "id of b"]]


def test_a_whole_tray_needs_no_parcel_and_a_draft_gets_its_files_back(run: Run) -> None:
    assert run("""
        const tray = made();
        tray.restore([{ id: "f1", name: "a.png", size: 3 }]);
        const { attachments, parcel } = tray.take();
        return [attachments.map(({ id }) => id), parcel, tray.isEmpty];
    """) == [["f1"], None, True]
