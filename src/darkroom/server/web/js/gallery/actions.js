// What can be done with a finished picture, wherever it is shown.

import { draft } from "../draft.js";
import { button, el, icon, toast } from "../dom.js";
import { get, picture, post } from "../server.js";
import { startFrom } from "../make/start.js";

/** A row of buttons for one picture. `changed` is told when it was made a favourite or thrown away. */
export function actions({ name, favourite = null, prompt = "", trashed = null }, { changed = () => {}, away = () => {} } = {}) {
  if (trashed) return el("div.actions", {}, button("Take back", { icon: "undo", run: async () => { await change([name], { trashed: false }); changed("trashed"); } }));
  const heart = button("Favourite", { icon: "heart", text: "", "aria-pressed": String(favourite === true), run: async () => {
    const now = heart.getAttribute("aria-pressed") !== "true";
    await change([name], { favourite: now });
    heart.setAttribute("aria-pressed", String(now));
    changed("favourite", now);
  } });
  if (favourite === null) get(picture(name, "about")).then((about) => heart.setAttribute("aria-pressed", String(about.favourite))).catch(() => {});
  const go = (run) => async () => { try { await run(); away(); location.hash = "#/make"; } catch (error) { toast(error.message, { kind: "bad" }); } };
  return el("div.actions", {},
    heart,
    el("a.button.bare", { href: picture(name), download: `${slug(prompt)}.png`, title: "Download", "aria-label": "Download" }, icon("download")),
    button("Use these settings", { icon: "sliders", run: go(() => useSettings(name)) }),
    button("Vary", { icon: "wand", run: go(() => vary(name)) }),
    button("Start from it", { icon: "picture", run: go(() => startFrom(picture(name))) }),
    button("Paint on it", { icon: "brush", run: async () => { try { await startFrom(picture(name)); away(); location.hash = "#/canvas"; } catch (error) { toast(error.message, { kind: "bad" }); } } }),
    button("Throw away", { icon: "trash", text: "", run: async () => {
      await change([name], { trashed: true });
      changed("trashed");
      toast("It is in the trash.", { action: ["Take back", async () => { await change([name], { trashed: false }); changed("taken-back"); }] });
    } }));
}

/** Changes what the gallery knows of pictures. */
export async function change(names, values) {
  const changed = await post("/api/pictures/change", { names, ...values });
  document.dispatchEvent(new Event("gallery-changed"));
  return changed;
}

/** Puts all that decided a picture onto the form, its seed too. */
export async function useSettings(name) {
  draft.take(await get(picture(name, "request")));
  draft.set("count", 1);
  toast("The form says what it was made with: the same seed gives the same picture.");
}

/** Asks for a few like it: the same, a little way towards other seeds. */
async function vary(name) {
  const request = await get(picture(name, "request"));
  draft.take({ ...request, variation: 0.3, variation_seed: undefined });
  draft.set("count", 1);
  document.dispatchEvent(new CustomEvent("vary", { detail: { ...request, variation: 0.3 } }));
}

export const slug = (text) => (text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 60) || "picture");
