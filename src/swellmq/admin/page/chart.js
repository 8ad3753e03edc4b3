// Charts over time, in SVG: colours and both themes come from page.css, and tests can read what is drawn.
//
// A chart draws a view: {history, from, to, events, threshold}. All charts share one cursor, so that pointing at a
// moment in one reads all of them. The legend is the read-out: it shows the values at the cursor, or the newest ones.

import { element, setText, svg } from "./dom.js";
import { clock, whole } from "./format.js";

const LEFT = 56; // the same in all charts, so that those above each other share their time axis
const RIGHT = 10;
const TOP = 10;
const BOTTOM = 20;
const GAP_ROWS = 3.5; // a hole in the rows that is longer is drawn as one: the broker was away
const TIME_STEPS_S = [10, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400];
const TIME_STEP_PX = 90;
const LABEL_HEIGHT = 14;
const LETTER_PX = 6.6; // width of a digit in a label, for keeping labels apart

// The moment that is pointed at, in all charts; null: the newest.
export const cursor = {
  time: null,
  charts: new Set(),
  move(time) {
    if (time === cursor.time) return;
    cursor.time = time;
    for (const chart of cursor.charts) chart.read();
  },
};

export class Chart {
  // `series`: {label, kind: "area" | "line" | "step" | "above" | "none", value(history, index), className}; "above" is
  // an area on top of the first one, and "none" is only read out. `shown` may give another value to read than to draw.
  constructor(figure, { title, height, series, format = whole, axis = true, steers = false }) {
    Object.assign(this, { figure, title, height, format, axis, steers });
    this.view = null;
    this.legend = series.map((one) => ({ ...one, node: element("b") }));
    this.drawn = series.filter((one) => one.kind !== "none");
    this.moment = element("time", { class: "moment" });
    const items = this.legend.map((one) => {
      return element("li", { class: one.className }, element("i", { "aria-hidden": "true" }), one.label + " ", one.node);
    });
    this.caption = element("figcaption", {}, element("h3", {}, title), this.moment, element("ul", {}, ...items));
    this.picture = svg("svg", { class: "chart", height, role: "img", "aria-label": title });
    figure.replaceChildren(this.caption, this.picture);
    this.grid = svg("g", { class: "grid" });
    this.plot = svg("g", { class: "plot" });
    this.marks = svg("g", { class: "marks" });
    this.line = svg("line", { class: "cursor", visibility: "hidden" });
    this.dots = svg("g", { class: "dots" });
    this.picture.append(this.grid, this.plot, this.marks, this.line, this.dots);
    this.width = 0;
    new ResizeObserver(() => this.resize()).observe(figure);
    this.picture.addEventListener("pointermove", (event) => this.point(event));
    this.picture.addEventListener("pointerdown", (event) => this.point(event));
    this.picture.addEventListener("pointerleave", () => cursor.move(null));
    if (steers) this.steer();
    cursor.charts.add(this);
  }

  // With the keyboard the chart is a slider over time, whose value is spoken.
  steer() {
    const picture = this.picture;
    const attributes = { role: "slider", tabindex: "0", "aria-orientation": "horizontal", "aria-valuemin": "0" };
    for (const [name, value] of Object.entries(attributes)) picture.setAttribute(name, value);
    picture.setAttribute("aria-label", this.title + " over time; arrow keys move through it");
    picture.addEventListener("blur", () => cursor.move(null));
    picture.addEventListener("keydown", (event) => {
      const times = this.view?.history.at ?? [];
      if (times.length === 0) return;
      const first = Math.max(0, this.view.history.nearest(this.view.from));
      const now = cursor.time === null ? times.length - 1 : this.view.history.nearest(cursor.time);
      const moves = {
        ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1,
        PageUp: now + 30, PageDown: now - 30, Home: first, End: times.length - 1,
      };
      if (event.key === "Escape") cursor.move(null);
      else if (event.key in moves) cursor.move(times[Math.min(times.length - 1, Math.max(first, moves[event.key]))]);
      else return;
      event.preventDefault();
    });
  }

  resize() {
    const width = Math.floor(this.figure.clientWidth - padding(this.figure));
    if (width === this.width || width <= 0) return;
    this.width = width;
    this.picture.setAttribute("viewBox", `0 0 ${width} ${this.height}`);
    this.picture.setAttribute("width", width);
    if (this.view) this.draw(this.view);
  }

  get bottom() {
    return this.height - (this.axis ? BOTTOM : 4);
  }

  x(time) {
    const { from, to } = this.view;
    return LEFT + ((time - from) / (to - from)) * (this.width - LEFT - RIGHT);
  }

