// Study pages: choosing a cell, scrolling slices, turning pages, filtering the list.
"use strict";
document.documentElement.classList.add("scripted");

const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// A study: one site is shown at a time
const cells = all("table.grades .cell");
const across = cells.length / 5;
let chosen = 0;

function choose(index, focus) {
  chosen = index;
  cells.forEach((cell, at) => {
    cell.tabIndex = at === index ? 0 : -1;
    if (at === index) cell.setAttribute("aria-current", "true");
    else cell.removeAttribute("aria-current");
  });
  const key = cells[index].dataset.key;
  all(".site").forEach((site) => site.classList.toggle("is-chosen", site.dataset.key === key));
  all(".level").forEach((mark) =>
    mark.classList.toggle("is-chosen", key.startsWith(mark.dataset.level)));
  if (focus) cells[index].focus();
  drawLine();
}

function drawLine() {
  all(".axial.is-shown").forEach((line) => line.classList.remove("is-shown"));
  const crop = document.querySelector(".site.is-chosen .crop[data-axial]");
  const use = crop && crop.querySelector("use");
  const line = use && document.getElementById("line-" + use.getAttribute("href").slice(2));
  if (line) line.classList.add("is-shown");
}

// Frames of a view: [picture, x, y, slices from the site's own, mm away]
function show(view, at) {
  const crop = view.querySelector(".crop");
  const frames = JSON.parse(crop.dataset.frames);
  const place = Math.max(0, Math.min(frames.length - 1, at));
  const [number, x, y, offset, away] = frames[place];
  const side = crop.viewBox.baseVal.width;
  crop.setAttribute("viewBox", [x - side / 2, y - side / 2, side, side].join(" "));
  crop.querySelector("use").setAttribute("href", "#s" + number);
  all("circle", crop).forEach((ring) => {
    ring.setAttribute("cx", x);
    ring.setAttribute("cy", y);
    ring.classList.toggle("is-away", offset !== 0);
  });
  const slider = view.querySelector("input");
  slider.value = place;
  const words = offset === 0 ? "own slice"
    : (offset > 0 ? "+" : "\u2212") + Math.abs(offset) + ", " + away.toFixed(1) + " mm away";
  view.querySelector(".where").textContent = words;
  slider.setAttribute("aria-valuetext", words);
  drawLine();
}

const scroll = (view, step) => show(view, Number(view.querySelector("input").value) + step);
const scrolled = () => all(".site.is-chosen .view").filter((view) => view.querySelector("input"));

const turn = (rel) => {
  const link = document.querySelector(`a[rel="${rel}"]`);
  if (link) link.click();
};

function onKey(event) {
  const typing = event.target.matches("input, select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey || typing) return;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across };
  const pages = { n: "next", p: "prev", i: "up" };
  const slices = { j: 1, k: -1 };
  const inTable = event.target.matches(".cell");
  if (inTable && event.key in steps) {
    const column = chosen % across, next = chosen + steps[event.key];
    const wraps = Math.abs(steps[event.key]) === 1 && next - chosen + column !== (next % across);
    if (next >= 0 && next < cells.length && !wraps) choose(next, true);
  } else if (event.key === "ArrowLeft" && !inTable) turn("prev");
  else if (event.key === "ArrowRight" && !inTable) turn("next");
  else if (event.key in pages) turn(pages[event.key]);
  else if (event.key in slices) scrolled().forEach((view) => scroll(view, slices[event.key]));
  else if (event.key === "Escape" && inTable) event.target.blur();
  else return;
  if (event.key.startsWith("Arrow")) event.preventDefault();
}

if (cells.length) {
  cells.forEach((cell, at) => cell.addEventListener("click", (event) => {
    event.preventDefault();
    choose(at, true);
  }));
  all(".view").filter((view) => view.querySelector("input")).forEach((view) => {
    view.querySelector("input").addEventListener("input", (event) => show(view, Number(event.target.value)));
    view.querySelector(".crop").addEventListener("wheel", (event) => {
      event.preventDefault();
      scroll(view, Math.sign(event.deltaY));
    }, { passive: false });
  });
  document.addEventListener("keydown", onKey);
  // The first cell to see: the one of the address, else the worst grade, the most doubtful of them
  const worst = (cell) => ["g2", "g1", "g0"].findIndex((name) => cell.classList.contains(name));
  const named = cells.findIndex((cell) => cell.hash === location.hash);
  const ranked = cells.map((cell, at) => at).sort((a, b) =>
    cells[a].classList.contains("is-prior") - cells[b].classList.contains("is-prior")
      || worst(cells[a]) - worst(cells[b]));
  choose(named >= 0 ? named : ranked[0], false);
}

// The list: filters, and sorting by a column's button
const filters = document.querySelector(".filters");
if (filters) {
  const body = document.querySelector(".study-rows tbody");
  const rows = all("tr", body);
  const filter = () => {
    const words = filters.elements.text.value.trim().toLowerCase();
    const worst = Number(filters.elements.severity.value || 0);
    rows.forEach((row) => {
      row.hidden = !(row.textContent.toLowerCase().includes(words)
        && Number(row.dataset.worst) >= worst
        && (!filters.elements.doubtful.checked || "doubtful" in row.dataset));
    });
    const left = rows.filter((row) => !row.hidden).length;
    filters.querySelector("output").textContent = `${left} of ${rows.length} shown`;
  };
  const value = (row, column) => {
    const cell = row.children[column];
    return "value" in cell.dataset ? cell.dataset.value : cell.textContent.trim();
  };
  all(".study-rows thead th").forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const numeric = head.dataset.sort === "number";
      const before = head.getAttribute("aria-sort");
      const order = before ? (before === "descending" ? 1 : -1) : (numeric ? -1 : 1);
      all(".study-rows thead th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order > 0 ? "ascending" : "descending");
      rows.sort((a, b) => order * (numeric
        ? Number(value(a, column)) - Number(value(b, column))
        : value(a, column).localeCompare(value(b, column))));
      body.append(...rows);
    });
  });
  filters.addEventListener("input", filter);
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.hidden = false;
  filter();
}
