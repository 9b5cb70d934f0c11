// Controls, tables, tokens, print; then the first draw.
function wireControls() {
  const slider = document.getElementById("step"), now = document.getElementById("now");
  const layer = document.getElementById("layer");
  if (!slider) return;
  slider.addEventListener("input", () => change({ step: DATA.steps[Number(slider.value)] }));
  if (layer) layer.addEventListener("change", () => change({ layer: layer.value === "" ? null : Number(layer.value) }));
  for (const name of ["head", "axis", "spacing"]) {
    for (const input of all("input[name=" + name + "]")) input.addEventListener("change", () => change({ [name]: input.value }));
  }
  panels.unshift(() => {
    slider.value = DATA.steps.indexOf(state.step);
    slider.setAttribute("aria-valuetext", stepText(state.step));
    slider.style.setProperty("--share", DATA.steps.length > 1 ? slider.value / (DATA.steps.length - 1) : 1);
    now.textContent = stepText(state.step);
    if (layer) layer.value = state.layer === null ? "" : String(state.layer);
    for (const name of ["head", "axis", "spacing"]) {
      for (const input of all("input[name=" + name + "]")) input.checked = input.value === state[name];
    }
    for (const node of all("[data-head]")) node.hidden = state.head !== null && node.dataset.head !== state.head;
  });
  wirePlay();
}

function wirePlay() {
  const play = document.getElementById("play");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let timer = null;
  const stop = () => { clearInterval(timer); timer = null; play.setAttribute("aria-pressed", "false"); };
  play.addEventListener("click", () => {
    if (timer) { stop(); return; }
    if (calm.matches) {
      document.getElementById("notice").textContent = "Playing is off, because your system asks for less motion. Use the arrow keys.";
      return;
    }
    if (state.step === DATA.steps[DATA.steps.length - 1]) change({ step: DATA.steps[0] });
    play.setAttribute("aria-pressed", "true");
    timer = setInterval(() => {
      const next = DATA.steps.indexOf(state.step) + 1;
      if (next >= DATA.steps.length) stop(); else change({ step: DATA.steps[next] });
    }, 300);
  });
  calm.addEventListener("change", stop);
}

function wireTheme() {
  const button = document.getElementById("theme");
  const show = (theme) => {
    root.dataset.theme = theme;
    button.setAttribute("aria-pressed", String(theme === "dark"));
    readInk();
  };
  show(root.dataset.theme);
  button.addEventListener("click", () => {
    const theme = root.dataset.theme === "dark" ? "light" : "dark";
    show(theme);
    try { localStorage.setItem("critical-phase-theme", theme); } catch (error) { /* not allowed here */ }
    drawAll();
  });
  let before = null;
  const toPaper = () => {
    if (before) return;
    before = { theme: root.dataset.theme, closed: all("details.section:not([open]), details.more:not([open]):not([data-table])") };
    fillers.forEach((fill) => fill());
    before.closed.forEach((node) => { node.open = true; });
    show("light");
    drawAll();
  };
  const toScreen = () => {
    if (!before) return;
    before.closed.forEach((node) => { node.open = false; });
    show(before.theme);
    before = null;
    drawAll();
  };
  addEventListener("beforeprint", toPaper);
  addEventListener("afterprint", toScreen);
  matchMedia("print").addEventListener("change", (event) => { if (event.matches) toPaper(); else toScreen(); });
}

function sortKey(cell) {
  const raw = cell.dataset.sort === undefined ? cell.textContent : cell.dataset.sort;
  if (raw === "") return null;
  return Number.isNaN(Number(raw)) ? raw : Number(raw);
}

function wireTable(table) {
  const heads = all("thead th", table), body = table.tBodies[0];
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.setAttribute("aria-sort", other === head ? (down ? "descending" : "ascending") : "none"));
    const rows = Array.from(body.rows).map((row) => [sortKey(row.cells[column]), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
      return down ? -order : order;
    });
    body.append(...rows.map(([, row]) => row));
  }));
}

