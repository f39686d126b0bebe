/** Gives the chat page a server of its own, in the page; loaded before main.js. */

import * as cast from "/tests/client_cast.js";

const rooms = JSON.parse(document.getElementById("bootstrap").textContent).rooms ?? ["general", "other"];
globalThis.cast = cast;
globalThis.server = new cast.Server({ rooms });
globalThis.WebSocket = server.sockets(cast.ALICE);
for (let number = 1; number <= 120; number += 1) {
  server.say(cast.BOB, `old ${number}`, { at: new Date(Date.UTC(2026, 1, 1, 9, number)).toISOString() });
}
server.reads["1.general"] = 120;
server.answers.rooms = () => ({ rooms: [{ room: "far", name: "Far", joined: false }] });
