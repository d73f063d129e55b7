// The tasks of a step in time: predicted and measured, one below the other for each island, on one axis.

import { h, s, table, link } from "./dom.js";
import { micros, percent, seconds } from "./format.js";
import { KINDS, texture } from "./palette.js";

const ROW = 24, AXIS = 26, LEFT = 132, PAUSE = 5;

export function schedulePanel(data, show, { compact = false } = {}) {
  const lines = data.timelines;
  if (!lines.length) {
    return h("p", { class: "empty" }, "There is no schedule to draw: the program has no pipeline over microbatches. Run a step inside step.trace(...) and write the page again to see what it took.");
  }
  return new Chart(data, lines, show, compact).element;
}

class Chart {
  constructor(data, lines, show, compact) {
    Object.assign(this, { data, lines, show, compact });
    this.length = Math.max(...lines.map((one) => one.step * 1e6), 1);
    this.from = 0;
    this.to = this.length;
    const names = data.islands.map((one) => one.name);
    this.rows = names.flatMap((island) => lines.map((line, index) => ({ island, line, index })))
      .filter(({ island, line }) => line.bars.some((bar) => bar[0] === island));
    this.rows.forEach((row) => { row.bars = row.line.bars.map((bar, number) => ({ bar, number })).filter(({ bar }) => bar[0] === row.island); });
    this.canvas = h("canvas", {
      class: "gantt", tabindex: 0, role: "application",
      "aria-label": "Tasks in time. Left and right arrows go from task to task, up and down between islands, plus and minus zoom.",
      onpointermove: (event) => this.pointed(event), onpointerleave: () => { this.tip.hidden = true; this.over = null; this.draw(); },
      onclick: (event) => { const found = this.find(event); if (found) this.choose(found); },
      onpointerdown: (event) => this.grab(event), onkeydown: (event) => this.key(event),
      ondblclick: () => this.zoom(0, this.length),
    });
    this.canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.tip = h("div", { class: "tip-box", hidden: true });
    this.details = h("aside", { class: "details", "aria-live": "polite" });
    this.criticalBox = h("input", { type: "checkbox", checked: true, onchange: () => this.draw() });
    const button = (text, label, act) => h("button", { type: "button", "aria-label": label, title: label, onclick: act }, text);
    this.element = h("div", { class: "schedule" },
      h("div", { class: "tools" }, this.legend(), h("span", { class: "space" }),
        h("label", {}, this.criticalBox, " critical path"),
        button("+", "zoom in", () => this.scale(0.5)), button("−", "zoom out", () => this.scale(2)), button("whole step", "show the whole step", () => this.zoom(0, this.length))),
      h("div", { class: "chart" }, this.canvas, this.tip),
      compact ? null : h("div", { class: "below" }, this.details, this.pauses()));
    this.said();
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    addEventListener("atoll-theme", () => this.draw());
  }

  legend() {
    const kinds = new Set(this.lines.flatMap((line) => line.bars.map((bar) => bar[2])));
    return h("span", { class: "legend" },
      Object.entries(KINDS).filter(([kind]) => kinds.has(kind)).map(([kind, look]) =>
        h("span", {}, h("i", { class: `swatch ${look.texture}`, style: `background-color:${look.fill};color:${look.ink}` }, kind), look.name)),
      h("span", {}, h("i", { class: "swatch pause" }), "pause"));
  }

  said() {
    if (this.compact) return;
    this.details.replaceChildren(
      h("h3", {}, "The step"),
      table([[""], ["step", true], ["pauses", true], ["how"]], this.lines.map((line) => [line.name, seconds(line.step), percent(line.bubble), line.title])),
      h("p", { class: "hint" }, "Wheel or + and − zoom, dragging moves, arrow keys go from task to task. Choose a task to see what it waits for."));
  }

  pauses() {
    const found = this.lines.flatMap((line, index) => line.pauses.map((pause) => ({ line, index, pause })));
    const longest = found.sort((a, b) => b.pause[2] - b.pause[1] - (a.pause[2] - a.pause[1])).slice(0, 40);
    return h("section", { class: "pauses" }, h("h3", {}, "Pauses, the longest first"),
      longest.length ? table([["island"], [""], ["for", true], ["cause"]], longest.map(({ line, pause }) => [
        link(pause[0], () => this.reach(line, pause[3])), line.name, micros(pause[2] - pause[1]), pause[5],
      ])) : h("p", {}, "No island pauses."));
  }

  reach(line, number) {
    const bar = line.bars[number];
    const around = Math.max((bar[4] - bar[3]) * 4, this.length / 12);
    this.zoom(bar[3] - around, bar[4] + around);
    this.choose({ row: this.rows.find((row) => row.line === line && row.island === bar[0]), number });
  }

  zoom(from, to) {
    const span = Math.min(this.length, Math.max(to - from, this.length / 5000));
    this.from = Math.max(0, Math.min(from, this.length - span));
    this.to = this.from + span;
    this.draw();
  }

