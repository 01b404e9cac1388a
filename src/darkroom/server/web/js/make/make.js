// "Make": the form on one side, the picture in the middle, the newest ones beside it.

import { draft } from "../draft.js";
import { button, el, fill, toast } from "../dom.js";
import { jobs } from "../jobs.js";
import { get, once, post } from "../server.js";
import { takeSchema } from "./fields.js";
import { form } from "./form.js";
import { recent } from "./recent.js";
import { stage } from "./stage.js";
import { openWorkflow, saveWorkflow } from "./workflow.js";

const EXAMPLES = ["a red fox in the snow, 3d", "three yellow tulips, cartoon", "a blue robot on a white background, 3d", "a castle, flat", "a green turtle and a red mushroom, cartoon", "an orange cat, 3d"];
const VARIED = 4; // pictures of "vary"

/** The view. */
export async function make() {
  takeSchema(await get(`/api/schema?model=${encodeURIComponent(draft.get("model") ?? "default")}`));
  const why = el("p.bad", { role: "alert" });
  const send = button("Make", { kind: "primary large", run: () => ask() });
  const others = el("div.others", {}, button("Save as a workflow", { icon: "download", text: "", kind: "quiet", run: saveWorkflow }),
    button("Open a workflow", { icon: "upload", text: "", kind: "quiet", run: openWorkflow }));
  const shown = stage({ empty });
  const strip = recent((id) => { shown.watch(id); strip.show(); }, shown.watched);
  let column = form();
  const panel = el("form.panel", { "aria-label": "What to make", on: { submit: (event) => { event.preventDefault(); ask(); } } },
    column, el("div.send", {}, why, el("div.send-row", {}, send, el("kbd", { text: "Ctrl ↵" }), others)));

  async function ask() {
    why.textContent = "";
    if (!draft.get("text").trim()) { why.textContent = "the prompt is blank; say what the picture shows"; document.querySelector("#prompt").focus(); return; }
    send.setAttribute("aria-busy", "true");
    try {
      const asked = await jobs.submit(draft.request(), draft.get("count") ?? 1);
      await shown.watch(asked[0].id);
      strip.show();
      if (innerWidth < 900) shown.node.scrollIntoView({ block: "start", behavior: "smooth" });
    } catch (error) { why.textContent = error.message; } finally { send.removeAttribute("aria-busy"); }
  }

  panel.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); ask(); }
  });
  document.addEventListener("make", ask);
  document.addEventListener("vary", async ({ detail }) => {
    try {
      const asked = [];
      for (let at = 0; at < VARIED; at++) asked.push(await post("/api/jobs", detail, once())); // one seed, and each its own way from it
      jobs.took(asked);
      await shown.watch(asked[0].id);
      strip.show();
    } catch (error) { why.textContent = error.message; }
  });
  document.addEventListener("watch-job", ({ detail }) => { shown.watch(detail); strip.show(); });
  document.addEventListener("keep-seed", () => {
    const job = jobs.all.get(shown.watched());
    if (job) draft.set("seed", job.request.seed);
    else toast("There is no picture on the stage whose seed could be kept.");
  });
  let model = draft.get("model");
  draft.addEventListener("change", async ({ detail }) => {
    why.textContent = "";
    if (!detail.fields.includes("model") || draft.get("model") === model) return;
    model = draft.get("model");
    try {
      takeSchema(await get(`/api/schema?model=${encodeURIComponent(model ?? "default")}`));
      const next = form();
      column.replaceWith(next);
      column = next;
    } catch (error) { why.textContent = error.message; }
  });
  begin(shown, strip);
  return el("div.make", {}, el("h1.unseen", { text: "Make a picture" }), panel, shown.node, strip.node);
}

/** After a reload what was watched is watched on; else what is being drawn, or what was drawn last. */
async function begin(shown, strip) {
  if (!jobs.ready) await new Promise((go) => jobs.addEventListener("change", go, { once: true }));
  const at = shown.remembered();
  const last = jobs.going()[0] ?? jobs.listed().find((job) => job.state === "done");
  await shown.watch(at ?? last?.id ?? null);
  strip.show();
}

function empty() {
  const place = el("div.vacancy", {}, el("h2", { text: "Nothing in the tray yet" }),
    el("p", { text: "Say what the picture shall show. It appears step by step, like a print in the developer." }),
    el("div.chips", {}, EXAMPLES.map((text) => el("button.chip", { type: "button", text, on: { click: () => { draft.set("text", text); document.querySelector("#prompt").focus(); } } }))));
  const known = el("details.knows", {}, el("summary", { text: "What this model can draw" }), el("p.hint", { text: "…" }));
  known.addEventListener("toggle", async () => {
    if (!known.open) return;
    const models = await get("/api/models");
    const model = models.find((one) => one.name === (draft.get("model") ?? "default")) ?? models[0];
    fill(known, known.firstChild, model.vocabulary?.length ? el("p.words", { text: model.vocabulary.join(", ") }) : null, el("ul.limits", {}, (model.limits ?? []).map((text) => el("li", { text }))));
  });
  place.append(known);
  return place;
}
