// Styles: those the model knows, as it was taught them, and saved ones: words and settings under a name.

import { draft } from "../draft.js";
import { button, dialog, el, fill, toast } from "../dom.js";
import { call, get } from "../server.js";
import { fields, notInStyles, shape } from "./fields.js";

let saved = [];

/** A chip for each style; the one that is pressed is added to the prompt. */
export function styleChips() {
  const row = el("div.chips", { role: "group", "aria-label": "Style", data: { field: "style" } });
  const show = () => {
    const own = (shape("style").examples ?? []).filter((name) => !saved.some((one) => one.name === name));
    const at = draft.get("style");
    const names = [...own, ...saved.map((one) => one.name)];
    if (at && !names.includes(at)) names.push(at);
    fill(row, el("span.chips-name", { text: "Style", "aria-hidden": "true" }),
      names.map((name) => el("button.chip", { type: "button", "aria-pressed": String(at === name), text: name,
        title: told(saved.find((one) => one.name === name)),
        on: { click: () => draft.set("style", at === name ? undefined : name) } })),
      button("Saved styles", { icon: "plus", text: "", kind: "quiet small", run: openStyles }));
  };
  draft.addEventListener("change", ({ detail }) => detail.fields.includes("style") && show());
  row.addEventListener("styles", show);
  show();
  refresh().then(show).catch(() => {});
  document.addEventListener("styles", show);
  return row;
}

async function refresh() {
  saved = await get("/api/styles");
  document.dispatchEvent(new Event("styles"));
}

function told(one) {
  if (!one) return "a style the model was taught";
  if (one.problem) return one.problem;
  const settings = Object.entries(one.style.settings).map(([name, value]) => `${name} ${value}`);
  return [one.style.prompt, one.style.negative && `not: ${one.style.negative}`, ...settings].filter(Boolean).join("; ");
}

function openStyles() {
  const list = el("ul.rows");
  const name = el("input", { id: "style-name", autocomplete: "off", maxlength: 100, required: true });
  const words = el("input", { id: "style-words", autocomplete: "off", placeholder: "{prompt}, soft light" });
  const negative = el("input", { id: "style-negative", autocomplete: "off" });
  const settings = el("input", { type: "checkbox", id: "style-settings" });
  const replace = el("input", { type: "checkbox", id: "style-replace" });
  const why = el("p.bad", { role: "alert" });
  const show = async () => {
    await refresh();
    fill(list, saved.length ? saved.map((one) => el("li", {}, el("div", {}, el("strong", { text: one.name }), el("span.hint", { text: told(one) })),
      button(`Delete ${one.name}`, { icon: "trash", text: "", kind: "quiet", run: async () => {
        await call("DELETE", `/api/styles/${encodeURIComponent(one.name)}`);
        if (draft.get("style") === one.name) draft.set("style", undefined);
        show();
      } }))) : el("li.hint", { text: "No style is saved yet. A style is words around the prompt, words to keep out, and settings, under a name." }));
  };
  const save = async (event) => {
    event.preventDefault();
    why.textContent = "";
    const request = draft.request();
    const own = Object.fromEntries(Object.entries(request).filter(([field]) => field in fields() && !notInStyles().includes(field)
      && !(field === "style" && saved.some((one) => one.name === request.style))));
    const style = { prompt: words.value, negative: negative.value, settings: settings.checked ? own : {} };
    try {
      const query = replace.checked ? "?replace=true" : "";
      await call("PUT", `/api/styles/${encodeURIComponent(name.value.trim() || " ")}${query}`, style);
      toast(`The style ${name.value} is saved.`);
      for (const input of [name, words, negative]) input.value = "";
      await show();
    } catch (error) { why.textContent = error.message; }
  };
  dialog("Saved styles", {}, list,
    el("form.stack", { on: { submit: save } }, el("h3", { text: "Save one" }),
      el("label", { for: "style-name", text: "Name" }), name,
      el("label", { for: "style-words", text: "Words, with {prompt} where the prompt stands" }), words,
      el("label", { for: "style-negative", text: "What to keep out" }), negative,
      el("div.tick", {}, settings, el("label", { for: "style-settings", text: "with the settings of the form" })),
      el("div.tick", {}, replace, el("label", { for: "style-replace", text: "over one of that name" })),
      why, el("button.button.primary", { type: "submit", text: "Save the style" })));
  show().catch((error) => { why.textContent = error.message; });
}
