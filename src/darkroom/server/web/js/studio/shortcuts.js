// Keys of the whole page. Those of a room are listened to there.

export const SHORTCUTS = [
  [["Ctrl", "↵"], "Make what the form says"],
  [["Ctrl", "↑", "↓"], "In the prompt: the word at the cursor counts more, or less"],
  [["/"], "Go to the prompt, or to the search of the gallery"],
  [["Q"], "Open or close the queue"],
  [["1", "–", "5"], "Make, Gallery, Canvas, Grid, How it works"],
  [["←", "→"], "Of a picture that is open: the one before, the next"],
  [["F"], "Of a picture that is open: a favourite, or not"],
  [["Del"], "Throw a picture away; it is in the trash"],
  [["B", "E"], "On the canvas: brush, eraser; [ and ] make them smaller and larger"],
  [["Ctrl", "Z"], "On the canvas: undo; with Shift, redo"],
  [["?"], "These keys"],
];
const ROOMS = ["make", "gallery", "canvas", "grid", "how"];

export function listens() {
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.defaultPrevented && !document.querySelector("dialog[open]")) {
      document.dispatchEvent(new Event("make"));
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input,textarea,select") || document.querySelector("dialog[open]")) return;
    if (event.key === "/") {
      const box = document.querySelector("#search") ?? document.querySelector("#prompt");
      if (box) { event.preventDefault(); box.focus(); }
    } else if (event.key === "q") document.dispatchEvent(new Event("toggle-queue"));
    else if (event.key === "?") document.dispatchEvent(new Event("show-keys"));
    else if (/^[1-5]$/.test(event.key)) location.hash = `#/${ROOMS[event.key - 1]}`;
  });
}
