// Finishing: a chain of steps, each with its values from the schema, in the order in which they are done.

import { draft } from "../draft.js";
import { button, el, fill } from "../dom.js";
import { get } from "../server.js";
import { definitions, numeric } from "./fields.js";
import { described, spelled, titled } from "./spelling.js";

const HIDDEN = ["round"]; // stands where it must by itself
const FIRST = { exposure: { ev: 0.3 }, contrast: { factor: 1.2 }, saturation: { factor: 1.2 }, curve: { points: [[0, 0], [0.25, 0.2], [1, 1]] },
  crop: { width: 1, height: 1 }, resize: { width: 512 }, lut: { file: "" }, match: { file: "" } };

/** The panel: a row for each step, and a menu of steps to add. */
export function refining() {
  const rows = el("ol.refine-steps");
  const steps = known();
  const add = el("select", { "aria-label": "Add a step of finishing" }, el("option", { value: "", text: "Add a step …" }),
    [...steps.keys()].map((name) => el("option", { value: name, text: `${titled(name.replace("-", " "))}: ${described(steps.get(name).description).replace(/\.$/, "").toLowerCase()}` })));
  const text = el("input", { id: "field-refine", autocomplete: "off", spellcheck: "false", placeholder: "clean, contrast=1.2, sharpen" });
  const chain = () => { const value = draft.get("refine"); return Array.isArray(value) ? value : null; };
  const put = (value) => draft.set("refine", value?.length ? value : undefined);
  add.addEventListener("change", () => {
    const name = add.value;
    add.value = "";
    if (!name) return;
    const value = draft.get("refine");
    if (typeof value === "string") put(`${value}, ${spelled("refine", [{ step: name, ...FIRST[name] }])}`);
    else put([...(value ?? []), { step: name, ...FIRST[name] }]);
  });
  text.addEventListener("input", () => draft.set("refine", text.value.trim() || undefined, text));
  const show = (from) => {
    if (from !== text) text.value = spelled("refine", draft.get("refine"));
    if (from !== rows) fill(rows, (chain() ?? []).map((one, at) => row(one, at, chain(), (next) => draft.set("refine", next.length ? next : undefined, rows), show, steps)));
    if (from === rows) text.value = spelled("refine", draft.get("refine"));
  };
  draft.addEventListener("change", ({ detail }) => detail.fields.includes("refine") && show(detail.from));
  show();
  return el("div.field", { data: { field: "refine" } }, rows, add,
    el("label", { for: "field-refine", text: "The chain, as text" }), text,
    el("p.hint", { text: "Done to the finished picture, in this order. A step is a name, mostly with = and a value; commas end steps." }));
}

function known() {
  const found = new Map();
  for (const told of Object.values(definitions())) {
    const name = told.properties?.step?.const;
    if (name && !HIDDEN.includes(name)) found.set(name, told);
  }
  return found;
}

function row(one, at, chain, put, show, steps) {
  const told = steps.get(one.step);
  const change = (values) => { chain[at] = { ...chain[at], ...values }; put([...chain]); };
  const moved = (by) => { const [taken] = chain.splice(at, 1); chain.splice(at + by, 0, taken); put([...chain]); show(); };
  const inputs = Object.entries(told?.properties ?? {}).filter(([name]) => name !== "step").map(([name, field]) => value(one, name, field, change));
  return el("li.refine-step", {}, el("strong", { text: titled(one.step.replace("-", " ")) }), el("div.refine-values", {}, inputs),
    at ? button(`${one.step} earlier`, { icon: "up", text: "", kind: "quiet small", run: () => moved(-1) }) : null,
    button(`Without ${one.step}`, { icon: "close", text: "", kind: "quiet small", run: () => { chain.splice(at, 1); put([...chain]); show(); } }));
}

function value(one, name, field, change) {
  const forms = (field.anyOf ?? [field]).filter((form) => form.type !== "null");
  const range = forms.find((form) => form.type === "number" || form.type === "integer");
  const label = titled(name);
  if (name === "points") return wide(label, el("input", { value: (one.points ?? []).map((point) => point.join(":")).join(" "), "aria-label": label,
    on: { input: (event) => change({ points: event.target.value.trim().split(/\s+/).map((part) => part.split(":").map(Number)) }) } }));
  if (name === "file") return wide(label, file(one, change));
  if (field.enum) return wide(label, el("select", { "aria-label": label, on: { change: (event) => change({ [name]: Number(event.target.value) }) } },
    field.enum.map((v) => el("option", { value: v, text: String(v), selected: (one[name] ?? field.default) === v }))));
  const input = el("input", { "aria-label": label, title: described(field.description), inputmode: range ? "decimal" : null, autocomplete: "off",
    value: one[name] ?? "", placeholder: String(field.default ?? "–") });
  input.addEventListener("input", () => change({ [name]: numeric(input.value) ?? undefined }));
  return wide(label, input);
}

const wide = (label, input) => el("label.refine-value", {}, el("span", { text: label }), input);

/** A file: of a table one that lies among the adapters; of a picture one that was brought along. */
function file(one, change) {
  const list = el("select", { "aria-label": "File", on: { change: (event) => change({ file: event.target.value }) } });
  const name = typeof one.file === "string" ? one.file : one.file?.name ?? "";
  fill(list, el("option", { value: "", text: "none here" }), name ? el("option", { value: name, text: name, selected: true }) : null);
  if (one.step === "lut") get("/api/adapters").then((names) => list.append(...names.filter((n) => n.endsWith(".cube") && n !== name).map((n) => el("option", { value: n, text: n })))).catch(() => {});
  const start = draft.get("init_image");
  if (one.step === "match" && start && start !== name) list.append(el("option", { value: start, text: "the start picture" }));
  return list;
}