// A long table starts with its first twenty rows, in whatever order it is sorted.
function wireLong(table) {
  const body = table.tBodies[0], button = make("button", { type: "button", class: "show-all" }, "Show all " + body.rows.length + " rows");
  body.classList.add("short");
  button.addEventListener("click", () => { body.classList.remove("short"); button.remove(); });
  table.closest(".scroll").after(button);
}

function wireFilter(input) {
  const body = document.getElementById(input.dataset.filter).tBodies[0];
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase(), all = body.closest(".figure").querySelector(".show-all");
    if (all) all.click();
    for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}

// The table behind a figure is built when it is first opened.
function wireNumbers(details) {
  details.addEventListener("toggle", () => {
    const box = details.querySelector(".scroll");
    if (!details.open || box.firstChild) return;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", details.querySelector("summary").textContent);
    const key = details.dataset.numbers, chart = DATA.charts[key], map = DATA.maps[key];
    const table = make("table"), head = make("tr"), body = make("tbody");
    table.append(make("caption", {}, chart ? chart.title + ", " + chart.unit : map.title + ", " + map.unit), make("thead"), body);
    table.tHead.append(head);
    head.append(make("th", { scope: "col" }, chart ? "step" : map.row_name.replace("_", " ") + " \\ step"));
    if (chart) {
      for (const curve of chart.curves) head.append(make("th", { scope: "col", class: "num" }, curve.label));
      const steps = Array.from(new Set(chart.curves.flatMap((curve) => curve.steps))).sort((a, b) => a - b);
      for (const step of steps) addRow(body, step, chart.curves.map((curve) => {
        const i = curve.steps.indexOf(step);
        return i < 0 ? "" : exact(curve.value[i]) + (curve.low && curve.high ? " " + span(curve.low[i], curve.high[i]) : "");
      }));
    } else {
      for (const step of map.steps) head.append(make("th", { scope: "col", class: "num" }, step));
      map.rows.forEach((label, row) => addRow(body, label, map.steps.map((_, column) => cellText(map, row, column))));
    }
    box.append(table);
  });
}

// A long table is carried with the numbers and built when it is first opened.
function wireFolded(details) {
  details.addEventListener("toggle", () => {
    const box = details.querySelector(".scroll"), spec = DATA.tables[details.dataset.table];
    if (!details.open || box.firstChild) return;
    const table = make("table"), head = make("tr"), body = make("tbody");
    table.append(make("caption", {}, spec.caption), make("thead"), body);
    table.tHead.append(head);
    for (const [text, numeric] of spec.columns) {
      const cell = make("th", { scope: "col", "aria-sort": "none", class: numeric ? "num" : "" });
      cell.append(make("button", { type: "button" }, text));
      head.append(cell);
    }
    for (const cells of spec.rows) {
      const row = body.insertRow();
      cells.forEach(([text, sort], column) => {
        const numeric = spec.columns[column][1], cell = make("td", { class: numeric ? "num" : "" });
        if (numeric || sort !== null) cell.dataset.sort = sort === null ? "" : sort;
        cell.append(make("bdi", {}, visible(text)));
        row.append(cell);
      });
    }
    box.append(table);
    wireTable(table);
  });
}

function addRow(body, label, cells) {
  const row = body.insertRow();
  row.append(make("th", { scope: "row" }, label), ...cells.map((text) => make("td", { class: "num" }, text)));
}

function wireTokens() {
  const chooser = document.getElementById("question"), colour = document.getElementById("token-colour");
  if (!chooser) return;
  const questions = all(".question");
  const entriesOf = (view) => view.candidates[0] ? view.candidates[0].attention : [];
  const nameOf = (entry) => "layer " + entry.layer + ", attention head " + entry.attention_head + (entry.head ? " (" + entry.head + ")" : "");
  const fill = () => {
    const entries = entriesOf(DATA.tokens[chooser.value]);
    colour.closest("label").hidden = !entries.length;
    colour.replaceChildren(make("option", { value: "" }, "mean of all shown attention heads"), ...entries.map((entry, i) => make("option", { value: i }, nameOf(entry))));
  };
  fill();
  chooser.addEventListener("change", () => { fill(); schedule(); });
  colour.addEventListener("change", schedule);
  panels.push(() => questions.forEach((box, index) => {
    box.hidden = String(index) !== chooser.value;
    if (!box.hidden) drawQuestion(box, DATA.tokens[index], colour.value);
  }));
}

