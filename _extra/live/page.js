/* The live attack on a page: pick or draw a digit, choose a network and what it shall say, and watch.

`lib/figures/attack_explorer.py` writes the element, with a still picture for readers without scripts; engine.js attacks,
in a worker, and networks.js, made from the recorded networks, is loaded when the element comes into sight. Nothing is
stored, and nothing is sent anywhere. */

"use strict";

(() => {
  const SIDE = 28, NUM_PIXELS = SIDE * SIDE, NUM_CLASSES = 10;
  const MOST = 3; // times the length that was found
  const PRICES = 8; // the price is dragged from c / PRICES to c * PRICES
  const LOUDER = 5; // times which the change is shown again
  const FARTHEST = 1e3, BISECTIONS = 40; // the search for a random change as long as another

  // --- Small helpers ---------------------------------------------------------------------------

  function make(name, properties = {}, children = []) {
    const { dataset, attributes, ...rest } = properties;
    const made = Object.assign(document.createElement(name), rest);
    Object.entries(attributes ?? {}).forEach(([key, value]) => made.setAttribute(key, value));
    made.append(...children);
    return made;
  }

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  /** Layers as engine.js takes them, from a byte a weight and a scale a row. */
  function unpacked({ rows, columns, weights, scale, bias }) {
    const whole = new Int8Array(bytes(weights).buffer), scales = new Float32Array(bytes(scale).buffer);
    const full = new Float64Array(rows * columns);
    for (let j = 0; j < rows; j++) for (let i = 0; i < columns; i++) {
      full[j * columns + i] = Math.fround(whole[j * columns + i] * scales[j]);
    }
    return { weights: full, bias: Float64Array.from(new Float32Array(bytes(bias).buffer)) };
  }

  /** Pixels on a canvas of 28 x 28; `low` is black and `high` white. */
  function paint(canvas, pixels, low = 0, high = 1) {
    const context = canvas.getContext("2d"), picture = context.createImageData(SIDE, SIDE);
    pixels.forEach((value, i) => {
      const level = (255 * (value - low)) / (high - low);
      picture.data.set([level, level, level, 255], 4 * i);
    });
    context.putImageData(picture, 0, 0);
  }

  const square = (label) =>
    make("canvas", { width: SIDE, height: SIDE, className: "live-square", attributes: { role: "img", "aria-label": label } });

  const clipped = (value) => Math.min(Math.max(value, 0), 1);

  function gaussian() {
    return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  }

  /** A drawing as MNIST's digits are: its longer side 20 pixels, its centre of mass in the middle. */
  function normalised(drawn) {
    const inked = [...drawn.keys()].filter((i) => drawn[i] > 0.1);
    if (!inked.length) return drawn;
    const rows = inked.map((i) => Math.floor(i / SIDE)), columns = inked.map((i) => i % SIDE);
    const [top, bottom] = [Math.min(...rows), Math.max(...rows)], [left, right] = [Math.min(...columns), Math.max(...columns)];
    const factor = Math.max(bottom - top + 1, right - left + 1) / 20;
    let mass = 0, y = 0, x = 0;
    drawn.forEach((ink, i) => { mass += ink; y += ink * Math.floor(i / SIDE); x += ink * (i % SIDE); });
    const at = (row, column) => (row < 0 || column < 0 || row > SIDE - 1 || column > SIDE - 1 ? 0 : drawn[row * SIDE + column]);
    return Float64Array.from({ length: NUM_PIXELS }, (_, i) => {
      const row = (Math.floor(i / SIDE) - (SIDE - 1) / 2) * factor + y / mass;
      const column = ((i % SIDE) - (SIDE - 1) / 2) * factor + x / mass;
      const [r, c] = [Math.floor(row), Math.floor(column)], [a, b] = [row - r, column - c];
      return (1 - a) * ((1 - b) * at(r, c) + b * at(r, c + 1)) + a * ((1 - b) * at(r + 1, c) + b * at(r + 1, c + 1));
    });
  }

  // --- The worker ------------------------------------------------------------------------------

  /** engine.js in a worker; `ask(task)` gives a promise, and what was asked before it is answered no more. */
  function attacker(networks) {
    const source = `${engine}
      const run = engine();
      let networks;
      onmessage = ({ data }) => {
        if (data.networks) { networks = data.networks; return; }
        const { id, task, name, x, target, c } = data;
        const found = task === "attack" ? run.attack(networks[name], x, target)
          : { image: run.minimizePenalized(networks[name], x, target, c).x };
        postMessage({ id, ...found });
      };`;
    const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
    worker.postMessage({ networks });
    let last = 0, answer = () => {};
    worker.onmessage = ({ data }) => { if (data.id === last) answer(data); };
    return (task) => new Promise((resolve) => {
      answer = resolve;
      worker.postMessage({ id: ++last, ...task });
    });
  }

  // --- The element -----------------------------------------------------------------------------

  function start(root, packed) {
    const run = engine();
    const networks = Object.fromEntries(Object.entries(packed).map(([name, layers]) => [name, layers.map(unpacked)]));
    const names = Object.keys(networks), ask = attacker(networks);
    const stored = bytes(root.dataset.digits), labels = [...root.dataset.labels].map(Number);
    const digits = labels.map((_, i) => Float64Array.from(stored.subarray(i * NUM_PIXELS, (i + 1) * NUM_PIXELS), (b) => b / 255));

    const state = { x: digits[0], name: names.includes("100-100-10") ? "100-100-10" : names[0], target: 0, found: null, c: NaN, blind: false };

    // Controls.
    const choices = digits.map((digit, i) => {
      const canvas = square(`digit ${labels[i]}`);
      paint(canvas, digit);
      return make("button", { type: "button", className: "live-digit", onclick: () => choose(digit, i) }, [canvas]);
    });
    const pad = make("canvas", { width: SIDE, height: SIDE, className: "live-pad", tabIndex: 0, attributes: {
      role: "application", "aria-label": "Draw a digit: with the pointer, or move with the arrow keys and draw with the space bar" } });
    const clear = make("button", { type: "button", textContent: "Clear", onclick: () => erase() });
    const network = make("select", { onchange: () => { state.name = network.value; attack(); } },
      names.map((name) => make("option", { textContent: name, value: name, selected: name === state.name })));
    const targets = Array.from({ length: NUM_CLASSES }, (_, k) =>
      make("button", { type: "button", textContent: k, onclick: () => { state.target = k; attack(); } }));
    const length = make("input", { type: "range", min: 0, max: MOST, step: 0.01, value: 1, oninput: () => show() });
    const price = make("input", { type: "range", min: -1, max: 1, step: 0.01, value: 0, oninput: () => pay() });
    const blind = make("button", { type: "button", textContent: "As long, but in a random direction",
      attributes: { "aria-pressed": "false" }, onclick: () => { state.blind = !state.blind; roll(); show(); } });

    // What is seen.
    const before = square("the digit"), after = square("the sum");
    const change = square("the change, on grey"), louder = square(`the change times ${LOUDER}, on grey`);
    const bars = Array.from({ length: NUM_CLASSES }, (_, k) => {
      const bar = make("span", { className: "live-bar" }), share = make("span", { className: "live-share" });
      return { row: make("li", {}, [make("span", { textContent: k }), bar, share]), bar, share };
    });
    const others = names.map((name) => ({ name, cell: make("td") }));
    const status = make("p", { className: "live-status", attributes: { role: "status" } });
    const group = (label, parts, className = "") =>
      make("div", { className: `live-group ${className}`, attributes: { role: "group", "aria-label": label } },
        [make("span", { className: "live-label", textContent: label }), ...parts]);
    const captioned = (canvas, words) => make("figure", {}, [canvas, make("figcaption", { textContent: words })]);
    root.replaceChildren(
      make("div", { className: "live-sight" }, [
        captioned(before, "a digit"), captioned(change, "+ the change"), captioned(louder, `(× ${LOUDER})`),
        captioned(after, "= the sum"),
      ]),
      status,
      make("div", { className: "live-choices" }, [
        group("A digit", choices),
        group("or draw one", [pad, clear], "live-drawing"),
        group("Network", [network]),
        group("shall say", targets, "live-targets"),
      ]),
      group("Length", [length, blind]),
      group("Price c", [price]),
      make("div", { className: "live-said-of-it" }, [
        make("div", {}, [
          make("p", { className: "live-label", textContent: "How sure the network is of the sum" }),
          make("ul", { className: "live-bars" }, bars.map(({ row }) => row)),
        ]),
        make("table", { className: "live-others" }, [
          make("caption", { textContent: "What every network says of it" }),
          make("tbody", {}, others.map(({ name, cell }) => make("tr", {}, [make("th", { textContent: name, attributes: { scope: "row" } }), cell]))),
        ]),
      ]),
    );
    length.setAttribute("aria-label", "Length of the change, in units of what was found");
    price.setAttribute("aria-label", "Price of length, c, beside the one found");
    network.setAttribute("aria-label", "Network");

    // --- What happens ----------------------------------------------------------------------------

    function choose(digit, i) {
      state.x = digit;
      choices.forEach((button, j) => button.setAttribute("aria-pressed", i === j));
      const says = run.said(run.logits(networks[state.name], digit));
      if (state.target === says) state.target = (says + 1) % NUM_CLASSES;
      attack();
    }

    async function attack() {
      root.setAttribute("aria-busy", "true");
      targets.forEach((button, k) => button.setAttribute("aria-pressed", k === state.target));
      status.textContent = "Searching …";
      const found = await ask({ task: "attack", name: state.name, x: state.x, target: state.target });
      Object.assign(state, { found, c: found.c, r: found.image.map((value, i) => value - state.x[i]) });
      length.value = 1;
      price.value = 0;
      roll();
      show();
      root.removeAttribute("aria-busy");
      root.dispatchEvent(new CustomEvent("live-attack", { detail: { ...found, name: state.name, target: state.target } }));
    }

    async function pay() {
      if (!Number.isFinite(state.c)) return;
      const c = state.c * PRICES ** Number(price.value);
      const { image } = await ask({ task: "price", name: state.name, x: state.x, target: state.target, c });
      state.r = image.map((value, i) => value - state.x[i]);
      length.value = 1;
      roll();
      show(c);
    }

    /** Another random direction. */
    function roll() {
      state.noise = Float64Array.from({ length: NUM_PIXELS }, gaussian);
      blind.setAttribute("aria-pressed", state.blind);
    }

    /** What is left of `factor` times a change in the box. */
    const inBox = (r, factor) => r.map((value, i) => clipped(state.x[i] + factor * value) - state.x[i]);

    /** How many times a direction is a change of this length in the box, which cuts it; by bisection. */
    function factorOf(direction, length) {
      let low = 0, high = 1;
      const short = (factor) => Math.hypot(...inBox(direction, factor)) < length;
      while (short(high) && high < FARTHEST) high *= 2;
      for (let i = 0; i < BISECTIONS; i++) {
        const middle = (low + high) / 2;
        if (short(middle)) low = middle;
        else high = middle;
      }
      return high;
    }

    function show(c = state.c) {
      const found = inBox(state.r, Number(length.value));
      const moved = state.blind ? inBox(state.noise, factorOf(state.noise, Math.hypot(...found))) : found;
      const sum = moved.map((value, i) => state.x[i] + value);
      paint(before, state.x);
      paint(change, moved, -0.5, 0.5);
      paint(louder, moved, -0.5 / LOUDER, 0.5 / LOUDER);
      paint(after, sum);
      const z = run.logits(networks[state.name], sum), p = run.softmax(z), says = run.said(z);
      bars.forEach(({ row, bar, share }, k) => {
        bar.style.setProperty("--share", p[k]);
        share.textContent = `${(100 * p[k]).toFixed(p[k] < 0.1 ? 1 : 0)} %`;
        row.classList.toggle("live-said", k === says);
        row.classList.toggle("live-target", k === state.target);
      });
      others.forEach(({ name, cell }) => {
        const logits = run.logits(networks[name], sum), own = run.said(run.logits(networks[name], state.x));
        cell.textContent = run.said(logits) === own ? `${own}, as before` : `${run.said(logits)}, and ${own} before`;
        cell.classList.toggle("live-moved", run.said(logits) !== own);
      });
      const rms = Math.hypot(...moved) / Math.sqrt(NUM_PIXELS);
      const kind = state.blind ? "A random change" : "The change";
      const at = Number.isFinite(c) && !state.blind ? ` at the price c = ${c.toPrecision(3)}` : "";
      status.textContent = `${kind} has a distortion of ${rms.toFixed(4)}${at}. ${state.name} says ${says}.`;
      after.setAttribute("aria-label", `the sum, of which ${state.name} says ${says}`);
    }

    // --- Drawing ---------------------------------------------------------------------------------

    const ink = new Float64Array(NUM_PIXELS), cursor = { row: 14, column: 14 };

    function dab(row, column) {
      for (let i = 0; i < NUM_PIXELS; i++) {
        const away = Math.hypot(Math.floor(i / SIDE) - row, (i % SIDE) - column);
        ink[i] = Math.max(ink[i], clipped(1.8 - away));
      }
      paint(pad, ink);
    }

    function finish() {
      if (ink.some((value) => value > 0)) choose(normalised(ink), -1);
    }

    function erase() {
      ink.fill(0);
      paint(pad, ink);
      pad.focus();
    }

    function pointed({ offsetX, offsetY }) {
      dab((offsetY / pad.clientHeight) * SIDE - 0.5, (offsetX / pad.clientWidth) * SIDE - 0.5);
    }

    pad.addEventListener("pointerdown", (event) => { pad.setPointerCapture(event.pointerId); pointed(event); event.preventDefault(); });
    pad.addEventListener("pointermove", (event) => { if (event.buttons) pointed(event); });
    pad.addEventListener("pointerup", finish);
    pad.addEventListener("keydown", (event) => {
      const way = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (way) {
        cursor.row = Math.min(Math.max(cursor.row + way[0], 0), SIDE - 1);
        cursor.column = Math.min(Math.max(cursor.column + way[1], 0), SIDE - 1);
        if (event.shiftKey) dab(cursor.row, cursor.column);
        else paint(pad, ink.map((value, i) => (i === cursor.row * SIDE + cursor.column ? 1 - value : value)));
      } else if (event.key === " ") dab(cursor.row, cursor.column);
      else if (event.key === "Enter") finish();
      else return;
      event.preventDefault();
    });

    paint(pad, ink);
    choose(digits[0], 0);
  }

  /** Load networks.js once, when an element comes into sight. */
  function load(root) {
    const script = make("script", { src: `${root.dataset.folder}networks.js` });
    script.addEventListener("load", () => start(root, globalThis.LIVE_NETWORKS));
    document.head.append(script); // where it cannot be had, the still picture stays
  }

  addEventListener("DOMContentLoaded", () => {
    const watcher = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) if (isIntersecting) { watcher.unobserve(target); load(target); }
    }, { rootMargin: "400px" });
    document.querySelectorAll(".live").forEach((root) => watcher.observe(root));
  });
})();