  // An event stands where its row does, whose capacity it explains.
  eventX(event) {
    const index = this.view.history.covering(event.at);
    return this.x(index < 0 ? event.at : this.view.history.at[index]);
  }

  y(value) {
    return this.bottom - (value / this.top) * (this.bottom - TOP);
  }

  point(event) {
    if (!this.view || this.view.history.at.length === 0) return;
    const share = (event.clientX - this.picture.getBoundingClientRect().left - LEFT) / (this.width - LEFT - RIGHT);
    const index = this.view.history.nearest(this.view.from + share * (this.view.to - this.view.from));
    cursor.move(this.view.history.at[index]);
  }

  draw(view) {
    this.view = view;
    if (this.width === 0) return this.resize();
    const lines = this.drawn.map((one) => this.points(one));
    const highest = Math.max(0, ...lines.flat().map(([, value]) => value));
    const step = niceStep(highest, Math.max(2, Math.floor((this.bottom - TOP) / 56)));
    this.top = Math.max(step, Math.ceil(highest / step) * step);
    this.drawGrid(step);
    this.plot.replaceChildren(...this.drawn.flatMap((one, at) => this.shape(one, lines[at], lines[0])));
    this.marks.replaceChildren(...(view.events ?? []).flatMap((event) => this.mark(event)), ...this.labels());
    this.read();
  }

  // The values of a series as [x, value, hole before it]; rows that share a pixel give their highest value.
  points(one) {
    const { history, from } = this.view;
    const times = history.at;
    const found = [];
    let last = null;
    let before = NaN;
    for (let index = Math.max(0, history.nearest(from) - 1); index < times.length; index++) {
      const value = one.value(history, index);
      if (Number.isNaN(value)) continue;
      const x = Math.max(LEFT, this.x(times[index]));
      if (last !== null && Math.floor(x) === Math.floor(last[0])) {
        last[1] = one.kind === "step" ? value : Math.max(last[1], value);
      } else {
        last = [x, value, times[index] - before > GAP_ROWS * history.intervalS];
        found.push(last);
      }
      before = times[index];
    }
    return found;
  }

  shape(one, points, base) {
    if (points.length === 0) return [];
    const at = ([x, value]) => `${x.toFixed(1)} ${this.y(value).toFixed(1)}`;
    const runs = split(points);
    if (one.kind === "above") return this.above(one, points, base, at);
    const lines = runs.map((run) => {
      if (one.kind !== "step") return "M" + run.map(at).join("L");
      return run.map(([x, value], index) => (index ? `H${x.toFixed(1)}V${this.y(value).toFixed(1)}` : "M" + at([x, value]))).join("");
    });
    const line = svg("path", { class: "line " + one.className, d: lines.join("") });
    if (one.kind !== "area") return [line];
    const floor = this.bottom.toFixed(1);
    const areas = runs.map((run, index) => `${lines[index]}L${run[run.length - 1][0].toFixed(1)} ${floor}L${run[0][0].toFixed(1)} ${floor}Z`);
    return [svg("path", { class: "fill " + one.className, d: areas.join("") }), line];
  }

  // Where the points rise above those of the first series: the areas between the two.
  above(one, points, base, at) {
    const runs = [];
    let open = false;
    for (const [index, point] of points.entries()) {
      const risen = point[1] > base[index][1];
      if (risen && (!open || point[2])) runs.push(index > 0 && !point[2] ? [index - 1] : []);
      if (risen || open) runs[runs.length - 1].push(index);
      open = risen;
    }
    const outlines = runs.map((run) => `M${run.map((index) => at(points[index])).join("L")}L${run.toReversed().map((index) => at(base[index])).join("L")}Z`);
    return outlines.length ? [svg("path", { class: "fill " + one.className, d: outlines.join("") })] : [];
  }

  drawGrid(step) {
    const nodes = [];
    for (let value = 0; value <= this.top * 1.0001; value += step) {
      const y = Math.round(this.y(value)) + 0.5;
      nodes.push(svg("line", { x1: LEFT, x2: this.width - RIGHT, y1: y, y2: y, class: value === 0 ? "base" : "" }));
      nodes.push(svg("text", { x: LEFT - 8, y: y + 4, "text-anchor": "end" }, this.format(value)));
    }
    const { from, to } = this.view;
    const room = Math.max(1, Math.floor((this.width - LEFT - RIGHT) / TIME_STEP_PX));
    const every = TIME_STEPS_S.find((seconds) => (to - from) / seconds <= room) ?? 21_600;
    for (let time = Math.ceil(from / every) * every; time <= to; time += every) {
      const x = Math.round(this.x(time)) + 0.5;
      nodes.push(svg("line", { x1: x, x2: x, y1: TOP, y2: this.bottom, class: "upright" }));
      const fits = x > LEFT + 18 && x < this.width - 24;
      if (this.axis && fits) nodes.push(svg("text", { x, y: this.height - 5, "text-anchor": "middle" }, clock(time, every < 60)));
    }
    this.grid.replaceChildren(...nodes);
  }

