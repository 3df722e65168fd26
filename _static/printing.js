// Printed, a page is light, and what is folded lies open: paper has no buttons.
(() => {
  const root = document.documentElement;
  let theme, opened;

  addEventListener("beforeprint", () => {
    theme = root.dataset.theme;
    root.dataset.theme = "light";
    opened = [...document.querySelectorAll("article details:not([open])")];
    opened.forEach((fold) => { fold.open = true; });
  });

  addEventListener("afterprint", () => {
    root.dataset.theme = theme;
    opened.forEach((fold) => { fold.open = false; });
  });
})();