function drawQuestion(box, view, choice) {
  const at = nearestIndex(view.steps, state.step);
  box.querySelector("[data-now]").textContent = stepText(view.steps[at]);
  const rows = all("[data-candidate]", box);
  const score = (candidate) => candidate.positive && candidate.negative ? candidate.positive[at] - candidate.negative[at] : null;
  const right = rows.findIndex((row) => row.hasAttribute("data-correct"));
  const scores = view.candidates.map(score);
  const rivals = scores.filter((value, i) => i !== right && value !== null);
  rows.forEach((row, i) => {
    const candidate = view.candidates[i], show = (name, value) => { row.querySelector("[data-value=" + name + "]").textContent = number(value); };
    show("base", candidate.base);
    show("positive", candidate.positive && candidate.positive[at]);
    show("negative", candidate.negative && candidate.negative[at]);
    show("score", scores[i]);
    const other = i === right ? Math.max(...rivals) : scores[i];
    show("margin", right < 0 || scores[right] === null || other === null ? null : scores[right] - other);
    drawTokens(row.querySelector("[data-tokens]"), candidate, choice, at);
  });
}

function drawTokens(box, candidate, choice, at) {
  const entries = choice === "" ? candidate.attention : candidate.attention.slice(Number(choice), Number(choice) + 1);
  const shares = (step) => candidate.tokens.map((_, i) => entries.reduce((sum, entry) => sum + ((entry.values[step] || [])[i] || 0), 0) / (entries.length || 1));
  const most = Math.max(1e-9, ...entries.flatMap((entry) => entry.values.flat()).filter((value) => value !== null));
  if (!box.firstChild) box.append(...candidate.tokens.map((token) => make("span", { class: "token" }, visible(token))));
  shares(at).forEach((share, i) => {
    const token = box.children[i];
    token.style.setProperty("--share", Math.min(1, share / most).toFixed(3));
    token.title = "attention " + number(share);
  });
}

function wireCopy() {
  const button = document.getElementById("copy");
  if (!button) return;
  button.addEventListener("click", async () => {
    const block = document.getElementById("command");
    try {
      await navigator.clipboard.writeText(block.textContent);
      button.textContent = "Copied";
    } catch (error) {
      getSelection().selectAllChildren(block);
      button.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2500);
  });
}

async function start() {
  DATA = await readData();
  for (const name of Object.keys(DATA.palettes)) DATA.palettes[name] = bytesOf(DATA.palettes[name]);
  Object.values(DATA.maps).forEach(mapNumbers);
  Object.values(DATA.charts).forEach((chart) => chart.curves.forEach(resolve));
  state.step = DATA.steps[DATA.steps.length - 1];
  const heads = all("input[name=head]");
  state.head = heads.length ? heads[0].value : null;
  readHash();
  wireTheme();
  wireControls();
  for (const node of all("[data-head]")) node.hidden = state.head !== null && node.dataset.head !== state.head;
  const waiting = new Set(all("[data-chart]"));
  const build = () => { for (const box of waiting) if (box.clientWidth) { waiting.delete(box); makeChart(box); } };
  build();
  panels.push(build);
  all("[data-charts]").forEach((details) => wireCharts(details, waiting));
  all("[data-map]").forEach(makeMap);
  all("[data-scale]").forEach(makeScale);
  all("[data-sortable]").forEach(wireTable);
  all("[data-long]").forEach(wireLong);
  all("[data-filter]").forEach(wireFilter);
  all("[data-numbers]").forEach(wireNumbers);
  all("[data-table]").forEach(wireFolded);
  all("details.section").forEach((node) => node.addEventListener("toggle", schedule));
  wireTokens();
  wireCopy();
  addEventListener("hashchange", readHash);
  new ResizeObserver(schedule).observe(document.getElementById("main"));
  drawAll();
  root.dataset.ready = "1";
}

start();
