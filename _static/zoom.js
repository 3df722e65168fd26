// Figures open at their own size, in a dialog: by click, or by key, since each becomes a button. Escape, the button and a
// click beside the figure close it, and the focus goes back to where it was.
(() => {
  const FIGURES = '.cell_output img[src*="_images/"]';

  function make(name, properties = {}) {
    return Object.assign(document.createElement(name), properties);
  }

  function start() {
    const dialog = make("dialog", { className: "zoom" });
    const close = make("button", { type: "button", textContent: "Close" });
    const place = make("div", { className: "zoom-place", tabIndex: 0 }); // arrows scroll what is larger than the page
    place.setAttribute("role", "group");
    const large = make("img");
    let opener;
    place.append(large);
    dialog.append(close, place);
    document.body.append(dialog);
    close.addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", ({ target }) => { if (target === dialog) dialog.close(); });
    dialog.addEventListener("close", () => opener.focus());

    document.querySelectorAll(FIGURES).forEach((figure) => {
      const button = make("button", { type: "button", className: "zoom-button", title: "Enlarge" });
      button.setAttribute("aria-label", `Enlarge: ${figure.alt}`);
      button.setAttribute("aria-haspopup", "dialog");
      figure.replaceWith(button);
      button.append(figure);
      button.addEventListener("click", () => {
        opener = button;
        large.src = figure.src;
        large.alt = figure.alt;
        place.setAttribute("aria-label", figure.alt);
        dialog.showModal();
      });
    });
  }

  addEventListener("DOMContentLoaded", () => { if (document.querySelector(FIGURES)) start(); });
})();
