// What is dropped onto the page: a picture gives its settings back or is started from; a workflow is opened.

import { draft } from "../draft.js";
import { button, dialog, el, toast } from "../dom.js";
import { bring } from "../make/start.js";
import { takeWorkflow } from "../make/workflow.js";
import { recipeTable } from "../gallery/recipe.js";
import { brought } from "../server.js";

export function takesDrops() {
  const veil = el("div.veil", { hidden: true }, el("p", { text: "Drop a picture to get its settings back, or to start from it" }));
  document.body.append(veil);
  const carried = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  let inside = 0;
  addEventListener("dragenter", (event) => { if (carried(event)) { inside += 1; veil.hidden = false; } });
  addEventListener("dragleave", (event) => { if (carried(event) && --inside <= 0) { inside = 0; veil.hidden = true; } });
  addEventListener("dragover", (event) => { if (carried(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    inside = 0;
    veil.hidden = true;
    const [file] = event.dataTransfer?.files ?? [];
    if (file) { event.preventDefault(); takeFile(file); }
  });
  addEventListener("paste", (event) => { const [file] = event.clipboardData?.files ?? []; if (file) { event.preventDefault(); takeFile(file); } });
}

/** Asks for a picture's file. */
export function askForPicture() {
  const input = el("input", { type: "file", accept: "image/png,image/jpeg,image/webp,image/gif,image/bmp" });
  input.addEventListener("change", () => input.files[0] && takeFile(input.files[0]));
  input.click();
}

/** Takes a file in: asks what is wanted of it. */
export async function takeFile(file) {
  if (file.type === "application/json" || file.name.endsWith(".json")) { takeWorkflow(file); return; }
  let told;
  try { told = await bring(file); } catch (error) { toast(error.message, { kind: "bad" }); return; }
  const start = () => { draft.change({ init_image: told.name, mask: undefined, mask_blur: undefined, outpaint: undefined }); };
  const left = Object.entries(told.left_out ?? {});
  const shown = dialog(file.name || "A picture", { wide: true }, el("div.brought", {}, el("img", { src: brought(told.name), alt: "what was dropped" }),
    el("div.stack", {},
      el("p", { text: told.recipe ? "darkroom drew it: everything that decided its pixels is inside." : told.settings ? "Another program wrote its settings into it." : told.problem ? told.problem : "Nothing is written in it." }),
      el("div.actions", {},
        told.request ? button("Use these settings", { icon: "sliders", kind: "primary", run: () => { draft.take(told.request); draft.set("count", 1); done(); } }) : null,
        button("Start from it", { icon: "picture", kind: told.request ? "" : "primary", run: () => { start(); done(); } }),
        button("Paint on it", { icon: "brush", run: () => { start(); shown.close(); location.hash = "#/canvas"; } })),
      left.length ? el("div", {}, el("h3", { text: "Left out" }), el("p.hint", { text: left.map(([name, value]) => `${name}: ${value}`).join("; ") })) : null,
      told.recipe ? recipeTable(told.recipe) : told.settings ? el("dl.recipe", {}, Object.entries(told.settings).filter(([, v]) => v).map(([n, v]) => [el("dt", { text: n }), el("dd", { text: v })])) : null)));
  const done = () => { shown.close(); location.hash = "#/make"; };
}
