// Islands as a map: what each has and does, and what crosses between them. A row for each replica.

import { h, s, table, link } from "./dom.js";
import { bytes, count, percent, plural, shortPlace } from "./format.js";
import { stageColour, stageInk } from "./palette.js";

const BOX = { width: 214, height: 118 }, GAP = { x: 128, y: 92 }, MARGIN = 18, COLUMNS = 6;
const MOVED = 5; // values in the overview, which leave room for the schedule below

export function mapPanel(data, show) {
  const details = h("aside", { class: "details", "aria-live": "polite", id: "map-details" });
  const places = layout(data.islands);
  const width = Math.max(...places.map((one) => one.x)) + BOX.width + MARGIN;
  const height = Math.max(...places.map((one) => one.y)) + BOX.height + MARGIN;
  const picked = (element, content) => {
    drawing.querySelectorAll(".picked").forEach((one) => one.classList.remove("picked"));
    element.classList.add("picked");
    details.replaceChildren(...content);
  };
  const pickable = (attributes, content, ...children) => {
    const group = s("g", {
      tabindex: 0, role: "button", ...attributes,
      onclick: () => picked(group, content()),
      onkeydown: (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        picked(group, content());
      },
    }, ...children);
    return group;
  };
  const at = Object.fromEntries(data.islands.map((island, index) => [island.name, places[index]]));
  const largest = Math.max(1, ...data.links.map((one) => one.bytes));
  const drawing = s("svg", {
    class: "map", viewBox: `0 0 ${width} ${height}`, style: `max-width:${Math.max(width, 420)}px`, role: "group",
    "aria-label": "Islands and what crosses between them",
  },
  s("defs", {}, s("marker", { id: "tip", viewBox: "0 0 8 8", refX: 5, refY: 4, markerWidth: 13, markerHeight: 13, markerUnits: "userSpaceOnUse", orient: "auto" },
    s("path", { d: "M0 0.6 L7.5 4 L0 7.4 z", class: "tip" }))),
  data.replicas > 1 && rowsOf(places).map((y, index) => s("text", { x: MARGIN, y: y - 9, class: "replica" }, `replica ${index}`)),
  data.links.map((one) => arrow(one, at, largest, pickable, () => linkDetails(data, one, show))),
  data.islands.map((island, index) =>
    pickable(
      { class: "island", transform: `translate(${places[index].x} ${places[index].y})`, "aria-label": `${island.name}, stages ${island.stages.join(", ")}` },
      () => islandDetails(data, island, show),
      box(data, island))));
  details.append(...overview(data, show));
  return h("div", { class: "map-and-details" }, h("div", { class: "drawing" }, drawing), details);
}

function layout(islands) {
  const rows = new Map();
  islands.forEach((island) => rows.set(island.replica, [...(rows.get(island.replica) ?? []), island]));
  const places = new Map();
  let y = MARGIN + 16;
  for (const members of rows.values()) {
    members.forEach((island, index) => {
      const line = Math.floor(index / COLUMNS), column = line % 2 ? COLUMNS - 1 - (index % COLUMNS) : index % COLUMNS;
      places.set(island.name, { x: MARGIN + column * (BOX.width + GAP.x), y: y + line * (BOX.height + GAP.y), first: line === 0 && index === 0 });
    });
    y += (Math.floor((members.length - 1) / COLUMNS) + 1) * (BOX.height + GAP.y);
  }
  return islands.map((island) => places.get(island.name));
}

const rowsOf = (places) => places.filter((one) => one.first).map((one) => one.y);

