"use strict";
(() => {
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const said = document.getElementById("said");
  const say = (text) => { said.textContent = text; };

  // ---- Tables: lines -----------------------------------------------------------------------------------------------
  // The lines of a table, sorted and filtered. Of more than PORTION lines only the first ones are in the document, and
  // scrolling adds more: the layout of 10,000 lines takes seconds. A printed page has all filtered lines.
  const PORTION = 500;

  function linesOf(table, rows, region) {
    const body = table.tBodies[0];
    let ordered = rows, chosen = rows, wanted = () => true, limit = PORTION;
    const draw = () => body.replaceChildren(...chosen.slice(0, limit));
    const choose = () => { chosen = ordered.filter(wanted); limit = PORTION; region.scrollTop = 0; draw(); };
    if (rows.length > PORTION) {
      draw();
      region.classList.remove("long");
      region.addEventListener("scroll", () => {
        if (limit >= chosen.length || region.scrollTop + 2 * region.clientHeight < region.scrollHeight) return;
        body.append(...chosen.slice(limit, limit + PORTION));
        limit += PORTION;
      }, { passive: true });
      addEventListener("beforeprint", () => body.replaceChildren(...chosen));
      addEventListener("afterprint", draw);
    }
    return {
      order: (some) => { ordered = some; choose(); },
      filter: (test) => { wanted = test; choose(); return chosen.length; },
    };
  }

  // ---- Tables: sort ------------------------------------------------------------------------------------------------
  const MISSING = new Set(["", "–", "—", "-"]);
  const words = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const nextOrder = { none: "ascending", ascending: "descending", descending: "none" };

  // Sort keys of a column: numbers if any cell has one, else text; null for a missing value.
  function keysOf(rows, column) {
    const cells = rows.map((row) => row.cells[column]);
    if (cells.some((cell) => cell?.dataset.value !== undefined)) {
      return cells.map((cell) => {
        const value = cell?.dataset.value;
        const number = value === undefined || value.trim() === "" ? NaN : Number(value.replace(/^([+-]?)inf$/i, "$1Infinity"));
        return Number.isNaN(number) ? null : number;
      });
    }
    return cells.map((cell) => {
      const text = (cell?.textContent ?? "").trim();
      return MISSING.has(text) ? null : text;
    });
  }

  function inOrder(rows, column, order) {
    if (order === "none") return rows;
    const keys = keysOf(rows, column);
    const sign = order === "ascending" ? 1 : -1;
    const compare = (one, other) =>
      typeof one === "number" ? (one < other ? -1 : one > other ? 1 : 0) : words.compare(one, other);
    const indices = rows.map((_, index) => index).sort((a, b) => {
      if (keys[a] === null || keys[b] === null) return (keys[a] === null) - (keys[b] === null) || a - b;
      return sign * compare(keys[a], keys[b]) || a - b;
    });
    return indices.map((index) => rows[index]);
  }

  function makeSortable(table, rows, lines) {
    const headings = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    headings.forEach((heading, column) => {
      if (!heading.textContent.trim()) return;
      const name = heading.textContent.trim();
      const button = make("button", { type: "button", className: "sort" }, ...heading.childNodes);
      heading.append(button);
      heading.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const order = nextOrder[heading.getAttribute("aria-sort")];
        headings.forEach((other) => other.hasAttribute("aria-sort") && other.setAttribute("aria-sort", "none"));
        heading.setAttribute("aria-sort", order);
        lines.order(inOrder(rows, column, order));
        say(order === "none" ? "In the original order" : `Sorted by ${name}, ${order}`);
      });
    });
  }

  // ---- Tables: filter ----------------------------------------------------------------------------------------------
  const FEW = 8; // tables with so many lines or fewer have no filter

  function makeFilter(rows, region, lines) {
    const texts = new Map();
    const textOf = (row) => {
      if (!texts.has(row)) texts.set(row, [...row.cells].map((cell) => cell.textContent).join("\t").toLowerCase());
      return texts.get(row);
    };
    const title = region.getAttribute("aria-label");
    const count = rows.length.toLocaleString("en");
    const field = make("input", { type: "search", autocomplete: "off", spellcheck: false });
    field.setAttribute("aria-label", `Filter the lines of ${title}`);
    const shown = make("output", { textContent: `${count} lines` });
    shown.setAttribute("aria-live", "polite");
    const apply = () => {
      const asked = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      const left = lines.filter((row) => asked.every((word) => textOf(row).includes(word)));
      shown.textContent = asked.length ? `${left.toLocaleString("en")} of ${count} lines` : `${count} lines`;
      shown.classList.toggle("some", asked.length > 0);
    };
    let waiting;
    field.addEventListener("input", () => {
      clearTimeout(waiting);
      if (rows.length > PORTION) waiting = setTimeout(apply, 120);
      else apply();
    });
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !field.value) return;
      event.preventDefault();
      field.value = "";
      apply();
    });
    region.before(make("div", { className: "filter" }, make("label", {}, "Filter", field), shown));
  }

  // ---- Tables: the region that scrolls -----------------------------------------------------------------------------
  // The region is a tab stop only if it can be scrolled.
  const fitting = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const scrolls = target.scrollWidth > target.clientWidth + 1 || target.scrollHeight > target.clientHeight + 1;
      if (scrolls || target === document.activeElement) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });

  for (const table of document.querySelectorAll(".fg-table")) {
    const rows = [...(table.tBodies[0]?.rows ?? [])];
    const region = table.closest(".scroll");
    if (!region || !table.tHead) continue;
    if (rows[0]?.cells[0]?.matches("th")) table.tHead.rows[0].cells[0].classList.add("pinned");
    const lines = linesOf(table, rows, region);
    if (rows.length > 1) makeSortable(table, rows, lines);
    if (rows.length > FEW) makeFilter(rows, region, lines);
    fitting.observe(region);
  }

  // In print a wide table is scaled to the page, in landscape if the letters would be too small in portrait. The widths
  // are those of A4 and Letter between margins of 15 mm; a rem is 10 pt in print, 5/6 of that on the screen.
  const UPRIGHT_PX = 680, ACROSS_PX = 930, REM = 5 / 6, SMALL = 0.7;
  addEventListener("beforeprint", () => {
    for (const table of document.querySelectorAll(".fg-table")) {
      const width = table.offsetWidth * REM;
      const across = UPRIGHT_PX / width < SMALL;
      table.closest(".item").classList.toggle("across", across);
      table.style.setProperty("--print-zoom", Math.min(1, (across ? ACROSS_PX : UPRIGHT_PX) / width).toFixed(3));
    }
  });

  // ---- Figures: text of a point ------------------------------------------------------------------------------------
  const NEAR_PX = { mouse: 16, pen: 16, touch: 28 };
  const GAP_PX = 6, EDGE_PX = 8, GRACE_MS = 200;
  const tip = make("div", { id: "tip", role: "tooltip", hidden: true });
  document.getElementById("content").append(tip);
  let shown = null, dismissed = null, hiding;

  function place() {
    if (!shown) return;
    const around = shown.getBoundingClientRect(), box = tip.getBoundingClientRect();
    const width = document.documentElement.clientWidth, height = window.innerHeight;
    const clamp = (value, most) => Math.max(EDGE_PX, Math.min(value, most - EDGE_PX));
    const above = around.top - box.height - GAP_PX;
    const top = above >= EDGE_PX ? above : around.bottom + GAP_PX;
    tip.style.left = `${clamp((around.left + around.right - box.width) / 2, width - box.width)}px`;
    tip.style.top = `${clamp(top, height - box.height)}px`;
  }

  function hide() {
    clearTimeout(hiding);
    shown?.classList.remove("shown");
    shown = null;
    tip.hidden = true;
  }

  function show(point) {
    clearTimeout(hiding);
    if (point === shown || point === dismissed) return;
    hide();
    dismissed = null;
    shown = point;
    point.classList.add("shown");
    const [name, ...numbers] = (point.dataset.text || point.getAttribute("aria-label") || "").split("\n");
    tip.replaceChildren(make("strong", {}, name), ...numbers.map((line) => make("span", {}, line)));
    tip.hidden = false;
    tip.style.left = tip.style.top = "0"; // so that the text alone, not the space to the right, determines the width
    place();
  }

  // Show the focused point again, or hide the text. The delay lets the pointer reach the text.
  function leave() {
    clearTimeout(hiding);
    hiding = setTimeout(() => {
      const focused = document.activeElement?.closest(".fg-point");
      if (focused && focused !== dismissed) show(focused);
      else hide();
    }, GRACE_MS);
  }
  tip.addEventListener("pointerenter", () => clearTimeout(hiding));
  tip.addEventListener("pointerleave", leave);
  addEventListener("scroll", place, { passive: true, capture: true });
  addEventListener("resize", place, { passive: true });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !shown) return;
    dismissed = shown;
    hide();
  });

  // The listeners are on the canvas, since Chromium makes every SVG with a focus listener a tab stop.
  function makeInteractive(canvas) {
    const places = [...canvas.querySelectorAll(".fg-point")].map((point) => ({
      point, x: Number(point.getAttribute("cx")), y: Number(point.getAttribute("cy")),
    }));
    if (!places.length) return;
    const byX = [...places].sort((a, b) => a.x - b.x); // a stable sort keeps the order of series among points of equal x
    const position = new Map(byX.map(({ point }, index) => [point, index]));
    const frame = places[0].point.parentNode;
    let stop = byX[0].point;
    stop.setAttribute("tabindex", "0");

    const nearest = (event) => {
      const matrix = frame.getScreenCTM();
      const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
      let found = null, least = ((NEAR_PX[event.pointerType] ?? NEAR_PX.touch) / Math.hypot(matrix.a, matrix.b)) ** 2;
      for (const one of places) {
        const distance = (one.x - x) ** 2 + (one.y - y) ** 2;
        if (distance < least) [found, least] = [one.point, distance];
      }
      return found;
    };
    canvas.addEventListener("pointermove", (event) => {
      if (event.pointerType === "touch") return;
      const point = nearest(event);
      if (point !== dismissed) dismissed = null;
      if (point) show(point);
      else leave();
    });
    canvas.addEventListener("pointerleave", (event) => event.pointerType === "touch" || leave());
    canvas.addEventListener("click", (event) => {
      const point = nearest(event);
      if (!point) return;
      dismissed = null;
      point.focus({ preventScroll: true });
      show(point);
    });
    canvas.addEventListener("focusin", ({ target }) => {
      if (!position.has(target)) return;
      stop.setAttribute("tabindex", "-1");
      stop = target;
      stop.setAttribute("tabindex", "0");
      dismissed = null;
      show(target);
    });
    canvas.addEventListener("focusout", () => { dismissed = null; leave(); });
    canvas.addEventListener("keydown", (event) => {
      const at = position.get(event.target), last = byX.length - 1;
      if (at === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
      const to = {
        ArrowRight: Math.min(at + 1, last), ArrowDown: Math.min(at + 1, last),
        ArrowLeft: Math.max(at - 1, 0), ArrowUp: Math.max(at - 1, 0), Home: 0, End: last,
      }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      byX[to].point.focus();
    });
  }
  document.querySelectorAll(".canvas").forEach(makeInteractive);

  // ---- Copies ------------------------------------------------------------------------------------------------------
  // Without access to the clipboard, the text is selected or the link is followed.
  async function copied(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      return false;
    }
  }

  for (const code of document.querySelectorAll(".command code")) {
    const button = make("button", { type: "button", className: "copy", textContent: "Copy" });
    button.setAttribute("aria-label", `Copy ${code.textContent}`);
    button.addEventListener("click", async () => {
      if (!(await copied(code.textContent))) return getSelection().selectAllChildren(code);
      button.textContent = "Copied";
      say("Copied");
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    code.after(button);
  }
  for (const anchor of document.querySelectorAll(".anchor")) {
    anchor.addEventListener("click", async () => { if (await copied(anchor.href)) say("Link copied"); });
  }
})();
