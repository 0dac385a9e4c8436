"use strict";
const {figures, trials, selected} = JSON.parse(document.getElementById("data").textContent);
const byNumber = new Map(trials.map(trial => [trial.number, trial]));
const tip = document.getElementById("tip");
const onTouch = matchMedia("(hover: none)").matches;

function add(parent, name, text, attributes = {}) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return parent.appendChild(element);
}

function addPicture(parent, trial) {
  if (trial.picture) add(parent, "img", undefined, {src: trial.picture, alt: `Detections of trial ${trial.number}`});
}

function addPairs(parent, pairs) {
  const list = add(parent, "dl");
  for (const [name, value] of pairs) {
    add(list, "dt", name);
    add(list, "dd", value);
  }
}

// Numbers that would lie over an earlier one or over the axis are hidden; zooming in shows them.
function thinNumbers(plot) {
  const kept = [], area = plot.querySelector(".nsewdrag")?.getBoundingClientRect();
  for (const text of plot.querySelectorAll(".textpoint text")) {
    const box = text.getBoundingClientRect();
    const isFree = area?.left <= box.left && kept.every(one => box.right < one.left || one.right < box.left || box.bottom < one.top || one.bottom < box.top);
    text.style.visibility = isFree ? "visible" : "hidden";
    if (isFree) kept.push(box);
  }
}

function showTip(number, {clientX, clientY}) {
  const trial = byNumber.get(number);
  tip.replaceChildren();
  add(tip, "div", trial.words.join("\n"));
  addPicture(tip, trial);
  tip.style.display = "block";
  const right = clientX + 16, left = clientX - 16 - tip.offsetWidth;
  tip.style.left = Math.max(4, right + tip.offsetWidth < innerWidth ? right : left) + "px";
  tip.style.top = Math.max(4, Math.min(clientY + 8, innerHeight - tip.offsetHeight - 8)) + "px";
}

function select(number) {
  const trial = byNumber.get(number), panel = document.getElementById("selected");
  panel.replaceChildren();
  const head = add(panel, "div");
  add(head, "h3", `Trial ${number}`);
  for (const note of trial.notes) add(head, "p", note);
  if (trial.commands.length) {
    add(head, "p", "Type next:");
    for (const command of trial.commands) add(head, "pre", command);
  }
  addPicture(head, trial);
  if (trial.unreadable) add(head, "p", trial.unreadable);
  for (const [title, pairs] of [["Figures", trial.figures], ["Architecture", trial.axes]]) {
    const part = add(panel, "div");
    add(part, "h3", title);
    addPairs(part, pairs);
  }
  for (const button of document.querySelectorAll("[data-trial]"))
    button.closest("tr").setAttribute("aria-selected", button.dataset.trial === String(number));
  const plot = document.getElementById("front"), ring = plot.data.findIndex(trace => trace.name === "selected");
  const [x, y] = trial.point ?? [[], []];
  Plotly.restyle(plot, {x: [[x].flat()], y: [[y].flat()]}, [ring]);
}

function sortBy(table, column) {
  const heads = [...table.tHead.rows[0].cells], head = heads[column];
  const sign = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
  const value = row => row.cells[column].textContent.replace(/^#/, "");
  const compare = (one, other) => value(one).localeCompare(value(other), "en", {numeric: true});
  const asNumbers = (one, other) => value(one) - value(other);
  const rows = [...table.tBodies[0].rows], known = rows.filter(row => value(row) !== "");
  known.sort((one, other) => sign * (known.every(row => isFinite(value(row))) ? asNumbers : compare)(one, other));
  table.tBodies[0].append(...known, ...rows.filter(row => value(row) === ""));
  for (const one of heads) one.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
}

for (const [name, {data, layout}] of Object.entries(figures)) {
  const plot = document.getElementById(name);
  const config = {responsive: true, displaylogo: false, displayModeBar: onTouch ? false : "hover"};
  // A finger scrolls the page.
  Plotly.newPlot(plot, data, {...layout, dragmode: onTouch ? false : "zoom"}, config);
  plot.on("plotly_afterplot", () => thinNumbers(plot));
  thinNumbers(plot);
}

const front = document.getElementById("front");
front.on("plotly_hover", event => showTip(event.points[0].customdata, event.event));
front.on("plotly_unhover", () => { tip.style.display = "none"; });
front.on("plotly_click", event => select(event.points[0].customdata));
const table = document.getElementById("trials");
table.addEventListener("click", event => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.trial) select(Number(button.dataset.trial));
  else sortBy(table, button.closest("th").cellIndex);
});
if (selected !== null) select(selected);
