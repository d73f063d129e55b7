// The page: what the step is, in one line, and six ways to look at it. Panels are made when they are first shown.

import "./style.css";
import { loadData } from "./data.js";
import { h } from "./dom.js";
import { bytes, percent, plural, seconds } from "./format.js";
import { irPanel } from "./ir.js";
import { mapPanel } from "./map.js";
import { memoryPanel } from "./memory.js";
import { planPanel } from "./plan.js";
import { schedulePanel } from "./schedule.js";
import { sourcePanel } from "./source.js";

const PANELS = {
  overview: ["Overview", (data, show) => h("div", {}, mapPanel(data, show), h("h2", {}, "Where the time goes"), schedulePanel(data, show, { compact: true }))],
  schedule: ["Schedule", (data, show) => schedulePanel(data, show)],
  memory: ["Memory", memoryPanel],
  source: ["Source", sourcePanel],
  ir: ["IR", irPanel],
  plan: ["Plan and report", planPanel],
};

async function start() {
  const data = await loadData();
  const names = Object.keys(PANELS), made = new Map();
  const content = h("div", { id: "content" });
  const tabs = names.map((name, index) => h("button", {
    type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}`, title: `${index + 1}`, onclick: () => show(name),
  }, PANELS[name][0]));

  function show(name, target) {
    if (!made.has(name)) {
      const panel = h("section", { id: `panel-${name}`, role: "tabpanel", tabindex: 0, "aria-labelledby": `tab-${name}` });
      made.set(name, panel);
      content.append(panel);
      panel.append(PANELS[name][1](data, show));
    }
    for (const [other, panel] of made) panel.hidden = other !== name;
    tabs.forEach((tab, index) => {
      tab.setAttribute("aria-selected", String(names[index] === name));
      tab.tabIndex = names[index] === name ? 0 : -1;
    });
    history.replaceState(null, "", `#${name}`);
    if (target) made.get(name).firstChild.reveal?.(target);
  }

  const help = h("dialog", { class: "help" }, h("h2", {}, "Keys"), h("dl", {}, [
    ["1 to 6", "the panels"], ["← →", "on the tabs: the panel beside; in the schedule and in memory: the task beside"], ["↑ ↓", "in the schedule: the next island; in the list of passes: the next pass"],
    ["+ − 0", "in the schedule: zoom in, out, whole step"], ["Ctrl+F", "in a text: find in all of it"], ["t", "light or dark"], ["?", "this"],
  ].map(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])),
  h("form", { method: "dialog" }, h("button", {}, "close")));

  document.getElementById("page").replaceChildren(
    h("header", {},
      h("div", { class: "title" }, h("h1", {}, data.title), h("p", { class: "story" }, story(data))),
      h("div", { class: "figures" }, figures(data)),
      h("div", { class: "corner" },
        h("button", { type: "button", title: "light or dark (t)", "aria-label": "light or dark", onclick: turn }, "◐"),
        h("button", { type: "button", title: "keys (?)", "aria-label": "keys", onclick: () => help.showModal() }, "?"))),
    h("nav", { role: "tablist", "aria-label": "Panels", onkeydown: (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const index = (tabs.findIndex((tab) => tab.getAttribute("aria-selected") === "true") + step + names.length) % names.length;
      show(names[index]);
      tabs[index].focus();
    } }, tabs),
    content, help);

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, .cm-editor")) return;
    if (event.key >= "1" && event.key <= String(names.length)) show(names[Number(event.key) - 1]);
    else if (event.key === "t") turn();
    else if (event.key === "?") help.showModal();
  });
  const asked = location.hash.slice(1);
  show(names.includes(asked) ? asked : names[0]);
  document.documentElement.dataset.ready = "yes";
}

function turn() {
  const root = document.documentElement;
  const dark = (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  root.dataset.theme = dark ? "light" : "dark";
  dispatchEvent(new Event("atoll-theme"));
}

// What was made of the function, in a sentence.
function story(data) {
  const parts = [`${plural(data.stages, "stage")} on ${plural(data.islands.length, "island")}`];
  if (data.replicas > 1) parts.push(`${data.replicas} replicas`);
  if (data.microbatches) parts.push(`${plural(data.microbatches, "microbatch")}${data.replicas > 1 ? " each" : ""}`);
  if (data.schedule) parts.push(`schedule ${data.schedule}`);
  return parts.map((part, index) => h("span", {}, index < parts.length - 1 ? `${part},` : part));
}

function figures(data) {
  const figure = (name, value, note) => h("div", { class: "figure" }, h("span", { class: "what" }, name), h("b", {}, value), h("small", {}, note));
  const worst = data.memory.reduce((one, other) => (other.peak > one.peak ? other : one));
  const crossing = data.links.reduce((sum, one) => sum + one.bytes, 0);
  return [
    data.timelines.map((line) => figure(`step, ${line.name}`, seconds(line.step), `islands pause ${percent(line.bubble)} of it`)),
    figure("crosses in a step", bytes(crossing), `over ${plural(data.links.length, "one-way link")}`),
    figure("peak memory", bytes(worst.peak), `a device of ${worst.island}`),
  ];
}

start().catch((error) => {
  document.getElementById("page").textContent = `This page cannot be shown: ${error}`;
  throw error;
});
