"use strict";
// One future of the investment case, recomputed when a reader moves an assumption.
// `whatIf` is cxroi.case.what_if.what_if once more; `writer` is cxroi.language.Language. Tests compare them number by number.

function whatIf(model, inputs) {
  const margin = marginByQuarter(model, inputs);
  const kept = 1 - model.tax;
  const result = { net: [], cumulative: [], discounted: [], pvCost: 0, pvBenefit: 0 };
  let plain = 0;
  let worth = 0;
  for (let month = 0; month <= inputs.horizon; month++) {
    let benefit = month ? (inputs.margin * margin[Math.floor((month - 1) / 3)]) / 3 : 0;
    let cost = 0;
    for (const programme of model.programmes) {
      benefit += programme.benefit[month];
      cost += programme.cost[month] * inputs.cost;
    }
    const prices = (1 + model.inflation) ** (month / 12);
    const discount = (1 + inputs.rate) ** (-(month && model.mid ? month - 0.5 : month) / 12);
    const net = kept * prices * (benefit - cost);
    result.pvCost += kept * prices * cost * discount;
    result.pvBenefit += kept * prices * benefit * discount;
    result.net.push(net);
    result.cumulative.push((plain += net));
    result.discounted.push((worth += net * discount));
  }
  result.npv = result.pvBenefit - result.pvCost;
  result.roi = result.pvCost ? result.npv / result.pvCost : NaN;
  result.payback = payback(result.cumulative);
  result.discountedPayback = payback(result.discounted);
  return result;
}

// Margin of each quarter in prices of the start: points that a customer gains, times what a point is worth.
function marginByQuarter(model, inputs) {
  const gains = inputs.gains.map((gain) => Math.max(-model.width, Math.min(model.width, gain)));
  let lasting = 0;
  return model.retention.map((retention, quarter) => {
    const shares = model.programmes.map((programme, at) => {
      const halfLife = inputs.halfLives[at] === null ? Infinity : inputs.halfLives[at];
      const months = [0.5, 1.5, 2.5].map((month) => inForce(3 * quarter + month - programme.start, programme.ramp, halfLife));
      return (months[0] + months[1] + months[2]) / 3;
    });
    const inForceNow = gains.map((gain, at) => gain * shares[at]);
    let points = -beyondScale(inForceNow, inputs.reaches, model.width);
    inForceNow.forEach((gain, at) => (points += gain * inputs.reaches[at]));
    lasting += points;
    return model.customers * (retention * lasting + model.level[quarter] * points);
  });
}

// What customers reached by several programmes, independently, would gain beyond the width of the scores: a mean over all.
function beyondScale(gains, reaches, width) {
  const highest = gains.reduce((sum, gain) => sum + Math.abs(gain), 0);
  if (gains.length < 2 || highest <= width) return 0;
  let lost = 0;
  for (let set = 1; set < 2 ** gains.length; set++) {
    let share = 1;
    let sum = 0;
    gains.forEach((gain, at) => {
      const reached = (set >> at) & 1;
      share *= reached ? reaches[at] : 1 - reaches[at];
      if (reached) sum += gain;
    });
    lost += share * (sum - Math.max(-width, Math.min(width, sum)));
  }
  return lost;
}

// Share of a gain in force at a time after its start, in months: a logistic ramp, then halved every half-life.
function inForce(time, ramp, halfLife) {
  if (time < 0) return 0;
  const fading = 0.5 ** (Math.max(time - ramp, 0) / halfLife);
  if (!ramp) return fading;
  const logistic = (share) => 1 / (1 + Math.exp(-10 * (share - 0.5)));
  return ((logistic(Math.min(time / ramp, 1)) - logistic(0)) / (logistic(1) - logistic(0))) * fading;
}

