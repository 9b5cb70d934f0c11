// One question, candidate by candidate, at the current step.
function wireTokens() {
  const chooser = document.getElementById("question"), colour = document.getElementById("token-colour");
  if (!chooser) return;
  const questions = all(".question"), note = document.getElementById("token-note");
  const view = () => DATA.tokens[chooser.value];
  const fill = () => {
    const entries = headsOf(view());
    colour.closest("label").hidden = !entries.length;
    colour.replaceChildren(make("option", { value: "" }, "mean of all shown attention heads"), ...entries.map((entry, i) => make("option", { value: i }, nameOf(entry))));
  };
  fill();
  chooser.addEventListener("change", () => { fill(); schedule(); });
  colour.addEventListener("change", () => {
    const entry = headsOf(view())[colour.value];
    change(entry ? { layer: entry.layer, attention: entry.attention_head } : { layer: null, attention: null });
  });
  const draw = () => {
    const entries = headsOf(view()), { layer, attention } = focus();
    const found = entries.findIndex((entry) => entry.layer === layer && entry.attention_head === attention);
    colour.value = found < 0 ? "" : String(found);
    const asked = layer !== null && attention !== null && entries.length > 0;
    note.textContent = asked && found < 0 ? "Layer " + layerName(layer).replace("layer ", "") + ", attention head " + attention + " was not saved for this question: the mean of those saved is shown." : "";
    questions.forEach((box, index) => {
      box.hidden = String(index) !== chooser.value;
      if (!box.hidden) drawQuestion(box, DATA.tokens[index], found < 0 ? null : entries[found]);
    });
  };
  addPanel(draw, questions[0].parentElement);
  draw();
}

function nameOf(entry) {
  return "layer " + entry.layer + ", attention head " + entry.attention_head + (entry.head ? " (" + entry.head + ")" : "");
}

// The attention heads of which any candidate has a row.
function headsOf(view) {
  const seen = new Map();
  for (const candidate of view.candidates) for (const entry of candidate.attention) seen.set(nameOf(entry), entry);
  return Array.from(seen.values()).sort((a, b) => a.layer - b.layer || a.attention_head - b.attention_head);
}

// A click on a question's row of a map shows it, where its tokens were saved.
function showQuestion(id) {
  const chooser = document.getElementById("question"), index = DATA.tokens.findIndex((view) => view.question_id === id);
  if (!chooser || index < 0) return;
  chooser.value = String(index);
  chooser.dispatchEvent(new Event("change"));
}

function drawQuestion(box, view, entry) {
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
    drawTokens(row.querySelector("[data-tokens]"), candidate, entry, at);
  });
}

function drawTokens(box, candidate, wanted, at) {
  const entries = wanted ? candidate.attention.filter((entry) => nameOf(entry) === nameOf(wanted)) : candidate.attention;
  const shares = candidate.tokens.map((_, i) => entries.reduce((sum, entry) => sum + shareAt(entry, at, i), 0) / (entries.length || 1));
  if (!box.firstChild) box.append(...candidate.tokens.map((token) => make("span", { class: "token" }, visible(token))));
  const most = Math.max(1e-9, ...entries.map((entry) => entry.most));
  shares.forEach((share, i) => {
    const token = box.children[i];
    token.style.setProperty("--share", Math.min(1, share / most).toFixed(3));
    token.title = "attention " + (entries.length ? number(share) : "not saved");
  });
}

// Shares of attention come as one byte each, step by step.
function shareAt(entry, step, token) {
  if (!entry.shares) {
    entry.shares = bytesOf(entry.bytes);
    entry.most = entry.shares.reduce((most, byte) => byte < 255 ? Math.max(most, byte) : most, 0) / 254;
  }
  const byte = entry.shares[step * entry.tokens + token];
  return byte === undefined || byte === 255 ? 0 : byte / 254;
}
