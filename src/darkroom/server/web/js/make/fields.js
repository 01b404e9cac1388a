// Controls made from the schema that the server publishes: a field that is new there is on the page, too.

import { draft } from "../draft.js";
import { el } from "../dom.js";
import { described, spelled, titled, unsaid } from "./spelling.js";

let schema = null;

/** The properties of a request, as the server has them. */
export const fields = () => schema.properties;
export const takeSchema = (told) => { schema = told; };
/** Fields that say what is drawn rather than how: a style holds none of them. */
export const notInStyles = () => schema.not_in_styles ?? [];
/** The named parts of the schema. */
export const definitions = () => schema.$defs ?? {};

/** What a schema allows, of its alternatives the one that is no null; with `text` where a short text is one of them. */
export function shape(field) {
  const told = schema.properties[field];
  const forms = (told.anyOf ?? [told]).filter((one) => one.type !== "null").map((one) => (one.$ref ? schema.$defs[one.$ref.split("/").pop()] : one));
  const text = forms.some((one) => one.type === "string");
  const [first] = forms;
  const several = forms.some((one) => one.type === "array" && !one.prefixItems);
  return { ...first, ...pick(told, ["examples", "enum", "resolved_default", "default", "description"]), text, several };
}

const pick = (from, names) => Object.fromEntries(names.filter((name) => name in from).map((name) => [name, from[name]]));

/** A control for a field, with its name and what it means; it follows the draft, and the draft follows it. */
export function control(field) {
  const told = shape(field);
  const id = `field-${field}`;
  const input = kindOf(told)(field, told, id);
  const help = told.examples || told.enum ? described(told.description).replace(/:.*$/s, ".") : described(told.description); // the names are in the list
  const hint = el("p.hint", { id: `${id}-hint`, text: [help.length > 20 ? help : "", emptied(told)].filter(Boolean).join(" ") });
  const row = el("div.field", { data: { field }, class: told.type === "boolean" ? "switch" : "" },
    input.legend ? null : el("label", { for: id, text: titled(field) }), input.node, hint);
  (input.node.matches("input,select,textarea") ? input.node : input.node.querySelector("input"))
    ?.setAttribute("aria-describedby", hint.id);
  draft.addEventListener("change", ({ detail }) => {
    if (detail.fields.includes(field) && detail.from !== input) { input.show(draft.get(field)); }
    if (detail.fields.includes(field)) row.classList.toggle("said", draft.says(field));
  });
  input.show(draft.get(field));
  row.classList.toggle("said", draft.says(field));
  return row;
}

const emptied = (told) => {
  const none = unsaid(told.description);
  return none && told.resolved_default === undefined ? `Empty: ${none}.` : "";
};

function kindOf(told) {
  if (told.type === "boolean") return flag;
  if (told.enum || told.examples) return choice;
  if (told.type === "integer" || told.type === "number") return number;
  if (told.type === "array" && told.prefixItems) return pair;
  if (told.several) return lines;
  if (told.type === "object" && !told.text) return parts;
  return line;
}

function flag(field, told, id) {
  const node = el("input", { type: "checkbox", id });
  const input = { node, show: (value) => { node.checked = value === true; } };
  node.addEventListener("change", () => draft.set(field, node.checked || undefined, input));
  return input;
}

function choice(field, told, id) {
  const options = told.enum ?? told.examples;
  const plain = told.resolved_default ?? (told.default || undefined);
  const node = el("select", { id }, el("option", { value: "", text: plain === undefined ? "–" : `${plain} (as it comes)` }));
  for (const value of options) node.append(el("option", { value: String(value), text: String(value) }));
  const input = {
    node,
    show: (value) => {
      const text = value === undefined ? "" : String(value);
      if (text && ![...node.options].some((one) => one.value === text)) node.append(el("option", { value: text, text }));
      node.value = text;
    },
  };
  const typed = typeof options[0] === "number" ? Number : String;
  node.addEventListener("change", () => draft.set(field, node.value === "" ? undefined : typed(node.value), input));
  return input;
}

/** A number's value: of digits a whole number keeps them all. Text that is none is left for the server to refuse. */
export function numeric(text, whole = false) {
  const plain = text.trim();
  if (plain === "") return undefined;
  if (/^\d+$/.test(plain) && whole && !Number.isSafeInteger(Number(plain))) return BigInt(plain);
  return Number.isNaN(Number(plain)) ? plain : Number(plain);
}

