"""What the lists, the switcher and the column beside the room decide, without a page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.modules import Run, modules

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with modules(
        dom="chat/dom.js",
        rooms="chat/rooms.js",
        switcher="chat/switcher.js",
        dialogs="chat/dialogs.js",
        search="chat/panel_search.js",
        members="chat/panel_members.js",
        settings="chat/panel_settings.js",
    ) as run:
        yield run


def test_sections_part_rooms_people_and_what_is_archived(run: Run) -> None:
    parts = run("""
      const parts = rooms.sections([
        { slug: "den", kind: "private" }, { slug: "dm", kind: "direct" },
        { slug: "old", kind: "direct", archived: true }, { slug: "square", kind: "public" },
      ]);
      return Object.fromEntries(Object.entries(parts).map(([name, list]) => [name, list.map((r) => r.slug)]));
    """)
    assert parts == {"rooms": ["den", "square"], "people": ["dm"], "archived": ["old"]}


def test_a_conversation_of_several_has_the_picture_of_several(run: Run) -> None:
    assert run("""
      const kinds = [["public"], ["private"], ["direct", [2]], ["direct", [2, 3]]];
      return kinds.map(([kind, others]) => rooms.iconOf({ kind, others }));
    """) == ["hash", "lock", "person", "people"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["pets", "ops", "den", "cafe"]),  # what is meant for me, what waits, the rest
        ("o", ["ops", "den"]),  # “The other den” has a word that begins so
        ("CAFÉ", ["cafe"]),
        ("cafe", ["cafe"]),
        ("et", ["pets"]),
        ("zebra", []),
    ],
)
def test_switcher_ranks_by_how_a_name_answers(run: Run, query: str, found: list[str]) -> None:
    assert (
        run(f"""
          const list = [
            {{ slug: "den", name: "The other den", unread: 0, mentions: 0 }},
            {{ slug: "ops", name: "Operations", unread: 3, mentions: 0 }},
            {{ slug: "cafe", name: "Café", unread: 0, mentions: 0 }},
            {{ slug: "pets", name: "Pets", unread: 1, mentions: 1 }},
          ];
          return switcher.ranked({query!r}, list).map((room) => room.slug);
        """)
        == found
    )


def test_address_of_a_conversation_can_be_read_and_stays_an_address(run: Run) -> None:
    short, long = run("""
      const people = (...names) => names.map((username) => ({ username, name: "" }));
      return [
        dialogs.directRoom(cast.ALICE, [cast.BOB], "00ff"),
        dialogs.directRoom(cast.ALICE, people("Zoë.X", ...Array(11).fill("averylongname")), "00ff"),
      ];
    """)
    assert short["room"] == "dm-alice-bob-00ff"
    assert short["members"] == ["bob"]
    assert short["kind"] == "direct"
    assert len(long["room"]) <= 64
    assert len(long["name"]) <= 80


def test_a_hit_is_cut_where_its_marks_are(run: Run) -> None:
    assert run(
        """return search.pieces({ text: "the budget draft", marks: [[4, 10], [11, 16]] })"""
    ) == [
        {"text": "the ", "isMark": False},
        {"text": "budget", "isMark": True},
        {"text": " ", "isMark": False},
        {"text": "draft", "isMark": True},
    ]
    assert run("""return search.pieces({ text: "<b>", marks: [] })""") == [
        {"text": "<b>", "isMark": False}
    ]


@pytest.mark.parametrize(
    ("mine", "theirs", "deeds"),
    [
        ("member", "member", ["direct"]),
        ("moderator", "member", ["direct", "remove", "ban"]),
        ("moderator", "moderator", ["direct"]),
        ("owner", "moderator", ["direct", "role owner", "role member", "remove", "ban"]),
    ],
)
def test_deeds_about_somebody_follow_from_both_roles(
    run: Run, mine: str, theirs: str, deeds: list[str]
) -> None:
    found = run(f"""
      const member = {{ user: cast.BOB, role: {theirs!r} }};
      return members.actionsAbout(member, {{ me: cast.ALICE, role: {mine!r}, kind: "public" }});
    """)
    assert [f"{d['name']} {d.get('becomes', '')}".strip() for d in found] == deeds


def test_nothing_is_done_about_oneself_nor_in_a_conversation(run: Run) -> None:
    assert run("""
      const about = (user, kind) =>
        members.actionsAbout({ user, role: "member" }, { me: cast.ALICE, role: "owner", kind });
      return [about(cast.ALICE, "public"), about(cast.BOB, "direct")];
    """) == [[], []]


def test_only_what_differs_is_changed(run: Run) -> None:
    assert run("""
      const room = { name: "Den", description: "", posting: "members", slowSeconds: 0 };
      const same = { name: "Den", description: "", posting: "members", slow_seconds: 0 };
      return [settings.changesOf(room, same), settings.changesOf(room, { ...same, slow_seconds: 30 })];
    """) == [{}, {"slow_seconds": 30}]


def test_what_stays_in_a_list_is_not_moved_for_what_goes_or_comes(run: Run) -> None:
    """A list item that is moved has to be styled and laid out anew."""
    assert run("""
      const list = document.createElement("ol");
      const show = (keys) => {
        const make = () => document.createElement("li");
        const update = (element, item) => { element.textContent = item.key; };
        dom.keyed(list, [...keys].map((key) => ({ key, stamp: "" })), { make, update });
        const moves = seen.takeRecords();
        const names = (kind) => moves.flatMap((move) => [...move[kind]], []).map((li) => li.dataset.key);
        return [list.textContent, names("removedNodes").join(""), names("addedNodes").join("")];
      };
      const seen = new MutationObserver(() => {});
      seen.observe(list, { childList: true });
      return ["abcd", "cdef", "xcd", "dxc"].map(show);
    """) == [
        ["abcd", "", "abcd"],
        ["cdef", "ab", "ef"],
        ["xcd", "ef", "x"],
        ["dxc", "d", "d"],
    ]
