// The viewer: a query, what one run or two retrieved, and the queries where they differ most.
const KINDS = { i2t: ["image", "captions"], t2i: ["caption", "pictures"] };

function startViewer() {
  const place = find("#view");
  const unpacked = new Map(); // run -> its ranks and lists
  const state = { view: DATA.views[0], one: null, other: null, direction: "i2t", query: 0, boxes: false };
  const parts = controls();

  function controls() {
    const select = (name, label) => make("label", {}, label, make("select", { name, onchange: readForm }));
    const way = (value, text) =>
      make("label", {}, make("input", { type: "radio", name: "direction", value, onchange: readForm }), make("span", {}, text));
    const step = (by, text, label) =>
      make("button", { type: "button", class: "step", "aria-label": label, title: label, onclick: () => go(state.query + by) }, text);
    const form = make("form", { class: "tools", onsubmit: (event) => event.preventDefault() },
      DATA.views.length > 1 ? select("dataset", "Data set ") : null,
      select("run", "Run "),
      select("against", "Beside it "),
      make("fieldset", { class: "choice" }, make("legend", {}, "Query"), way("i2t", "image → captions"), way("t2i", "caption → pictures")),
      make("div", { class: "steps", role: "group", "aria-label": "Query" },
        step(-1, "←", "Previous query"),
        make("label", {}, make("span", { class: "hidden" }, "Number of the query"),
          make("input", { type: "number", name: "query", min: 0, value: 0, onchange: readForm })),
        make("span", { class: "of" }),
        step(1, "→", "Next query"),
        make("button", { type: "button", class: "any", onclick: () => go(Math.floor(Math.random() * queries())) }, "any")),
      make("label", { class: "check" }, make("input", { type: "checkbox", name: "boxes", onchange: readForm }), "region boxes"),
    );
    return {
      form,
      status: make("p", { class: "hidden", "aria-live": "polite" }),
      query: make("div", { class: "query", tabindex: -1 }),
      answers: make("div", { class: "answers" }),
      aside: make("aside", { class: "jump" }),
    };
  }

  const field = (name) => parts.form.elements[name];
  const queries = () => (state.direction === "i2t" ? state.view.names : state.view.captions).length;
  const runNamed = (id) => state.view.runs.find((run) => run.id === id || (id && run.id.startsWith(id))) ?? null;

  function offerRuns() {
    const option = (run) => new Option(run.seed === null ? run.label : `${run.label} (seed ${run.seed})`, run.id);
    if (field("dataset")) field("dataset").replaceChildren(...DATA.views.map((view) => new Option(view.dataset)));
    field("run").replaceChildren(...state.view.runs.map(option));
    field("against").replaceChildren(new Option("no other run", ""), ...state.view.runs.map(option));
    find(".check", parts.form).hidden = !state.view.boxes || !state.view.pictures;
    const [first, ...others] = state.view.runs;
    state.one = first;
    state.other = others.find((run) => rowOf(run).method !== rowOf(first).method) ?? null;
  }

  function readForm({ target }) {
    if (target.name === "dataset") {
      state.view = DATA.views.find((view) => view.dataset === target.value);
      offerRuns();
    } else {
      state.one = runNamed(field("run").value);
      state.other = runNamed(field("against").value);
    }
    state.direction = field("direction").value;
    state.boxes = field("boxes").checked;
    go(target.name === "query" ? Number(field("query").value) : target.name === "direction" ? sameThing() : state.query);
  }

  // Turning the direction around stays with the same picture.
  const sameThing = () =>
    state.direction === "i2t" ? state.view.owners[state.query] : state.view.owners.indexOf(state.query);

  function go(query, direction = state.direction) {
    state.direction = direction;
    state.query = Math.max(0, Math.min(queries() - 1, Math.round(query) || 0));
    toAddress("view", {
      dataset: DATA.views.length > 1 ? state.view.dataset : null, run: state.one.id, against: state.other?.id ?? null,
      direction, query: state.query,
    });
    show();
  }

  // From the list or a result: the new query gets the focus, so that the keyboard goes on from there.
  function jump(query, direction = state.direction) {
    go(query, direction);
    parts.query.focus({ preventScroll: true });
    parts.query.scrollIntoView({ block: "nearest" });
  }

  async function ready(run) {
    if (run && !unpacked.has(run)) unpacked.set(run, await unpackRun(run, state.view));
  }

  async function show() {
    const { view, one, other, direction } = state;
    await Promise.all([one, other].map(ready));
    if (view !== state.view || one !== state.one || other !== state.other) return; // chosen anew meanwhile
    if (field("dataset")) field("dataset").value = view.dataset;
    field("run").value = one.id;
    field("against").value = other?.id ?? "";
    field("direction").value = direction;
    field("query").value = state.query;
    field("query").max = queries() - 1;
    find(".of", parts.form).textContent = `of ${queries()}, from 0`;
    showQueryCard();
    parts.answers.replaceChildren(...[one, other].filter(Boolean).map(answer));
    showJumps();
    const ranks = [one, other].filter(Boolean).map((run) => `${run.label}: rank ${rankOf(run)}`);
    parts.status.textContent = `${KINDS[direction][0]} ${state.query}. ${ranks.join(". ")}`;
  }

  const rowOf = (run) =>
    DATA.benchmarks.find((b) => b.name === state.view.benchmark).rows.find((row) => row.key === run.key);
  const side = (run) => unpacked.get(run)[state.direction];
  const rankOf = (run) => side(run).ranks[state.query] + 1;
  const captionsOf = (image) => state.view.owners.flatMap((owner, text) => (owner === image ? [text] : []));

  function picture(image, withBoxes) {
    if (!state.view.pictures) return make("span", { class: "picture missing" }, state.view.names[image]);
    const source = `data:image/webp;base64,${state.view.pictures[image]}`;
    const shown = make("img", { src: source, alt: `picture ${image}, ${state.view.names[image]}` });
    return make("span", { class: "picture" }, shown, withBoxes && state.boxes ? boxes(image) : null);
  }

  function boxes(image) {
    const corners = (state.view.corners ??= bytesOf(state.view.boxes)).subarray(image * state.view.regions * 4, (image + 1) * state.view.regions * 4);
    const drawn = [];
    for (let i = 0; i < corners.length; i += 4) {
      const [x1, y1, x2, y2] = corners.subarray(i, i + 4);
      if (x2 > x1 && y2 > y1) drawn.push(draw("rect", { x: x1, y: y1, width: x2 - x1, height: y2 - y1 }));
    }
    return draw("svg", { class: "boxes", viewBox: "0 0 255 255", preserveAspectRatio: "none", "aria-hidden": "true" }, ...drawn);
  }

  function captionButton(text) {
    return make("button", { type: "button", class: "caption", title: `caption ${text}: its pictures`, onclick: () => jump(text, "t2i") },
      state.view.captions[text]);
  }

  function pictureButton(image, withBoxes) {
    return make("button", { type: "button", class: "tile", title: `picture ${image}: its captions`, onclick: () => jump(image, "i2t") },
      picture(image, withBoxes));
  }

  function showQueryCard() {
    const { direction, query, view } = state;
    const heading = make("h3", {}, `${direction === "i2t" ? "Picture" : "Caption"} ${query}`);
    if (direction === "i2t") {
      const own = make("ul", {}, ...captionsOf(query).map((text) => make("li", {}, captionButton(text))));
      parts.query.replaceChildren(heading, picture(query, true), make("p", { class: "size" }, `${view.names[query]}. Its own captions:`), own);
    } else {
      const owner = view.owners[query];
      parts.query.replaceChildren(heading, make("blockquote", {}, view.captions[query]),
        make("p", { class: "size" }, "Written for this picture:"), pictureButton(owner, true));
    }
  }

  function answer(run) {
    const right = (item) => (state.direction === "i2t" ? state.view.owners[item] === state.query : item === state.view.owners[state.query]);
    const hits = hitsOf(run, side(run), state.query).map((hit) => ({ ...hit, right: right(hit.item) }));
    const rank = rankOf(run);
    const list = make("ol", { class: KINDS[state.direction][1] }, ...hits.map(state.direction === "i2t" ? captionHit : pictureHit));
    const beyond = hits.some((hit) => hit.right) ? null : make("p", { class: "beyond" }, `The right one is not among these ${hits.length}: it is at rank ${rank}.`);
    return make("section", { class: "answer", "aria-label": run.label },
      make("h3", {}, swatch(rowOf(run)), run.label, make("span", { class: `rank ${rank === 1 ? "first" : ""}` }, `rank ${rank}`)), beyond, list);
  }

  const verdict = (hit) => (hit.right ? make("span", { class: "right" }, "✓ right") : null);

  function captionHit(hit) {
    const bar = make("span", { class: "bar", "aria-hidden": "true" });
    bar.style.width = `${Math.max(0, Math.min(100, 100 * hit.share))}%`;
    return make("li", { class: hit.right ? "is-right" : null }, captionButton(hit.item),
      make("span", { class: "below" }, make("span", { class: "score" }, hit.score.toFixed(3)), verdict(hit)), bar);
  }

  function pictureHit(hit) {
    return make("li", { class: hit.right ? "is-right" : null }, pictureButton(hit.item, true),
      make("span", { class: "below" }, make("span", { class: "score" }, hit.score.toFixed(3)), verdict(hit)));
  }

  function showJumps() {
    const { one, other, direction } = state;
    const kind = KINDS[direction][0];
    const order = other ? mostDifferent(side(one).ranks, side(other).ranks) : worst(side(one).ranks);
    const ranks = (query) => [one, other].filter(Boolean).map((run) => side(run).ranks[query] + 1).join(" : ");
    const title = other ? `${kind}s where the two differ most` : `${kind}s that it finds hardest`;
    const about = other ? "By the ratio of their ranks; the numbers are the ranks, first run : second run." : "The number is the rank of the right one.";
    const items = order.map((query) =>
      make("li", {}, make("button", { type: "button", "aria-current": String(query === state.query), onclick: () => jump(query) },
        direction === "i2t" ? picture(query, false) : make("span", { class: "words" }, state.view.captions[query]),
        make("span", { class: "ranks" }, ranks(query)))));
    parts.aside.replaceChildren(make("h3", {}, title[0].toUpperCase() + title.slice(1)), make("p", { class: "size" }, about),
      items.length ? make("ol", { class: `jumps of-${kind}s` }, ...items) : make("p", {}, "None: both have the same rank everywhere."));
  }

  place.append(parts.form, parts.status, make("div", { class: "stage" }, parts.query, parts.answers), parts.aside);
  offerRuns();
  // At the top of the page: what image–text matching is, by an example of the best run.
  async function explain() {
    const [run, query] = [state.view.runs[0], 0];
    if (!state.view.pictures) return;
    await ready(run);
    const own = (hit) => state.view.owners[hit.item] === query;
    const captions = hitsOf(run, unpacked.get(run).i2t, query).slice(0, 3)
      .map((hit) => make("li", { class: own(hit) ? "is-right" : null }, state.view.captions[hit.item]));
    const sizes = [state.view.captions, state.view.names].map((list) => list.length.toLocaleString("en"));
    const task = find(".task");
    task.append(picture(query, false), make("ol", {}, ...captions),
      make("figcaption", {}, `Which of ${sizes[0]} captions were written for this picture? The first three of ${run.label}. And the way back: one of ${sizes[1]} pictures for a caption.`));
    task.hidden = false;
  }

  find("#viewer").addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.altKey || event.ctrlKey || event.metaKey || /^(INPUT|SELECT)$/.test(event.target.tagName)) return;
    event.preventDefault();
    go(state.query + by);
  });

  explain();
  return (values, scroll) => {
    const view = DATA.views.find((v) => v.dataset === values.get("dataset"));
    if (view && view !== state.view) {
      state.view = view;
      offerRuns();
    }
    state.one = runNamed(values.get("run")) ?? state.one;
    if (values.has("run")) state.other = runNamed(values.get("against"));
    state.direction = Object.hasOwn(KINDS, values.get("direction")) ? values.get("direction") : state.direction;
    state.query = Math.max(0, Math.min(queries() - 1, Number.parseInt(values.get("query") ?? "0", 10) || 0));
    show().then(() => scroll && find("#viewer").scrollIntoView());
  };
}
