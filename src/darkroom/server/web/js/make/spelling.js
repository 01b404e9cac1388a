// Values as a person writes them. A value that came from a recipe stays as it was until somebody writes over it.

const number = (value) => String(Number(Number(value).toFixed(6)));

const BY_FIELD = {
  regions: (one) => `${[one.left, one.top, one.right, one.bottom].map(number).join(",")}: ${one.prompt}`,
  lora: (one) => `${one.file}:${number(one.scale ?? 1)}`,
  control: (one) => `${one.network}=${one.map}:${number(one.scale ?? 1)}:${number(one.start ?? 0)}-${number(one.end ?? 1)}`,
  image_prompt: (one) => `${one.file}:${number(one.scale ?? 1)}:${one.keep ?? "subject"}`,
  toward: (one) => `${one.prompt}:${number(one.share ?? 0.5)}`,
  swap: (one) => `${one.old}->${one.new}:${number(one.strength ?? 0.9)}`,
  refine: (one) => step(one),
};

const file = (one) => {
  const name = typeof one.file === "string" ? one.file : one.file.name;
  return /[",:]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name;
};
const STEPS = {
  clean: (s) => (s.strength == null ? "" : number(s.strength)),
  exposure: (s) => number(s.ev),
  "white-balance": (s) => String(s.light ?? "auto"),
  curve: (s) => s.points.map((point) => point.map(number).join(":")).join(" "),
  contrast: (s) => number(s.factor),
  saturation: (s) => number(s.factor),
  lut: (s) => `${file(s)}:${number(s.amount ?? 1)}`,
  match: (s) => `${file(s)}:${number(s.amount ?? 1)}`,
  sharpen: (s) => `${number(s.amount ?? 0.5)}:${number(s.radius ?? 1)}`,
  crop: (s) => (s.left == null ? `${number(s.width)}:${number(s.height)}` : `${s.width}x${s.height}+${s.left}+${s.top}`),
  resize: (s) => (s.height == null ? String(s.width) : `${s.width}x${s.height}`),
  upscale: (s) => String(s.factor ?? 2),
  round: () => "",
};

function step(one) {
  const value = STEPS[one.step]?.(one) ?? "";
  return value ? `${one.step}=${value}` : one.step;
}

/** A field's value as text: one line for each of several, but steps of refining with commas, as people write them. */
export function spelled(field, value) {
  if (value === undefined || value === null) return "";
  if (typeof value === "string") return value;
  const one = (v) => (typeof v === "object" && v !== null && BY_FIELD[field] ? BY_FIELD[field](v) : typeof v === "object" ? JSON.stringify(v, (_, x) => (typeof x === "bigint" ? String(x) : x)) : String(v));
  if (Array.isArray(value) && BY_FIELD[field]) return value.map(one).join(field === "refine" ? ", " : "\n");
  if (Array.isArray(value)) return value.map(one).join(value.some((v) => typeof v === "string") ? "\n" : " – ");
  return one(value);
}

/** A field's name in words. */
export const titled = (field) => TITLES[field] ?? field.replaceAll("_", " ").replace(/^./, (first) => first.toUpperCase());

const TITLES = {
  guidance_method: "Method", guidance_rescale: "Rescale", guidance_interval: "Acts between", guidance_threshold: "Threshold",
  init_image: "Start picture", best_of: "Best of", hires: "Draw enlarged again", lora: "LoRAs", control: "Controls",
  image_prompt: "Reference pictures",
  embedding: "Learnt words", vae: "Autoencoder", toward: "Towards another prompt", swap: "Swap words", tile: "Edges meet",
  guide: "Weaker guide", verify: "Ask the judge", verbatim: "As written", variation_seed: "Variation’s seed", mask_blur: "Soft edge",
  vae_tile: "Tiles of the autoencoder", dtype: "Weights kept in", outpaint: "Margins", text: "Prompt", negative: "Negative prompt",
};

/** A description without what "None" means, which the empty control says in other words. */
export const described = (text) => (text ?? "").replace(/\s*None( always)?: .*$/s, "").trim();
/** What an empty control means, as the schema says it. */
export const unsaid = (text) => (text ?? "").match(/None: (.*?)\.?$/s)?.[1] ?? "";