function number(field, told, id) {
  const whole = told.type === "integer";
  const { minimum = 0, maximum } = told;
  const step = told.multipleOf ?? (whole ? 1 : maximum <= 1 ? 0.05 : 0.1);
  const most = field === "steps" ? 50 : maximum; // of the slider; the box takes all there are
  const plain = told.resolved_default ?? told.default ?? unsaid(told.description).match(/^[\d.]+(?=;|$)/)?.[0];
  const box = el("input", { id, inputmode: whole ? "numeric" : "decimal", autocomplete: "off", placeholder: String(plain ?? "–") });
  const slides = maximum !== undefined && maximum <= 2048 && told.multipleOf === undefined;
  const slider = slides && el("input.slider", { type: "range", min: minimum, max: most, step, tabindex: -1, "aria-hidden": "true" });
  const node = el("div.number", {}, slider || null, box);
  const slid = (value) => {
    if (!slider) return;
    slider.classList.toggle("open", (value ?? plain ?? null) === null);
    const at = Number(value ?? plain ?? minimum);
    slider.value = at;
    slider.style.setProperty("--at", `${(100 * (Math.min(at, most) - minimum)) / (most - minimum)}%`);
  };
  const input = { node, show: (value) => { box.value = value === undefined ? "" : String(value); slid(value); } };
  box.addEventListener("input", () => { const value = numeric(box.value, whole); slid(value); draft.set(field, value, input); });
  if (slider) slider.addEventListener("input", () => {
    const value = Number(Number(slider.value).toFixed(4));
    box.value = String(value);
    slid(value);
    draft.set(field, value, input);
  });
  return input;
}

function pair(field, told, id) {
  const plain = told.resolved_default ?? told.default ?? ["", ""];
  const boxes = [0, 1].map((at) => el("input", { id: at ? null : id, inputmode: "decimal", autocomplete: "off",
    placeholder: String(plain[at] ?? ""), "aria-label": `${titled(field)}: ${at ? "to" : "from"}` }));
  const input = {
    node: el("div.pair", {}, boxes[0], el("span", { text: "to" }), boxes[1]),
    show: (value) => boxes.forEach((box, at) => { box.value = value?.[at] ?? ""; }),
  };
  for (const box of boxes) box.addEventListener("input", () => {
    const values = boxes.map((one, at) => numeric(one.value) ?? plain[at]);
    draft.set(field, boxes.every((one) => one.value.trim() === "") ? undefined : values, input);
  });
  return input;
}

function parts(field, told, id) {
  const names = Object.keys(told.properties);
  const boxes = names.map((name, at) => el("input", { id: at ? null : id, inputmode: "numeric", autocomplete: "off",
    placeholder: String(told.properties[name].default ?? ""), "aria-label": `${titled(field)}: ${name}` }));
  const input = {
    node: el("div.parts", {}, names.map((name, at) => el("label", {}, el("span", { text: name }), boxes[at]))),
    show: (value) => boxes.forEach((box, at) => { box.value = value?.[names[at]] || ""; }),
  };
  for (const box of boxes) box.addEventListener("input", () => {
    const told = Object.fromEntries(names.map((name, at) => [name, numeric(boxes[at].value, true)]).filter(([, v]) => v !== undefined));
    draft.set(field, Object.keys(told).length ? told : undefined, input);
  });
  return input;
}

function lines(field, told, id) {
  const node = el("textarea", { id, rows: 2, spellcheck: "false", placeholder: "one a line" });
  const input = { node, show: (value) => { node.value = spelled(field, value); } };
  node.addEventListener("input", () => {
    const found = node.value.split("\n").map((one) => one.trim()).filter(Boolean);
    draft.set(field, found.length ? found : undefined, input);
  });
  return input;
}

function line(field, told, id) {
  const node = el("input", { id, autocomplete: "off", spellcheck: "false" });
  const input = { node, show: (value) => { node.value = spelled(field, value); } };
  node.addEventListener("input", () => draft.set(field, node.value.trim() === "" ? undefined : node.value, input));
  return input;
}
