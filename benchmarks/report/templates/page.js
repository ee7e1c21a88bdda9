const find = (selector, within = document) => within.querySelector(selector);
const findAll = (selector, within = document) => [...within.querySelectorAll(selector)];
const DATA = JSON.parse(find("#data").textContent);
const SVG = "http://www.w3.org/2000/svg";

// An element with attributes (on…: listeners; null, false: none) and children; text is never read as markup.
function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("aria-")) element.setAttribute(name, value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

function swatch(row) {
  const path = draw("path", { d: row.shape });
  path.style.fill = row.colour;
  return draw("svg", { class: "swatch", viewBox: "-1.2 -1.2 2.4 2.4", "aria-hidden": "true" }, path);
}

function lineSwatch(row) {
  const line = draw("line", { x1: 0, x2: 34, y1: 8, y2: 8, "stroke-width": 2, "stroke-dasharray": row.dash.join(" ") });
  line.style.stroke = row.colour;
  const shape = draw("path", { d: row.shape, transform: "translate(17 8) scale(5)" });
  shape.style.fill = row.colour;
  return draw("svg", { class: "line-swatch", viewBox: "0 0 34 16", "aria-hidden": "true" }, line, shape);
}

const bytesOf = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));

async function inflate(base64) {
  const stream = new Blob([bytesOf(base64)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

// The address: #board?benchmark=… or #view?run=…&query=…; other fragments are places of the page.
function fromAddress() {
  const [place, query] = location.hash.slice(1).split("?");
  return { place, values: new URLSearchParams(query ?? "") };
}

function toAddress(place, values) {
  const known = Object.entries(values).filter(([, value]) => value !== null && value !== "");
  history.replaceState(null, "", `#${place}?${new URLSearchParams(known)}`);
}
