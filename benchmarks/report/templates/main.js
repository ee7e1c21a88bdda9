document.documentElement.classList.add("alive");
const drawCurves = find("#curves") ? startCurves() : () => {};
const showQuery = find("#view") ? startViewer() : () => {};

function follow() {
  const { place, values } = fromAddress();
  const asked = place === "board" ? values.get("benchmark") : null;
  if (boards.some((board) => board.dataset.benchmark === asked)) showBenchmark(asked);
  if (place === "view") showQuery(values, true);
}

function showBenchmark(name) {
  chooseBenchmark(name);
  drawCurves(name);
}

startBoards(showBenchmark);
showBenchmark(boards[0].dataset.benchmark);
showQuery(new URLSearchParams(), false);
if (find("#ablations")) startAblations();
follow();
addEventListener("hashchange", follow);
