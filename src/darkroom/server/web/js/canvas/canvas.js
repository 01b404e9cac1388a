// "Canvas": parts of a picture drawn anew under a brush, and pictures carried on beyond their edges.

import { draft } from "../draft.js";
import { button, el, fill, toast } from "../dom.js";
import { FINAL, jobs } from "../jobs.js";
import { brought, get, picture } from "../server.js";
import { control, fields, takeSchema } from "../make/fields.js";
import { bring, startFrom } from "../make/start.js";
import { askForPicture } from "../studio/drop.js";
import { board, vacant } from "./board.js";

const SIDES = ["left", "top", "right", "bottom"];
const STEP = 32;

export async function canvas() {
  try { fields(); } catch { takeSchema(await get("/api/schema")); }
  const easel = el("div.easel");
  const side = el("aside.canvas-side", { "aria-label": "Brush and margins" });
  const node = el("section.canvas-room", { "aria-label": "Canvas" }, el("h1.unseen", { text: "Canvas" }), easel, side);
  const state = { name: null, board: null, erases: false, share: 0.08, job: null };
  const why = el("p.bad", { role: "alert" });
  const said = el("p.hint", { role: "status" });

  const margins = () => ({ left: 0, top: 0, right: 0, bottom: 0, ...draft.get("outpaint") });
  const brush = () => ({ radius: state.share * Math.max(state.board.width, state.board.height), erases: state.erases });

  async function open() {
    const name = draft.get("init_image");
    if (name === state.name && (state.board || !name)) { state.board?.fit(); return; }
    Object.assign(state, { name, board: null });
    if (!name) { await nothing(); return; }
    const image = new Image();
    image.src = brought(name);
    try { await image.decode(); } catch { toast("the start picture is not here any more; take another", { kind: "bad" }); draft.set("init_image", undefined); await nothing(); return; }
    back();
    state.board = board(image, brush, margins, painted);
    fill(easel, state.board.node);
    state.board.fit();
    if (draft.get("mask")) draft.set("mask", undefined);
    tools();
  }

  async function nothing() {
    fill(easel, vacant(button("Open a picture from disk", { icon: "upload", kind: "primary", run: askForPicture })));
    fill(side, el("h2", { text: "Newest pictures" }));
    const some = await get("/api/pictures?most=12").catch(() => []);
    side.append(some.length ? el("ul.pictures", {}, some.map((one) => el("li.card", {}, el("button.card-open", { type: "button", "aria-label": `Paint on ${one.prompt}`, on: { click: () => startFrom(picture(one.name)).then(open) } }, el("img", { src: picture(one.name, "thumbnail"), alt: "", loading: "lazy" })))))
      : el("p.hint", { text: "None yet: make one, or open a photo." }));
  }

  function tools() {
    const brushes = [["brush", "Brush", false], ["eraser", "Eraser", true]].map(([sign, label, erases]) => button(label, { icon: sign, "aria-pressed": String(state.erases === erases), run: () => { state.erases = erases; press(); } }));
    const press = () => brushes.forEach((one, at) => one.setAttribute("aria-pressed", String(state.erases === Boolean(at))));
    node.press = press;
    const size = el("input", { type: "range", min: 1, max: 40, value: state.share * 100, "aria-label": "Size of the brush" });
    const sized = () => { state.share = size.value / 100; size.style.setProperty("--at", `${(100 * (size.value - 1)) / 39}%`); };
    node.size = (by) => { size.value = Number(size.value) + by; sized(); state.board.show(); };
    size.addEventListener("input", sized);
    sized();
    const text = el("textarea", { id: "canvas-prompt", rows: 2, value: draft.get("text") });
    text.addEventListener("input", () => draft.set("text", text.value, text));
    const strokes = () => state.board.strokes;
    const bare = (label, sign, run) => button(label, { icon: sign, text: "", run });
    fill(side, el("h2", { text: "Brush" }),
      el("div.toolset", {}, brushes, bare("Undo", "undo", () => strokes().undo()), bare("Redo", "redo", () => strokes().redo())),
      size,
      el("div.toolset", {}, button("All", { run: () => strokes().all("fill") }), button("None", { run: () => strokes().all("clear") }), button("Turn round", { run: () => strokes().all("invert"), title: "What was painted is kept, what was not is drawn anew" })),
      el("div.stack", {}, el("label", { for: "canvas-prompt", text: "What shall be there, as a sentence about the whole picture" }), text),
      control("strength"), control("mask_blur"),
      el("div.field", {}, el("h3", { text: "Margins" }), edges()),
      why, button("Draw it", { kind: "primary large", run: draw }), said,
      el("div.toolset", {}, button("Another picture", { icon: "picture", kind: "quiet", run: () => { draft.change({ init_image: undefined, mask: undefined, outpaint: undefined, mask_blur: undefined, strength: undefined }); open(); } })));
  }

  function edges() {
    const boxes = SIDES.map((name) => {
      const input = el("input", { type: "number", min: 0, max: 1024, step: STEP, placeholder: "0", value: margins()[name] || "", "aria-label": `Margin: ${name}` });
      input.addEventListener("input", () => {
        const next = { ...margins(), [name]: Math.max(0, Math.round(Number(input.value) || 0)) };
        draft.set("outpaint", SIDES.some((one) => next[one]) ? next : undefined);
        state.board.fit();
      });
      return el("label", {}, el("span", { text: name }), input);
    });
    return el("div.parts", {}, boxes);
  }

  function painted() { why.textContent = ""; }

  /** Sends the mask along, asks for the picture, and shows it as it appears; the result can be painted on. */
  async function draw() {
    why.textContent = "";
    const { strokes } = state.board;
    if (strokes.empty && !draft.get("outpaint")) { why.textContent = "nothing is painted, and there are no margins; paint over what shall be drawn anew"; return; }
    if (!draft.get("text").trim()) { why.textContent = "the prompt is blank; say what the picture shows"; side.querySelector("textarea").focus(); return; }
    try {
      const mask = strokes.empty ? undefined : (await bring(await strokes.file())).name;
      draft.change({ mask, mask_blur: mask || draft.get("outpaint") ? draft.get("mask_blur") : undefined });
      const request = draft.request();
      for (const name of ["width", "height", "upscale"]) delete request[name]; // as large as the picture is
      const [job] = await jobs.submit(request, 1);
      state.job = job.id;
      said.textContent = "It waits its turn.";
      over(button("Cancel", { icon: "close", run: () => jobs.cancel(job.id) }));
    } catch (error) { why.textContent = error.message; }
  }

  /** Lays what is being drawn over the board; below it what can be done meanwhile. */
  function over(...buttons) {
    const { board } = state;
    const image = board.node.querySelector(".result") ?? el("img.result", { alt: "" });
    image.hidden = !image.getAttribute("src");
    if (!image.isConnected) board.node.append(image);
    easel.querySelector(".easel-bar")?.remove();
    easel.append(el("div.easel-bar", { role: "toolbar", "aria-label": "The result" }, buttons));
    return image;
  }

  function back() {
    state.board?.node.querySelector(".result")?.remove();
    easel.querySelector(".easel-bar")?.remove();
  }

  jobs.addEventListener("progress", ({ detail }) => {
    const job = jobs.all.get(detail);
    if (detail !== state.job || !job?.seen) return;
    if (job.seen.stage === "synthesise") said.textContent = `Step ${job.seen.step} of ${job.seen.steps}`;
    const image = state.board?.node.querySelector(".result");
    if (image && job.seen.preview) { image.src = job.seen.preview; image.hidden = false; }
  });
  jobs.addEventListener("change", () => {
    const job = state.job && jobs.all.get(state.job);
    if (!job || !FINAL.includes(job.state)) return;
    state.job = null;
    said.textContent = job.state === "done" ? "Drawn." : "";
    if (job.state === "done") result(job);
    else { back(); why.textContent = job.message; }
  });

  function result(job) {
    const before = button("Hold to see it before", { text: "Before", icon: "compare" });
    const image = over(
      button("Paint on the result", { icon: "brush", kind: "primary", run: async () => { draft.set("outpaint", undefined); await startFrom(picture(job.picture)); open(); } }),
      button("Once more", { icon: "again", run: () => { back(); draw(); } }), before,
      button("Back to the mask", { icon: "undo", run: back }));
    image.src = picture(job.picture);
    image.alt = job.request.prompt.text;
    image.hidden = false;
    const see = (off) => () => image.classList.toggle("off", off);
    for (const event of ["pointerdown", "keydown"]) before.addEventListener(event, see(true));
    for (const event of ["pointerup", "pointerleave", "keyup", "blur"]) before.addEventListener(event, see(false));
    easel.querySelector(".easel-bar button").focus({ preventScroll: true });
  }

  node.addEventListener("entered", open);
  document.addEventListener("keydown", (event) => {
    if (!node.isConnected || !state.board || event.target.matches("input:not([type=range]),textarea") || document.querySelector("dialog[open]")) return;
    const key = event.key.toLowerCase();
    if ((event.ctrlKey || event.metaKey) && key === "z") { event.shiftKey ? state.board.strokes.redo() : state.board.strokes.undo(); event.preventDefault(); }
    else if (event.ctrlKey || event.metaKey) return;
    else if (key === "b" || key === "e") { state.erases = key === "e"; node.press(); state.board.show(); }
    else if (key === "[") node.size(-1);
    else if (key === "]") node.size(1);
  });
  return node;
}
