// Leaderboards: one benchmark at a time, views of columns, sorting, filters.
const boards = findAll(".board");

function chooseBenchmark(name) {
  for (const board of boards) board.hidden = board.dataset.benchmark !== name;
  find("[name=benchmark]").value = name;
}

function startBoards(showBenchmark) {
  for (const element of findAll(".benchmarks, .narrow")) element.hidden = false;
  for (const fold of findAll(".narrow")) fold.open = matchMedia("(min-width: 761px)").matches;
  find("[name=benchmark]").addEventListener("change", ({ target }) => {
    toAddress("board", { benchmark: target.value });
    showBenchmark(target.value);
  });
  for (const table of findAll("table.sortable")) makeSortable(table);
  boards.forEach(startFilters);
}

function makeSortable(table) {
  const tracks = [...table.tBodies].map((body) => ({ body, rows: findAll("tr:not(.track)", body) }));
  const original = tracks.flatMap(({ rows }) => rows);
  const heads = [...table.tHead.rows].at(-1).cells;
  for (const head of heads) {
    find("button", head).addEventListener("click", () => {
      const values = new Map(original.map((row) => [row, row.cells[head.cellIndex].dataset.sort]));
      const known = [...values.values()].filter((value) => value !== undefined);
      const numeric = known.every((value) => value !== "" && isFinite(value));
      const before = head.getAttribute("aria-sort");
      const first = numeric && !/rank|medr/i.test(head.textContent) ? "descending" : "ascending";
      const order = before === null ? first : before === "ascending" ? "descending" : "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      for (const { body, rows } of tracks) body.append(...sorted(rows, values, numeric, order === "ascending" ? 1 : -1));
    });
  }
}

// Rows without a value come last in both orders; equal ones keep the page's order.
function sorted(rows, values, numeric, sign) {
  return [...rows].sort((one, other) => {
    const [a, b] = [values.get(one), values.get(other)];
    if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
    return sign * (numeric ? a - b : a.localeCompare(b, "en"));
  });
}

function startFilters(board) {
  const rows = findAll(".leaders tbody tr:not(.track)", board);
  const more = findAll(".more tbody tr", board); // published numbers and the like: the search box alone counts for them
  const search = find("[name=search]", board);
  const text = find("[name=text]", board);
  const marks = findAll(".toggles button", board);

  function apply() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const hiddenMarks = marks.filter((b) => b.getAttribute("aria-pressed") === "false").map((b) => b.dataset.mark);
    for (const row of more) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    for (const row of rows) {
      const own = row.dataset.marks.split(" ");
      row.hidden =
        !words.every((word) => row.dataset.found.includes(word)) ||
        Boolean(text?.value && row.dataset.text !== text.value) ||
        hiddenMarks.some((mark) => own.includes(mark));
    }
    for (const head of findAll(".track", board)) head.hidden = !find("tr:not(.track):not([hidden])", head.parentElement);
    const counted = rows.length ? rows : more;
    const shown = counted.filter((row) => !row.hidden).length;
    find(".shown", board).textContent = `${shown} of ${counted.length} rows`;
    find(".none", board).hidden = shown > 0;
  }

  search.addEventListener("input", apply);
  text?.addEventListener("change", apply);
  for (const button of marks) {
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") === "false");
      apply();
    });
  }
  for (const input of findAll(".views input", board)) {
    input.addEventListener("change", () => (board.dataset.view = input.value));
  }
  find(".clear", board).addEventListener("click", () => {
    search.value = "";
    if (text) text.value = "";
    for (const button of marks) button.setAttribute("aria-pressed", "true");
    apply();
    search.focus();
  });
  apply();
}
