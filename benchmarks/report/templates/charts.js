// Charts: the specifications come compiled, the data are filled in here.
const MARKED = new Set([1, 5, 10, 20, 50, 100]); // K at which recall curves carry their shape

let library = null; // Vega, from the first chart on

async function loadVega() {
  const script = new TextDecoder().decode(await inflate(find("#vega").textContent));
  new Function(script)();
  return self.vegaEmbed;
}

async function chart(container, name, data, description) {
  const spec = { ...structuredClone(DATA.charts[name]), description };
  for (const source of spec.data) if (source.name in data) source.values = data[source.name];
  const latest = (container.latest = (container.latest ?? 0) + 1);
  const vegaEmbed = await (library ??= loadVega());
  if (latest !== container.latest) return; // asked for anew meanwhile
  container.drawn?.finalize();
  container.drawn = await vegaEmbed(container, spec, {
    mode: "vega", renderer: "svg", actions: false, defaultStyle: false,
    tooltip: (handler, event, item, text) => showTip(event, text),
  });
}

function showTip(event, text) {
  const tip = find("#tip");
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  const { clientX: x, clientY: y } = event.touches?.[0] ?? event;
  const [width, height] = [tip.offsetWidth, tip.offsetHeight];
  tip.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - width - 8))}px`;
  tip.style.top = `${y - height - 14 < 8 ? y + 18 : y - height - 14}px`;
}

const number = (value, digits = 1) => value.toFixed(digits);

function startCurves() {
  const section = find("#curves");
  let benchmark = null;
  let chosen = new Set();

  function drawCost() {
    const measure = find("input[name=cost]:checked", section).value;
    const unit = measure === "minutes" ? "minutes of training" : "million parameters";
    const known = benchmark.rows.filter((row) => row[measure] !== null);
    const rows = known.map((row) => ({
      ...row,
      x: row[measure],
      tip: `${row.label}\nrsum ${number(row.rsum)} (${number(row.low)} to ${number(row.high)})\n${number(row[measure])} ${unit}\nn = ${row.seeds}`,
    }));
    const frontier = [];
    for (const row of [...rows].sort((a, b) => a.x - b.x || b.rsum - a.rsum)) {
      if (!frontier.length || row.rsum > frontier.at(-1).rsum) frontier.push(row);
    }
    nameApart(rows, frontier, find("#cost").clientWidth);
    chart(find("#cost"), measure, { rows, frontier }, `rsum against ${unit}, ${benchmark.name}`);
    tellLeftOut(find("#cost"), benchmark.rows.filter((row) => row[measure] === null), "unknown cost");
  }

  // Names the rows of the frontier, the best first, but for those whose names would lie upon each other.
  function nameApart(rows, frontier, width) {
    const [right, low, high] = [Math.max(...rows.map((r) => r.x)), Math.min(...rows.map((r) => r.low)), Math.max(...rows.map((r) => r.high))];
    const at = (row) => [Math.sqrt(row.x / (right || 1)) * width, ((row.rsum - low) / (high - low || 1)) * 300];
    const named = [];
    for (const row of [...frontier].reverse()) {
      const [x, y] = at(row);
      const free = named.every((other) => Math.abs(at(other)[1] - y) > 16 || Math.abs(at(other)[0] - x) > 7 * row.label.length);
      if (free) named.push(row);
    }
    for (const row of rows) {
      row.name = named.includes(row) ? row.label : "";
      row.late = at(row)[0] + 7 * row.label.length > width - 60;
    }
  }

  function tellLeftOut(place, rows, why) {
    const names = rows.map((row) => row.label).join(", ");
    find(".left-out", place.closest("figure")).textContent = rows.length ? `Not drawn (${why}): ${names}.` : "";
  }

  function drawLines() {
    const rows = benchmark.rows.filter((row) => chosen.has(row.key));
    for (const direction of ["i2t", "t2i"]) {
      const lines = rows.flatMap((row) =>
        DATA.ks.map((k, i) => ({
          ...look(row), k, recall: row[direction][i], marked: MARKED.has(k),
          tip: `${row.label}\nR@${k} ${number(row[direction][i])} %`,
        })),
      );
      chart(find(`#recall-${direction}`), "recall", { lines }, `Recall at K, ${direction}, ${benchmark.name}`);
    }
    const lines = rows.flatMap((row) =>
      row.epochs.map(([epoch, rsum, low, high], i) => ({
        ...look(row), epoch, rsum, low, high, marked: i % 3 === 0 || i === row.epochs.length - 1,
        tip: `${row.label}\nepoch ${epoch}: rsum ${number(rsum)} on dev`,
      })),
    );
    chart(find("#learning"), "learning", { lines }, `rsum on dev per epoch, ${benchmark.name}`);
    tellLeftOut(find("#learning"), rows.filter((row) => !row.epochs.length), "no dev evaluation in training");
  }

  const look = ({ key, colour, shape, dash }) => ({ key, colour, shape, dash });

  function offerRows() {
    const best = new Map();
    for (const row of benchmark.rows) if (!best.has(row.method)) best.set(row.method, row.key);
    chosen = new Set(best.values());
    const buttons = benchmark.rows.map((row) =>
      make("button", {
        type: "button",
        "aria-pressed": chosen.has(row.key),
        "data-key": row.key,
        onclick: ({ currentTarget }) => {
          chosen.has(row.key) ? chosen.delete(row.key) : chosen.add(row.key);
          currentTarget.setAttribute("aria-pressed", chosen.has(row.key));
          drawLines();
        },
      }, lineSwatch(row), row.label),
    );
    find(".rows", section).replaceChildren(...buttons);
  }

  for (const input of findAll("input[name=cost]", section)) input.addEventListener("change", drawCost);
  return (name) => {
    benchmark = DATA.benchmarks.find((b) => b.name === name) ?? null;
    find(".which", section).textContent = name;
    find(".drawn", section).hidden = benchmark === null;
    find(".only-published", section).hidden = benchmark !== null;
    if (benchmark === null) return;
    offerRows();
    drawCost();
    drawLines();
  };
}

function startAblations() {
  const place = find("#ablations .bars");
  for (const table of DATA.ablations) {
    const container = make("div", { class: "chart" });
    const absent = table.missing.length ? `Not run, so not drawn: ${table.missing.join(", ")}.` : "";
    place.append(
      make("figure", {}, make("h3", {}, table.title), make("p", { class: "size" }, table.about.join(" ")), container,
        make("figcaption", {}, absent)),
    );
    const bars = table.bars.map((bar) => ({ ...bar, tip: barTip(bar) }));
    chart(container, "ablation", { bars }, `${table.title}: change of rsum`);
  }
}

function barTip(bar) {
  const printed = bar.published === null ? "" : `\nprinted change ${number(bar.published)}`;
  return `${bar.label}\n${bar.overrides}\nchange ${number(bar.change)} (${number(bar.low)} to ${number(bar.high)}), n = ${bar.seeds}${printed}`;
}
