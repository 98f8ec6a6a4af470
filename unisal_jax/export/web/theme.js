// Light or dark: as the system says, until the button says otherwise.

const KEY = "unisal-theme";

/** Sets the page's colours, and lets the button change them. @param {HTMLButtonElement} button */
export function startTheme(button) {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const tell = () => button.setAttribute("aria-pressed", String(isDark()));
  const kept = stored(() => localStorage.getItem(KEY));
  if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    stored(() => localStorage.setItem(KEY, root.dataset.theme));
    tell();
  });
  system.addEventListener("change", tell);
  tell();
}

/** Storage may be forbidden: then the choice lasts as long as the page. */
function stored(use) {
  try {
    return use();
  } catch {
    return null;
  }
}
