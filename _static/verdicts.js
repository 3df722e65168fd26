/* The page of verdicts: a button for each verdict shows its claims alone, and they can be ordered by verdict.

`lib/record/overview.py` writes the claims as folded boxes of the class `verdict`; without scripts they are all there, in
the paper's order. Whoever follows a link to one of them finds it open. */

"use strict";

(() => {
  const make = (name, properties, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };
  const kindOf = (box) => [...box.classList].find((name) => name.startsWith("verdict-"));
  const words = (kind) => kind.replace("verdict-", "").replaceAll("-", " ");

  function controls(boxes) {
    const kinds = [...new Set(boxes.map(kindOf))], parent = boxes[0].parentElement, end = boxes.at(-1).nextSibling;
    const best = ["reproduced", "partly", "not reproduced", "contradicted"]; // what is not named here comes last
    const rank = (box) => (best.indexOf(words(kindOf(box))) + best.length + 1) % (best.length + 1);
    const buttons = kinds.map((kind) => {
      const of = boxes.filter((box) => kindOf(box) === kind);
      const button = make("button", { type: "button", textContent: `${words(kind)} (${of.length})` });
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => show(button.getAttribute("aria-pressed") === "true" ? null : button, of));
      return button;
    });
    function show(chosen, of) {
      buttons.forEach((button) => button.setAttribute("aria-pressed", button === chosen));
      boxes.forEach((box) => { box.hidden = chosen !== null && !of.includes(box); });
    }
    const order = make("select", {}, make("option", { textContent: "the paper's" }), make("option", { textContent: "by verdict" }));
    order.addEventListener("change", () => {
      const sorted = order.selectedIndex ? [...boxes].sort((a, b) => rank(a) - rank(b)) : boxes;
      sorted.forEach((box) => parent.insertBefore(box, end));
    });
    const bar = make("div", { className: "verdict-controls" }, make("span", { textContent: "Only" }), ...buttons,
      make("label", {}, "Order ", order));
    bar.setAttribute("role", "group");
    bar.setAttribute("aria-label", "Which claims are shown");
    parent.insertBefore(bar, boxes[0]);
  }

  /** Open the box that the address names, and show it. */
  function open() {
    const named = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const box = named && (named.closest("details.verdict") ?? named.querySelector("details.verdict"));
    if (!box) return;
    box.open = true;
    box.hidden = false;
    box.scrollIntoView();
  }

  addEventListener("DOMContentLoaded", () => {
    const boxes = [...document.querySelectorAll("details.verdict[id]")]; // in a chapter they have no names
    if (boxes.length > 1) controls(boxes);
    open();
  });
  addEventListener("hashchange", open);
})();