  // A step of the pool: an upright line, and a dot where the capacity arrives. Other events are a notch at the axis.
  mark(event) {
    if (event.at < this.view.from) return [];
    const x = this.eventX(event);
    const title = svg("title", {}, `${clock(event.at)} ${event.text}`);
    if (event.kind === "grew" || event.kind === "shrank") {
      return [svg("g", { class: "mark " + event.kind }, title,
        svg("line", { x1: x, x2: x, y1: this.y(event.to), y2: this.bottom }),
        svg("circle", { cx: x, cy: this.y(event.to), r: 3.5 }))];
    }
    const y = this.bottom;
    return [svg("path", { class: "mark notch", d: `M${x} ${y - 7}l4 7h-8z` }, title)];
  }

  // The sizes beside the steps, as far as they don't cover each other.
  labels() {
    const taken = [];
    const nodes = [];
    const steps = (this.view.events ?? []).filter((event) => event.kind === "grew" || event.kind === "shrank");
    let next = Infinity; // where the step after this one is
    for (const event of steps.toReversed()) {
      const after = next;
      const x = (next = this.eventX(event));
      if (x < LEFT) continue;
      const text = `${whole(event.from)} → ${whole(event.to)}`;
      const width = text.length * LETTER_PX;
      const left = x - 8 - width > LEFT; // beside the riser; at the edge above the step
      const box = left ? [x - 8 - width, this.y(event.to) - 7] : [x + 4, this.y(event.to) - 18];
      if (!left && x + width + 8 > Math.min(after, this.width - RIGHT)) continue;
      if (taken.some(([at, y, size]) => box[0] < at + size && at < box[0] + width && Math.abs(y - box[1]) < LABEL_HEIGHT)) continue;
      taken.push([...box, width]);
      const place = left ? { x: x - 8, "text-anchor": "end" } : { x: x + 4 };
      nodes.push(svg("text", { ...place, y: Math.max(TOP + 2, box[1] + 11), class: "step-label" }, text));
    }
    return nodes;
  }

  // Show the values at the cursor, in the legend, as dots and as spoken text.
  read() {
    if (!this.view || this.width === 0) return;
    const { history, from } = this.view;
    const pointed = cursor.time !== null && cursor.time >= from;
    const index = pointed ? history.nearest(cursor.time) : history.at.length - 1;
    const said = [];
    for (const one of this.legend) {
      const value = index < 0 ? NaN : one.value(history, index);
      const text = Number.isNaN(value) ? "–" : this.format(one.shown ? one.shown(history, index) : value);
      setText(one.node, text);
      said.push(`${one.label} ${text}`);
    }
    const time = index < 0 ? 0 : history.at[index];
    setText(this.moment, pointed ? clock(time) : "");
    this.line.setAttribute("visibility", pointed ? "visible" : "hidden");
    const dots = [];
    if (pointed) {
      const x = this.x(time);
      for (const [name, value] of Object.entries({ x1: x, x2: x, y1: TOP, y2: this.bottom })) this.line.setAttribute(name, value);
      for (const one of this.drawn) {
        const value = one.value(history, index);
        if (!Number.isNaN(value)) dots.push(svg("circle", { cx: x, cy: this.y(value), r: 3, class: one.className }));
      }
    }
    this.dots.replaceChildren(...dots);
    if (index < 0) return;
    const text = `${clock(time)}: ${said.join(", ")}`;
    if (this.steers) {
      this.picture.setAttribute("aria-valuemax", history.at.length - 1);
      this.picture.setAttribute("aria-valuenow", index);
      this.picture.setAttribute("aria-valuetext", text);
    } else {
      this.picture.setAttribute("aria-label", `${this.title}. ${text}`);
    }
  }
}

// A step of 1, 2, 2.5 or 5 times a power of ten that divides `highest` into about `count` parts.
function niceStep(highest, count) {
  const rough = Math.max(1, highest / count);
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough && Number.isInteger(factor * power)) * power;
}

// Runs of points without a hole.
function split(points) {
  const runs = [];
  for (const point of points) {
    if (runs.length === 0 || point[2]) runs.push([]);
    runs[runs.length - 1].push(point);
  }
  return runs;
}

function padding(node) {
  const style = getComputedStyle(node);
  return parseFloat(style.paddingLeft) + parseFloat(style.paddingRight);
}
