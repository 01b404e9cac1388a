// "Grid": one request laid out along two of its fields, as a table; and the way from one prompt to another, as a film.

import { draft } from "../draft.js";
import { button, el, fill } from "../dom.js";
import { FINAL, jobs } from "../jobs.js";
import { get, once, picture, post, call } from "../server.js";
import { fields, shape, takeSchema } from "../make/fields.js";
import { titled } from "../make/spelling.js";
import { download } from "../make/workflow.js";

const KEY = "darkroom.grid";
const NOT_LAID = ["init_image", "mask", "outpaint", "lora", "control", "image_prompt", "embedding", "vae", "regions", "refine", "verify", "best_of", "retry", "guide"];
const FIRST = { steps: "4, 8, 16", guidance: "2, 3.5, 6", seed: "0-3", variation: "0, 0.25, 0.5", strength: "0.4, 0.6, 0.8", prompt: "", spacing: "even, karras", sampler: "euler, heun, dpmpp-2m" };

export async function grid() {
  try { fields(); } catch { takeSchema(await get("/api/schema")); }
  const table = el("div.sheet-scroll"), film = el("div.sheet-scroll");
  const why = el("p.bad", { role: "alert" }), problem = el("p.bad", { role: "alert" });
  const kept = read();
  const x = axis("x", "Columns", kept?.asked?.x ?? ["steps", "4, 8, 16"]);
  const y = axis("y", "Rows", kept?.asked?.y ?? ["", ""]);
  const text = el("textarea", { id: "grid-prompt", rows: 2 });
  text.addEventListener("input", () => draft.set("text", text.value, text));
  const other = el("input", { id: "film-to", autocomplete: "off", placeholder: "a blue owl, 3d" });
  const frames = el("input", { id: "film-frames", type: "number", min: 2, max: 100, value: 8 });
  const node = el("section.grid-room", {},
    el("h1", { text: "Grid" }),
    el("p.hint", { text: "One picture asked for in many ways, with one seed: what the form says, laid out along one or two of its fields. Values are divided by commas; 1..5 counts, seeds take 0-3; of the prompt, the first word is replaced by the others." }),
    el("form.grid-form", { on: { submit: (event) => { event.preventDefault(); draw(); } } },
      el("div.stack", {}, el("label", { for: "grid-prompt", text: "Prompt" }), text), x.node, y.node,
      button("Draw the grid", { kind: "primary", run: draw })), why, table,
    el("h2", { text: "From one prompt to another" }),
    el("form.grid-form", { on: { submit: (event) => { event.preventDefault(); way(); } } },
      el("div.stack", {}, el("label", { for: "film-to", text: "What it turns into" }), other), el("div.stack", {}, el("label", { for: "film-frames", text: "Pictures on the way" }), frames),
      button("Draw the way", { kind: "primary", run: way })), problem, film);
  let laid = kept?.table ?? null, strip = kept?.film ?? [];

  function axis(letter, title, [field, values]) {
    const names = ["prompt", ...Object.keys(fields()).filter((name) => name !== "prompt" && !NOT_LAID.includes(name))];
    const select = el("select", { id: `axis-${letter}`, "aria-label": `${title}: field` }, el("option", { value: "", text: "none" }), names.map((name) => el("option", { value: name, text: name === "prompt" ? "Words of the prompt" : titled(name) })));
    const input = el("input", { "aria-label": `${title}: values`, autocomplete: "off", placeholder: "4, 8, 16" });
    select.value = field;
    input.value = values;
    select.addEventListener("change", () => {
      const told = select.value && shape(select.value);
      input.value = FIRST[select.value] ?? (told?.examples ?? told?.enum ?? []).slice(0, 4).join(", ");
      input.placeholder = select.value === "prompt" ? "fox, cat, owl" : "4, 8, 16";
      input.disabled = !select.value;
    });
    input.disabled = !field;
    return { node: el("fieldset.axis", {}, el("legend", { text: title }), select, input), asked: () => [select.value, input.value], text: () => (select.value ? `${select.value}=${input.value}` : null) };
  }

  function base() {
    const request = draft.request();
    for (const one of [x, y]) delete request[one.asked()[0] === "prompt" ? "" : one.asked()[0]];
    return request;
  }

  async function draw() {
    why.textContent = "";
    try {
      const told = await post("/api/grid", { request: base(), x: x.text(), y: y.text() }, once());
      jobs.took(told.jobs.flat().filter(Boolean));
      laid = { ...told, jobs: told.jobs.map((row) => row.map((job) => job?.id ?? null)) };
      keep();
      show();
    } catch (error) { why.textContent = error.message.replaceAll("--x", "columns").replaceAll("--y", "rows"); }
  }

  async function way() {
    problem.textContent = "";
    try {
      const request = { ...draft.request(), toward: { prompt: other.value || " ", share: 1 } };
      const asked = await post("/api/film", { request, frames: Number(frames.value) || 8 }, once());
      jobs.took(asked);
      strip = asked.map((job) => job.id);
      keep();
      show();
    } catch (error) { problem.textContent = error.message; }
  }

  const keep = () => localStorage.setItem(KEY, JSON.stringify({ asked: { x: x.asked(), y: y.asked() }, table: laid, film: strip }));

  function tile(id, trouble = "") {
    const job = id && jobs.all.get(id);
    if (!id) return el("p.problem.bad", { text: trouble });
    const src = job?.picture ? picture(job.picture) : job?.seen?.preview;
    const text = { queued: "waits", failed: job?.message, cancelled: "cancelled" }[job?.state] ?? "";
    return el("button.tile", { type: "button", data: { state: job?.state ?? "gone", job: id }, title: text, disabled: !job?.picture, "aria-label": job ? `${job.request.prompt.text}: ${job.state}` : "not here any more",
      on: { click: () => document.dispatchEvent(new CustomEvent("view-picture", { detail: { name: job.picture } })) } },
      src ? el("img", { src, alt: "" }) : el("span.tile-said", { text: job?.state === "failed" ? "!" : job ? "" : "gone" }),
      el("span.tile-bar", { hidden: job?.state !== "running", vars: { "--done": `${job?.seen?.steps ? (100 * job.seen.step) / job.seen.steps : 0}%` } }));
  }

  function show() {
    if (laid) {
      const columns = laid.x?.labels ?? [""], rows = laid.y?.labels ?? [""];
      fill(table, el("table.sheet", {}, el("caption.unseen", { text: "The grid" }),
        laid.x ? el("thead", {}, el("tr", {}, laid.y ? el("td", { text: "" }) : null, columns.map((label) => el("th", { scope: "col", text: headed(laid.x.field, label) })))) : null,
        el("tbody", {}, rows.map((label, row) => el("tr", {}, laid.y ? el("th", { scope: "row", text: headed(laid.y.field, label) }) : null, columns.map((_, column) => el("td", {}, tile(laid.jobs[row][column], laid.problems[row][column]))))))),
      el("div.actions", {}, button("Download its pictures", { icon: "download", disabled: !done(laid.jobs.flat()).length, run: () => zip(laid.jobs.flat()) })));
    }
    if (strip.length) fill(film, el("table.sheet", {}, el("caption.unseen", { text: "The way" }), el("tbody", {}, el("tr", {}, strip.map((id) => el("td", {}, tile(id)))))));
  }

  const done = (ids) => ids.map((id) => id && jobs.all.get(id)?.picture).filter(Boolean);
  async function zip(ids) { download(await call("POST", "/api/pictures/zip", { names: [...new Set(done(ids))] }), "grid.zip"); }

  async function enter() {
    text.value = draft.get("text");
    const missing = [...(laid?.jobs.flat() ?? []), ...strip].filter((id) => id && !jobs.all.has(id));
    await Promise.all(missing.map((id) => jobs.one(id).catch(() => {})));
    show();
  }
  const again = () => node.isConnected && show();
  jobs.addEventListener("change", again);
  jobs.addEventListener("progress", ({ detail }) => {
    const old = node.isConnected && node.querySelector(`[data-job="${detail}"]`);
    if (old && !FINAL.includes(old.dataset.state)) old.replaceWith(tile(detail));
  });
  node.addEventListener("entered", enter);
  return node;
}

const headed = (field, label) => (field === "prompt" ? label : `${field} ${label}`);

function read() {
  try { return JSON.parse(localStorage.getItem(KEY) ?? "null"); } catch { return null; }
}
