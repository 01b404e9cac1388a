// One picture, large, with its recipe and what can be done with it.

import { dialog, el, fill, button } from "../dom.js";
import { get, picture } from "../server.js";
import { actions, change } from "./actions.js";
import { recipeTable, verdict } from "./recipe.js";

/** Opens a picture; `among` are those that the arrows lead to, `from` gets the focus back. */
export function view({ name, among = [], from = null }) {
  let at = among.findIndex((one) => one.name === name);
  const image = el("img", { alt: "" });
  const side = el("div.viewer-side");
  const zoom = el("button.viewer-image", { type: "button", "aria-label": "Full size, pixel by pixel", on: { click: () => zoom.classList.toggle("close-up") } }, image);
  const step = (by) => { const next = among[at + by]; if (next) { at += by; show(next.name); } };
  const arrow = (by, label, sign) => button(label, { icon: sign, text: "", kind: "viewer-arrow", run: () => step(by) });
  const before = arrow(-1, "The one before", "left"), after = arrow(1, "The next one", "right");
  const made = dialog("Picture", { wide: true, onclose: () => from?.focus() }, el("div.viewer", {}, el("div.viewer-mat", {}, before, zoom, after), side));
  made.classList.add("full");
  let current = name;

  async function show(next) {
    current = next;
    zoom.classList.remove("close-up");
    image.src = picture(next);
    before.disabled = at <= 0;
    after.disabled = at < 0 || at >= among.length - 1;
    fill(side, el("p.hint", { text: "…" }));
    try {
      const [about, recipe] = await Promise.all([get(picture(next, "about")), get(picture(next, "recipe"))]);
      if (current !== next) return;
      image.alt = about.prompt;
      made.querySelector("h2").textContent = about.prompt;
      fill(side, actions({ ...about }, { away: () => made.close(), changed: (what) => { if (what === "trashed") gone(next); } }),
        recipe.verdict ? verdict(recipe.verdict) : null,
        about.board ? el("p.hint", { text: `On the board ${about.board}.` }) : null,
        recipeTable(recipe),
        el("p.hint", { text: `Made ${new Date(about.created * 1000).toLocaleString()}. Signed, with this recipe inside.` }));
    } catch (error) { fill(side, el("p.bad", { role: "alert", text: error.message })); }
  }

  function gone(name) {
    const place = among.findIndex((one) => one.name === name);
    const rest = among.filter((one) => one.name !== name);
    if (place < 0 || !rest.length) { made.close(); return; }
    among = rest;
    at = Math.min(place, rest.length - 1);
    show(rest[at].name);
  }

  made.addEventListener("keydown", (event) => {
    if (event.target.matches("input,textarea")) return;
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else if (event.key === "f") side.querySelector("[aria-pressed]")?.click();
    else if (event.key === "Delete") change([current], { trashed: true }).then(() => gone(current));
    else return;
    event.preventDefault();
  });
  show(name);
}
