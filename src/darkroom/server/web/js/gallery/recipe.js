// A recipe, to read; and what the judge said.

import { el } from "../dom.js";
import { spelled, titled } from "../make/spelling.js";

const QUIET = ["prompt", "seed", "environment", "verdict", "model_hash", "schema_version", "darkroom", "written", "saved_style", "width", "height"];
const plain = (value) => value === null || value === false || value === 0 || (Array.isArray(value) && !value.length) || value === "";

/** What decided a picture's pixels: what is said of it first, what it ran on last. */
export function recipeTable(recipe) {
  const rows = [["Prompt", recipe.prompt.text]];
  if (recipe.written) rows.push(["Written", recipe.written]);
  if (recipe.prompt.negative) rows.push(["Negative", recipe.prompt.negative]);
  rows.push(["Seed", String(recipe.seed)], ["Size", `${recipe.width} × ${recipe.height}`]);
  if (recipe.saved_style) rows.push(["Saved style", recipe.saved_style]);
  for (const [name, value] of Object.entries(recipe)) {
    if (QUIET.includes(name) || plain(value)) continue;
    const said = value && typeof value === "object" && "name" in value ? short(value.name) : spelled(name, name === "adapters" ? value.map((one) => `${one.name}:${one.scale}`) : value);
    rows.push([titled(name), said]);
  }
  const on = recipe.environment;
  rows.push(["Drawn by", `darkroom ${recipe.darkroom}, ${on.device}, ${on.dtype}, torch ${on.torch}, ${on.threads} threads`], ["Model’s hash", recipe.model_hash.slice(0, 16)]);
  return el("dl.recipe", {}, rows.map(([name, value]) => [el("dt", { text: name }), el("dd", { text: value })]));
}

/** A name that is a hash, cut to what tells it from others. */
const short = (name) => name.replace(/^([0-9a-f]{12})[0-9a-f]{52}(?=\.)/, "$1…");

const SIGNS = { yes: "✓", no: "✗", "cannot tell": "?" };

/** The judge's answers. */
export function verdict(told) {
  return el("ul.verdict", { "aria-label": "What the judge says" },
    told.facts.length ? told.facts.map((fact) => el("li.fact", { data: { answer: fact.answer }, title: `${fact.kind}: ${fact.answer}` },
      el("span", { text: SIGNS[fact.answer], "aria-hidden": "true" }), el("span", { text: fact.text }), el("span.unseen", { text: `: ${fact.answer}` })))
      : el("li.fact", { text: "nothing here that it could check" }),
    told.tried > 1 ? el("li.hint", { text: `the best of ${told.tried}` }) : null);
}
