// Workflows: a request with blanks, in a JSON file that is kept, given away, and opened again.

import { draft } from "../draft.js";
import { dialog, el, toast } from "../dom.js";
import { read } from "../server.js";

const KIND = "darkroom workflow";
const BLANK = /\{\{\s*([^{}|]{1,60}?)\s*(?:\|([^{}]*))?\}\}/g; // {{animal}} or {{animal|fox}}

/** The blanks of a request, each once: their names, and what stands there if nobody fills them. */
export function blanks(request) {
  const found = new Map();
  JSON.stringify(request, (_, value) => {
    if (typeof value === "string") for (const [, name, plain] of value.matchAll(BLANK)) if (!found.has(name)) found.set(name, plain ?? "");
    return typeof value === "bigint" ? String(value) : value;
  });
  return found;
}

/** A request with its blanks filled. */
export function filled(value, words) {
  if (typeof value === "string") return value.replace(BLANK, (_, name, plain) => words[name] || plain || "");
  if (Array.isArray(value)) return value.map((one) => filled(one, words));
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([n, one]) => [n, filled(one, words)]));
  return value;
}

/** Downloads what the form says as a file. */
export function saveWorkflow() {
  const name = el("input", { id: "workflow-name", value: "workflow", autocomplete: "off" });
  const seed = el("input", { type: "checkbox", id: "workflow-seed" });
  const text = el("textarea", { id: "workflow-text", rows: 3, value: draft.get("text") });
  const made = dialog("Save as a workflow", {}, el("form.stack", { on: { submit: (event) => { event.preventDefault(); save(); made.close(); } } },
    el("p.hint", { text: "The form as a file. Write {{animal}} or {{animal|fox}} where something is to be filled in when it is opened." }),
    el("label", { for: "workflow-text", text: "Prompt" }), text, el("label", { for: "workflow-name", text: "Name" }), name,
    el("div.tick", {}, seed, el("label", { for: "workflow-seed", text: "with its seed" })),
    el("button.button.primary", { type: "submit", text: "Download" })));
  function save() {
    const request = draft.request();
    request.prompt = { ...request.prompt, text: text.value };
    if (!seed.checked) delete request.seed;
    for (const file of ["init_image", "mask"]) delete request[file];
    const told = { kind: KIND, version: 1, name: name.value, count: draft.get("count") ?? 1, request };
    download(new Blob([JSON.stringify(told, (_, v) => (typeof v === "bigint" ? String(v) : v), 1)], { type: "application/json" }), `${name.value || "workflow"}.json`);
  }
}

/** Hands a file to the browser to keep. */
export function download(blob, name) {
  const address = URL.createObjectURL(blob);
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** Asks for a file and opens it. */
export function openWorkflow() {
  const input = el("input", { type: "file", accept: ".json,application/json" });
  input.addEventListener("change", () => input.files[0] && takeWorkflow(input.files[0]));
  input.click();
}

/** Opens a workflow's file: its blanks are asked for, and the form says the rest. */
export async function takeWorkflow(file) {
  let told = null;
  try { told = read(await file.text()); } catch { /* said below */ }
  if (told?.kind !== KIND || typeof told.request !== "object") {
    toast(`${file.name} is no workflow of darkroom; give one that was saved here`, { kind: "bad" });
    return;
  }
  const found = [...blanks(told.request)];
  const put = (words) => {
    draft.take(filled(told.request, words));
    if (told.count) draft.set("count", told.count);
    location.hash = "#/make";
    toast(`${told.name || file.name} is on the form.`);
  };
  if (!found.length) { put({}); return; }
  const inputs = found.map(([name, plain], at) => el("input", { id: `blank-${at}`, placeholder: plain, autocomplete: "off" }));
  const made = dialog(told.name || "Workflow", {}, el("form.stack", { on: { submit: (event) => {
    event.preventDefault();
    put(Object.fromEntries(found.map(([name], at) => [name, inputs[at].value.trim()])));
    made.close();
  } } }, found.map(([name], at) => [el("label", { for: `blank-${at}`, text: name }), inputs[at]]), el("button.button.primary", { type: "submit", text: "Fill in" })));
}
