// Before the first paint: the theme that was chosen, else the system's (by the stylesheet).
(() => {
  const chosen = localStorage.getItem("facestream-theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
})();
