"use strict";
const {rows, hypervolume} = JSON.parse(document.getElementById("data").textContent);
const NS = "http://www.w3.org/2000/svg", tip = document.getElementById("tip");
const shown = rows.filter(r => r.latency_ms !== null && (r.state === "complete" || (r.state === "pruned" && r.ap !== null)));
const words = r => Object.entries(r).filter(([k, v]) => k !== "front" && v !== null && v !== "")
  .map(([k, v]) => k.padEnd(16) + v).join("\n");
function add(svg, name, attributes, text) {
  const e = document.createElementNS(NS, name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  svg.appendChild(e);
  return e;
}
function ticks(max, count) {
  const raw = max / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(f => f * power).find(s => s >= raw) || raw, out = [];
  for (let v = 0; v <= max + 1e-9; v += step) out.push(+v.toPrecision(6));
  return out;
}
function frame(svg, w, h, xmax, ymax, xlabel, ylabel) {
  const x = v => 56 + v / xmax * (w - 76), y = v => h - 38 - v / ymax * (h - 54);
  for (const v of ticks(xmax, 8)) {
    add(svg, "line", {x1: x(v), x2: x(v), y1: y(0), y2: y(ymax), stroke: "#eef0f2"});
    add(svg, "text", {x: x(v), y: h - 22, "text-anchor": "middle"}, v);
  }
  for (const v of ticks(ymax, 5)) {
    add(svg, "line", {x1: x(0), x2: x(xmax), y1: y(v), y2: y(v), stroke: "#eef0f2"});
    add(svg, "text", {x: 48, y: y(v) + 4, "text-anchor": "end"}, v);
  }
  add(svg, "text", {x: (w + 56) / 2, y: h - 5, "text-anchor": "middle"}, xlabel);
  add(svg, "text", {x: 60, y: 12}, ylabel);
  return [x, y];
}
function hover(e, text) {
  e.addEventListener("mousemove", ev => {
    tip.textContent = text; tip.style.display = "block";
    tip.style.left = Math.min(ev.clientX + 14, innerWidth - tip.offsetWidth - 8) + "px";
    tip.style.top = Math.min(ev.clientY + 14, innerHeight - tip.offsetHeight - 8) + "px";
  });
  e.addEventListener("mouseleave", () => { tip.style.display = "none"; });
}
if (shown.length) {
  const svg = document.getElementById("front");
  const top = r => r.front && r.ap_estimate !== null ? Math.max(r.ap, r.ap_estimate + 1.645 * r.ap_std) : r.ap;
  const [x, y] = frame(svg, 900, 420, Math.max(...shown.map(r => r.latency_ms)) * 1.06,
    Math.max(0.05, ...shown.map(top)) * 1.1, "latency, median (ms)", "AP@[.5:.95]");
  const front = shown.filter(r => r.front).sort((a, b) => a.latency_ms - b.latency_ms);
  let d = "";
  front.forEach((r, i) => {
    d += i ? `H${x(r.latency_ms)}V${y(r.ap)}` : `M${x(r.latency_ms)},${y(r.ap)}`;
  });
  if (d) add(svg, "path", {d, fill: "none", stroke: "#d1495b", "stroke-width": 1.5});
  for (const r of front.filter(r => r.ap_estimate !== null)) {  // 5th to 95th percentile
    const at = x(r.latency_ms), [low, mid, high] = [-1.645, 0, 1.645].map(k => y(Math.max(0, r.ap_estimate + k * r.ap_std)));
    add(svg, "path", {d: `M${at},${low}V${high}M${at - 5},${mid}h10`, fill: "none", stroke: "#1f2933"});
  }
  for (const r of [...shown].sort((a, b) => a.front - b.front)) {
    const colour = r.front ? "#d1495b" : r.state === "pruned" ? "#c9b458" : "#9aa5b1";
    hover(add(svg, "circle", {cx: x(r.latency_ms), cy: y(r.ap), r: r.front ? 6 : 4, fill: colour}), words(r));
    if (r.front) add(svg, "text", {x: x(r.latency_ms) + 8, y: y(r.ap) - 6}, "#" + r.trial);
  }
}
if (hypervolume.length) {
  const svg = document.getElementById("hv");
  const [x, y] = frame(svg, 900, 160, hypervolume.length, Math.max(0.01, ...hypervolume) * 1.1, "finished trials",
    "hypervolume (share of the reference rectangle)");
  add(svg, "path", {d: "M" + hypervolume.map((v, i) => `${x(i + 1)},${y(v)}`).join("L"), fill: "none",
    stroke: "#30638e", "stroke-width": 1.5});
}
let sorted = null;
function table(list) {
  const t = document.getElementById("table"), columns = rows.length ? Object.keys(rows[0]).filter(c => c !== "front") : [];
  t.replaceChildren();
  const head = t.insertRow();
  for (const c of columns) {
    const th = document.createElement("th");
    th.textContent = c;
    if (typeof rows[0][c] === "string") th.className = "t";
    th.onclick = () => {
      const up = sorted !== c;
      sorted = up ? c : null;
      const key = r => r[c] === null ? -Infinity : r[c];
      table([...list].sort((a, b) => (key(a) > key(b) ? 1 : key(a) < key(b) ? -1 : 0) * (up ? 1 : -1)));
    };
    head.appendChild(th);
  }
  for (const r of list) {
    const tr = t.insertRow();
    if (r.front) tr.className = "front";
    for (const c of columns) {
      const td = tr.insertCell();
      td.textContent = r[c] === null ? "" : r[c];
      if (typeof r[c] === "string") { td.className = "t"; td.title = r[c]; }
    }
  }
}
table(rows);
