// Makes elements. Text is always text, never markup: names come from users' programs.

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== undefined && child !== null && child !== false) element.append(child);
  }
  return element;
}

export const h = (name, attributes, ...children) => filled(document.createElement(name), attributes, children);
export const s = (name, attributes, ...children) => filled(document.createElementNS(SVG, name), attributes, children);

// A table whose rows may be chosen; columns: [title, is it a number].
export function table(columns, rows, attributes) {
  const cells = (name, row) =>
    columns.map(([title, isNumber], index) =>
      h(name, { class: isNumber ? "number" : undefined, scope: name === "th" ? "col" : undefined }, row ? row[index] : title));
  return h("div", { class: "scroll" },
    h("table", attributes,
      h("thead", {}, h("tr", {}, cells("th"))),
      h("tbody", {}, rows.map((row) => h("tr", row.attributes ?? {}, cells("td", row.cells ?? row))))));
}

// A button that looks like a link and leads to another place of the page.
export const link = (text, onclick, title) => h("button", { class: "link", type: "button", onclick, title }, text);
