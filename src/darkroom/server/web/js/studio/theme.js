// Light, dark, or as the machine has it.

const KEY = "darkroom.theme";
const ORDER = ["", "light", "dark"];

export const theme = () => localStorage.getItem(KEY) ?? "";

export function applyTheme() {
  document.documentElement.dataset.theme = theme();
}

/** The next of the three. */
export function turnTheme() {
  localStorage.setItem(KEY, ORDER[(ORDER.indexOf(theme()) + 1) % ORDER.length]);
  applyTheme();
  return theme();
}
