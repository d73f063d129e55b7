// The user's source: each line with its stages, its cost and what it sends; and from each line to where it went.

import { h, table, link } from "./dom.js";
import { goTo, markLines, reader, scrollTo } from "./editor.js";
import { bytes, count, percent, placeOf, plural, shortPlace } from "./format.js";
import { transferTable } from "./map.js";
import { stageColour, stageInk } from "./palette.js";

export function sourcePanel(data, show) {
  if (!data.lines.length) {
    return h("p", { class: "empty" }, "The program tells no lines: it was saved, or begins at a later phase than placed.");
  }
  return new Source(data, show).element;
}

class Source {
  constructor(data, show) {
    Object.assign(this, { data, show });
    this.total = data.lines.reduce((sum, one) => sum + one.cost, 0) || 1;
    this.byPlace = new Map(data.lines.map((one) => [one.where, one]));
    this.files = data.files.map((file) => ({ ...file, cost: this.costOf(file.path) })).sort((a, b) => b.cost - a.cost);
    this.place = h("div", { class: "editor", id: "source-text" });
    this.details = h("aside", { class: "details", "aria-live": "polite", id: "source-details" });
    this.tabs = h("div", { class: "files", role: "tablist", "aria-label": "Files" }, this.files.map((file) =>
      h("button", { type: "button", role: "tab", title: file.path, onclick: () => this.open(file.path) }, shortPlace(file.path), h("small", {}, ` ${percent(file.cost / this.total)}`))));
    this.element = h("div", { class: "source" }, h("div", { class: "text-side" }, this.tabs, this.place), this.details);
    this.element.reveal = (target) => this.reveal(target);
    if (this.files.length) this.open(this.files[0].path);
    else this.place.append(h("p", { class: "empty" }, "The files are not on the machine that wrote this page."));
    this.overview();
  }

  costOf(path) {
    return this.data.lines.reduce((sum, one) => sum + (one.where.startsWith(`${path}:`) ? one.cost : 0), 0);
  }

  open(path) {
    if (this.path === path) return;
    this.path = path;
    const file = this.files.find((one) => one.path === path);
    this.view?.destroy();
    this.tabs.childNodes.forEach((tab, index) => tab.setAttribute("aria-selected", String(this.files[index].path === path)));
    const most = Math.max(1, ...this.data.lines.filter((one) => one.where.startsWith(`${path}:`)).map((one) => one.cost));
    this.view = reader(this.place, file.text, {
      language: "python", label: path,
      beside: (line) => {
        const found = this.byPlace.get(`${path}:${line}`);
        return found ? () => this.beside(found, most) : null;
      },
      chosen: (line) => this.choose(`${path}:${line}`),
    });
    const costly = this.data.lines.find((one) => one.cost === most && one.where.startsWith(`${path}:`));
    if (costly) scrollTo(this.view, placeOf(costly.where).line);
  }

  beside(found, most) {
    const stages = stagesOf(found).slice(0, 4);
    const sends = this.data.transfers.some((one) => one.where === found.where);
    return h("span", { class: "beside-line", title: `${percent(found.cost / this.total)} of the step's operations` },
      h("i", { class: "heat", style: `--part:${Math.sqrt(found.cost / most)}` }),
      stages.map((stage) => h("i", { class: "stage", style: `background:${stageColour(stage)};color:${stageInk(stage)}` }, stage)),
      sends && h("i", { class: "sends", title: "what it makes crosses to another island" }, "→"));
  }

  overview() {
    const rows = [...this.data.lines].filter((one) => one.where).sort((a, b) => b.cost - a.cost).slice(0, 25);
    this.details.replaceChildren(
      h("h3", {}, "Lines that cost most"),
      h("p", { class: "hint" }, "Beside each line: its share of the operations, its stages, and → if what it makes crosses to another island."),
      table([["line"], ["of the step", true], ["stages"]], rows.map((one) => [
        link(shortPlace(one.where), () => this.reveal({ where: one.where }), one.where), percent(one.cost / this.total), stagesOf(one).join(", "),
      ])));
  }

  choose(where) {
    const found = this.byPlace.get(where);
    const sent = this.data.transfers.filter((one) => one.where === where);
    const needed = this.data.transfers.filter((one) => (one.users ?? []).some((user) => user.where === where));
    if (!found && !sent.length && !needed.length) {
      this.details.replaceChildren(h("h3", {}, shortPlace(where)), h("p", {}, "No operation of the step is from this line."), link("lines that cost most", () => this.overview()));
      return;
    }
    this.details.replaceChildren(...[
      h("h3", {}, shortPlace(where)),
      found && h("p", {}, `${plural(found.operations, "operation")}, ${count(found.cost)} floating-point operations a step: ${percent(found.cost / this.total)} of all.`),
      found && table([["task"], ["island"], ["operations", true], ["of the line", true]],
        [...found.tasks].sort((a, b) => b[2] - a[2]).map(([task, island, cost]) => [task, island, count(cost), percent(cost / Math.max(1, found.cost))])),
      sent.length > 0 && h("h4", {}, "What it makes crosses"),
      sent.length > 0 && transferTable(sent, this.show),
      needed.length > 0 && h("h4", {}, "It needs what crosses"),
      needed.length > 0 && transferTable(needed, this.show),
      h("p", {}, link("its operations in the IR", () => this.show("ir", { where })), " · ", link("lines that cost most", () => this.overview())),
    ].filter(Boolean));
  }

  async reveal({ where, task }) {
    if (task) return this.revealTask(task);
    const place = placeOf(where);
    if (!place || !this.files.some((one) => one.path === place.file)) {
      this.choose(where);
      return;
    }
    this.open(place.file);
    goTo(this.view, place.line);
    this.view.dispatch({ effects: markLines.of([{ line: place.line, name: "marked" }]) });
    this.choose(where);
  }

  revealTask(task) {
    const rolled = task.replace(/^(L\d+\.)?([A-Z])\d+@/, "$1$2");
    const found = this.data.lines.flatMap((one) => one.tasks.filter(([name]) => name === rolled).map(([, island, cost]) => ({ one, island, cost })));
    this.details.replaceChildren(
      h("h3", {}, `Lines of ${rolled}`),
      found.length ? table([["line"], ["operations", true]], found.sort((a, b) => b.cost - a.cost).slice(0, 60).map(({ one, cost }) => [
        one.where ? link(shortPlace(one.where), () => this.reveal({ where: one.where }), one.where) : "no line", count(cost),
      ])) : h("p", {}, "It is no task of the user's code, but of an exchange or the like."),
      link("lines that cost most", () => this.overview()));
  }
}

function stagesOf(line) {
  const found = line.tasks.map(([task]) => /[A-Z](\d+)/.exec(task)?.[1]).filter((one) => one !== undefined);
  return [...new Set(found)].map(Number).sort((a, b) => a - b);
}
