// The gallery: found again, kept on boards, compared, thrown away and taken back.

import { button, dialog, el, fill, icon, settled, toast } from "../dom.js";
import { jobs } from "../jobs.js";
import { get, picture, post, call } from "../server.js";
import { download } from "../make/workflow.js";
import { change } from "./actions.js";
import { askForPicture } from "../studio/drop.js";

const PAGE = 60;

export function gallery() {
  const asked = { words: "", board: null, favourites: false, trashed: false };
  let shown = [], more = false, chosen = new Set(), last = null, loading = 0;
  const search = el("input", { id: "search", type: "search", placeholder: "Search prompts", "aria-label": "Search prompts", autocomplete: "off" });
  const filters = el("div.filters", { role: "group", "aria-label": "Which pictures" });
  const list = el("ul.pictures", { "aria-label": "Pictures" });
  const foot = el("div.gallery-foot");
  const tools = el("div.tools", { role: "toolbar", "aria-label": "What to do with the chosen pictures", hidden: true });
  const node = el("section.gallery", {}, el("div.gallery-head", {}, el("h1.unseen", { text: "Gallery" }), el("div.search", {}, icon("search"), search), filters, button("Open a picture from disk", { icon: "upload", text: "", kind: "quiet", run: askForPicture })), list, foot, tools);
  search.addEventListener("input", settled(() => { asked.words = search.value; load(); }, 200));

  async function load(onward = false) {
    const number = ++loading;
    const query = new URLSearchParams({ most: PAGE });
    if (asked.words) query.set("words", asked.words);
    if (asked.board !== null) query.set("board", asked.board);
    if (asked.favourites) query.set("favourites", "true");
    if (asked.trashed) query.set("trashed", "true");
    if (onward && shown.length) query.set("before", shown.at(-1).name);
    try {
      const found = await get(`/api/pictures?${query}`);
      if (number !== loading) return;
      shown = onward ? [...shown, ...found] : found;
      more = found.length === PAGE;
      chosen = new Set([...chosen].filter((name) => shown.some((one) => one.name === name)));
      draw();
    } catch (error) { if (error.status !== 401) fill(foot, el("p.bad", { role: "alert", text: error.message })); }
  }

  async function boards() {
    const found = await get("/api/boards");
    const chip = (text, on, run, extra = {}) => el("button.chip", { type: "button", "aria-pressed": String(on), text, on: { click: () => { run(); load(); boards(); } }, ...extra });
    const plain = !asked.favourites && !asked.trashed && asked.board === null;
    fill(filters, chip("All", plain, () => Object.assign(asked, { favourites: false, trashed: false, board: null })),
      chip("Favourites", asked.favourites, () => Object.assign(asked, { favourites: !asked.favourites, trashed: false })),
      Object.entries(found).map(([name, count]) => chip(`${name} ${count}`, asked.board === name, () => Object.assign(asked, { board: asked.board === name ? null : name, trashed: false }))),
      chip("Trash", asked.trashed, () => Object.assign(asked, { trashed: !asked.trashed, favourites: false, board: null })));
  }

  function draw() {
    fill(list, shown.map((one, at) => card(one, at)));
    fill(foot, shown.length ? null : nothing(), more ? button("Show more", { run: () => load(true) }) : null,
      asked.trashed && shown.length ? button("Empty the trash", { icon: "trash", run: empty }) : null);
    toolbar();
  }

  function nothing() {
    if (asked.trashed) return el("p.vacant-said", { text: "The trash is empty." });
    if (asked.words || asked.favourites || asked.board !== null) return el("p.vacant-said", { text: "No picture is like that." });
    return el("div.vacant-said", {}, el("p", { text: "What you make hangs here to dry." }), el("a.button.primary", { href: "#/make", text: "Make a picture" }));
  }

  function card(one, at) {
    const tick = el("input", { type: "checkbox", "aria-label": `Choose ${one.prompt}` });
    tick.checked = chosen.has(one.name);
    tick.addEventListener("click", (event) => {
      if (event.shiftKey && last !== null) for (let i = Math.min(last, at); i <= Math.max(last, at); i++) { tick.checked ? chosen.add(shown[i].name) : chosen.delete(shown[i].name); }
      tick.checked ? chosen.add(one.name) : chosen.delete(one.name);
      last = at;
      for (const [i, item] of [...list.children].entries()) { item.querySelector("input").checked = chosen.has(shown[i].name); item.classList.toggle("chosen", chosen.has(shown[i].name)); }
      toolbar();
    });
    const open = el("button.card-open", { type: "button", "aria-label": `Open ${one.prompt}`, on: { click: (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) { tick.click(); return; }
      document.dispatchEvent(new CustomEvent("view-picture", { detail: { name: one.name, among: shown, from: open } }));
    } } }, el("img", { src: picture(one.name, "thumbnail"), alt: "", loading: "lazy", width: one.width, height: one.height }));
    return el("li.card", { class: chosen.has(one.name) ? "chosen" : "" }, open, tick, one.favourite ? el("span.card-heart", { title: "a favourite" }, icon("heart")) : null, el("p.card-said", { text: one.prompt, title: one.prompt }));
  }

  function toolbar() {
    tools.hidden = chosen.size === 0;
    if (tools.hidden) { fill(tools); return; }
    const names = [...chosen];
    const all = (values, text, back) => async () => {
      try { await change(names, values); chosen.clear(); toast(text, back ? { action: ["Take back", async () => { await change(names, back); }] } : {}); } catch (error) { toast(error.message, { kind: "bad" }); }
    };
    const those = names.length === 1 ? "It is" : `${names.length} are`;
    fill(tools, el("strong", { text: `${names.length} chosen`, role: "status" }),
      asked.trashed ? button("Take back", { icon: "undo", run: all({ trashed: false }, `${those} back.`) }) : [
        button("Favourite", { icon: "heart", run: all({ favourite: true }, `${those} among the favourites.`) }),
        button("Board", { icon: "board", run: () => onBoard(names) }),
        button("Compare", { icon: "compare", disabled: names.length !== 2, title: names.length === 2 ? "" : "Choose two", run: async () => (await import("./compare.js")).compare(names.map((name) => shown.find((one) => one.name === name))) }),
        button("Zip", { icon: "download", run: async () => download(await call("POST", "/api/pictures/zip", { names }), "pictures.zip") }),
        button("Throw away", { icon: "trash", run: all({ trashed: true }, `${those} in the trash.`, { trashed: false }) })],
      button("Choose none", { icon: "close", text: "", kind: "quiet", run: () => { chosen.clear(); draw(); } }));
  }

  async function onBoard(names) {
    const known = Object.keys(await get("/api/boards"));
    const input = el("input", { id: "board", list: "boards", maxlength: 100, autocomplete: "off" });
    const made = dialog("Onto a board", {}, el("form.stack", { on: { submit: async (event) => {
      event.preventDefault();
      try { await change(names, { board: input.value.trim() }); chosen.clear(); made.close(); boards(); } catch (error) { toast(error.message, { kind: "bad" }); }
    } } }, el("label", { for: "board", text: "Board (empty: on none)" }), input, el("datalist", { id: "boards" }, known.map((name) => el("option", { value: name }))), el("button.button.primary", { type: "submit", text: "Put there" })));
  }

  function empty() {
    const made = dialog("Empty the trash?", {}, el("p", { text: "What is in it is deleted for good, files and recipes." }),
      el("div.actions", {}, button("Delete for good", { icon: "trash", kind: "primary", run: async () => { const { deleted } = await post("/api/trash/empty"); made.close(); toast(`${deleted} deleted.`); load(); } }), button("Keep them", { run: () => made.close() })));
  }

  const again = settled(() => { if (node.isConnected) { load(); boards(); } }, 150);
  document.addEventListener("gallery-changed", again);
  jobs.addEventListener("event", ({ detail }) => detail.kind === "done" && again());
  node.addEventListener("entered", () => { load(); boards().catch(() => {}); });
  list.addEventListener("keydown", (event) => arrows(event, list));
  return node;
}

/** Arrow keys go from picture to picture. */
function arrows(event, list) {
  const at = [...list.children].indexOf(event.target.closest("li"));
  const wide = [...list.children].findIndex((item) => item.offsetTop !== list.firstChild.offsetTop);
  const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: wide > 0 ? wide : 1, ArrowUp: wide > 0 ? -wide : -1 }[event.key];
  const next = by && list.children[at + by]?.querySelector(".card-open");
  if (next) { event.preventDefault(); next.focus(); }
}