// Months until a cumulative flow is back at zero and stays there; Infinity where it does not get there.
function payback(cumulative) {
  const tolerance = 1e-9 * Math.max(...cumulative.map(Math.abs));
  let latest = cumulative.length - 1;
  while (latest >= 0 && cumulative[latest] >= -tolerance) latest--;
  if (latest < 0) return 0;
  if (latest === cumulative.length - 1) return Infinity;
  const owed = -cumulative[latest];
  const earned = cumulative[latest + 1] + owed;
  return latest + (earned > 0 ? Math.min(owed / earned, 1) : 1);
}

// Numbers as the page writes them. Halves are rounded away from zero on the shortest decimal form of a number.
function writer(words) {
  const fill = (pattern, values) => pattern.replace(/\{(\w+)\}/g, (_, name) => values[name]);

  // A number as sign, digits and the power of ten of the first digit.
  function parts(x) {
    const [digits, power] = Math.abs(x).toExponential().split("e");
    return { negative: x < 0, digits: digits.replace(".", ""), power: Number(power) };
  }

  function rounded(number, places) {
    const keep = number.power + 1 + places;
    if (keep >= number.digits.length) return number;
    const up = keep >= 0 && number.digits.charAt(keep) >= "5" ? 1n : 0n;
    const whole = (BigInt(keep > 0 ? number.digits.slice(0, keep) : "0") + up).toString();
    if (whole === "0") return { negative: false, digits: "0", power: 0 };
    return { negative: number.negative, digits: whole, power: whole.length - 1 - places };
  }

  // Digits with separators, without a sign; `least` and `most` decimals.
  function plain(number, least, most) {
    let { digits, power } = rounded(number, most);
    if (power < 0) {
      digits = "0".repeat(-power) + digits;
      power = 0;
    }
    digits = digits.padEnd(power + 1, "0");
    const decimals = digits.slice(power + 1).replace(/0+$/, "").padEnd(least, "0");
    const whole = digits.slice(0, power + 1).replace(/\B(?=(\d{3})+$)/g, words.group);
    return decimals ? whole + words.decimal + decimals : whole;
  }

  const number = (x, digits) => {
    const exact = rounded(parts(x), digits);
    return (exact.negative ? "-" : "") + plain(exact, digits, digits);
  };
  const percent = (x, digits) => {
    const shifted = parts(x);
    if (shifted.digits !== "0") shifted.power += 2;
    const exact = rounded(shifted, digits);
    return (exact.negative ? "-" : "") + plain(exact, digits, digits) + "%";
  };
  function money(x) {
    const exact = parts(x);
    const short = exact.digits === "0" ? exact : rounded(exact, 2 - exact.power);
    for (const [scale, exponent] of words.scales) {
      if (short.power >= exponent && short.digits !== "0") {
        const text = plain({ ...short, power: short.power - exponent }, 0, 2);
        return fill(words.compact, { sign: short.negative ? "-" : "", symbol: words.symbol, number: text, scale });
      }
    }
    const digits = Math.abs(x) >= 1000 ? 0 : words.precision;
    const amount = rounded(exact, digits);
    return fill(amount.negative ? words.below : words.above, { number: plain(amount, digits, digits) });
  }
  const months = (x) => (Number.isFinite(x) ? fill(words.months, { number: number(x, 1) }) : words.never);
  const ratio = (x) => (Number.isNaN(x) ? words.none : percent(x, 0));
  const unbroken = (text) => text.replace(/(^|[^\w.,-])-(?=[\d₫$€£¥])/g, "$1\u2011"); // a minus stays with its number
  return { fill, number, percent, money, months, ratio, unbroken };
}

