// The page begins here: the bar, the rooms, the key, what is dropped.

import { el, fill, toast } from "./dom.js";
import { jobs } from "./jobs.js";
import { session } from "./server.js";
import { bar } from "./studio/bar.js";
import { takesDrops } from "./studio/drop.js";
import { keyForm } from "./studio/key.js";
import { listens } from "./studio/shortcuts.js";
import { applyTheme } from "./studio/theme.js";
import { make } from "./make/make.js";

const ROOMS = {
  make: ["Make", async () => make()],
  gallery: ["Gallery", async () => (await import("./gallery/gallery.js")).gallery()],
  canvas: ["Canvas", async () => (await import("./canvas/canvas.js")).canvas()],
  grid: ["Grid", async () => (await import("./studio/grid.js")).grid()],
  how: ["How it works", async () => (await import("./studio/how.js")).how()],
};
const main = document.querySelector("#main");
const built = new Map(); // rooms stay as they were left
let locked = false;

applyTheme();
start();

async function start() {
  session.addEventListener("locked", lock);
  session.addEventListener("lost", () => document.body.classList.add("lost"));
  session.addEventListener("found", () => document.body.classList.remove("lost"));
  bar(document.querySelector("#bar"), ROOMS);
  jobs.start();
  takesDrops();
  listens();
  addEventListener("hashchange", enter);
  document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
  document.addEventListener("view-picture", async ({ detail }) => (await import("./gallery/viewer.js")).view(detail));
  await enter();
}

/** Shows the room that the address names. */
async function enter() {
  const name = location.hash.replace(/^#\/?/, "").split("/")[0];
  const at = name in ROOMS ? name : "make";
  document.dispatchEvent(new CustomEvent("room", { detail: at }));
  document.title = at === "make" ? "darkroom" : `${ROOMS[at][0]} · darkroom`;
  try {
    if (!built.has(at)) built.set(at, await ROOMS[at][1]());
  } catch (error) {
    if (error.status !== 401) sorry(error);
    return;
  }
  if (locked) return;
  if (main.firstChild !== built.get(at)) fill(main, built.get(at));
  built.get(at).dispatchEvent(new Event("entered"));
}

function sorry(error) {
  fill(main, el("p.loading.bad", { role: "alert", text: error.message }));
  if (!error.status && !(error.name === "Told")) console.error(error);
}

/** A key is asked for: the form takes the page's place until one is given. */
function lock() {
  if (locked) return;
  locked = true;
  jobs.stop();
  fill(main, keyForm(() => location.reload()));
}

addEventListener("unhandledrejection", (event) => {
  if (event.reason?.message) toast(event.reason.message, { kind: "bad" });
  if (event.reason?.code !== undefined) event.preventDefault();
});
