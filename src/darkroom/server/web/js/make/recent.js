// The contact strip: the newest jobs, as they wait, appear, and are done.

import { el, fill } from "../dom.js";
import { jobs } from "../jobs.js";
import { picture } from "../server.js";

const SHOWN = 60;

/** The strip; `pick` is told the job somebody wants to see. */
export function recent(pick, watched) {
  const list = el("ul.contact", { "aria-label": "Newest pictures" });
  const tiles = new Map();
  const show = () => {
    const shown = jobs.listed().filter((job) => job.state !== "cancelled").slice(0, SHOWN);
    const order = shown.map((job) => {
      const tile = tiles.get(job.id) ?? made(job.id, pick);
      tiles.set(job.id, tile);
      dress(tile, job, watched() === job.id);
      return tile;
    });
    if (order.length !== list.children.length || order.some((tile, at) => list.children[at] !== tile)) fill(list, order);
  };
  jobs.addEventListener("change", show);
  jobs.addEventListener("progress", ({ detail }) => {
    const tile = tiles.get(detail), job = jobs.all.get(detail);
    if (tile && job) dress(tile, job, watched() === job.id);
  });
  return { node: el("aside.recent", { "aria-label": "Newest pictures" }, list), show };
}

function made(id, pick) {
  return el("li", {}, el("button.tile", { type: "button", on: { click: () => pick(id) } }, el("img", { alt: "", loading: "lazy", draggable: "true" }), el("span.tile-bar"), el("span.tile-said")));
}

function dress(tile, job, watched) {
  const [image, bar, said] = tile.firstChild.children;
  const src = job.picture ? picture(job.picture, "thumbnail") : job.seen?.preview ?? "";
  if (src && image.getAttribute("src") !== src) image.src = src;
  image.hidden = !src;
  tile.firstChild.dataset.state = job.state;
  tile.firstChild.setAttribute("aria-current", String(watched));
  const share = job.seen?.stage === "refine" ? 1 : job.seen?.steps ? job.seen.step / job.seen.steps : 0;
  bar.style.setProperty("--done", `${share * 100}%`);
  bar.hidden = job.state !== "running";
  const text = { queued: job.position === null ? "" : String(job.position + 1), failed: "!" }[job.state] ?? "";
  if (said.textContent !== text) fill(said, text);
  tile.firstChild.setAttribute("aria-label", `${job.request.prompt.text}: ${{ queued: "waits", running: "is being drawn", done: "done", failed: "failed" }[job.state] ?? job.state}`);
  tile.firstChild.title = job.request.prompt.text;
}
