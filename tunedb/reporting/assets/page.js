// Draws the pictures of a report, and the view of one problem. Needs vega and vegaLite; asks no network.
"use strict";
const report = JSON.parse(document.getElementById("report").textContent);
const byId = (id) => document.getElementById(id);
const MAX_ROWS = 40; // of a race: the table has the others
const PALETTE = ["#3b82c4", "#d06f00", "#878c95", "#9b6fc4", "#d9483b", "#9c8500", "#23897d", "#c46a9b"];
const drawn = new Map(); // the view of each picture, by its element's id
const newest = new Map(); // the call that came last, by what it shows
let running = 0; // calls that draw: the page says "drawn" if there is none

// Runs `show` with a question: is this still the newest call about that? What draws asks it after each pause, as events
// come while a picture is drawn: the older call leaves the rest to the newer one.
async function showing(what, show) {
  const call = Symbol(what);
  newest.set(what, call);
  running += 1;
  document.documentElement.dataset.drawn = "no";
  await show(() => newest.get(what) === call);
  running -= 1;
  if (running === 0) document.documentElement.dataset.drawn = "yes";
}

const number = (value, digits) =>
  value === null || value === undefined ? "-" : value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });

function theme() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const front = colour("--front"), soft = colour("--soft"), line = colour("--line");
  const text = { labelColor: soft, titleColor: soft, labelFontSize: 11.5, titleFontSize: 12, titleFontWeight: "normal" }; // of axes and legends
  return {
    background: null,
    font: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
    view: { stroke: null },
    range: { category: PALETTE },
    axis: { ...text, labelSeparation: 5, gridColor: line, domainColor: line, tickColor: line, gridOpacity: 0.7 },
    legend: { ...text, orient: "top", symbolSize: 80, columns: innerWidth < 640 ? 1 : 4, ...(innerWidth < 640 && { layout: { top: { direction: "vertical" } } }) },
    header: { ...text, labelColor: front, labelFontSize: 12 },
    title: { color: front },
    mark: { color: PALETTE[0] },
    text: { color: front, fill: front },
    rule: { color: soft },
    line: { color: PALETTE[0] },
  };
}

