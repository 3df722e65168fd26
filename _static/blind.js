// The blind test that lib/figures/blind_test.py writes: ten of its rows, in an order that is drawn on every visit; a guess
// and the answer for each; then the score beside a coin's and the best measure's, and all rows sorted, with their answers.
// Nothing is stored and nothing is sent.
(() => {
  const LENGTH = 10;

  function make(name, text, properties = {}) {
    return Object.assign(document.createElement(name), { textContent: text }, properties);
  }

  function shuffle(items) {
    for (let i = items.length - 1; i > 0; i--) {
      const j = Math.floor(Math.random() * (i + 1));
      [items[i], items[j]] = [items[j], items[i]];
    }
    return items;
  }

  // The chance that somebody who tosses a coin has at least this many right of so many.
  function chance(right, of) {
    let sum = 0;
    for (let k = 0, term = 0.5 ** of; k <= of; term *= (of - k) / (k + 1), k++) if (k >= right) sum += term;
    return sum;
  }

  function luck(right, of) {
    const percent = 100 * chance(right, of);
    return `tossing a coin does as well as you, or better, in ${percent < 1 ? "less than 1" : percent.toFixed(0)} % of all cases`;
  }

  function bar(name, right, of, words) {
    const line = make("li", "");
    const share = make("span", "", { className: "blind-bar" });
    share.style.setProperty("--share", right / of);
    line.append(make("span", name), share, make("span", words));
    return line;
  }

  function start(test) {
    const list = test.querySelector("ol");
    const items = shuffle([...list.children]);
    list.append(...items);
    const asked = items.slice(0, LENGTH);
    const said = new Map(); // the guess of every row that was asked
    const kinds = [test.dataset.first, test.dataset.second];
    const place = make("p", "", { className: "blind-place", tabIndex: -1 });
    const choices = make("div", "", { className: "blind-choices" });
    const buttons = kinds.map((kind) => make("button", kind, { type: "button" }));
    const verdict = make("p", "", { className: "blind-verdict" });
    const next = make("button", "Next row", { type: "button", hidden: true });
    const total = make("p", "No guess yet.", { className: "blind-score" });
    verdict.setAttribute("role", "status");
    choices.setAttribute("role", "group");
    choices.setAttribute("aria-label", "What likes these pictures best?");
    choices.append(...buttons, next);
    test.prepend(place);
    test.append(choices, verdict, total);
    test.classList.add("blind-running");

    const isRight = (item) => said.get(item) === item.dataset.kind;
    const score = () => [asked.filter(isRight).length, said.size];
    const answer = (item) => item.querySelector("details").lastChild.textContent;

    function show() {
      const current = asked[said.size];
      items.forEach((item) => { item.hidden = item !== current; });
      place.textContent = `Row ${said.size + 1} of ${asked.length}: what likes these pictures best?`;
      verdict.textContent = "";
      buttons.forEach((button) => { button.disabled = false; button.removeAttribute("aria-pressed"); });
      next.hidden = true;
    }

    function guess(button) {
      const current = asked[said.size];
      said.set(current, button.textContent);
      buttons.forEach((each) => { each.disabled = true; each.setAttribute("aria-pressed", each === button); });
      verdict.textContent = `${isRight(current) ? "Right" : "Wrong"}. It is ${answer(current)}.`;
      const [right, of] = score();
      total.textContent = `${right} of ${of} right.`;
      next.textContent = of < asked.length ? "Next row" : "See the score";
      next.hidden = false;
      next.focus();
    }

    function finish() {
      const [right, of] = score();
      place.textContent = `All ${of} rows are done.`;
      const bars = make("ul", "", { className: "blind-bars" });
      bars.append(bar("You", right, of, `${right} of ${of}`), bar("A coin", of / 2, of, `${of / 2} of ${of} on average`));
      if (test.dataset.best) {
        const best = (test.dataset.best * of) / 100;
        bars.append(bar("The best measure", best, of, `${best.toFixed(1)} of ${of} on average`));
      }
      total.textContent = `${right} of ${of} right; ${luck(right, of)}.`;
      choices.remove();
      verdict.remove();
      place.after(bars, total, ...kinds.flatMap(sorted));
      list.remove();
      place.focus();
    }

    // All rows of a kind, also those that were not asked, with their answers.
    function sorted(kind) {
      const rows = make("ol", "");
      rows.append(...items.filter((item) => item.dataset.kind === kind));
      [...rows.children].forEach((item) => {
        const told = said.has(item) ? ` You said: ${said.get(item)}.` : "";
        item.append(make("p", `${answer(item).slice(kind.length + 2)}.${told}`)); // after "a single unit: "
        item.hidden = false;
      });
      return [make("h3", `Liked best by ${kind}`), rows];
    }

    buttons.forEach((button) => button.addEventListener("click", () => guess(button)));
    next.addEventListener("click", () => {
      if (said.size === asked.length) return finish();
      show();
      buttons[0].focus();
    });
    show();
  }

  addEventListener("DOMContentLoaded", () => document.querySelectorAll(".blind").forEach(start));
})();
