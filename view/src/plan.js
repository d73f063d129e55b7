// What was asked for, what was decided, and what other choices would have cost.

import { h, table } from "./dom.js";
import { bytes, count, percent, seconds } from "./format.js";
import { placeLink } from "./map.js";

export function planPanel(data, show) {
  const chosen = data.alternatives.find((one) => one.chosen);
  return h("div", { class: "plan" },
    h("section", {}, h("h3", {}, "Plan"),
      h("dl", {}, h("dt", {}, "asked"), h("dd", {}, h("code", {}, data.plan.asked)),
        h("dt", {}, "resolved"), h("dd", {}, h("code", {}, data.plan.resolved)),
        h("dt", {}, "topology"), h("dd", {}, h("pre", {}, data.topology)))),
    data.alternatives.length > 0 && h("section", {}, h("h3", {}, "Schedule, and what another one would take"),
      h("p", { class: "hint" }, "Simulated for the stages as they are cut and for the speed that is assumed of devices. Activations: how many microbatches' an island holds at most."),
      table([["schedule"], ["step", true], ["against it", true], ["pauses", true], ["activations", true]], data.alternatives.map((one) => ({
        attributes: one.chosen ? { class: "chosen" } : {},
        cells: [one.chosen ? `${one.name} (this one)` : one.name, seconds(one.step), one.chosen ? "" : signed(one.step / chosen.step - 1), percent(one.bubble), one.activations.toFixed(1)],
      })))),
    data.stage_costs.length > 0 && h("section", {}, h("h3", {}, "Stages"),
      h("p", { class: "hint" }, "For one microbatch: floating-point operations of each kind of task, and what is sent."),
      table([["stage", true], ["island"], ["forward", true], ["backward", true], ["weight", true], ["sends forward", true], ["sends back", true]],
        data.stage_costs.map((one, stage) => [stage, one.island, count(one.forward), count(one.backward), count(one.weight), bytes(one.forward_bytes), bytes(one.backward_bytes)]))),
    data.notes.length > 0 && h("section", {}, h("h3", {}, "What passes decided or could not do"),
      h("ul", {}, data.notes.map((note) => h("li", {}, note.text, " ", placeLink(note.where, show))))),
    data.shared.length > 0 && h("section", {}, h("h3", {}, "Arguments that several islands use"),
      table([["argument"], ["lives on"], ["because it is"], ["sent to"], ["bytes", true]],
        data.shared.map((one) => [h("code", {}, one.path), one.home, one.why, one.islands.slice(1).join(", "), bytes(one.bytes)]))),
    h("section", {}, h("h3", {}, "Report"), h("pre", { class: "report", id: "report-text" }, data.report)));
}

const signed = (part) => `${part >= 0 ? "+" : "−"}${Math.abs(100 * part).toFixed(1)}%`;
