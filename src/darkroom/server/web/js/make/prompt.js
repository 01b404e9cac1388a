// The prompt, and under it how the model reads it: its parts, what it does not know, how full it is.

import { draft } from "../draft.js";
import { button, el, fill, settled } from "../dom.js";
import { post } from "../server.js";

const ROLES = ["subject", "relation", "motion", "setting", "ground", "light", "composition", "style", "quality", "letters"];

/** The two boxes and the echo under them. */
export function promptBox() {
  const text = el("textarea.prompt", { id: "prompt", rows: 3, placeholder: "What shall it show?", "aria-describedby": "echo", autofocus: true, spellcheck: "true" });
  const negative = el("textarea", { id: "negative", rows: 1, placeholder: "What to keep out", "aria-label": "Negative prompt" });
  const echo = el("div.echo", { id: "echo" });
  const meter = el("div.meter", { role: "meter", "aria-label": "Tokens", "aria-valuemin": 0 });
  for (const [input, name] of [[text, "text"], [negative, "negative"]]) {
    input.value = draft.get(name) ?? "";
    input.addEventListener("input", () => { grow(input); draft.set(name, input.value, input); });
    draft.addEventListener("change", ({ detail }) => {
      if (detail.fields.includes(name) && detail.from !== input) { input.value = draft.get(name) ?? ""; grow(input); }
    });
  }
  text.addEventListener("keydown", (event) => {
    const by = (event.ctrlKey || event.metaKey) && { ArrowUp: 0.1, ArrowDown: -0.1 }[event.key];
    if (by) { event.preventDefault(); weigh(text, by); draft.set("text", text.value, text); }
  });
  requestAnimationFrame(() => { grow(text); grow(negative); });
  const fold = el("details.negative", { open: Boolean(draft.get("negative")) }, el("summary", { text: "Negative prompt" }), negative);
  draft.addEventListener("change", () => { if (draft.get("negative")) fold.open = true; });
  const looked = settled(look, 220);
  let asking = 0;
  async function look() {
    const number = ++asking;
    if (!draft.get("text").trim()) { fill(echo); shown(meter, null); tell(null); return; }
    try {
      const view = await post("/api/prompt", subset());
      if (number === asking) { echoed(echo, view, text); shown(meter, view); tell(view); }
    } catch (error) {
      if (number === asking && error.status) { fill(echo, el("p.note", { text: error.message })); shown(meter, null); tell(null); }
    }
  }
  draft.addEventListener("change", ({ detail }) => {
    if (detail.fields.some((name) => ["text", "negative", "style", "seed", "steps", "verbatim", "model"].includes(name))) looked();
  });
  document.addEventListener("styles", looked);
  look();
  return el("div.prompting", { data: { field: "prompt" } }, el("label.unseen", { for: "prompt", text: "Prompt" }), el("div.prompt-box", {}, text, meter), echo, fold);
}

function subset() {
  const request = draft.request();
  return Object.fromEntries(["prompt", "style", "seed", "steps", "verbatim", "model"].filter((n) => request[n] !== undefined).map((n) => [n, request[n]]));
}

const tell = (view) => document.dispatchEvent(new CustomEvent("anatomy", { detail: view }));

function grow(input) {
  input.style.height = "auto";
  if (input.scrollHeight) input.style.height = `${Math.min(input.scrollHeight + 2, 260)}px`;
}

/** How much of what is read at once is used. */
function shown(meter, view) {
  const read = view?.spells[0]?.read ?? [];
  const [used, most] = [read[0]?.tokens ?? 0, view?.limit ?? 48];
  meter.setAttribute("aria-valuemax", most);
  meter.setAttribute("aria-valuenow", used);
  meter.style.setProperty("--full", `${Math.min(100, (100 * used) / most)}%`);
  fill(meter, el("span.meter-bar"), el("span.meter-said", { text: !view ? "" : read.length > 1
    ? `${read.length} parts, each up to ${most} tokens` : `${used} of ${most} tokens` }));
}

