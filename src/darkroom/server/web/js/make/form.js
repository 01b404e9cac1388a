// The form: what everybody sets, then "More", in groups; what no group names stands in the last one, so none is missing.

import { draft } from "../draft.js";
import { button, el, icon } from "../dom.js";
import { control, fields, shape } from "./fields.js";
import { refining } from "./refine.js";
import { seedBox, sizeBox } from "./sizes.js";
import { starting } from "./start.js";
import { styleChips } from "./styles.js";
import { promptBox } from "./prompt.js";

const GROUPS = [
  ["Steps", ["steps", "sampler", "spacing", "shift"]],
  ["Guidance", ["guidance", "guidance_method", "guidance_rescale", "guidance_interval", "guidance_threshold", "guide"]],
  ["Size and edges", ["upscale", "hires", "tile"]],
  ["Start picture", ["strength", "mask_blur", "outpaint"]],
  ["Variation and change", ["variation", "variation_seed", "toward", "swap"]],
  ["What is where", ["regions"]],
  ["The judge", ["verify", "best_of", "retry"]],
  ["Finish", ["refine"]],
  ["Model and adapters", ["model", "lora", "control", "image_prompt", "embedding", "vae"]],
];
/** Fields with a control of their own, elsewhere on the form. */
const OWN = {
  prompt: promptBox, style: styleChips, width: null, height: null, seed: null, init_image: null, mask: null,
};
const NOTES = {
  "Start picture": "They need a start picture: drop one onto the page, or take one from the gallery.",
  "What is where": "A line for each part of the picture: left half: a cat. Or in shares, left, top, right, bottom: 0,0,0.5,1: a cat.",
  "Variation and change": "Towards: a dog:0.3 goes a third of the way. Swap: fox->lion changes a word and keeps the rest.",
};

/** The whole form, without the button that sends it. */
export function form() {
  return el("div.form", {}, promptBox(), starting(), styleChips(), el("div.pairs", {}, sizeBox(), seedBox()), more());
}

function more() {
  const named = new Set([...GROUPS.flatMap(([, names]) => names), ...Object.keys(OWN)]);
  const rest = Object.keys(fields()).filter((name) => !named.has(name));
  const groups = [...GROUPS, ["Everything else", rest]];
  const made = el("details.more", { open: open() }, el("summary", {}, icon("sliders"), el("span", { text: "More" }), count()));
  made.addEventListener("toggle", () => localStorage.setItem("darkroom.more", made.open ? "yes" : ""));
  for (const [title, names] of groups) {
    const there = names.filter((name) => name in fields());
    if (there.length) made.append(group(title, there));
  }
  made.append(button("Forget all settings", { icon: "again", kind: "quiet", run: forget }));
  return made;
}

function group(title, names) {
  const id = `group-${title.replace(/\W+/g, "-").toLowerCase()}`;
  const made = el("section.group", { "aria-labelledby": id }, el("h2", { id, text: title }));
  if (NOTES[title]) made.append(el("p.hint", { text: NOTES[title] }));
  for (const name of names) made.append(name === "refine" ? refining() : control(name));
  return made;
}

/** How many settings below say something: seen while they are folded away. */
function count() {
  const made = el("span.count");
  const shown = () => {
    const said = Object.keys(fields()).filter((name) => !(name in OWN) && draft.says(name)
      && draft.get(name) !== shape(name).default);
    made.textContent = said.length ? String(said.length) : "";
    made.title = said.length ? `set: ${said.join(", ")}` : "";
  };
  draft.addEventListener("change", shown);
  shown();
  return made;
}

function forget() {
  const kept = { text: draft.get("text"), negative: draft.get("negative") };
  draft.take({ prompt: kept });
}

const open = () => localStorage.getItem("darkroom.more") === "yes";
