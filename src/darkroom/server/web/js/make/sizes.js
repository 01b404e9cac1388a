// Size, seed, and how many.

import { draft } from "../draft.js";
import { button, el } from "../dom.js";
import { numeric, shape } from "./fields.js";
import { described } from "./spelling.js";

const SHAPES = [["Square", 1, 1], ["Portrait", 3, 4], ["Landscape", 4, 3], ["Wide", 16, 9]];
const STEP = 32; // so that a size can be drawn at half of it

/** Shapes of about the model's own area, and any other size by its numbers. */
export function sizeBox() {
  const width = box("width"), height = box("height");
  const chips = SHAPES.map(([name, across, down]) => {
    const [wide, high] = sized(across, down);
    const made = el("button.shape", { type: "button", title: `${name}: ${wide} × ${high}`, "aria-label": `${name}, ${wide} by ${high}`,
      on: { click: () => draft.change({ width: wide, height: high }) } },
      el("span.shape-box", { vars: { "--w": `${Math.min(1, across / down)}`, "--h": `${Math.min(1, down / across)}` } }));
    made.dataset.size = `${wide}x${high}`;
    return made;
  });
  const show = () => {
    const own = [draft.get("width") ?? shape("width").resolved_default, draft.get("height") ?? shape("height").resolved_default];
    const open = draft.get("init_image") && !draft.says("width") && !draft.says("height");
    for (const chip of chips) chip.setAttribute("aria-pressed", String(!open && chip.dataset.size === own.join("x")));
    for (const [name, input] of [["width", width], ["height", height]]) {
      if (document.activeElement !== input) input.value = draft.get(name) ?? "";
      input.placeholder = open ? "as it is" : String(shape(name).resolved_default ?? "");
    }
  };
  draft.addEventListener("change", show);
  show();
  return el("fieldset.sizes", {}, el("legend", { text: "Size" }), el("div.shapes", {}, chips),
    el("div.by", {}, el("span", { data: { field: "width" } }, width), el("span", { text: "×", "aria-hidden": "true" }),
      el("span", { data: { field: "height" } }, height)));
}

function box(name) {
  const told = shape(name);
  const input = el("input", { inputmode: "numeric", autocomplete: "off", "aria-label": name === "width" ? "Width in pixels" : "Height in pixels",
    title: described(told.description), list: null });
  input.addEventListener("input", () => draft.set(name, numeric(input.value, true)));
  return input;
}

function sized(across, down) {
  const [wide, high] = [shape("width").resolved_default ?? 512, shape("height").resolved_default ?? 512];
  if (across === down) return [wide, high];
  const side = Math.sqrt((wide * high) / (across * down));
  const near = (length) => Math.max(2 * STEP, Math.round(length / STEP) * STEP);
  return [near(side * across), near(side * down)];
}

/** The seed: new each time, or kept; and from it upwards as many pictures as are wanted. */
export function seedBox() {
  const input = el("input", { id: "seed", inputmode: "numeric", autocomplete: "off", placeholder: "random",
    title: described(shape("seed").description) });
  const fresh = button("A new seed each time", { icon: "dice", text: "", kind: "quiet", run: () => draft.set("seed", undefined) });
  const keep = button("Keep the seed of the picture shown", { icon: "pin", text: "", kind: "quiet",
    run: () => document.dispatchEvent(new CustomEvent("keep-seed")) });
  input.addEventListener("input", () => draft.set("seed", numeric(input.value, true)));
  const count = el("input", { id: "count", type: "number", min: 1, max: 100, value: draft.get("count") ?? 1 });
  count.addEventListener("input", () => draft.set("count", Number(count.value) || 1));
  const show = () => {
    if (document.activeElement !== input) input.value = draft.get("seed") ?? "";
    if (document.activeElement !== count) count.value = draft.get("count") ?? 1;
    fresh.setAttribute("aria-pressed", String(!draft.says("seed")));
  };
  draft.addEventListener("change", show);
  show();
  return el("fieldset.seeds", {}, el("legend", { text: "Seed and number" }),
    el("div.seed", { data: { field: "seed" } }, el("label.unseen", { for: "seed", text: "Seed" }), input, fresh, keep),
    el("div.many", {}, el("label", { for: "count", text: "Pictures" }), count));
}