/** The parts of the sentence, and in plain words what becomes of the rest. */
function echoed(place, view, text) {
  const spell = view.spells[0];
  fill(place,
    el("ul.roles", { "aria-label": "How it is read" }, spell.roles.map((role) => el("li.role", { data: { role: ROLES.includes(role.role) ? role.role : "other" }, title: hint(role),
      class: role.untaught.length ? "untaught" : "" },
      el("span.role-name", { text: role.role }), el("span.role-text", {}, marked(role))))),
    notes(view).map((note) => el("p.note", { text: note })),
    view.unknown.filter((one) => one.near.length).map((one) => el("p.note", {}, `${one.word} was never taught. Near: `,
      one.near.map((near) => button(near.word, { kind: "link", title: near.why, run: () => swap(text, one.word, near.word) })))),
    far(view));
}

const hint = (role) => [role.means && `read as ${[role.count, role.colour, role.means].filter((v) => v !== null).join(" ")}`,
  role.untaught.length ? `never taught: ${role.untaught.join(", ")}` : ""].filter(Boolean).join("; ");

/** A part's text, with the words underlined that the model never met. */
function marked(role) {
  if (!role.untaught.length) return role.text;
  const words = new Set(role.untaught);
  return role.text.split(/(\s+)/).map((word) => (words.has(word.replace(/[.,;:!?()[\]"']/g, "").toLowerCase()) ? el("u", { text: word }) : word));
}

function far(view) {
  const words = view.unknown.filter((one) => !one.near.length).map((one) => one.word);
  return words.length ? el("p.note", { text: `Never taught, so it has to guess: ${words.slice(0, 12).join(", ")}${words.length > 12 ? ` and ${words.length - 12} more` : ""}.` }) : null;
}

function notes(view) {
  const spells = view.spells;
  const told = [];
  if (view.written !== null && view.saved_style === null) told.push(`Read as: ${view.prompt}`);
  if (view.saved_style !== null) told.push(`In the style ${view.saved_style}: ${view.prompt}`);
  for (const choice of view.choices) told.push(`${choice.written} becomes ${choice.made || "nothing"}, by the seed ${view.seed}.`);
  for (const spell of spells.slice(1, 6)) told.push(`From step ${spell.step} of ${view.steps}: ${spell.text}`);
  for (const { text, weight } of spells[0].weights) told.push(`${text} counts ${Number(weight.toFixed(3))} times.`);
  const dropped = spells.flatMap((spell) => spell.dropped);
  if (dropped.length) told.push(`No room for ${dropped.length} words: ${dropped.slice(0, 8).join(" ")} …`);
  return told;
}

/** Makes the words that are marked, or the one at the cursor, count more or less: fox, (fox:1.1), (fox:1.2). */
function weigh(input, by) {
  let { selectionStart: start, selectionEnd: end, value } = input;
  if (start === end) {
    while (start > 0 && /[\p{L}\d-]/u.test(value[start - 1])) start -= 1;
    while (end < value.length && /[\p{L}\d-]/u.test(value[end])) end += 1;
  }
  if (start === end) return;
  const after = value.slice(end).match(/^:(\d+(?:\.\d+)?)\)/);
  const inside = value[start - 1] === "(" && after;
  const weight = Math.min(10, Math.max(0, Number(((inside ? Number(after[1]) : 1) + by).toFixed(2))));
  const words = value.slice(start, end);
  const [from, to] = inside ? [start - 1, end + after[0].length] : [start, end];
  input.setRangeText(weight === 1 ? words : `(${words}:${weight})`, from, to);
  const shift = from + (weight === 1 ? 0 : 1);
  input.setSelectionRange(shift, shift + words.length);
}

function swap(input, word, near) {
  const plain = word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  draft.set("text", input.value.replace(new RegExp(`(?<!\\p{L})${plain}(?!\\p{L})`, "giu"), near));
  input.focus();
}
