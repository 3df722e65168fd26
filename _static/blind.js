// The blind test that lib/blind.py writes: one row at a time, a guess, the answer, and the score of every guess that was
// made on this page, in however many tests. Nothing is stored and nothing is sent.
(() => {
  const guesses = []; // true where the guess was right

  // The chance that somebody who tosses a coin has at least this many right of so many.
  function chance(right, of) {
    let sum = 0;
    for (let k = 0, term = 0.5 ** of; k <= of; term *= (of - k) / (k + 1), k++) if (k >= right) sum += term;
    return sum;
  }

  function score() {
    const right = guesses.filter(Boolean).length;
    if (!guesses.length) return "No guess yet.";
    const percent = 100 * chance(right, guesses.length);
    const luck = percent < 1 ? "less than 1" : percent.toFixed(0);
    return `${right} of ${guesses.length} right. Tossing a coin does as well or better in ${luck} % of all cases.`;
  }

  function make(name, text, properties = {}) {
    return Object.assign(document.createElement(name), { textContent: text }, properties);
  }

  function start(test) {
    const items = [...test.querySelectorAll("li")];
    const kinds = [test.dataset.first, test.dataset.second];
    const place = make("p", "", { className: "blind-place" });
    const choices = make("div", "", { className: "blind-choices" });
    const buttons = kinds.map((kind) => make("button", kind, { type: "button" }));
    const verdict = make("p", "", { className: "blind-verdict" });
    const next = make("button", "Next row", { type: "button", hidden: true });
    const total = make("p", score(), { className: "blind-score" });
    verdict.setAttribute("role", "status");
    choices.setAttribute("role", "group");
    choices.setAttribute("aria-label", "What likes these pictures best?");
    choices.append(...buttons, next);
    test.prepend(place);
    test.append(choices, verdict, total);
    test.classList.add("blind-running");
    let current = 0;

    function show() {
      items.forEach((item, i) => { item.hidden = i !== current; });
      place.textContent = `Row ${current + 1} of ${items.length}: what likes these pictures best?`;
      verdict.textContent = "";
      buttons.forEach((button) => { button.disabled = false; button.removeAttribute("aria-pressed"); });
      next.hidden = true;
    }

    function guess(button) {
      const right = button.textContent === items[current].dataset.kind;
      guesses.push(right);
      buttons.forEach((each) => { each.disabled = true; each.setAttribute("aria-pressed", each === button); });
      const answer = items[current].querySelector("details").lastChild.textContent;
      verdict.textContent = `${right ? "Right" : "Wrong"}. It is ${answer}.`;
      document.querySelectorAll(".blind-score").forEach((line) => { line.textContent = score(); });
      if (current + 1 < items.length) {
        next.hidden = false;
        next.focus();
      } else {
        place.textContent = `All ${items.length} rows are done.`;
      }
    }

    buttons.forEach((button) => button.addEventListener("click", () => guess(button)));
    next.addEventListener("click", () => { current += 1; show(); buttons[0].focus(); });
    show();
  }

  addEventListener("DOMContentLoaded", () => document.querySelectorAll(".blind").forEach(start));
})();
