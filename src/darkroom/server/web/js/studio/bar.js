// The bar: the rooms, the queue, the theme.

import { button, dialog, el, fill, icon, duration } from "../dom.js";
import { jobs } from "../jobs.js";
import { call, get } from "../server.js";
import { queuePanel } from "./queue.js";
import { SHORTCUTS } from "./shortcuts.js";
import { theme, turnTheme } from "./theme.js";

const THEMES = { "": ["auto", "Theme: as the machine has it"], light: ["sun", "Theme: light"], dark: ["moon", "Theme: dark"] };

export function bar(place, rooms) {
  const links = Object.entries(rooms).map(([name, [title]]) => el("a.room", { href: `#/${name}`, text: title, data: { room: name } }));
  document.addEventListener("room", ({ detail }) => links.forEach((link) => (link.dataset.room === detail ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current"))));
  const drawer = document.querySelector("#drawer");
  const pill = el("button.pill", { type: "button", "aria-expanded": "false", "aria-controls": "drawer" });
  const panel = queuePanel(() => toggle(false));
  drawer.append(panel.node);
  const toggle = (open = drawer.hidden) => {
    drawer.hidden = !open;
    pill.setAttribute("aria-expanded", String(open));
    if (open) { panel.show(); drawer.querySelector("button")?.focus(); } else pill.focus();
  };
  pill.addEventListener("click", () => toggle());
  drawer.addEventListener("keydown", (event) => event.key === "Escape" && toggle(false));
  const show = () => {
    const going = jobs.going();
    const running = going.filter((job) => job.state === "running").length;
    const rest = Math.max(0, ...going.map((job) => job.ready_in ?? 0));
    const text = !jobs.ready ? "…" : jobs.queue?.paused ? "Paused" : !jobs.queue?.ready ? "Loading the model" : going.length === 0 ? "Queue"
      : running === going.length ? `${running} in the tray` : `${going.length} to do${rest ? `, ${duration(rest)}` : ""}`;
    pill.dataset.busy = String(going.length > 0);
    fill(pill, icon("queue"), el("span", { text }));
    pill.setAttribute("aria-label", going.length || jobs.queue?.paused || !jobs.queue?.ready ? `Queue: ${text}` : "Queue");
  };
  jobs.addEventListener("change", show);
  const switcher = el("button.button.quiet.bare", { type: "button" });
  const dress = () => { const [name, said] = THEMES[theme()]; fill(switcher, icon(name)); switcher.title = said; switcher.setAttribute("aria-label", said); };
  switcher.addEventListener("click", () => { turnTheme(); dress(); });
  dress();
  show();
  fill(place, el("a.brand", { href: "#/make", "aria-label": "darkroom" }, el("img", { src: "/favicon.svg", alt: "", width: 22, height: 22 }), el("span", { text: "darkroom" })),
    el("nav.rooms", { "aria-label": "Rooms" }, links),
    el("div.bar-end", {}, el("span.lost-sign", { role: "status", text: "no connection" }), pill, switcher, button("Keys", { text: "?", kind: "quiet bare help", run: keys, "aria-label": "Keys" })));
  who(place.querySelector(".bar-end"));
  document.addEventListener("toggle-queue", () => toggle());
  document.addEventListener("show-keys", keys);
}

/** Whose key the browser brings along, and a way to take it back; nothing where no key is asked for. */
async function who(place) {
  const { owner } = await get("/api/session");
  if (owner) place.prepend(button(`${owner}, leave`, { text: owner, kind: "quiet who", title: "Forget the key in this browser",
    run: async () => { await call("DELETE", "/api/session"); location.reload(); } }));
}

function keys() {
  if (document.querySelector("dialog[open]")) return;
  dialog("Keys", {}, el("dl.keys", {}, SHORTCUTS.map(([keys, what]) => [el("dt", {}, keys.map((key) => el("kbd", { text: key }))), el("dd", { text: what })])));
}