function start(root, { model, controls, words }) {
  const write = writer(words);
  const inputs = controls.map((control) => root.querySelector("#what-if-" + control.input));
  const picture = root.querySelector(".picture");
  const said = root.querySelector("[role=status]");
  let pending = 0;

  const at = (places) => Object.fromEntries(controls.map((control, n) => [control.input, control.stops[places[n]][0]]));
  const base = whatIf(model, at(controls.map((control) => control.base)));

  function show() {
    const places = inputs.map((input) => Number(input.value));
    const result = whatIf(model, at(places));
    controls.forEach((control, n) => {
      const text = control.stops[places[n]][1];
      inputs[n].setAttribute("aria-valuetext", text);
      inputs[n].parentElement.querySelector("output").textContent = text;
    });
    const figures = {
      npv: write.money(result.npv),
      roi: write.ratio(result.roi),
      payback: write.months(result.payback),
      discounted: write.months(result.discountedPayback),
    };
    for (const [name, text] of Object.entries(figures)) root.querySelector(`[data-figure=${name}]`).textContent = write.unbroken(text);
    const sentence = write.unbroken(write.fill(words.sentence, figures));
    draw(picture, base.discounted, result.discounted, words, write, sentence);
    clearTimeout(pending);
    const say = () => (said.textContent = sentence);
    if (said.textContent) pending = setTimeout(say, 250); // once the slider rests
    else say();
  }

  for (const input of inputs) input.addEventListener("input", show);
  root.querySelector("button").addEventListener("click", () => {
    controls.forEach((control, n) => (inputs[n].value = control.base));
    show();
  });
  window.addEventListener("resize", show);
  for (const part of root.querySelectorAll(".live")) part.hidden = false;
  controls.forEach((control, n) => (inputs[n].value = control.base)); // a browser may remember where they stood
  show();
}

// Cumulative discounted cash flow: the base thin, the reader's thick, in the width that there is.
function draw(picture, base, moved, words, write, sentence) {
  const width = Math.max(picture.clientWidth, 260);
  const height = 250;
  const edge = { top: 12, bottom: 44, left: 8, right: 14 };
  const all = [0, ...base, ...moved];
  const ticks = spaced(Math.min(...all), Math.max(...all), 4);
  const labels = ticks.map((tick) => write.unbroken(write.money(tick)));
  edge.left += 7.2 * Math.max(...labels.map((label) => label.length));
  const last = Math.max(base.length, moved.length) - 1;
  const [low, high] = [ticks[0], ticks[ticks.length - 1]];
  const x = (month) => edge.left + ((width - edge.left - edge.right) * month) / last;
  const y = (amount) => edge.top + ((height - edge.top - edge.bottom) * (high - amount)) / (high - low || 1);
  const line = (flows) => flows.map((flow, month) => `${month ? "L" : "M"}${x(month).toFixed(1)} ${y(flow).toFixed(1)}`).join("");
  const svg = picture.firstElementChild;
  const element = (name, attributes, text) => {
    const made = document.createElementNS(svg.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text) made.textContent = text;
    svg.append(made);
  };
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("aria-label", `${words.picture} ${sentence}`);
  ticks.forEach((tick, n) => {
    element("line", { x1: edge.left, x2: width - edge.right, y1: y(tick), y2: y(tick), class: tick ? "grid" : "zero" });
    element("text", { x: edge.left - 6, y: y(tick) + 4, "text-anchor": "end" }, labels[n]);
  });
  const step = [1, 3, 6, 12, 24, 60, 120].find((each) => last / each <= (width < 480 ? 4 : 7)) || 120;
  for (let month = 0; month <= last; month += step) {
    element("text", { x: x(month), y: height - edge.bottom + 18, "text-anchor": "middle" }, write.number(month, 0));
  }
  element("text", { x: (edge.left + width - edge.right) / 2, y: height - 6, "text-anchor": "middle" }, words.axis);
  element("path", { d: line(base), class: "base" });
  element("path", { d: line(moved), class: "moved" });
}

// Round numbers from below the lowest to above the highest amount, zero among them.
function spaced(low, high, count) {
  const rough = (high - low) / count || 1;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((each) => each * unit >= rough * 0.999);
  const ticks = [];
  for (let n = Math.floor(low / step); n <= Math.ceil(high / step); n++) ticks.push(n * step);
  return ticks;
}

if (typeof document === "object") start(document.getElementById("what-if"), JSON.parse(document.getElementById("what-if-data").textContent));
else module.exports = { whatIf, writer };
