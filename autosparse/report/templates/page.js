// What makes the page answer: a tip for the point of a figure that is nearest, and tables that sort and filter.
// Without it, nothing is missing but that.
"use strict";

const NEAR = 40; // pixels from a point at which its tip shows

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function makePlot(box) {
  const script = box.querySelector('script[type="application/json"]');
  if (!script) return;
  const { texts, points } = JSON.parse(script.textContent);
  const canvas = box.querySelector(".canvas");
  const ring = element("div", { className: "ring", hidden: true });
  const tip = element("div", { className: "tip", hidden: true });
  tip.setAttribute("role", "status");
  canvas.append(ring);
  box.after(tip);
  let shown = -1;
  let pinned = false; // then the tip stays, so that its links can be reached

  function nearest(event) {
    const area = canvas.getBoundingClientRect();
    let best = -1;
    let least = NEAR;
    points.forEach(([x, y], index) => {
      const distance = Math.hypot(area.left + x * area.width - event.clientX, area.top + y * area.height - event.clientY);
      if (distance < least) [best, least] = [index, distance];
    });
    return best;
  }

  function hide() {
    shown = -1;
    pinned = false;
    tip.hidden = ring.hidden = true;
  }

  function show(index) {
    if (index === shown) return;
    if (index < 0) return hide();
    shown = index;
    const [x, y, lines, runs = []] = points[index];
    const rows = lines.map((line, place) => element(place ? "div" : "strong", {}, texts[line]));
    tip.replaceChildren(...rows, ...runs.map(aboutRun));
    tip.hidden = ring.hidden = false;
    ring.style.left = `${100 * x}%`;
    ring.style.top = `${100 * y}%`;
    place();
  }

  function place() {
    const [at, room] = [ring.getBoundingClientRect(), tip.parentElement.getBoundingClientRect()];
    const right = at.right - room.left + 8;
    const left = right + tip.offsetWidth <= room.width ? right : at.left - room.left - tip.offsetWidth - 8;
    const top = at.bottom - room.top + 4;
    const up = at.bottom + 4 + tip.offsetHeight > window.innerHeight && at.top > tip.offsetHeight;
    tip.style.left = `${Math.max(0, Math.min(left, room.width - tip.offsetWidth))}px`;
    tip.style.top = `${up ? at.top - room.top - tip.offsetHeight - 4 : top}px`;
  }

  box.addEventListener("pointermove", (event) => pinned || show(nearest(event)));
  box.addEventListener("pointerleave", () => pinned || hide());
  box.addEventListener("scroll", hide);
  box.addEventListener("click", (event) => {
    const index = nearest(event);
    if (pinned && index === shown) return hide();
    show(index);
    pinned = index >= 0;
  });
  box.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") hide();
    if (!step) return;
    event.preventDefault();
    const from = shown < 0 && step < 0 ? 0 : shown; // to the left of nothing lies the last one
    show((from + step + points.length) % points.length);
    pinned = true;
  });
  tip.addEventListener("leave", hide);
}

function aboutRun([text, run]) {
  const base = document.body.dataset.runs; // only of a tracking server that a browser can open
  return element("div", {}, base ? element("a", { href: base + run, target: "_blank", rel: "noopener" }, text) : text);
}

// The value by which a cell is sorted: a number, a text, or null where there is nothing.
function keyOf(cell) {
  if (!cell || cell.classList.contains("none")) return null;
  const text = cell.dataset.sort ?? (cell.firstChild?.textContent ?? "").trim();
  const number = Number(text);
  return text === "" ? null : Number.isFinite(number) ? number : text;
}

function compare(a, b) {
  if (typeof a === typeof b) return typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true });
  return typeof a === "number" ? -1 : 1;
}

function sortRows(rows, column, descending) {
  const keyed = rows.map((row) => [keyOf(row.cells[column]), row]);
  const full = keyed.filter(([key]) => key !== null).sort(([a], [b]) => (descending ? compare(b, a) : compare(a, b)));
  return [...full, ...keyed.filter(([key]) => key === null)].map(([, row]) => row);
}

function makeSortable(table) {
  const body = table.tBodies[0];
  const before = [...body.rows];
  const heads = [...table.tHead.rows[0].cells].filter((cell) => cell.localName === "th");
  heads.forEach((head) => {
    const button = element("button", { type: "button", title: "sort" }, ...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const numeric = before.some((row) => typeof keyOf(row.cells[head.cellIndex]) === "number");
      const order = numeric ? ["descending", "ascending"] : ["ascending", "descending"]; // the third click undoes both
      const next = order[order.indexOf(head.getAttribute("aria-sort")) + 1];
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (next) head.setAttribute("aria-sort", next);
      body.append(...(next ? sortRows(before, head.cellIndex, next === "descending") : before));
    });
  });
}

function makeFilter(table) {
  const rows = [...table.tBodies[0].rows];
  const field = element("input", { type: "search", placeholder: "filter rows" });
  const count = element("output", {});
  field.setAttribute("aria-label", "Filter the rows of the table below");
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row) => (row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word))));
    count.value = words.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows` : "";
  });
  table.parentElement.before(element("p", { className: "filter" }, field, count));
}

function enliven(part) {
  part.querySelectorAll(".plot").forEach(makePlot);
  part.querySelectorAll(".scroll > table:not(.square)").forEach((table) => {
    const rows = table.tBodies[0].rows.length;
    if (rows > 1) makeSortable(table);
    if (rows > 5) makeFilter(table);
  });
}

document.addEventListener("click", (event) => {
  document.querySelectorAll(".tip:not([hidden])").forEach((tip) => {
    const figure = [tip, tip.previousElementSibling];
    if (!figure.some((one) => one.contains(event.target))) tip.dispatchEvent(new Event("leave"));
  });
});
enliven(document.body);
