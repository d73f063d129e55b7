// The IR after every pass: read, searched, folded, and compared with what was before.

import { IrTexts } from "./data.js";
import { differences } from "./differences.js";
import { h, link } from "./dom.js";
import { foldFragments, goTo, markLines, openSearchPanel, reader, unfoldAll } from "./editor.js";
import { plural, shortPlace } from "./format.js";

const AROUND = 3; // lines that are shown before and after a difference

export function irPanel(data, show) {
  const texts = new IrTexts();
  if (!texts.passes.length) {
    return h("p", { class: "empty" }, "The program was saved, and has no IR. Name the job that it was made from.");
  }
  return new Ir(texts, show).element;
}

class Ir {
  constructor(texts, show) {
    Object.assign(this, { texts, show, mode: "text" });
    this.list = h("div", { class: "passes", role: "listbox", "aria-label": "Passes", tabindex: 0, onkeydown: (event) => this.key(event) });
    this.place = h("div", { class: "editor", id: "ir-text" });
    this.status = h("output", { class: "status" });
    this.found = h("output", { class: "hint" });
    this.query = h("input", { type: "search", placeholder: "search all passes", "aria-label": "search the IR of all passes", onkeydown: (event) => event.key === "Enter" && this.search() });
    const button = (text, act, title) => h("button", { type: "button", onclick: act, title }, text);
    this.modes = {
      text: button("text", () => this.open(this.number, "text")),
      changes: button("changes", () => this.open(this.number, "changes"), "side by side with the pass before; renumbered values are no change"),
    };
    this.element = h("div", { class: "ir" }, h("div", { class: "pass-side" }, h("div", { class: "search-all" }, this.query, this.found), this.list),
      h("div", { class: "text-side" },
        h("div", { class: "tools" }, h("span", { class: "switch" }, Object.values(this.modes)), button("fold fragments", () => this.fold()), button("unfold", () => this.views.forEach(unfoldAll)),
          button("find", () => openSearchPanel(this.views.at(-1)), "find in this text (Ctrl+F)"), h("span", { class: "space" }), this.status),
        this.place));
    this.views = [];
    this.fill();
    this.element.reveal = (target) => this.reveal(target);
    this.element.ready = this.open(this.texts.passes.length - 1, "text");
  }