  scale(factor, at = (this.from + this.to) / 2) {
    this.zoom(at - (at - this.from) * factor, at + (this.to - at) * factor);
  }

  wheel(event) {
    if (!event.ctrlKey && !event.shiftKey && Math.abs(event.deltaX) < Math.abs(event.deltaY) && this.compact) return;
    event.preventDefault();
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.zoom(this.from + event.deltaX * this.perPixel, this.to + event.deltaX * this.perPixel);
    else this.scale(Math.exp(event.deltaY / 400), this.time(event.offsetX));
  }

  grab(event) {
    const [x, from, to] = [event.clientX, this.from, this.to];
    const move = (next) => this.zoom(from - (next.clientX - x) * this.perPixel, to - (next.clientX - x) * this.perPixel);
    const stop = () => { removeEventListener("pointermove", move); removeEventListener("pointerup", stop); };
    addEventListener("pointermove", move);
    addEventListener("pointerup", stop);
  }

  key(event) {
    if (event.key === "+" || event.key === "=") this.scale(0.5);
    else if (event.key === "-") this.scale(2);
    else if (event.key === "0") this.zoom(0, this.length);
    else if (event.key.startsWith("Arrow")) this.step(event.key);
    else return;
    event.preventDefault();
  }

  step(key) {
    const now = this.chosen ?? { row: this.rows[0], number: -1 };
    const bars = now.row.bars, at = bars.findIndex((one) => one.number === now.number);
    if (key === "ArrowLeft" || key === "ArrowRight") {
      const next = bars[Math.max(0, Math.min(bars.length - 1, at + (key === "ArrowRight" ? 1 : -1)))];
      return this.choose({ row: now.row, number: next.number });
    }
    const row = this.rows[(this.rows.indexOf(now.row) + (key === "ArrowDown" ? 1 : this.rows.length - 1)) % this.rows.length];
    const time = at < 0 ? 0 : bars[at].bar[3];
    this.choose({ row, number: (row.bars.find(({ bar }) => bar[4] > time) ?? row.bars.at(-1)).number });
  }

  get perPixel() { return (this.to - this.from) / Math.max(1, this.canvas.clientWidth - LEFT - 8); }
  time(x) { return this.from + (x - LEFT) * this.perPixel; }
  x(time) { return LEFT + (time - this.from) / this.perPixel; }
  y(row) { const index = this.rows.indexOf(row); return AXIS + index * ROW + Math.floor(index / this.lines.length) * (this.lines.length > 1 ? 8 : 4); }

  find(event) {
    const row = this.rows.find((one) => event.offsetY >= this.y(one) && event.offsetY < this.y(one) + ROW);
    if (!row || event.offsetX < LEFT) return null;
    const time = this.time(event.offsetX), slack = 2 * this.perPixel;
    const found = row.bars.find(({ bar }) => bar[3] - slack <= time && time <= bar[4] + slack);
    return found ? { row, number: found.number } : null;
  }

  pauseAt(event) {
    const row = this.rows.find((one) => event.offsetY >= this.y(one) && event.offsetY < this.y(one) + ROW);
    if (!row || event.offsetX < LEFT) return null;
    const time = this.time(event.offsetX);
    return row.line.pauses.find((one) => one[0] === row.island && one[1] <= time && time <= one[2]) ?? null;
  }

  pointed(event) {
    const found = this.find(event), pause = found ? null : this.pauseAt(event);
    this.over = found;
    this.tip.hidden = !found && !pause;
    if (found) {
      const bar = found.row.line.bars[found.number];
      this.tip.textContent = `${bar[1]} on ${bar[0]}, ${found.row.line.name}: ${micros(bar[4] - bar[3])}, from ${micros(bar[3])}`;
    }
    if (pause) this.tip.textContent = `pause of ${micros(pause[2] - pause[1])}: ${pause[5]}`;
    this.tip.style.left = `${Math.min(event.offsetX + 14, this.canvas.clientWidth - 260)}px`;
    this.tip.style.top = `${event.offsetY + 16}px`;
    this.draw();
  }

  choose({ row, number }) {
    this.chosen = { row, number };
    const line = row.line, bar = line.bars[number];
    if (bar[3] < this.from || bar[3] > this.to) this.zoom(bar[3] - (this.to - this.from) / 2, bar[3] + (this.to - this.from) / 2);
    const pause = line.pauses.find((one) => one[3] === number);
    const other = this.lines.find((one) => one !== line)?.bars.find((one) => one[0] === bar[0] && one[1] === bar[1]);
    this.details.replaceChildren(
      h("h3", {}, `${bar[1]} on ${bar[0]}`),
      h("dl", {},
        h("dt", {}, "what"), h("dd", {}, KINDS[bar[2]]?.name ?? bar[2]),
        h("dt", {}, line.name), h("dd", {}, `${micros(bar[4] - bar[3])}, from ${micros(bar[3])} to ${micros(bar[4])}`),
        other && [h("dt", {}, this.lines.find((one) => one !== line).name), h("dd", {}, `${micros(other[4] - other[3])}, from ${micros(other[3])} to ${micros(other[4])}`)],
        h("dt", {}, "critical"), h("dd", {}, line.critical.includes(number) ? "yes: the step is as long as what leads here and on" : "no"),
        pause && [h("dt", {}, "before it"), h("dd", {}, `a pause of ${micros(pause[2] - pause[1])}: ${pause[5]} `,
          pause[4] !== null && link("go there", () => this.reach(line, pause[4])))]),
      h("p", {}, link("its lines in the source", () => this.show("source", { task: bar[1] })), " · ", link("its buffers in memory", () => this.show("memory", { island: bar[0] }))));
    this.draw();
  }