function box(data, island) {
  const most = Math.max(...data.islands.map((one) => one.peak_bytes), 1);
  const total = data.islands.reduce((sum, one) => sum + one.cost, 0) || 1;
  const limit = island.memory ?? most;
  const bar = (y, part, name, value) => [
    s("text", { x: 12, y, class: "small" }, name),
    s("rect", { x: 62, y: y - 8, width: 82, height: 7, rx: 2, class: "track" }),
    s("rect", { x: 62, y: y - 8, width: 82 * Math.min(1, part), height: 7, rx: 2, class: "level" }),
    s("text", { x: BOX.width - 10, y, class: "small end" }, value),
  ];
  const shown = island.stages.slice(0, 5);
  return [
    s("rect", { width: BOX.width, height: BOX.height, rx: 8, class: "box" }),
    s("text", { x: 12, y: 22, class: "name" }, island.name),
    s("text", { x: BOX.width - 10, y: 22, class: "small end" }, `${plural(island.devices, `${island.kind} device`)}`),
    shown.map((stage, index) => [
      s("rect", { x: 12 + index * 38, y: 33, width: 34, height: 20, rx: 4, fill: stageColour(stage) }),
      s("text", { x: 29 + index * 38, y: 47, class: "chip", fill: stageInk(stage) }, `s${stage}`),
    ]),
    island.stages.length > 5 && s("text", { x: 12 + 5 * 38, y: 47, class: "small" }, "…"),
    !shown.length && s("text", { x: 12, y: 47, class: "small" }, "no stage"),
    bar(74, island.cost / total, "work", percent(island.cost / total)),
    bar(90, island.peak_bytes / limit, "memory", bytes(island.peak_bytes)),
    s("text", { x: 12, y: 107, class: "small" }, "tasks"),
    s("text", { x: 62, y: 107, class: "small" }, clipped(island.tasks.join(" "), 25)),
  ];
}

const clipped = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

// An arrow from border to border, bent a little to the side, so that both directions are seen.
function arrow(one, at, largest, pickable, content) {
  const [from, to] = [centre(at[one.source]), centre(at[one.target])];
  const length = Math.hypot(to.x - from.x, to.y - from.y) || 1;
  const across = { x: -(to.y - from.y) / length, y: (to.x - from.x) / length };
  const flat = Math.abs(to.y - from.y) < 1;
  const apart = flat ? 17 : 26, near = Math.max(length / (BOX.width + GAP.x), 1);
  const bend = length > (flat ? BOX.width + GAP.x : BOX.height + GAP.y) + 1 ? 40 + 12 * near : 0;
  const shifted = (point) => ({ x: point.x + across.x * apart, y: point.y + across.y * apart });
  const [start, end] = [shifted(edge(from, to)), shifted(edge(to, from))];
  const middle = { x: (start.x + end.x) / 2 + across.x * bend, y: (start.y + end.y) / 2 + across.y * bend };
  const width = 1.2 + 2.2 * Math.sqrt(one.bytes / largest);
  const path = `M${start.x} ${start.y} Q${middle.x} ${middle.y} ${end.x} ${end.y}`;
  const text = bytes(one.bytes);
  const label = { x: (start.x + end.x) / 4 + middle.x / 2, y: (start.y + end.y) / 4 + middle.y / 2 };
  const beside = flat ? { x: label.x, y: label.y + (across.y > 0 ? 15 : -7) } : { x: label.x + (across.x > 0 ? 7 : -7), y: label.y + 4 };
  return pickable(
    { class: "arrow", "aria-label": `${one.source} to ${one.target}, ${text}` }, content,
    s("path", { d: path, class: "wide" }),
    s("path", { d: path, class: "line", "stroke-width": width, "marker-end": "url(#tip)" }),
    s("text", { x: beside.x, y: beside.y, class: "crossing", "text-anchor": flat ? "middle" : across.x > 0 ? "start" : "end" }, text));
}

const centre = (place) => ({ x: place.x + BOX.width / 2, y: place.y + BOX.height / 2 });

// Where the line between two centres leaves the first box.
function edge(from, to) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const part = Math.min(Math.abs((BOX.width / 2 + 7) / (dx || 1e-9)), Math.abs((BOX.height / 2 + 8) / (dy || 1e-9)));
  return { x: from.x + dx * part, y: from.y + dy * part };
}

