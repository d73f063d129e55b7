// The memory of each island while its tasks run, one after the other, and the buffers that make the peak.

import { h, s, table, link } from "./dom.js";
import { bytes, percent } from "./format.js";

const WIDTH = 560, HEIGHT = 150, LEFT = 74, BOTTOM = 22, TOP = 14;

export function memoryPanel(data, show) {
  const sections = new Map();
  const most = Math.max(...data.memory.map((one) => one.peak), 1);
  const element = h("div", { class: "memory" },
    h("p", { class: "hint" }, "Bytes on each device of an island while its tasks run, in their order. Point at a task, or go there by arrow keys, to see how much is alive; the table lists what the peak is made of."),
    data.memory.map((one) => {
      const island = data.islands.find((other) => other.name === one.island);
      const section = h("section", { id: `memory-${one.island}` },
        h("h3", {}, one.island, h("small", {}, ` peak ${bytes(one.peak)}${one.at ? ` in ${one.at}` : " before the first task"}${island.memory ? `, ${percent(one.peak / island.memory)} of ${bytes(island.memory)}` : ""}`)),
        h("div", { class: "memory-row" }, chart(one, island, Math.max(most, island.memory ?? 0)), held(one)));
      sections.set(one.island, section);
      return section;
    }));
  element.reveal = ({ island }) => {
    sections.get(island)?.scrollIntoView({ block: "start" });
    element.querySelectorAll("section.picked").forEach((one) => one.classList.remove("picked"));
    sections.get(island)?.classList.add("picked");
  };
  return element;
}

function chart(one, island, most) {
  const points = one.points.length ? one.points : [["", one.peak]];
  const wide = (WIDTH - LEFT) / points.length;
  const y = (size) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - size / most);
  const said = h("output", { class: "hint" }, "\u00a0");
  const steps = points.map(([, size], index) => `${index ? "L" : "M"}${LEFT + index * wide} ${y(size)}H${LEFT + (index + 1) * wide}`).join("");
  const every = Math.ceil(points.length / 10);
  const here = s("line", { y1: TOP, y2: HEIGHT - BOTTOM, class: "here", visibility: "hidden" });
  let told = -1;
  const tell = (index) => {
    told = Math.max(0, Math.min(points.length - 1, index));
    const [task, size] = points[told], x = LEFT + (told + 0.5) * wide;
    said.textContent = task ? `${task}: ${bytes(size)} alive at most` : "\u00a0";
    for (const [name, value] of Object.entries({ x1: x, x2: x, visibility: "visible" })) here.setAttribute(name, value);
  };
  const byKey = { ArrowLeft: () => told - 1, ArrowRight: () => told + 1, Home: () => 0, End: () => points.length - 1 };
  const drawing = s("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "area", role: "application", tabindex: 0,
    "aria-label": `Memory of ${one.island}, peak ${bytes(one.peak)}. Left and right arrows go from task to task.`,
    onkeydown: (event) => {
      if (!byKey[event.key]) return;
      event.preventDefault();
      tell(byKey[event.key]());
    },
    onpointermove: (event) => {
      const frame = drawing.getBoundingClientRect(), x = ((event.clientX - frame.left) / frame.width) * WIDTH;
      tell(Math.floor((x - LEFT) / wide));
    },
  },
  [0, 0.5, 1].map((part) => [
    s("line", { x1: LEFT, x2: WIDTH, y1: y(part * most), y2: y(part * most), class: "grid" }),
    s("text", { x: LEFT - 6, y: y(part * most) + 4, class: "small end" }, bytes(part * most)),
  ]),
  s("path", { d: `${steps}V${y(0)}H${LEFT}z`, class: "fill" }),
  s("path", { d: steps, class: "edge" }),
  here,
  s("line", { x1: LEFT, x2: WIDTH, y1: y(island.input_bytes), y2: y(island.input_bytes), class: "inputs" }),
  s("text", { x: WIDTH - 2, y: y(island.input_bytes) - 4, class: "small end halo" }, "arguments"),
  island.memory && [s("line", { x1: LEFT, x2: WIDTH, y1: y(island.memory), y2: y(island.memory), class: "limit" }), s("text", { x: WIDTH - 2, y: y(island.memory) + 12, class: "small end" }, "limit")],
  points.map(([task, size], index) => task === one.at && size === one.peak && s("circle", { cx: LEFT + (index + 0.5) * wide, cy: y(size), r: 4, class: "top" })),
  points.map(([task], index) => index % every === 0 && s("text", { x: LEFT + (index + 0.5) * wide, y: HEIGHT - 6, class: "small middle" }, task)));
  return h("div", { class: "memory-chart" }, drawing, said);
}

function held(one) {
  const rows = one.held.map((buffer) => {
    const size = buffer.bytes * buffer.count, part = size / Math.max(1, one.peak);
    return [
      h("span", {}, h("code", {}, buffer.path || buffer.what), buffer.path && h("small", {}, ` ${buffer.what}`)),
      buffer.count > 1 ? `${bytes(buffer.bytes)} × ${buffer.count}` : bytes(buffer.bytes),
      h("span", { class: "share", style: `--part:${part}` }, percent(part)),
      buffer.born === "argument" ? "argument" : buffer.born,
      buffer.end,
    ];
  });
  const shown = rows.slice(0, 8), rest = rows.slice(8);
  const place = h("div", {}, table([["alive at the peak"], ["bytes", true], ["of it"], ["made by"], ["then"]], shown));
  if (rest.length) {
    const more = link(`and ${rest.length} smaller`, () => place.replaceChildren(table([["alive at the peak"], ["bytes", true], ["of it"], ["made by"], ["then"]], rows)));
    place.append(more);
  }
  return place;
}
