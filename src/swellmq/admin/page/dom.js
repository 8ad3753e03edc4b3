// Elements. Text goes in as text: there is no way from data to markup here, and none anywhere else on this page.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

// An element with attributes ("class", "aria-label", ...; a function is a listener) and children (elements or text).
export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// Set a text only where it differs: what does not change is not announced, and selections in it survive.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Make the children of `parent` those of `items`, keeping the element of every item that was there before: focus and
// selection stay where they are. `make(item)` makes an element, `update(element, item)` fills it.
export function keep(parent, items, key, make, update) {
  const wanted = new Set(items.map((item) => String(key(item))));
  for (const child of [...parent.children]) {
    if (!wanted.has(child.dataset.key)) child.remove();
  }
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    const child = before.get(name) ?? make(item);
    child.dataset.key = name;
    update(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
}

// A term and its value, for a <dl>.
export function fact(term, value) {
  return element("div", {}, element("dt", {}, term), element("dd", {}, value));
}
