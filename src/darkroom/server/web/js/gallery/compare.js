// Two pictures side by side, or one over the other with a line between them; and what was asked of them differently.

import { dialog, el } from "../dom.js";
import { get, picture } from "../server.js";
import { spelled, titled } from "../make/spelling.js";

const SAME = ["environment", "verdict", "schema_version", "model_hash", "darkroom"];

export async function compare([one, other]) {
  const recipes = await Promise.all([one, other].map(({ name }) => get(picture(name, "recipe"))));
  const pair = el("div.compared", { vars: { "--at": "50%" } }, el("img", { src: picture(one.name), alt: `left: ${one.prompt}` }), el("img.over", { src: picture(other.name), alt: `right: ${other.prompt}` }));
  const slider = el("input.scrub", { type: "range", min: 0, max: 100, value: 50, "aria-label": "Where one picture becomes the other" });
  slider.addEventListener("input", () => pair.style.setProperty("--at", `${slider.value}%`));
  const beside = el("input", { type: "checkbox", id: "beside" });
  beside.checked = true;
  const lay = () => { pair.classList.toggle("beside", beside.checked); slider.hidden = beside.checked; };
  beside.addEventListener("change", lay);
  lay();
  const names = [...new Set(recipes.flatMap(Object.keys))].filter((name) => !SAME.includes(name));
  const told = (recipe, name) => (name === "prompt" ? [recipe.prompt.text, recipe.prompt.negative && `not: ${recipe.prompt.negative}`].filter(Boolean).join("; ") : spelled(name, recipe[name]));
  const rows = names.filter((name) => told(recipes[0], name) !== told(recipes[1], name));
  dialog("Compare", { wide: true }, el("div.tick", {}, beside, el("label", { for: "beside", text: "side by side" })), pair, slider,
    rows.length ? el("table.differs", {}, el("thead", {}, el("tr", {}, el("td"), el("th", { scope: "col", text: "left" }), el("th", { scope: "col", text: "right" }))),
      el("tbody", {}, rows.map((name) => el("tr", {}, el("th", { scope: "row", text: titled(name) }), recipes.map((recipe) => el("td", { text: told(recipe, name) || "–" }))))))
      : el("p.hint", { text: "Both were asked for in the same words, with the same settings." }));
}