// A tooltip that is themed, and whose text is never read as HTML.
const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);
function showTip(handler, event, item, value) {
  tip.replaceChildren();
  tip.hidden = value === null || value === undefined || value === "";
  if (tip.hidden) return;
  for (const [name, text] of typeof value === "object" ? Object.entries(value) : [["", value]]) {
    const line = document.createElement("div"), label = document.createElement("b");
    label.textContent = name;
    line.append(label, String(text));
    tip.append(line);
  }
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8))}px`;
  tip.style.top = `${Math.max(4, event.clientY + 14 + box.height > innerHeight ? event.clientY - box.height - 10 : event.clientY + 14)}px`;
}

async function draw(id, spec, datasets = {}) {
  const element = byId(`picture-${id}`);
  drawn.get(id)?.finalize();
  element.replaceChildren();
  const isVega = (spec.$schema ?? "").includes("/vega/");
  const compiled = isVega ? structuredClone(spec) : vegaLite.compile({ ...spec, datasets }, { config: theme() }).spec;
  if (isVega) for (const data of compiled.data) if (datasets[data.name]) data.values = datasets[data.name];
  const view = new vega.View(vega.parse(compiled, isVega ? theme() : undefined), { renderer: "svg", container: element, hover: true });
  drawn.set(id, view);
  await view.tooltip(showTip).runAsync();
  return view;
}

// The view of one problem.
const fields = report.races.fields;
const trialsOf = (problem) => problem.trials.map((row, place) => {
  const trial = Object.fromEntries(fields.map((name, index) => [name, row[index]]));
  const knobs = report.races.configs[trial.config];
  const value = (knob) => knobs[knob] ?? "-";
  const text = Object.entries(knobs).map(([knob, value]) => `${knob}=${value}`).join(" ");
  const axes = Object.fromEntries(problem.knobs.map((knob, index) => [`k${index}`, value(knob)]));
  return {
    ...trial, ...axes, place, config: text, name: problem.knobs.map(value).join(" · "), is_winner: place === 0 && problem.won,
    role: place === 0 && problem.won ? "winner" : place === problem.default_row ? "default" : "other config", spilling: trial.spills ? "spills" : "no spills",
    low: trial.low ?? trial.time, high: trial.high ?? trial.time,
  };
});

function fill(id, rows, columns, marked = () => false) {
  const body = byId(`table-${id}`).tBodies[0];
  body.replaceChildren(...rows.map((row) => {
    const line = document.createElement("tr");
    if (marked(row)) line.className = "winner";
    columns.forEach(([name, digits]) => {
      const cell = line.insertCell();
      cell.className = digits === undefined ? "text" : "number";
      cell.textContent = digits === undefined ? row[name] || "-" : number(row[name], digits);
    });
    return line;
  }));
}

const TRIAL_COLUMNS = [["config"], ["status"], ["time", 2], ["low", 2], ["high", 2], ["samples", 0], ["registers", 0], ["spills", 0], ["shared", 0], ["compile", 2], ["note"]];

let shown = report.races.first;
const showProblem = (index) => showing("problem", (isNewest) => drawProblem(index, isNewest));
async function drawProblem(index, isNewest) {
  shown = index;
  const problem = report.races.problems[index];
  if (!problem) return;
  byId("choose-problem").value = String(index);
  byId("problem-answer").textContent = problem.sentence;
  const cut = problem.complete ? "" : ", cut short";
  byId("problem-facts").textContent = `${problem.kernel}, ${problem.label}, on ${problem.device}. Sweep ${problem.uid}, ${problem.state}${cut}, ${problem.finished ?? ""}; ${problem.environment}`;
  const trials = trialsOf(problem), timed = trials.filter((trial) => trial.time !== null);
  const race = [...timed].sort((a, b) => b.is_winner - a.is_winner || a.time - b.time).slice(0, MAX_ROWS);
  byId("race-note").textContent = `Names: ${problem.knobs.join(" · ")}.` + (race.length < timed.length ? ` The ${race.length} fastest of ${timed.length}; the others are in the table.` : "");
  const lines = [["default's time", problem.default], ["copy of the bytes", problem.limit]].filter(([, at]) => at).map(([line, at]) => ({ line, at }));
  fill("trials", trials, TRIAL_COLUMNS, (trial) => trial.is_winner);
  fill("failures", problem.failures.map(([status, reason, count, config]) => ({ status, reason, count, config })), [["status"], ["reason"], ["count", 0], ["config"]]);
  byId("part-failures").hidden = problem.failures.length === 0;
  byId("part-parallel").hidden = byId("part-race").hidden = byId("part-registers").hidden = timed.length === 0;
  if (timed.length === 0) return;
  await draw("race", { ...report.specs.race, height: report.specs.race.height * race.length }, { trials: race, lines });
  if (!isNewest()) return;
  const measured = timed.filter((trial) => trial.registers !== null);
  byId("part-registers").hidden = measured.length === 0;
  if (measured.length) await draw("registers", report.specs.registers, { trials: measured });
  if (isNewest()) await drawParallel(problem, timed, isNewest);
}

const bySize = (texts) => [...texts].sort((a, b) => (isNaN(a) || isNaN(b) ? isNaN(a) - isNaN(b) || (a < b ? -1 : 1) : a - b));

async function drawParallel(problem, timed, isNewest) {
  const spec = structuredClone(report.specs.parallel[problem.parallel]);
  problem.knobs.forEach((_, axis) => {
    spec.scales.find((scale) => scale.name === `k${axis}`).domain = bySize(new Set(timed.map((trial) => trial[`k${axis}`])));
  });
  const view = await draw("parallel", spec, { trials: timed });
  if (!isNewest()) return;
  const dark = getComputedStyle(document.documentElement).getPropertyValue("--back").trim() === "#15171c";
  view.signal("fast", dark ? "#7fb5f5" : "#1f5fbf").signal("slow", dark ? "#4a4f5a" : "#c9c9c9");
  const lists = byId("parallel-lists");
  lists.replaceChildren(...problem.knobs.map((knob, axis) => {
    const label = document.createElement("label"), list = document.createElement("select");
    list.append(new Option("all", ""), ...view.scale(`k${axis}`).domain().map((value) => new Option(value, value)));
    list.addEventListener("change", () => view.signal(`only_${axis}`, list.value).runAsync());
    label.append(`${knob} `, list);
    return label;
  }));
  const clear = document.createElement("button");
  clear.type = "button";
  clear.textContent = "Keep all";
  clear.addEventListener("click", () => {
    [...problem.knobs, "time"].forEach((_, axis) => view.signal(`brush_${axis}`, null));
    lists.querySelectorAll("select").forEach((list, axis) => { list.value = ""; view.signal(`only_${axis}`, ""); });
    view.runAsync();
  });
  lists.append(clear);
  const say = (trials) => { if (drawn.get("parallel") === view) sayKept(trials, problem.knobs); };
  view.addDataListener("judged", (_, trials) => say(trials));
  await view.runAsync();
  say(view.data("judged"));
}

function sayKept(trials, knobs) {
  const kept = trials.filter((trial) => trial.kept);
  const best = kept.reduce((one, other) => (one === null || other.time < one.time ? other : one), null);
  byId("parallel-kept").textContent = `${kept.length} of ${trials.length} configs kept` +
    (best ? `; the fastest of them takes ${number(best.time, 2)} µs: ${knobs.map((knob, axis) => `${knob}=${best[`k${axis}`]}`).join(" ")}` : "");
}

// Tables are copied as HTML for editors, and with tabs for spreadsheets.
async function copyTable(button) {
  const table = byId(button.dataset.table);
  button.dataset.label ??= button.textContent; // "Copied" if it is clicked again soon
  const text = [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent).join("\t")).join("\n");
  const blob = (kind, content) => new Blob([content], { type: kind });
  try {
    await navigator.clipboard.write([new ClipboardItem({ "text/plain": blob("text/plain", text), "text/html": blob("text/html", table.outerHTML) })]);
    button.textContent = "Copied";
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    button.textContent = document.execCommand("copy") ? "Copied" : "Can't copy here";
    area.remove();
  }
  setTimeout(() => { button.textContent = button.dataset.label; }, 1500);
}

const chosen = new Map(); // the group of figures that is shown, by view
const showGroup = (view, index) => showing(view, (isNewest) => drawGroup(view, index, isNewest));
async function drawGroup(view, index, isNewest) {
  chosen.set(view, index);
  const all = document.querySelectorAll(`[data-group-of="${view}"]`);
  all.forEach((element) => { element.hidden = element.dataset.group !== String(index); });
  for (const figure of report.figures.filter((figure) => figure.view === view && figure.group === index)) {
    if (isNewest()) await draw(figure.id, figure.spec);
  }
}

const drawAll = () => showing("all", drawEach);
async function drawEach(isNewest) {
  for (const figure of report.figures.filter((figure) => figure.group === null)) {
    const view = await draw(figure.id, figure.spec);
    if (!isNewest()) return;
    if (figure.id === "speedups") view.addEventListener("click", (_, item) => goTo(item?.datum?.sweep));
  }
  for (const list of document.querySelectorAll("select[data-view]")) {
    await showGroup(list.dataset.view, chosen.get(list.dataset.view) ?? 0);
    if (!isNewest()) return;
  }
  await showProblem(shown);
}

function goTo(uid) {
  const index = report.races.problems.findIndex((problem) => problem.uid === uid);
  if (index < 0) return;
  showProblem(index);
  byId("problem").scrollIntoView();
}

byId("choose-problem")?.addEventListener("change", (event) => showProblem(Number(event.target.value)));
document.querySelectorAll("select[data-view]").forEach((list) => list.addEventListener("change", () => showGroup(list.dataset.view, Number(list.value))));
document.querySelectorAll("button.copy").forEach((button) => button.addEventListener("click", () => copyTable(button)));
byId("theme").addEventListener("click", () => {
  const isDark = getComputedStyle(document.documentElement).getPropertyValue("--back").trim() === "#15171c";
  document.documentElement.dataset.theme = isDark ? "light" : "dark";
  drawAll();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
drawAll();
