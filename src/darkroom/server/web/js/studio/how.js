// "How it works": one prompt, followed from its words to the picture, with what this studio really does on the way.

import { draft } from "../draft.js";
import { button, el, fill, settled } from "../dom.js";
import { jobs } from "../jobs.js";
import { get, picture, post } from "../server.js";
import { recipeTable } from "../gallery/recipe.js";
import { sentence } from "../make/stage.js";

const KEY = "darkroom.how";
const FIRST = "a red fox in the snow, 3d";

export async function how() {
  const input = el("input", { id: "how-prompt", autocomplete: "off", value: draft.get("text").trim() || FIRST });
  const tokens = el("div.token-row", { role: "list", "aria-label": "Tokens" }), told = el("p.hint"), numbers = el("p");
  const film = el("div.how-film"), noise = el("p"), last = el("div.how-last"), why = el("p.bad", { role: "alert" });
  let stopping = null, asking = 0;

  const node = el("article.how", {},
    el("header.how-head", {}, el("h1", { text: "From a sentence to a picture" }),
      el("p", { text: "Follow your own words through the model. Everything below is what it really does with them; nothing is staged." }),
      el("form.how-ask", { on: { submit: (event) => { event.preventDefault(); draw(); } } }, el("label.unseen", { for: "how-prompt", text: "A prompt to follow" }), input, button("Draw it", { kind: "primary", run: draw })), why),
    part("Words become tokens", "A network cannot read letters one by one and does not know whole dictionaries. In between lie tokens: pieces of words that were frequent in the captions it learnt from. A word it met often is one piece; one it never met is many, and what they mean together it has to guess.", tokens, told),
    part("Tokens become vectors", "A text encoder turns each token into a row of numbers and lets every token look at all the others first: fox after red is another row than fox after blue. Nobody told it that cars and buses have to do with each other; it found that out because captions with either are followed by pictures that share something.", numbers),
    part("The seed gives the noise", "To learn to draw, a network is shown pictures being destroyed: mixed with noise until nothing is left. Drawing goes the other way, so it begins with noise alone. All chance lies in it, and it comes from the seed: the same seed, the same noise, the same picture to the last bit.", noise),
    part("The way back, step by step", "At each step it is asked what clean picture might lie behind the noise. It answers with a guess; a sampler goes a little way towards it, and asks again with a little less noise. Guidance asks twice, with the words and without, and goes further in the direction of the words. These are the guesses, one a step:", film),
    part("Read back, enlarged, signed", "Until now everything happened in a latent, a small table of numbers that an autoencoder learnt to write pictures down in. It is read back as pixels, enlarged by a second network, then marked and signed, with all that decided its pixels inside the file: any picture gives its settings back.", last));

  function part(title, text, ...children) { return el("section.how-step", {}, el("h2", { text: title }), el("p", { text }), ...children); }

  async function read() {
    try {
      const number = ++asking;
      const view = await post("/api/prompt", { prompt: input.value });
      if (number !== asking) return;
      const pieces = view.spells[0].read.flatMap((one) => one.pieces);
      fill(tokens, pieces.map((one) => el("span.token", { role: "listitem", class: one.known ? "" : "unknown", title: one.known ? "its word stood in the captions it learnt from" : "its word stood in no caption" }, el("b", { text: one.text.replace(/^ /, "") || " " }), el("i", { text: String(one.id) }))));
      const missed = pieces.filter((one) => !one.known).length;
      told.textContent = `${pieces.length} pieces, and two more that say where the sentence begins and ends; up to ${view.limit} are read at once.${missed ? " The underlined ones belong to words it was never taught." : " It was taught every word of it."}`;
      const { width } = view;
      numbers.textContent = width ? `Here: ${pieces.length + 2} tokens of ${width} numbers each, ${((pieces.length + 2) * width).toLocaleString()} in all. They are all that the rest of the way knows of your words.` : "";
      why.textContent = "";
    } catch (error) { fill(tokens); told.textContent = ""; numbers.textContent = ""; why.textContent = input.value.trim() ? error.message : ""; }
  }

  async function draw() {
    why.textContent = "";
    try {
      const [job] = await jobs.submit({ prompt: input.value }, 1);
      localStorage.setItem(KEY, job.id);
      await follow(job.id);
    } catch (error) { why.textContent = error.message; }
  }

  async function follow(id) {
    stopping?.abort();
    stopping = new AbortController();
    const { signal } = stopping;
    const job = await jobs.one(id);
    fill(film, el("p.hint", { text: "It waits its turn." }));
    fill(last);
    noise.textContent = `This one’s seed is ${job.request.seed}.`;
    jobs.replay(id, async (event) => {
      if (signal.aborted) return;
      if (event.kind === "running") fill(film);
      if (event.kind === "preview") film.append(el("figure", {}, el("img", { src: `data:image/webp;base64,${event.preview}`, alt: `the guess at step ${event.step}` }), el("figcaption", { text: caption(event) })));
      if (event.kind === "failed") why.textContent = event.message;
      if (event.kind === "done") await finished(id);
    }, signal).catch(() => {});
  }

  function caption(event) {
    const before = sentence("synthesise", (event.step - 1) / event.steps), now = sentence("synthesise", event.step / event.steps);
    return event.step === 1 || before !== now ? `Step ${event.step}. ${now}` : `Step ${event.step}`;
  }

  async function finished(id) {
    const job = { ...jobs.all.get(id), ...(await get(`/api/jobs/${id}`)) };
    if (!job.picture) return;
    const recipe = await get(picture(job.picture, "recipe"));
    fill(last, el("img", { src: picture(job.picture), alt: recipe.prompt.text }), recipeTable(recipe));
  }

  input.addEventListener("input", settled(read, 200));
  read();
  begin();
  async function begin() {
    if (!jobs.ready) await new Promise((go) => jobs.addEventListener("change", go, { once: true }));
    const id = localStorage.getItem(KEY) ?? jobs.listed().find((job) => job.state === "done" && !job.request.init_image)?.id;
    try {
      if (!id) throw new Error();
      const job = await jobs.one(id);
      input.value = job.request.prompt.text;
      read();
      await follow(id);
    } catch { fill(film, el("p.hint", { text: "Press “Draw it”, and the steps of your own picture stand here." })); }
  }
  return node;
}
