(function () {
  let theme = null;
  try { theme = localStorage.getItem("critical-phase-theme"); } catch (error) { /* not allowed here */ }
  if (theme !== "dark" && theme !== "light") {
    theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  }
  document.documentElement.dataset.theme = theme;
  document.documentElement.classList.add("js");
})();