  fill(hits) {
    let phase = "";
    this.options = [];
    this.list.replaceChildren(...this.texts.passes.flatMap((pass, number) => {
      const head = pass.phase === phase ? [] : [h("div", { class: "phase", role: "presentation" }, pass.phase)];
      phase = pass.phase;
      const option = h("div", {
        role: "option", class: pass.same === undefined ? "" : "same", "aria-selected": String(number === this.number),
        title: pass.same === undefined ? undefined : "changed nothing", onclick: () => this.open(number, this.mode),
      }, h("span", {}, pass.name), hits?.[number] ? h("small", {}, hits[number]) : null);
      this.options.push(option);
      return [...head, option];
    }));
  }

  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    this.open(Math.max(0, Math.min(this.texts.passes.length - 1, this.number + step)), this.mode);
  }

  async open(number, mode) {
    this.number = number;
    this.mode = mode;
    this.options.forEach((option, index) => option.setAttribute("aria-selected", String(index === number)));
    this.options[number].scrollIntoView({ block: "nearest" });
    for (const [name, button] of Object.entries(this.modes)) button.setAttribute("aria-pressed", String(name === mode));
    const now = await this.texts.get(number);
    const before = number && mode === "changes" ? await this.texts.get(number - 1) : null;
    if (this.number !== number || this.mode !== mode) return; // somebody was quicker
    this.views.forEach((view) => view.destroy());
    this.place.replaceChildren();
    this.place.classList.toggle("two", Boolean(before));
    this.shown = now;
    this.views = before ? this.twoSides(before, now) : [this.oneSide(now)];
  }

  oneSide(text) {
    this.status.textContent = plural(text.lines.length, "line");
    return reader(this.place, text.lines.join("\n"), {
      language: "ir", label: `IR after ${this.texts.passes[this.number].name}`, folds: true,
      chosen: (line) => this.tell(text, line - 1),
    });
  }

  tell(text, index) {
    const where = this.texts.places[text.places[index]];
    this.status.replaceChildren(`line ${index + 1} of ${text.lines.length}`, where ? " from " : "", where ? link(shortPlace(where), () => this.show("source", { where }), where) : "");
  }

  // Two texts of the same number of lines: what differs, with a few lines around it, and filled up where one has fewer.
  twoSides(before, now) {
    const runs = this.texts.base(this.number) === this.texts.base(this.number - 1) ? [] : differences(before.ids, now.ids);
    const [left, right] = [new Side(before), new Side(now)];
    let [a, b] = [0, 0];
    for (const [a0, a1, b0, b1] of [...runs, [before.lines.length, before.lines.length, now.lines.length, now.lines.length]]) {
      const equal = a0 - a, isFirst = a === 0 && b === 0, isLast = a0 === before.lines.length && b0 === now.lines.length && a1 === a0 && b1 === b0;
      const [head, tail] = [isFirst ? 0 : AROUND, isLast ? 0 : AROUND];
      if (equal > head + tail + 1) {
        for (let i = 0; i < head; i++) { left.add(a + i); right.add(b + i); }
        left.skip(equal - head - tail);
        right.skip(equal - head - tail);
        for (let i = equal - tail; i < equal; i++) { left.add(a + i); right.add(b + i); }
      } else {
        for (let i = 0; i < equal; i++) { left.add(a + i); right.add(b + i); }
      }
      const most = Math.max(a1 - a0, b1 - b0);
      for (let i = 0; i < most; i++) {
        const isPair = a0 + i < a1 && b0 + i < b1;
        const [was, is] = isPair ? within(before.lines[a0 + i], now.lines[b0 + i]) : [];
        if (a0 + i < a1) left.add(a0 + i, "gone", was); else left.fillUp();
        if (b0 + i < b1) right.add(b0 + i, "come", is); else right.fillUp();
      }
      [a, b] = [a1, b1];
    }
    const [gone, come] = [runs.reduce((sum, one) => sum + one[1] - one[0], 0), runs.reduce((sum, one) => sum + one[3] - one[2], 0)];
    this.status.textContent = runs.length ? `${plural(come, "line")} new, ${gone} gone, in ${plural(runs.length, "place")}` : "nothing has changed";
    const views = [[left, this.number - 1], [right, this.number]].map(([side, number]) => {
      const place = h("div", { class: "half" }, h("div", { class: "caption" }, number === this.number ? `after ${this.texts.passes[number].name}` : `before: ${this.texts.passes[number].name}`));
      this.place.append(place);
      return side.show(place, (line) => this.tellChange(left, right, line - 1));
    });
    together(views);
    return views;
  }

  // In long lines what has changed may be far to the right, so it is told apart.
  tellChange(left, right, at) {
    const [was, is] = [left, right].map((side) => side.changes[at] && clipped(side.lines[at].slice(...side.changes[at])));
    if (was === undefined || is === undefined) return;
    this.status.replaceChildren("here ", h("code", {}, was || "nothing"), " became ", h("code", {}, is || "nothing"));
  }

  fold() {
    this.views.forEach(foldFragments);
  }

  async search() {
    const wanted = this.query.value;
    if (!wanted) { this.found.textContent = ""; this.fill(); return; }
    const hits = [], counted = new Map();
    for (let number = 0; number < this.texts.passes.length; number++) {
      const base = this.texts.base(number);
      if (!counted.has(base)) counted.set(base, (await this.texts.get(base)).lines.filter((line) => line.includes(wanted)).length);
      hits.push(counted.get(base));
    }
    this.fill(hits);
    const passes = hits.filter(Boolean).length;
    this.found.textContent = passes ? `in ${plural(passes, "pass")}` : "nowhere";
    const lines = this.shown.lines.flatMap((line, index) => (line.includes(wanted) ? [index + 1] : []));
    if (this.mode === "text") this.mark(lines);
  }

  mark(lines) {
    if (!lines.length) return;
    goTo(this.views[0], lines[0]);
    this.views[0].dispatch({ effects: markLines.of(lines.map((line) => ({ line, name: "marked" }))) });
  }

  // The operations of a line of the user's, in the last phase in which every fragment has code of its own.
  async reveal({ where }) {
    await this.element.ready;
    const placed = this.texts.passes.findLastIndex((pass) => pass.phase === "placed");
    await this.open(placed < 0 ? this.texts.passes.length - 1 : placed, "text");
    const number = this.texts.places.indexOf(where);
    this.mark(this.shown.places.flatMap((place, index) => (place === number && number > 0 ? [index + 1] : [])));
  }
}

class Side {
  constructor(text) {
    this.text = text;
    this.lines = [];
    this.numbers = [];
    this.marks = [];
    this.changes = {}; // by line, from where to where it differs from the other side's
  }
  add(index, name, changed) {
    this.lines.push(this.text.lines[index]);
    this.numbers.push(index + 1);
    if (name) this.marks.push({ line: this.lines.length, name, changed });
    if (changed) this.changes[this.lines.length - 1] = changed;
  }
  fillUp() {
    this.lines.push("");
    this.numbers.push(0);
    this.marks.push({ line: this.lines.length, name: "filler" });
  }
  skip(count) {
    this.lines.push(`⋯ ${plural(count, "equal line")}`);
    this.numbers.push(0);
    this.marks.push({ line: this.lines.length, name: "skipped" });
  }
  show(place, chosen) {
    const view = reader(place, this.lines.join("\n"), {
      language: "ir", label: "differences", numbers: (line) => String(this.numbers[line - 1] || ""), chosen,
    });
    view.dispatch({ effects: markLines.of(this.marks) });
    return view;
  }
}

// From where to where two lines differ, in each of them.
function within(one, other) {
  const least = Math.min(one.length, other.length);
  let [head, tail] = [0, 0];
  while (head < least && one[head] === other[head]) head++;
  while (tail < least - head && one[one.length - 1 - tail] === other[other.length - 1 - tail]) tail++;
  return [[head, one.length - tail], [head, other.length - tail]];
}

const clipped = (text) => (text.length > 160 ? `${text.slice(0, 160)}…` : text);

// Both sides have as many lines, so that where one is scrolled to is where the other one has to be.
function together([one, other]) {
  for (const [from, to] of [[one, other], [other, one]]) {
    from.scrollDOM.addEventListener("scroll", () => {
      if (Math.abs(to.scrollDOM.scrollTop - from.scrollDOM.scrollTop) > 1) to.scrollDOM.scrollTop = from.scrollDOM.scrollTop;
    });
  }
}
