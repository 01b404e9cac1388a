// The jobs there are, as the server has them. Nothing of them is kept here alone: a reload asks again and loses nothing.

import { call, follow, get, once, post } from "./server.js";

const KEPT = 100; // of the newest
const LOOK_MS = 2000; // between looks while there is no worker, of which no event tells
const NOW_AND_THEN_MS = 10_000; // what others do to the queue
export const FINAL = ["done", "failed", "cancelled"];

class Jobs extends EventTarget {
  constructor() {
    super();
    this.all = new Map(); // id -> job, with `seen` {stage, step, steps, preview} while it is drawn
    this.queue = null;
    this.ready = false;
    this.stopping = null;
    this.catching = null;
  }

  /** Begins to follow; stops while nobody looks at the page, as a browser has few connections. */
  start() {
    document.addEventListener("visibilitychange", () => (document.hidden ? this.stop() : this.resume()));
    setInterval(() => { if (this.stopping && this.going().length) this.list(); }, NOW_AND_THEN_MS);
    this.resume();
  }

  stop() {
    this.stopping?.abort();
    this.stopping = null;
  }

  resume() {
    if (this.stopping) return;
    this.stopping = new AbortController();
    follow("/api/events", { signal: this.stopping.signal, seen: (event) => this.take(event), opened: () => this.list() })
      .catch(() => {});
  }

  /** Asks for the newest jobs, and how the queue stands. */
  async list() {
    try {
      const [jobs, queue] = await Promise.all([get(`/api/jobs?most=${KEPT}`), get("/api/queue")]);
      for (const job of jobs) this.put(job);
      const kept = new Set(jobs.map((job) => job.id));
      for (const id of this.all.keys()) if (!kept.has(id) && this.all.size > KEPT) this.all.delete(id);
      this.queue = queue;
      this.ready = true;
      if (!queue.ready && this.stopping) this.catchUp(LOOK_MS);
      this.tell("change");
    } catch { /* said elsewhere; the stream tries again */ }
  }

  /** Takes one event. What it does not hold (places in line, the picture) is asked for, once for many. */
  take(event) {
    const job = this.all.get(event.job);
    if (job) {
      if (["queued", "running", ...FINAL].includes(event.kind)) {
        job.state = event.kind;
        if (event.kind === "running" || event.kind === "queued") job.seen = null;
        if (event.message) job.message = event.message;
      } else {
        const preview = event.preview ? `data:image/webp;base64,${event.preview}` : job.seen?.preview;
        job.seen = { stage: event.stage, step: event.step ?? 0, steps: event.steps ?? 0, preview };
      }
    }
    this.dispatchEvent(new CustomEvent("event", { detail: event }));
    if (!job || !["progress", "preview"].includes(event.kind)) this.catchUp();
    else this.tell("progress", event.job);
  }

  catchUp(after = 120) {
    if (this.catching) return;
    this.catching = setTimeout(async () => { this.catching = null; await this.list(); }, after);
  }

  put(job) {
    const known = this.all.get(job.id);
    this.all.set(job.id, { ...job, seen: FINAL.includes(job.state) ? null : known?.seen ?? null });
  }

  tell(kind, detail = null) { this.dispatchEvent(new CustomEvent(kind, { detail })); }

  /** All, the newest first. */
  listed() { return [...this.all.values()].sort((a, b) => b.created - a.created || 0); }

  /** Those that wait or run, in the order they will be done. */
  going() {
    return this.listed().filter((job) => !FINAL.includes(job.state)).reverse()
      .sort((a, b) => (a.state === "running" ? -1 : a.position ?? 1e9) - (b.state === "running" ? -1 : b.position ?? 1e9));
  }

  /** Asks for pictures; the jobs. */
  async submit(request, count = 1) {
    return this.took(await post("/api/jobs/several", { request, count }, once()));
  }

  /** Takes jobs that the server has just given. */
  took(jobs) {
    for (const job of jobs) this.put(job);
    this.tell("change");
    this.catchUp();
    return jobs;
  }

  async act(id, what, body) {
    const job = await post(`/api/jobs/${id}/${what}`, body);
    return this.took([job])[0];
  }

  cancel(id) { return this.act(id, "cancel"); }
  retry(id) { return this.act(id, "retry"); }
  move(id) { return this.act(id, "move", {}); }
  async cancelAll() { return this.took(await post("/api/queue/cancel")); }
  async pause(paused) { this.queue = await post(`/api/queue/${paused ? "pause" : "resume"}`); this.tell("change"); }

  /** All that happened to a job, from its beginning: `seen` gets each event, until the last or until `signal`. */
  replay(id, seen, signal) {
    return follow(`/api/jobs/${id}/events`, { after: 0, signal, seen, ends: true });
  }

  /** One job, from the server where it is not among the newest. */
  async one(id) {
    if (!this.all.has(id)) this.put(await call("GET", `/api/jobs/${id}`));
    return this.all.get(id);
  }
}

export const jobs = new Jobs();
