/* The paper's attack on one image, in the reader's browser: projected L-BFGS in the box [0, 1]^n under a search over c.

What lib/solvers/lbfgs.py and lib/attacks/penalized.py do for a batch, for a single problem in double precision; names are
theirs. A network is a list of layers {weights, bias}, rows of weights one after another, with sigmoids between them. */

"use strict";

function engine() {
  const LBFGS = { memory: 5, maxIterations: 200, armijo: 1e-4, patience: 3 };
  const ATTACK = {
    tolerance: 3e-4, maxSearches: 24, maxSecants: 8, innerTolerance: 1e-2, decrease: 1e-3, marginFraction: 1e-4,
  };
  const EPS = Number.EPSILON;
  const STRAIGHT = 0.1, STRETCH = 10, LONGEST = 1e30; // as in lbfgs.py
  const MOST_MARGIN = 1;

  // --- Vectors ---------------------------------------------------------------------------------

  const zeros = (n) => new Float64Array(n);
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  function dot(a, b) {
    let sum = 0;
    for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
    return sum;
  }

  const norm = (a) => Math.sqrt(dot(a, a));

  /** a + alpha b. */
  function plus(a, alpha, b) {
    const sum = zeros(a.length);
    for (let i = 0; i < a.length; i++) sum[i] = a[i] + alpha * b[i];
    return sum;
  }

  /** a + alpha b, projected into [0, 1]. */
  function stepped(a, alpha, b) {
    return plus(a, alpha, b).map((value) => clamp(value, 0, 1));
  }

  const minus = (a, b) => plus(a, -1, b);

  // --- Networks --------------------------------------------------------------------------------

  /** What each layer gives, pixels first and logits last. */
  function activations(network, x) {
    const found = [x];
    network.forEach(({ weights, bias }, number) => {
      const below = found[number], above = zeros(bias.length);
      for (let j = 0; j < above.length; j++) {
        let sum = bias[j];
        for (let i = 0, at = j * below.length; i < below.length; i++) sum += weights[at + i] * below[i];
        above[j] = number < network.length - 1 ? 1 / (1 + Math.exp(-sum)) : sum;
      }
      found.push(above);
    });
    return found;
  }

  const logits = (network, x) => activations(network, x).at(-1);

  /** The gradient with respect to the pixels of a function of the logits whose gradient is `slope`. */
  function backward(network, layers, slope) {
    let gradient = slope;
    for (let number = network.length - 1; number >= 0; number--) {
      const { weights } = network[number], below = layers[number];
      const lower = zeros(below.length);
      for (let j = 0; j < gradient.length; j++) {
        for (let i = 0, at = j * below.length; i < below.length; i++) lower[i] += gradient[j] * weights[at + i];
      }
      if (number > 0) for (let i = 0; i < below.length; i++) lower[i] *= below[i] * (1 - below[i]);
      gradient = lower;
    }
    return gradient;
  }

  function softmax(z) {
    const largest = Math.max(...z), e = z.map((value) => Math.exp(value - largest));
    const sum = e.reduce((a, b) => a + b);
    return e.map((value) => value / sum);
  }

  /** The best other class than the target. */
  function rival(z, target) {
    let best = -1;
    z.forEach((value, k) => { if (k !== target && (best < 0 || value > z[best])) best = k; });
    return best;
  }

  const lead = (z, target) => z[target] - z[rival(z, target)];

  /** The class that the logits give: the first of the largest. */
  const said = (z) => z.indexOf(Math.max(...z));

  /** Cross-entropy towards the target, its gradient, and the target's lead. */
  function loss(network, x, target) {
    const layers = activations(network, x), z = layers.at(-1), slope = softmax(z);
    const largest = Math.max(...z);
    const value = largest + Math.log(z.reduce((sum, each) => sum + Math.exp(each - largest), 0)) - z[target];
    slope[target] -= 1;
    return { value, gradient: backward(network, layers, slope), lead: lead(z, target) };
  }

  // --- Projected L-BFGS (lib/solvers/lbfgs.py) -------------------------------------------------

  /** The gradient, zero where x sits on a bound and would leave the box. */
  function projectedGradient(x, g) {
    return g.map((slope, i) => ((x[i] <= 0 && slope > 0) || (x[i] >= 1 && slope < 0) ? 0 : slope));
  }

  /** -H g in the free coordinates by Nocedal & Wright's Algorithm 7.4, -reach g in those about to reach a bound. */
  function direction(x, g, pairs, reach) {
    const free = g.map((slope, i) => { const ahead = x[i] - reach * slope; return ahead >= 0 && ahead <= 1 ? 1 : 0; });
    const masked = (v) => v.map((value, i) => value * free[i]);
    const kept = pairs.map(({ s, y }) => ({ s: masked(s), y: masked(y) }));
    kept.forEach((pair) => {
      const sy = dot(pair.s, pair.y);
      pair.rho = sy > EPS * norm(pair.s) * norm(pair.y) ? 1 / sy : 0;
    });
    let q = masked(g);
    const newestFirst = [...kept].reverse(), alphas = [];
    for (const { s, y, rho } of newestFirst) {
      alphas.push(rho * dot(s, q));
      q = plus(q, -alphas.at(-1), y);
    }
    q = q.map((value) => reach * value);
    for (const { s, y, rho } of kept) q = plus(q, alphas.pop() - rho * dot(y, q), s);
    const ascent = dot(q, masked(g));
    const steepest = !(ascent > 0 && ascent < Infinity);
    return g.map((slope, i) => (free[i] && !steepest ? -q[i] : -reach * slope));
  }

  /** Minimise objective(x) -> {value, gradient} in the box [0, 1]^n from `start`. */
  function minimize(objective, start, tolerance, firstStep, decrease, config = LBFGS) {
    firstStep = Math.min(firstStep, Math.sqrt(start.length));
    let x = start.slice(), { value: f, gradient: g } = objective(x);
    let pairs = [], numPairs = 0, gamma = 0, d = zeros(x.length), alpha = 1, rejected = false, idle = 0, evaluations = 1;
    let length = Infinity, converged = false;
    for (let iteration = 0; ; iteration++) {
      length = norm(projectedGradient(x, g));
      converged = length <= tolerance;
      if (converged || idle >= 2 * config.patience || iteration === config.maxIterations || !Number.isFinite(f)) break;
      if (idle === config.patience && rejected) {
        pairs = []; numPairs = 0; gamma = 0; alpha = 1; rejected = false;
      }
      const reach = gamma > 0 ? gamma : firstStep / length;
      if (!rejected) d = direction(x, g, pairs, reach);

      const trial = stepped(x, alpha, d), { value, gradient } = objective(trial);
      evaluations++;
      const rounding = 4 * EPS * Math.abs(f), step = minus(trial, x);
      const expected = Math.min(dot(g, step), 0); // the bounds can bend the path uphill
      const accepted = value <= f + config.armijo * expected + rounding && gradient.every(Number.isFinite);
      const change = value - f;
      if (accepted) {
        const y = minus(gradient, g), sy = dot(step, y);
        pairs.push({ s: step, y });
        if (pairs.length > config.memory) pairs.shift();
        numPairs++;
        if (sy > EPS * Math.abs(expected)) gamma = sy / dot(y, y);
        const straight = Math.abs(change - expected) <= STRAIGHT * Math.abs(expected) + rounding;
        const downhill = change < expected - rounding && numPairs >= 2;
        alpha = gamma === 0 && (straight || downhill) ? Math.min(STRETCH * alpha, LONGEST) : 1;
      } else {
        const ratio = (-0.5 * expected) / (change - expected);
        alpha *= clamp(Number.isNaN(ratio) ? 0.1 : ratio, 0.1, 0.5);
      }
      rejected = !accepted;
      idle = accepted && value < f - Math.max(rounding, decrease) ? 0 : idle + 1;
      if (accepted) { x = trial; f = value; g = gradient; }
    }
    return { x, value: f, length, converged, evaluations };
  }

  // --- The penalised problem (lib/attacks/penalized.py) -----------------------------------------

  /** `direction` without the coordinates that would leave [0, 1] at once. */
  function inward(x, direction) {
    return direction.map((value, i) => ((x[i] <= 0 && value < 0) || (x[i] >= 1 && value > 0) ? 0 : value));
  }

  /** Value and gradient of c|r| + loss, the target's lead and |r|, section 4.1. */
  function penalized(network, image, x, target, c) {
    const found = loss(network, image, target), r = minus(image, x), length = norm(r);
    let gradient;
    if (length > 0) gradient = plus(found.gradient, c / length, r);
    else { // of the subgradients the one that makes the whole shortest
      const descent = inward(image, found.gradient.map((value) => -value));
      const size = Math.max(norm(descent), Number.MIN_VALUE);
      gradient = plus(found.gradient, Math.min(c, size) / size, descent);
    }
    return { value: c * length + found.value, gradient, lead: found.lead, length };
  }

  /** The minimiser of c|r| + loss at one price, from r = 0. */
  function minimizePenalized(network, x, target, c) {
    const objective = (image) => penalized(network, image, x, target, c);
    return minimize(objective, x, ATTACK.innerTolerance * c, 1e-2 * Math.sqrt(x.length), 0);
  }

  /** The c at which `image` might minimise c|r| + loss: off the bounds both gradients are equally long. */
  function price(network, image, target) {
    return norm(inward(image, loss(network, image, target).gradient.map((value) => -value)));
  }

  /** The lead that counts as success: a fraction of what x lacks, and no less than rounding. */
  function neededLead(z, target, x, ascent) {
    const first = lead(z, target), resolution = Math.max(Math.abs(z[target]), Math.abs(z[target] - first));
    const units = Math.min(32, 2 * Math.sqrt(x.length)) * norm(x.map((value, i) => value * ascent[i]));
    const fraction = Math.min(ATTACK.marginFraction * Math.abs(first), MOST_MARGIN);
    return Math.max(fraction, EPS * (units + resolution / 2), Number.MIN_VALUE);
  }

  /** The smallest perturbation found that makes the network say the target, by the search over c. */
  function attack(network, x, target, config = ATTACK) {
    const layers = activations(network, x), z = layers.at(-1), slope = zeros(z.length);
    slope[target] = 1;
    slope[rival(z, target)] = -1;
    const ascent = backward(network, layers, slope), firstLead = lead(z, target);
    const done = said(z) === target, best = { image: x, norm: done ? 0 : Infinity };
    if (done) return answer(network, x, target, best, NaN, 1);
    const enough = neededLead(z, target, x, ascent);
    let failed = null, succeeded = null, evaluations = 2, pinned = false, over = false;
    let trial = firstTrial(network, x, target, firstLead, ascent);

    const offer = (image, length, leads) => {
      if (leads > enough && length < best.norm) Object.assign(best, { image, norm: length });
    };
    for (let search = 0; search < config.maxSearches && !over && Number.isFinite(trial.c); search++) {
      const { c, start, firstStep } = trial;
      const objective = (image) => {
        const found = penalized(network, image, x, target, c);
        offer(image, found.length, found.lead);
        return found;
      };
      const decrease = config.decrease * c * Math.max(norm(minus(start, x)), firstStep);
      const minimum = minimize(objective, start, config.innerTolerance * c, firstStep, decrease);
      evaluations += minimum.evaluations;
      const image = minimum.x, beyond = lead(logits(network, image), target) - enough;
      const found = { c, lead: beyond, norm: norm(minus(image, x)), image };
      offer(image, found.norm, beyond + enough);
      if (beyond > 0) succeeded = found;
      else failed = found;
      const bisect = search >= config.maxSecants;
      pinned ||= failed !== null && succeeded !== null && nothingToGain(failed, succeeded, best, config.tolerance);
      over = pinned || (bisect && failed && succeeded && failed.c <= (1 + config.tolerance) * succeeded.c);
      if (over) break;
      if (failed && succeeded) trial = trialBetween(failed, succeeded, best.norm, config.tolerance, bisect);
      else {
        trial = trialBeyond(network, x, target, firstLead, found, 1 + 0.02 * 2 ** search);
        evaluations++;
      }
    }
    if (!pinned && Number.isFinite(best.norm)) shorten(network, x, target, firstLead, enough, best, config);
    return answer(network, x, target, best, succeeded ? succeeded.c : NaN, evaluations);
  }

  function answer(network, x, target, best, c, evaluations) {
    const success = said(logits(network, best.image)) === target;
    return { image: best.image, distortion: best.norm / Math.sqrt(x.length), success, c, evaluations };
  }

  /** The price on the boundary of the network made linear at x, minimised from r = 0. */
  function firstTrial(network, x, target, firstLead, ascent) {
    const way = inward(x, ascent), tie = norm(ascent) / 2;
    const boundary = stepped(x, -firstLead / dot(way, way), way);
    const c = clamp(0.95 * price(network, boundary, target), tie / 2, tie);
    return { c, start: x, firstStep: Math.max(norm(minus(boundary, x)), EPS) };
  }

  /** All minimisers so far lie on one side: scale r so that the lead is zero, and ask for the price there. */
  function trialBeyond(network, x, target, firstLead, known, progress) {
    const ratio = firstLead / (firstLead - known.lead), scale = clamp(Number.isNaN(ratio) ? 1 : ratio, 0.2, 3);
    const start = stepped(x, scale, minus(known.image, x));
    let c = price(network, start, target);
    c = known.lead > 0 ? Math.max(c, progress * known.c) : Math.min(c, known.c / progress);
    if (known.norm === 0) c = 0.7 * known.c; // r = 0 is the minimiser of every price that is too high
    const firstStep = Math.max(0.1 * norm(minus(start, known.image)), 1e-3 * Math.sqrt(x.length));
    return { c, start, firstStep };
  }

  const lengthPerLead = (failed, succeeded) => (succeeded.norm - failed.norm) / (succeeded.lead - failed.lead);

  /** A price between a failing and a succeeding one: a secant step along log c, later a bisection. */
  function trialBetween(failed, succeeded, bestNorm, tolerance, bisect) {
    const aim = (0.3 * tolerance * bestNorm) / lengthPerLead(failed, succeeded);
    const secant = clamp((aim - failed.lead) / (succeeded.lead - failed.lead), 0.02, 0.98);
    const weight = bisect || Number.isNaN(secant) ? 0.5 : secant;
    const step = minus(succeeded.image, failed.image);
    return {
      c: failed.c * (succeeded.c / failed.c) ** weight,
      start: plus(failed.image, weight, step),
      firstStep: Math.max(0.5 * Math.min(weight, 1 - weight) * norm(step), EPS),
    };
  }

  /** Whether the boundary is pinned down to the relative tolerance. */
  function nothingToGain(failed, succeeded, best, tolerance) {
    const gain = Math.min(best.norm - failed.norm, succeeded.lead * lengthPerLead(failed, succeeded));
    return gain <= tolerance * best.norm;
  }

  /** Back along the best r as far as success lasts, where c does not tell the length. */
  function shorten(network, x, target, firstLead, enough, best, config) {
    const r = minus(best.image, x);
    const leadAt = (scale) => {
      const image = stepped(x, scale, r), beyond = lead(logits(network, image), target) - enough;
      const length = norm(minus(image, x));
      if (beyond > 0 && length < best.norm) Object.assign(best, { image, norm: length });
      return beyond;
    };
    let fails = 0, succeeds = 1, leadFails = firstLead - enough, leadSucceeds = leadAt(1);
    for (let search = 0; search < config.maxSearches && succeeds - fails > config.tolerance * succeeds; search++) {
      const chord = leadFails / (leadFails - leadSucceeds);
      const weight = search < config.maxSecants && Number.isFinite(chord) ? chord : 0.5;
      const aimed = (1 + config.tolerance / 3) * (fails + weight * (succeeds - fails));
      const scale = clamp(aimed, fails, (1 - config.tolerance / 2) * succeeds), leads = leadAt(scale);
      if (leads > 0) { succeeds = scale; leadSucceeds = leads; } else { fails = scale; leadFails = leads; }
    }
  }

  return { attack, minimize, minimizePenalized, logits, softmax, lead, said, loss };
}

if (typeof module !== "undefined") module.exports = engine;
