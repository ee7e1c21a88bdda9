// What runs retrieved, unpacked from the page, and the queries that are worth a look.
const LISTED = 24; // queries in the list of differences

// Ranks and lists of a run, as benchmarks/report/viewer.py packs them.
async function unpackRun(run, view) {
  const planes = new Uint8Array(await inflate(run.numbers));
  let offset = 0;
  const take = (count) => {
    const numbers = new Int32Array(count);
    for (let plane = 0; plane < 4; plane++)
      for (let i = 0; i < count; i++) numbers[i] |= planes[offset + plane * count + i] << (8 * plane);
    offset += 4 * count;
    return numbers;
  };
  const sizes = { i2t: view.names.length, t2i: view.captions.length };
  const sides = {};
  for (const [n, direction] of ["i2t", "t2i"].entries()) {
    const [queries, listed] = [sizes[direction], run.listed[n]];
    sides[direction] = { listed, ranks: take(queries), items: take(queries * listed), drops: take(queries * listed) };
  }
  return sides;
}

function hitsOf(run, side, query) {
  const hits = [];
  let level = 0;
  for (let i = query * side.listed; i < (query + 1) * side.listed && side.items[i] >= 0; i++) {
    level = i === query * side.listed ? side.drops[i] : level - side.drops[i];
    hits.push({ item: side.items[i], score: run.low + run.step * level, share: level / run.steps });
  }
  return hits;
}

// Queries by the ratio of their ranks, largest first: as `compare` lists them.
function mostDifferent(one, other) {
  const ratio = Array.from(one, (rank, i) => Math.abs(Math.log((rank + 1) / (other[i] + 1))));
  const order = ratio.map((_, i) => i).filter((i) => ratio[i] > 0);
  return order.sort((a, b) => ratio[b] - ratio[a] || a - b).slice(0, LISTED);
}

function worst(ranks) {
  const order = Array.from(ranks, (_, i) => i).filter((i) => ranks[i] > 0);
  return order.sort((a, b) => ranks[b] - ranks[a] || a - b).slice(0, LISTED);
}