  draw() {
    const ratio = devicePixelRatio || 1, width = this.canvas.clientWidth;
    const height = this.rows.length ? this.y(this.rows.at(-1)) + ROW + 8 : AXIS;
    if (!width) return;
    this.canvas.style.height = `${height}px`;
    Object.assign(this.canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    const pen = this.canvas.getContext("2d"), style = getComputedStyle(this.canvas);
    const colour = (name) => style.getPropertyValue(name).trim();
    pen.scale(ratio, ratio);
    pen.font = `12px ${style.fontFamily}`;
    pen.textBaseline = "middle";
    this.axis(pen, width, height, colour);
    const patterns = Object.fromEntries(Object.entries(KINDS).map(([kind, look]) => [kind, texture(pen, look.texture)]));
    for (const row of this.rows) this.row(pen, row, width, colour, patterns);
  }

  axis(pen, width, height, colour) {
    const least = 90 * this.perPixel, power = 10 ** Math.floor(Math.log10(least));
    const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= least);
    pen.textAlign = "center";
    for (let time = Math.ceil(this.from / step) * step; time <= this.to; time += step) {
      const x = Math.round(this.x(time)) + 0.5;
      pen.fillStyle = colour("--line");
      pen.fillRect(x, AXIS - 4, 1, height);
      pen.fillStyle = colour("--quiet");
      pen.fillText(time === 0 ? "0" : micros(time), Math.min(Math.max(x, LEFT + 12), width - 26), 12);
    }
  }

  row(pen, row, width, colour, patterns) {
    const y = this.y(row), critical = this.criticalBox.checked ? new Set(row.line.critical) : new Set();
    pen.textAlign = "left";
    if (row.index === 0 || this.rows[this.rows.indexOf(row) - 1]?.island !== row.island) {
      pen.fillStyle = colour("--text");
      pen.fillText(row.island, 4, y + ROW / 2, 70);
    }
    pen.fillStyle = colour("--quiet");
    if (this.lines.length > 1) pen.fillText(row.line.name, 72, y + ROW / 2, 58);
    pen.save();
    pen.beginPath();
    pen.rect(LEFT, y, width - LEFT - 8, ROW);
    pen.clip();
    pen.fillStyle = colour("--lane");
    pen.fillRect(LEFT, y + 2, width, ROW - 4);
    pen.fillStyle = colour("--pause");
    for (const pause of row.line.pauses) {
      if (pause[0] === row.island) pen.fillRect(this.x(pause[1]), y + ROW / 2 - PAUSE / 2, (pause[2] - pause[1]) / this.perPixel, PAUSE);
    }
    pen.textAlign = "center";
    for (const { bar, number } of row.bars) {
      const [x, end] = [this.x(bar[3]), this.x(bar[4])];
      if (end < LEFT || x > width) continue;
      const look = KINDS[bar[2]] ?? KINDS.R, wide = Math.max(end - x - 1, 1);
      pen.fillStyle = look.fill;
      pen.fillRect(x, y + 2, wide, ROW - 4);
      if (patterns[bar[2]] && wide > 5) { pen.fillStyle = patterns[bar[2]]; pen.fillRect(x, y + 2, wide, ROW - 4); }
      const isChosen = this.chosen?.row === row && this.chosen.number === number, isOver = this.over?.row === row && this.over.number === number;
      if (critical.has(number) || isChosen || isOver) {
        pen.strokeStyle = colour(isChosen || isOver ? "--accent" : "--text");
        pen.lineWidth = isChosen ? 3 : 2;
        pen.strokeRect(x + 1, y + 3, Math.max(wide - 2, 1), ROW - 6);
      }
      const [from, to] = [Math.max(x, LEFT), Math.min(end, width)];
      const label = [bar[1], bar[1].replace(/@.*/, "")].find((one) => pen.measureText(one).width + 6 < to - from);
      if (label) {
        const half = pen.measureText(label).width / 2 + 3;
        if (look.texture) { pen.fillStyle = look.fill; pen.fillRect((from + to) / 2 - half, y + 5, 2 * half, ROW - 10); }
        pen.fillStyle = look.ink;
        pen.fillText(label, (from + to) / 2, y + ROW / 2 + 0.5);
      }
    }
    pen.restore();
  }
}