function overview(data, show) {
  const crossing = data.links.reduce((sum, one) => sum + one.bytes, 0);
  const rows = [...data.transfers].sort((a, b) => b.bytes * b.times - a.bytes * a.times);
  const place = h("div", {}, rows.length > 0 && transferTable(rows.slice(0, MOVED), show));
  if (rows.length > MOVED) {
    place.append(link(`and ${rows.length - MOVED} smaller`, () => place.replaceChildren(transferTable(rows, show))));
  }
  return [
    h("h3", {}, "What moves"),
    h("p", {}, data.links.length
      ? `${bytes(crossing)} cross between islands in each step. Choose an island or an arrow to see what and why.`
      : "Nothing crosses between islands. Choose an island to see what it has."),
    place,
    data.notes.length > 0 && h("h3", {}, "What was decided"),
    ...data.notes.slice(0, 6).map((note) => h("p", { class: "note" }, note.text, " ", placeLink(note.where, show))),
  ].filter(Boolean);
}

function islandDetails(data, island, show) {
  return [
    h("h3", {}, island.name),
    h("dl", {},
      pair("devices", `${plural(island.devices, `${island.kind} device`)}${island.axes.length ? `: ${island.axes.map(([name, size]) => `${name}=${size}`).join(", ")}` : ""}`),
      pair("stages", island.stages.join(", ") || "none"),
      pair("work", `${count(island.cost)} operations a step`),
      pair("memory", `${bytes(island.peak_bytes)} at the peak, ${bytes(island.input_bytes)} of it arguments${island.memory ? `; limit ${bytes(island.memory)}` : ""} (each device)`),
      pair("tasks", island.tasks.join(", "))),
    h("h4", {}, "Arguments that live here"),
    table([["argument"], ["bytes", true]], island.arguments.slice(0, 60).map(([path, size]) => [h("code", {}, path), bytes(size)])),
    island.arguments.length > 60 && h("p", {}, `and ${island.arguments.length - 60} smaller ones`),
    link("its memory over the step", () => show("memory", { island: island.name })),
  ].filter(Boolean);
}

function linkDetails(data, one, show) {
  const names = data.islands.map((island) => island.name);
  const per = names.length / data.replicas;
  const first = (name) => names[names.indexOf(name) % per];
  const sameReplica = Math.floor(names.indexOf(one.source) / per) === Math.floor(names.indexOf(one.target) / per);
  const values = sameReplica
    ? data.transfers.filter((value) => value.source === first(one.source) && value.target === first(one.target))
    : [];
  const exchanges = data.exchanges.filter((value) => value.islands.includes(one.source) && value.islands.includes(one.target));
  return [
    h("h3", {}, `${one.source} → ${one.target}`),
    h("p", {}, `${bytes(one.bytes)} a step over ${one.text}${one.is_default ? ", which is assumed: the topology does not say" : ""}.`),
    values.length > 0 && transferTable(values, show),
    exchanges.length > 0 && h("h4", {}, "Sums that replicas exchange"),
    exchanges.length > 0 && table([["after"], ["form"], ["values", true], ["bytes", true]],
      exchanges.map((value) => [value.task ? `the last ${value.task}` : "the loop", value.form, value.sums, bytes(value.bytes)])),
  ].filter(Boolean);
}

// What crosses, and why: the value, the line that makes it, and the operation that needs it.
export function transferTable(values, show) {
  return table([["value"], ["bytes", true], ["made at"], ["needed by"]], values.map((one) => [
    h("span", {}, h("code", {}, one.value ?? one.where), one.type && h("small", {}, ` ${one.type}`)),
    `${bytes(one.bytes)}${one.times > 1 ? ` × ${one.times}` : ""}`,
    h("span", {}, one.task ? `${one.task} ` : "", placeLink(one.where, show)),
    h("span", {}, (one.users ?? []).slice(0, 3).map((user) => h("div", {}, user.task ? `${user.task}: ` : "", user.name, " ", placeLink(user.where, show))),
      (one.users?.length > 3 || one.more_users > 0) && h("small", {}, "and others")),
  ]));
}

export function placeLink(where, show) {
  if (!where) return null;
  return /:\d+$/.test(where) ? link(shortPlace(where), () => show("source", { where }), where) : h("code", {}, shortPlace(where));
}

const pair = (name, value) => [h("dt", {}, name), h("dd", {}, value)];
