// Islands as a map: what each has and does, and what crosses between them. A row for each replica.

import { h, s, table, link } from "./dom.js";
import { bytes, count, percent, plural, shortPlace } from "./format.js";
import { stageColour, stageInk } from "./palette.js";

const BOX = { width: 214, height: 118 }, GAP = { x: 128, y: 92 }, COLUMNS = 3;
const MOVED = 5; // values in the overview, which leave room for the schedule below

export function mapPanel(data, show) {
  const details = h("aside", { class: "details", "aria-live": "polite", id: "map-details" });
  const places = layout(data.islands);
  const at = Object.fromEntries(data.islands.map((island, index) => [island.name, places[index]]));
  const arrows = data.links.map((one) => ({ one, ...route(at[one.source], at[one.target]) }));
  // Arrows that go around islands need room beside and below these.
  const points = [...places, ...places.map((one) => ({ x: one.x + BOX.width, y: one.y + BOX.height })), ...arrows.map((one) => one.label)];
  const side = (name, pick) => pick(...points.map((point) => point[name]));
  const [left, top] = [side("x", Math.min) - 34, side("y", Math.min) - 30];
  const [width, height] = [side("x", Math.max) + 34 - left, side("y", Math.max) + 18 - top];
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
  const largest = Math.max(1, ...data.links.map((one) => one.bytes));
  const drawing = s("svg", {
    class: "map", viewBox: `${left} ${top} ${width} ${height}`, style: `max-width:${width}px;min-width:${Math.round(width * 0.7)}px`, role: "group",
    "aria-label": "Islands and what crosses between them",
  },
  s("defs", {}, s("marker", { id: "tip", viewBox: "0 0 8 8", refX: 5, refY: 4, markerWidth: 13, markerHeight: 13, markerUnits: "userSpaceOnUse", orient: "auto" },
    s("path", { d: "M0 0.6 L7.5 4 L0 7.4 z", class: "tip" }))),
  data.replicas > 1 && rowsOf(places).map((y, index) => s("text", { x: 0, y: y - 9, class: "replica" }, `replica ${index}`)),
  arrows.map((found) => arrow(found, largest, pickable, () => linkDetails(data, found.one, show))),
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
  let y = 0;
  for (const members of rows.values()) {
    members.forEach((island, index) => {
      const line = Math.floor(index / COLUMNS), column = line % 2 ? COLUMNS - 1 - (index % COLUMNS) : index % COLUMNS;
      places.set(island.name, { x: column * (BOX.width + GAP.x), y: y + line * (BOX.height + GAP.y), first: line === 0 && index === 0 });
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
      s("text", { x: 29 + index * 38, y: 47, class: "chip", style: `fill:${stageInk(stage)}` }, `s${stage}`),
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

// The way of an arrow: straight to a neighbour, bent a little to the side so that both directions are seen; and around
// what stands between two islands of a row or a column.
function route(source, target) {
  const [from, to] = [centre(source), centre(target)];
  const [dx, dy] = [to.x - from.x, to.y - from.y], length = Math.hypot(dx, dy) || 1;
  const across = { x: -dy / length, y: dx / length };
  const columns = Math.abs(dx) / (BOX.width + GAP.x), rows = Math.abs(dy) / (BOX.height + GAP.y);
  if ((rows < 0.1 && columns > 1.1) || (columns < 0.1 && rows > 1.1)) return around(from, to, across, Math.max(rows, columns));
  const isFlat = rows < 0.1, apart = isFlat ? 17 : 26, bend = rows + columns > 1.1 ? 26 : 0;
  const shifted = (point) => ({ x: point.x + across.x * apart, y: point.y + across.y * apart });
  const [start, end] = [shifted(edge(from, to)), shifted(edge(to, from))];
  const middle = { x: (start.x + end.x) / 2 + across.x * bend, y: (start.y + end.y) / 2 + across.y * bend };
  const label = { x: (start.x + end.x) / 4 + middle.x / 2, y: (start.y + end.y) / 4 + middle.y / 2 };
  return {
    path: `M${start.x} ${start.y} Q${middle.x} ${middle.y} ${end.x} ${end.y}`,
    label: isFlat ? { x: label.x, y: label.y + (across.y > 0 ? 15 : -7) } : { x: label.x + Math.sign(across.x) * 7, y: label.y + 4 },
    anchor: isFlat ? "middle" : across.x > 0 ? "start" : "end",
  };
}

// From side to side of two islands, as far out as there are islands to go around.
function around(from, to, across, steps) {
  const isFlat = Math.abs(across.y) > 0.5, out = 16 + 26 * steps;
  const begin = (point, shift) => ({
    x: point.x + (isFlat ? shift : across.x * (BOX.width / 2 + 6)),
    y: point.y + (isFlat ? across.y * (BOX.height / 2 + 6) : shift),
  });
  const away = (point) => ({ x: point.x + across.x * out * 1.3, y: point.y + across.y * out * 1.3 });
  const sign = isFlat ? Math.sign(to.x - from.x) : Math.sign(to.y - from.y);
  const [start, end] = [begin(from, sign * 12 * steps), begin(to, -sign * 12 * steps)], [one, two] = [away(start), away(end)];
  const label = { x: (start.x + 3 * one.x + 3 * two.x + end.x) / 8, y: (start.y + 3 * one.y + 3 * two.y + end.y) / 8 };
  return {
    path: `M${start.x} ${start.y} C${one.x} ${one.y} ${two.x} ${two.y} ${end.x} ${end.y}`,
    label: isFlat ? { x: label.x, y: label.y + (across.y > 0 ? 12 : -5) } : { x: label.x + Math.sign(across.x) * 5, y: label.y + 4 },
    anchor: isFlat ? "middle" : across.x > 0 ? "start" : "end",
  };
}

function arrow({ one, path, label, anchor }, largest, pickable, content) {
  const width = 1.2 + 2.2 * Math.sqrt(one.bytes / largest), text = bytes(one.bytes);
  const isSlight = one.bytes * 1000 < largest; // such as scalars, of which there may be many
  return pickable(
    { class: isSlight ? "arrow slight" : "arrow", "aria-label": `${one.source} to ${one.target}, ${text}` }, content,
    s("title", {}, `${one.source} → ${one.target}: ${text}`),
    s("path", { d: path, class: "wide" }),
    s("path", { d: path, class: "line", "stroke-width": width, "marker-end": "url(#tip)" }),
    !isSlight && s("text", { ...label, class: "crossing halo", "text-anchor": anchor }, text));
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
  const rows = largestFirst(data.transfers);
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
    values.length > 0 && transferTable(largestFirst(values), show),
    exchanges.length > 0 && h("h4", {}, "Sums that replicas exchange"),
    exchanges.length > 0 && table([["after"], ["form"], ["values", true], ["bytes", true]],
      exchanges.map((value) => [value.task ? `the last ${value.task}` : "the loop", value.form, value.sums, bytes(value.bytes)])),
  ].filter(Boolean);
}

const largestFirst = (transfers) => [...transfers].sort((a, b) => b.bytes * b.times - a.bytes * a.times);

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
