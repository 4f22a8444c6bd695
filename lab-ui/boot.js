// Starts the page. The theme is put on before the first paint; `data-ready` says that the page
// runs, `data-broken` that it does not.
const root = document.documentElement;
try {
  const theme = localStorage.getItem("raftlab.theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
} catch {
  // Storage may be forbidden; then the system's theme is used.
}
try {
  const { default: init } = await import("/lab-ui.js");
  await init({ module_or_path: new URL("/lab-ui_bg.wasm", import.meta.url) });
  root.dataset.ready = "";
} catch (error) {
  root.dataset.broken = "";
  const words = document.createElement("p");
  words.className = "boot-failed";
  words.textContent = `The page could not start: ${error}. Reload it; if it stays so, stop the lab and run cargo lab again.`;
  document.body.append(words);
}
