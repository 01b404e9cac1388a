// The stage: one job, from noise to picture, while it is drawn and ever after. A film strip of its steps is the scrubber.

import { button, el, fill, duration, icon } from "../dom.js";
import { FINAL, jobs } from "../jobs.js";
import { get, picture } from "../server.js";
import { actions } from "../gallery/actions.js";
import { verdict } from "../gallery/recipe.js";

const MOST_FRAMES = 16; // of the strip; the slider has all
const WATCHED = "darkroom.watched";
const FRAME_MS = 160; // of the film: twelve steps in two seconds

/** What happens in a stage, in a sentence; `done` is the share of its steps. */
export function sentence(stage, done) {
  if (stage === "interpret") return "The sentence becomes tokens, the tokens become vectors.";
  if (stage === "latent") return "The seed gives the noise to begin with.";
  if (stage === "refine") return "The latent is read back as pixels and enlarged; then it is marked and signed.";
  if (stage !== "synthesise") return "";
  if (done < 0.3) return "What is large is settled first: ground, colours, where things are.";
  if (done < 0.7) return "Shapes find their outlines; there is a little less noise each step.";
  return "The near and the fine come last: edges, eyes, leaves.";
}

/** The stage, and what it shows: `watch(id)` puts a job on it. */
export function stage({ empty }) {
  const image = el("img.shown", { alt: "", draggable: "true" });
  const mat = el("div.mat", {}, image);
  const caption = el("p.caption", { "aria-live": "polite" });
  const frames = el("div.frames", { "aria-hidden": "true" });
  const slider = el("input.scrub", { type: "range", min: 0, max: 0, value: 0, "aria-label": "Step, from noise to picture" });
  const player = button("Play the steps", { icon: "play", text: "", kind: "quiet", run: () => (state.playing ? pause() : play()) });
  const strip = el("div.reel", {}, player, el("div.strip", {}, frames, slider));
  const foot = el("div.stage-foot");
  const node = el("section.stage", { "aria-label": "The picture" }, mat, strip, caption, foot);
  let state = none();

  function none() { return { id: null, frames: [], at: null, stage: null, stopping: null, playing: null, told: "" }; }

  async function watch(id) {
    state.stopping?.abort();
    pause();
    state = { ...none(), id, stopping: new AbortController() };
    remember(id);
    if (!id) { draw(); return; }
    const mine = state;
    try { await jobs.one(id); } catch { watch(null); return; }
    draw();
    jobs.replay(id, (event) => mine === state && take(event), mine.stopping.signal).catch(() => {});
  }

  function take(event) {
    if (event.kind === "running" || event.kind === "queued") Object.assign(state, { frames: [], stage: null });
    if (event.kind === "progress" || event.kind === "preview") {
      state.stage = { stage: event.stage, step: event.step ?? 0, steps: event.steps ?? 0 };
      if (event.preview) state.frames.push({ ...state.stage, src: `data:image/webp;base64,${event.preview}` });
    }
    if (FINAL.includes(event.kind)) jobs.list();
    draw();
  }

  slider.addEventListener("input", () => {
    pause();
    const last = Number(slider.max);
    state.at = Number(slider.value) === last ? null : Number(slider.value);
    draw();
  });

  /** From where the scrubber is, or the first guess, to the picture. */
  function play() {
    state.at ??= 0;
    state.playing = setInterval(() => {
      state.at = state.at + 1 < Number(slider.max) ? state.at + 1 : null;
      if (state.at === null) pause();
      draw();
    }, FRAME_MS);
    played();
    draw();
  }
  function pause() {
    clearInterval(state.playing);
    state.playing = null;
    played();
  }
  function played() {
    fill(player, icon(state.playing ? "pause" : "play"));
    player.setAttribute("aria-label", state.playing ? "Stop here" : "Play the steps");
    player.title = player.getAttribute("aria-label");
  }

  image.addEventListener("click", () => {
    const job = jobs.all.get(state.id);
    if (job?.picture) document.dispatchEvent(new CustomEvent("view-picture", { detail: { name: job.picture, from: image } }));
  });
  jobs.addEventListener("change", () => state.id && draw());

  function draw() {
    const job = state.id && jobs.all.get(state.id);
    node.classList.toggle("vacant", !job);
    if (!job) { fill(mat, empty()); strip.hidden = true; caption.textContent = ""; fill(foot); return; }
    const stills = [...state.frames];
    if (job.picture) stills.push({ src: picture(job.picture), final: true });
    const at = state.at === null ? stills.length - 1 : Math.min(state.at, stills.length - 1);
    const shown = stills[at];
    mat.dataset.state = job.state;
    const { width, height } = job.request;
    mat.style.setProperty("--ratio", `${width ?? 1} / ${height ?? 1}`);
    if (shown) {
      if (image.getAttribute("src") !== shown.src) image.src = shown.src;
      image.alt = shown.final ? job.request.prompt.text : `${job.request.prompt.text}, step ${shown.step} of ${shown.steps}`;
      image.classList.toggle("latent", !shown.final);
      if (mat.firstChild !== image) fill(mat, image);
    } else fill(mat, blank(job));
    strip.hidden = false;
    strip.classList.toggle("waits", stills.length < 2);
    slider.max = Math.max(0, stills.length - 1);
    slider.value = at;
    slider.setAttribute("aria-valuetext", shown?.final ? "the finished picture" : shown ? `step ${shown.step} of ${shown.steps}` : "");
    strips(stills, at);
    says(job, shown);
    footed(job);
  }

  function strips(stills, at) {
    const every = Math.max(1, Math.ceil(stills.length / MOST_FRAMES));
    const some = stills.map((still, number) => [still, number]).filter(([, n]) => n % every === 0 || n === stills.length - 1);
    while (frames.children.length > some.length) frames.lastChild.remove();
    some.forEach(([still, number], place) => {
      const frame = frames.children[place] ?? frames.appendChild(el("img.frame", { alt: "" }));
      if (frame.getAttribute("src") !== still.src) frame.src = still.src;
      frame.classList.toggle("now", number === at || (number < at && at < number + every));
      frame.classList.toggle("later", number > at);
    });
  }

  function says(job, shown) {
    const where = state.stage;
    let text = "";
    if (job.state === "queued") text = waits(job);
    else if (job.state === "failed") text = "";
    else if (job.state === "cancelled") text = "Cancelled.";
    else if (shown?.final) text = made(job);
    else if (shown && state.at !== null) text = `Step ${shown.step} of ${shown.steps}. ${sentence("synthesise", shown.step / shown.steps)}`;
    else if (where) text = `${where.stage === "synthesise" ? `Step ${where.step} of ${where.steps}. ` : ""}${sentence(where.stage, where.steps ? where.step / where.steps : 0)}`;
    else text = "It begins.";
    if (caption.textContent !== text) caption.textContent = text;
  }

  function footed(job) {
    const key = `${job.id} ${job.state} ${job.picture} ${state.told}`;
    if (foot.dataset.key === key) return;
    foot.dataset.key = key;
    if (job.state === "failed") fill(foot, el("p.bad", { role: "alert", text: job.message || "It failed." }),
      button("Try again", { icon: "again", run: async () => watch((await jobs.retry(job.id)).id) }));
    else if (job.state === "cancelled") fill(foot, button("Try again", { icon: "again", run: async () => watch((await jobs.retry(job.id)).id) }));
    else if (job.state === "done") { fill(foot, actions({ name: job.picture, prompt: job.request.prompt.text })); judged(job); }
    else fill(foot, button("Cancel", { icon: "close", kind: "quiet", run: () => jobs.cancel(job.id) }));
  }

  async function judged(job) {
    if (!job.request.verify && job.request.best_of === 1 && !job.request.retry) return;
    const recipe = await get(picture(job.picture, "recipe"));
    if (state.id === job.id && recipe.verdict) foot.prepend(verdict(recipe.verdict));
  }

  const remember = (id) => (id ? sessionStorage.setItem(WATCHED, id) : sessionStorage.removeItem(WATCHED));
  return { node, watch, watched: () => state.id, remembered: () => sessionStorage.getItem(WATCHED) };
}

function waits(job) {
  if (jobs.queue?.paused) return "The queue is paused.";
  if (jobs.queue && !jobs.queue.ready) return "The model is being loaded; it begins in a moment.";
  const before = job.position ? `${job.position} before it` : "Next in line";
  return `${before}${job.ready_in ? `, ready in about ${duration(job.ready_in)}` : ""}.`;
}

/** What made it, in a line. */
function made(job) {
  const { width, height, seed } = job.request;
  const size = width && height ? `, ${width} × ${height}` : "";
  return `Seed ${seed}${size}, drawn in ${duration(job.ended - job.started)}`;
}

/** Paper on which nothing is to be seen yet. */
function blank(job) {
  return el("div.blank", { class: job.state }, el("span.blank-said", { text: { queued: "waiting", running: "", failed: "failed", cancelled: "cancelled" }[job.state] ?? "" }));
}
