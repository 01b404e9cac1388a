// The queue: what is drawn, what waits and how long, what failed; and what can be done about it.

import { button, el, fill, duration, toast } from "../dom.js";
import { jobs } from "../jobs.js";
import { picture } from "../server.js";

/** The panel in the drawer. */
export function queuePanel(close) {
  const head = el("div.queue-head");
  const going = el("ol.queue"), failed = el("ul.queue");
  const node = el("div.queue-panel", {}, el("header.dialog-head", {}, el("h2", { text: "Queue" }), button("Close the queue", { icon: "close", text: "", kind: "quiet", run: close })), head, going, failed);
  const drawer = document.querySelector("#drawer");
  const tried = (run) => async () => { try { await run(); } catch (error) { toast(error.message, { kind: "bad" }); } };

  function show() {
    if (drawer.hidden) return;
    const all = jobs.going(), queue = jobs.queue;
    const waits = all.filter((job) => job.state === "queued");
    const others = Math.max(0, (queue?.counts.queued ?? 0) - waits.length);
    const rest = Math.max(0, ...waits.map((job) => job.ready_in ?? 0));
    fill(head,
      el("p.queue-said", { text: said(all, waits, others, rest) }),
      el("div.row", {}, button(queue?.paused ? "Go on" : "Pause", { icon: queue?.paused ? "play" : "pause", run: tried(() => jobs.pause(!queue.paused)), title: queue?.paused ? "" : "Begins no further picture, of anybody; what is being drawn is finished" }),
        button("Cancel all of mine", { icon: "close", disabled: !all.length, run: tried(async () => { const gone = await jobs.cancelAll(); toast(`${gone.length} cancelled.`); }) })));
    fill(going, all.map((job) => row(job, waits)));
    const bad = jobs.listed().filter((job) => job.state === "failed").slice(0, 20);
    fill(failed, bad.length ? el("li.queue-title", {}, el("h3", { text: "Failed" })) : null, bad.map((job) => el("li.queue-row", {}, el("div.queue-text", {}, el("strong", { text: job.request.prompt.text }), el("span.bad", { text: job.message })),
      button(`Try ${job.request.prompt.text} again`, { icon: "again", text: "", kind: "quiet", run: tried(async () => pick((await jobs.retry(job.id)).id)) }))));
  }

  function row(job, waits) {
    const seen = job.seen;
    const share = seen?.steps && seen.stage === "synthesise" ? seen.step / seen.steps : seen?.stage === "refine" ? 1 : 0;
    const where = job.state === "running" ? (seen?.stage === "synthesise" ? `step ${seen.step} of ${seen.steps}` : seen?.stage ?? "begins") : `${job.position === 0 ? "next" : `${job.position} before it`}${job.ready_in && !jobs.queue?.paused ? `, ready in ${duration(job.ready_in)}` : ""}`;
    return el("li.queue-row", { data: { state: job.state } },
      seen?.preview ? el("img", { src: seen.preview, alt: "" }) : job.picture ? el("img", { src: picture(job.picture, "thumbnail"), alt: "" }) : el("span.queue-blank"),
      el("button.queue-text", { type: "button", on: { click: () => pick(job.id) } }, el("strong", { text: job.request.prompt.text }), el("span.hint", { text: where })),
      job.state === "queued" && waits[0] !== job ? button(`${job.request.prompt.text}: to the front`, { icon: "up", text: "", kind: "quiet", run: tried(() => jobs.move(job.id)) }) : null,
      button(`Cancel ${job.request.prompt.text}`, { icon: "close", text: "", kind: "quiet", run: tried(() => jobs.cancel(job.id)) }),
      el("span.tile-bar", { vars: { "--done": `${share * 100}%` }, hidden: job.state !== "running" }));
  }

  jobs.addEventListener("change", show);
  jobs.addEventListener("progress", show);
  return { node, show };
}

function pick(id) {
  location.hash = "#/make";
  document.dispatchEvent(new CustomEvent("watch-job", { detail: id }));
}

function said(all, waits, others, rest) {
  if (jobs.queue?.paused) return "Paused: what is being drawn is finished, and nothing new begins.";
  if (!jobs.queue?.ready) return "The worker is loading its model; nothing is lost meanwhile.";
  if (!all.length) return "Nothing waits. What you ask for stands here until it is drawn, also if the server is killed.";
  const parts = [`${all.length - waits.length} being drawn, ${waits.length} waiting`];
  if (others) parts.push(`${others} of others`);
  if (rest) parts.push(`all done in about ${duration(rest)}`);
  return `${parts.join("; ")}.`;
}
