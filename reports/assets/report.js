// Controls, tables, tokens, print; then the first draw.
function wireControls() {
  const slider = document.getElementById("step"), now = document.getElementById("now");
  const layer = document.getElementById("layer");
  if (!slider) return;
  slider.addEventListener("input", () => change({ step: DATA.steps[Number(slider.value)] }));
  if (layer) layer.addEventListener("change", () => change({ layer: layer.value === "" ? null : Number(layer.value) }));
  const attention = document.getElementById("attention-head");
  if (attention) attention.addEventListener("change", () => change({ attention: attention.value === "" ? null : Number(attention.value) }));
  for (const name of ["head", "axis", "spacing"]) {
    for (const input of all("input[name=" + name + "]")) input.addEventListener("change", () => change({ [name]: input.value }));
  }
  addPanel(() => {
    slider.value = DATA.steps.indexOf(state.step);
    slider.setAttribute("aria-valuetext", stepText(state.step));
    slider.style.setProperty("--share", DATA.steps.length > 1 ? slider.value / (DATA.steps.length - 1) : 1);
    now.textContent = stepText(state.step);
    if (layer) layer.value = state.layer === null ? "" : String(state.layer);
    if (attention) attention.value = state.attention === null ? "" : String(state.attention);
    for (const name of ["head", "axis", "spacing"]) {
      for (const input of all("input[name=" + name + "]")) input.checked = input.value === state[name];
    }
    for (const node of all("[data-head]")) node.hidden = state.head !== null && node.dataset.head !== state.head;
  }, null, true);
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
    schedule();
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
    schedule();
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

function wireFilter(input, table) {
  const body = (table || document.getElementById(input.dataset.filter)).tBodies[0];
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase(), figure = body.closest(".figure"), whole = figure && figure.querySelector(".show-all");
    if (whole) whole.click();
    for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().replaceAll("\u00a0", " ").includes(wanted);
  });
}

// The table behind a figure is built when it is first opened.
function wireNumbers(details) {
  details.addEventListener("toggle", () => {
    const box = details.querySelector(".scroll");
    if (!details.open || box.firstChild) return;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", details.querySelector("summary").textContent);
    const key = details.dataset.numbers, chart = DATA.charts[key] && chartOf(key), map = DATA.maps[key] && mapOf(key);
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
    if (spec.rows.length > 12) filterBefore(box, table);
  });
}

function filterBefore(box, table) {
  const label = make("label", { class: "filter" }, "Filter rows "), input = make("input", { type: "search", autocomplete: "off" });
  label.append(input);
  box.before(label);
  wireFilter(input, table);
}

function addRow(body, label, cells) {
  const row = body.insertRow();
  row.append(make("th", { scope: "row" }, label), ...cells.map((text) => make("td", { class: "num" }, text)));
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

function wireContents() {
  const links = all(".contents a").map((link) => [link, document.getElementById(link.hash.slice(1))]).filter(([, target]) => target);
  const groups = all(".contents li.group");
  for (const [link, target] of links) link.addEventListener("click", () => {
    if (target.tagName === "DETAILS") target.open = true;
    groups.forEach((group) => group.classList.toggle("picked", group.contains(link)));
  });
  let waits = false;
  const mark = () => {
    waits = false;
    let now = links[0];
    for (const pair of links) if (pair[1].getBoundingClientRect().top < 160) now = pair;
    for (const [link] of links) {
      if (link === now[0]) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
    }
    for (const group of groups) group.classList.toggle("now", group.contains(now[0]));
  };
  if (!links.length) return;
  addEventListener("scroll", () => { if (!waits) { waits = true; requestAnimationFrame(mark); } }, { passive: true });
  addPanel(mark);
  for (const [id, open] of [["unfold", true], ["fold", false]]) {
    const button = document.getElementById(id);
    if (button) button.addEventListener("click", () => { all("details.section").forEach((node) => { node.open = open; }); });
  }
}

async function start() {
  DATA = await readData();
  for (const name of Object.keys(DATA.palettes)) DATA.palettes[name] = bytesOf(DATA.palettes[name]);
  state.step = DATA.steps[DATA.steps.length - 1];
  const heads = all("input[name=head]");
  state.head = heads.length ? heads[0].value : null;
  wireTheme();
  wireControls();
  wireContents();
  readHash();
  for (const node of all("[data-head]")) node.hidden = state.head !== null && node.dataset.head !== state.head;
  const kinds = {
    chart: { keep: keepChart, maker: makeChart }, map: { keep: keepMap, maker: makeMap },
    ridges: { keep: keepRidges, maker: makeRidges }, squares: { keep: keepSquares, maker: makeSquares },
    trail: { keep: keepTrail, maker: makeTrail }, scale: { keep: () => {}, maker: makeScale },
  };
  for (const [kind, parts] of Object.entries(kinds)) all("[data-" + kind + "]").forEach((box) => lazyPanel(box, parts));
  all("[data-charts]").forEach(wireCharts);
  all("[data-sortable]").forEach(wireTable);
  all("[data-long]").forEach(wireLong);
  all("[data-filter]").forEach((input) => wireFilter(input));
  all("[data-numbers]").forEach(wireNumbers);
  all("[data-table]").forEach(wireFolded);
  all("details").forEach((node) => node.addEventListener("toggle", schedule));
  wireTokens();
  wireCopy();
  addEventListener("hashchange", readHash);
  new ResizeObserver(() => { giveRoom(); schedule(); }).observe(document.getElementById("main"));
  giveRoom();
  drawFirst();
  root.dataset.ready = "1";
}

start();
