
"use strict";
(() => {
  const find = id => document.getElementById(id);
  const form = find("filters"), found = find("found"), dialog = find("provenance"), body = find("provenance-body");
  const sheets = [...document.querySelectorAll(".sheet")], fields = form.querySelectorAll("[name]");
  let data = null;  // parsed when a cell is first opened

  const text = number => data.texts[number];
  const make = (name, content = "", kind = "") => {
    const element = document.createElement(name);
    element.textContent = content;
    if (kind) element.className = kind;
    return element;
  };

  // ---- provenance

  const facts = pairs => {
    const list = make("dl");
    for (const [what, value] of pairs) list.append(make("dt", text(what)), make("dd", text(value)));
    return list;
  };

  const place = record => {
    if (!data.link) return make("code", record.place);
    const link = make("a", record.place);
    link.href = data.link + record.place.split("/").map(encodeURIComponent).join("/");
    return link;
  };

  const draw = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };

  const curve = (curves, level, title) => {
    const all = Object.values(curves).flat(), width = 380, height = 190, left = 32, right = 74, top = 8, bottom = 22;
    const errors = all.map(point => point[1]).concat(level === undefined ? [] : [level]);
    const low = 10 * Math.floor(Math.min(...errors) / 10), high = Math.max(low + 10, 10 * Math.ceil(Math.max(...errors) / 10));
    const last = Math.max(1, ...all.map(point => point[0]));
    const x = epoch => (left + (width - left - right) * epoch / last).toFixed(1);
    const y = error => (top + (height - top - bottom) * (high - error) / (high - low)).toFixed(1);
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
    const label = (content, kind, at) => { const node = draw("text", { class: kind, ...at }); node.textContent = content; svg.append(node); };
    for (const error of [low, high]) {
      svg.append(draw("path", { class: "grid", d: `M${left} ${y(error)}H${width - right}` }));
      label(error, "tick y", { x: left - 6, y: y(error) });
    }
    label("epoch " + last, "tick x", { x: x(last), y: height - 6 });
    if (level !== undefined) {
      svg.append(draw("path", { class: "level c1", d: `M${left} ${y(level)}H${width - right}` }));
      label("paper " + level.toFixed(2), "label c1", { x: width - right + 6, y: y(level) });
    }
    for (const [kind, points] of Object.entries(curves))
      svg.append(draw("polyline", { class: kind + " c2", points: points.map(([e, v]) => `${x(e)},${y(v)}`).join(" ") }));
    return svg;
  };

  const run = ([number, result], cell, open) => {
    const record = data.records[number], part = make("details", "", "run"), head = make("h3", text(record.title) + " ");
    const summary = make("summary");
    head.append(make("span", text(result), "what"));
    summary.append(head);
    part.append(summary, place(record));
    part.open = open;
    if (record.facts) part.append(facts(record.facts));
    const curves = record.curves?.[cell.curve[0]], name = text(cell.curve[1]), said = name[0].toUpperCase() + name.slice(1);
    if (curves) {
      const ends = Object.entries(curves).map(([kind, points]) => `${kind} ${points.at(-1)[1]}%`).join(", ");
      part.append(curve(curves, cell.level, `${said} by epoch of ${text(record.title)}, at the end: ${ends}`));
      part.append(make("p", `${said}, %: validation solid${curves.train ? ", training dashed" : ""}.`, "key"));
    }
    if (record.log !== undefined) {
      const log = make("details");
      log.append(make("summary", "The end of its log"), make("pre", text(record.log)));
      part.append(log);
    }
    return part;
  };

  const show = id => {
    data ??= JSON.parse(find("data").textContent);
    const cell = data.cells[id];
    find("provenance-target").textContent = decodeURIComponent(id);
    find("provenance-title").textContent = text(cell.title) + " ";
    if (cell.verdict !== undefined)
      find("provenance-title").append(make("b", text(cell.verdict), "v " + text(cell.verdict).toLowerCase()));
    body.replaceChildren(facts(cell.facts));
    if (cell.notes) {
      const notes = make("ul", "", "notes");
      notes.append(...cell.notes.map(number => make("li", text(number))));
      body.append(notes);
    }
    (cell.records ?? []).forEach((one, at) => body.append(run(one, cell, at === 0)));
    if (!dialog.open) dialog.showModal();
    body.scrollTop = 0;
    body.focus();
    remember("#" + id);
  };

  // ---- filters

  const wanted = () => Object.fromEntries([...new FormData(form)].map(([key, value]) => [key, value.trim()]).filter(pair => pair[1]));

  const remember = hash => history.replaceState(null, "", hash || location.pathname + location.search);

  const filterHash = () => {
    const chosen = new URLSearchParams(wanted()).toString();
    return chosen ? "#" + chosen : "";
  };

  const apply = () => {
    const want = wanted(), words = (want.text ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    let rows = 0, shown = 0, tables = 0;
    for (const sheet of sheets) {
      const here = (!want.table || sheet.id === want.table) && (!want.task || sheet.dataset.task === want.task);
      let some = false;
      for (const row of sheet.querySelectorAll(".numbers tbody tr")) {
        const label = `${row.cells[0].textContent} ${sheet.dataset.title}`.toLowerCase();
        const cells = [...row.querySelectorAll(".cell")], hits = cells.filter(cell => want.verdict && cell.dataset.v === want.verdict);
        const fits = here && words.every(word => label.includes(word)) && (!want.verdict || hits.length > 0)
          && (!want.state || row.dataset.state.split(" ").includes(want.state));
        for (const cell of cells) cell.parentElement.classList.toggle("hit", fits && hits.includes(cell));
        row.classList.toggle("off", !fits);
        rows += 1;
        shown += fits;
        some ||= fits;
      }
      sheet.classList.toggle("off", !some);
      tables += some;
    }
    for (const group of document.querySelectorAll(".tables"))
      group.classList.toggle("off", !group.querySelector(".sheet:not(.off)"));
    const all = shown === rows, many = tables === 1 ? "1 table" : `${tables} tables`;
    found.textContent = all ? `${rows} rows in ${many}` : `${shown} of ${rows} rows in ${many}`;
  };

  // A hash is the state of the filters (it has a "="), a number's name, or a place on the page.
  const follow = () => {
    const hash = location.hash.slice(1), target = hash && find(hash);
    if (hash.includes("=")) {
      const state = new URLSearchParams(hash);
      for (const field of fields) field.value = state.get(field.name) ?? "";
      apply();
    } else if (target) {
      if (target.closest(".off")) { for (const field of fields) field.value = ""; apply(); }
      target.scrollIntoView({ block: target.matches(".cell") ? "center" : "start", behavior: "instant" });
      if (target.matches(".cell")) { target.focus(); show(hash); }
    }
  };

  // ---- keys and clicks

  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  const move = event => {
    const by = step[event.key], cell = event.target.closest(".cell");
    if (!by || !cell) return;
    let row = cell.closest("tr"), column = cell.parentElement.cellIndex, next = null;
    do {
      column += by[1];
      if (by[0]) row = by[0] > 0 ? row.nextElementSibling : row.previousElementSibling;
      if (!row?.cells[column]) return;
      next = row.classList.contains("off") ? null : row.cells[column].querySelector(".cell");
    } while (!next);
    event.preventDefault();
    next.focus();
  };

  form.hidden = false;
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("input", () => { apply(); remember(filterHash()); });
  form.addEventListener("reset", () => setTimeout(() => { apply(); remember(filterHash()); }));
  find("provenance-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => remember(filterHash()));
  document.addEventListener("click", event => {
    const cell = event.target.closest?.(".cell");
    if (cell) show(cell.id);
  });
  document.addEventListener("keydown", move);
  window.addEventListener("hashchange", follow);
  window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(one => { one.open = true; }));
  apply();
  follow();
})();
