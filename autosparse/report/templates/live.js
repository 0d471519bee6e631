// What keeps the page of `autosparse watch --web` up to date: it asks whether there is news, and puts the parts that
// have changed in their places. The reader's place, sorting, filters and opened parts stay.
"use strict";

{
  const KEPT = "table, .scroll, .plot, details, .filter input"; // what a reader may have changed
  const parts = (body) => [...body.children].filter((child) => child.localName !== "script");
  const sources = new Map(parts(document.body).map((part) => [part, part.outerHTML])); // before page.js changes them
  const live = () => document.getElementById("live");
  const SILENCE = "<p class='gone'>Nothing is heard of <code>autosparse watch</code>: this is how far it was. Start it again.</p>";
  let told = live().innerHTML; // how far the experiment is

  // Headings and what a reader may have changed, each by its title and its number below it.
  function named() {
    const found = new Map();
    const counts = {};
    let [title, below] = ["", ""];
    for (const one of document.querySelectorAll(`h1, h2, h3, ${KEPT}`)) {
      if (one.localName === "h2") [title, below] = [one.textContent, ""];
      if (one.localName === "h3") below = one.textContent;
      const kind = [title, below, one.localName, one.className].join("|");
      counts[kind] = (counts[kind] ?? 0) + 1;
      found.set(`${kind}|${counts[kind]}`, one);
    }
    return found;
  }

  const sortedHead = (table) => table.querySelector("th[aria-sort]");

  function state() {
    const elements = named();
    const kept = new Map();
    let anchor = null; // the first thing in sight
    for (const [name, one] of elements) {
      const area = one.getBoundingClientRect();
      if (!anchor && area.height && area.bottom > 0) anchor = { name, top: area.top };
      const head = one.localName === "table" ? sortedHead(one) : null;
      kept.set(one, {
        sorted: head && { text: head.textContent, order: head.getAttribute("aria-sort") },
        value: one.value,
        open: one.open,
        left: one.scrollLeft,
        focus: one === document.activeElement && [one.selectionStart, one.selectionEnd],
      });
    }
    return { elements, kept, anchor, y: window.scrollY };
  }

  function restore(before) {
    const elements = named();
    for (const [name, one] of elements) {
      const old = before.elements.get(name);
      if (!old || old === one) continue;
      const was = before.kept.get(old);
      const head = was.sorted && [...one.querySelectorAll("thead th")].find((th) => th.textContent === was.sorted.text);
      for (let clicks = 0; head && clicks < 2 && head.getAttribute("aria-sort") !== was.sorted.order; clicks++)
        head.querySelector("button")?.click();
      if (was.value) {
        one.value = was.value;
        one.dispatchEvent(new Event("input"));
      }
      if (one.localName === "details") one.open = was.open;
      one.scrollLeft = was.left;
      if (was.focus) {
        one.focus({ preventScroll: true });
        if (one.localName === "input") one.setSelectionRange(...was.focus);
      }
    }
    const at = before.y > 0 && before.anchor && elements.get(before.anchor.name);
    window.scrollTo({
      top: at ? window.scrollY + at.getBoundingClientRect().top - before.anchor.top : before.y,
      behavior: "instant",
    });
  }

  function update(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    const before = state();
    const old = [...sources.keys()];
    const end = document.body.querySelector(":scope > script");
    let next = 0; // of the old parts, the first that has not been dealt with
    const remove = (part) => {
      sources.delete(part);
      part.remove();
    };
    for (const part of parts(fresh.body)) {
      const source = part.outerHTML;
      const same = old.findIndex((one, place) => place >= next && sources.get(one) === source);
      if (same >= 0) {
        old.slice(next, same).forEach(remove);
        next = same + 1;
        continue;
      }
      document.body.insertBefore(part, old[next] ?? end);
      enliven(part);
      sources.set(part, source);
    }
    old.slice(next).forEach(remove);
    const ordered = parts(document.body).map((part) => [part, sources.get(part)]);
    sources.clear();
    ordered.forEach(([part, source]) => sources.set(part, source));
    document.title = fresh.title;
    restore(before);
  }

  async function ask(address) {
    const answer = await fetch(address, { cache: "no-cache", signal: AbortSignal.timeout(30000) });
    if (!answer.ok) throw new Error(answer.statusText);
    return answer;
  }

  function show(text) {
    if (text !== live().told) live().innerHTML = text;
    live().told = text;
  }

  async function look() {
    if (!document.hidden) {
      try {
        const { version, progress } = await (await ask("version")).json();
        if (version !== live().dataset.version) update(await (await ask("./")).text());
        told = progress;
        show(told);
      } catch {
        show(SILENCE + told);
      }
    }
    setTimeout(look, Number(live().dataset.every));
  }

  document.documentElement.style.overflowAnchor = "none"; // else the browser would move what restore() has placed
  if (location.protocol.startsWith("http")) setTimeout(look, 0);
}
