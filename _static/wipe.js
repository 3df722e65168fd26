// The wipe that lib/figures/wipe.py writes: the adversarial picture lies upon the original and is uncovered from the right,
// up to a line that a range moves, by key or by touch; buttons show the difference instead, as it is or magnified.
(() => {
  function make(name, properties = {}) {
    return Object.assign(document.createElement(name), properties);
  }

  function wipeable(figure) {
    const stage = figure.querySelector("div");
    const [said, says] = [...figure.querySelectorAll("figcaption span")].map((words) => words.textContent);
    const range = make("input", { type: "range", min: 0, max: 100, value: 50 });
    range.setAttribute("aria-label", `Line between the original, ${said}, and the adversarial picture, ${says}`);
    const move = () => {
      stage.style.setProperty("--line", `${range.value}%`);
      range.setAttribute("aria-valuetext", `${range.value} % of the width is the original`);
    };
    range.addEventListener("input", move);
    stage.append(range);
    move();
    return range;
  }

  function start(wipe) {
    const figures = [...wipe.querySelectorAll("figure")];
    const ranges = figures.map(wipeable);
    const differences = [...wipe.querySelectorAll("[data-times]")];
    const all = [...new Set(differences.map((picture) => picture.dataset.times))];
    const buttons = ["", ...all].map((times) => {
      const name = times ? `difference × ${times}` : "original | adversarial";
      const button = make("button", { type: "button", textContent: name });
      button.addEventListener("click", () => show(times, button));
      return button;
    });

    function show(times, pressed) {
      differences.forEach((picture) => { picture.hidden = picture.dataset.times !== times; });
      ranges.forEach((range) => { range.hidden = times !== ""; });
      buttons.forEach((button) => button.setAttribute("aria-pressed", button === pressed));
    }

    const views = make("div", { className: "wipe-views" });
    views.setAttribute("role", "group");
    views.setAttribute("aria-label", "What is shown of all pictures");
    views.append(...buttons);
    wipe.prepend(views);
    wipe.classList.add("wipe-running");
    show("", buttons[0]);
  }

  addEventListener("DOMContentLoaded", () => document.querySelectorAll(".wipe").forEach(start));
})();
