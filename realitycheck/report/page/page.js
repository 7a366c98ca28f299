"use strict";
// The gallery: every image under every method, filtered, sorted, walked with the keyboard. Only the
// tiles in view are in the document, so that thousands of images open and scroll like a few.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const pictures = JSON.parse(document.getElementById("pictures").textContent);
  const LABELS = ["good", "defective"];
  const OUTCOMES = {
    slip: ["✖", "slip", "defective, but passed"],
    overkill: ["!", "overkill", "good, but rejected"],
    correct: ["✔", "correct", "right verdict"],
    silent: ["–", "no verdict", "no verdict"],
  };
  const OUTCOME_KEYS = Object.keys(OUTCOMES);
  const SVG = "http://www.w3.org/2000/svg";

  // ---------------------------------------------------------------- results: one image, one method
  const results = [];
  data.runs.forEach((run, r) => {
    run.title = run.prompt ? `${run.name} (${run.prompt})` : run.name;
    run.predicted.forEach((predicted, k) => {
      const image = run.first + k;
      const label = data.images[image].l;
      const outcome = predicted < 0 ? 3 : predicted === label ? 2 : label ? 0 : 1;
      results.push({ r, k, image, outcome, number: results.length });
    });
  });
  const runOf = (x) => data.runs[x.r];
  const imageOf = (x) => data.images[x.image];
  const iou = (x) => (runOf(x).iou ? runOf(x).iou[x.k] : null);
  const score = (x) => (runOf(x).score ? runOf(x).score[x.k] : null);
  const size = (x) => (imageOf(x).l && imageOf(x).px !== undefined ? imageOf(x).px : null);
  const status = (x) => data.statuses[runOf(x).status[x.k]];
  const type = (x) => imageOf(x).t || (imageOf(x).l ? "not named" : "none, a good part");

  // ------------------------------------------------------------------------------ filters, sorting
  const unique = (values) => [...new Set(values)];
  const FILTERS = [
    ["dataset", "Product", (x) => data.datasets[imageOf(x).d].id, (v) => data.datasets.find((d) => d.id === v).name],
    ["method", "Method", (x) => runOf(x).method, (v) => data.runs.find((run) => run.method === v).name],
    ["prompt", "Prompt", (x) => runOf(x).prompt, (v) => v || "takes no prompt"],
    ["outcome", "Outcome", (x) => OUTCOME_KEYS[x.outcome], (v) => `${OUTCOMES[v][1]}: ${OUTCOMES[v][2]}`],
    ["label", "Part is", (x) => LABELS[imageOf(x).l], (v) => v],
    ["predicted", "Method says", (x) => LABELS[runOf(x).predicted[x.k]] || "nothing", (v) => v],
    ["type", "Type of defect", type, (v) => v.replaceAll("_", " ")],
    ["status", "Status", status, (v) => v],
  ];
  const SORTS = {
    name: ["name", (x) => null, 1],
    "iou-up": ["IoU, worst first", iou, 1],
    "iou-down": ["IoU, best first", iou, -1],
    "size-up": ["defect size, smallest first", size, 1],
    "size-down": ["defect size, largest first", size, -1],
    "score-down": ["score, most suspicious first", score, -1],
    "score-up": ["score, least suspicious first", score, 1],
  };
  const ALL = "*";
  const chosen = Object.fromEntries(FILTERS.map(([key]) => [key, ALL]));
  const form = document.getElementById("filters");
  const controls = {};

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined) made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  }

  function addSelect(key, title, options) {
    const select = element("select", { id: `filter-${key}` });
    for (const [value, text] of options) select.append(element("option", { value }, text));
    form.append(element("label", { for: select.id }, title, select));
    controls[key] = select;
    return select;
  }

  for (const [key, title, valueOf, nameOf] of FILTERS) {
    const values = unique(results.map(valueOf));
    if (values.length < 2) continue;
    if (key === "outcome") values.sort((a, b) => OUTCOME_KEYS.indexOf(a) - OUTCOME_KEYS.indexOf(b));
    const select = addSelect(key, title, [[ALL, "all"], ...values.map((v) => [v, nameOf(v)])]);
    select.addEventListener("change", () => {
      chosen[key] = select.value;
      update();
    });
  }
  const sorts = Object.entries(SORTS).filter(([, [, of]], n) => !n || results.some((x) => of(x) !== null));
  const sortSelect = addSelect("sort", "Sorted by", sorts.map(([value, [text]]) => [value, text]));
  sortSelect.addEventListener("change", () => update());
  const search = element("input", { id: "filter-search", type: "search", autocomplete: "off" });
  form.append(element("label", { for: search.id }, "Name contains", search));
  search.addEventListener("input", () => update());
  const reset = element("button", { type: "button", id: "reset" }, "Show all");
  form.append(reset);
  reset.addEventListener("click", () => setFilters({}));
  form.addEventListener("submit", (event) => event.preventDefault());

  // Parts that a link names, whatever the filters could say; null: all.
  let named = null;
  function setFilters(wanted) {
    named = wanted.images ? new Set(wanted.images) : null;
    for (const [key] of FILTERS) {
      chosen[key] = wanted[key] ?? ALL;
      if (controls[key]) controls[key].value = chosen[key];
    }
    search.value = "";
    update();
  }

  let shown = [];
  let active = 0;

  function matches() {
    const tests = FILTERS.filter(([key]) => chosen[key] !== ALL);
    const words = search.value.trim().toLowerCase();
    return results.filter(
      (x) =>
        tests.every(([key, , valueOf]) => valueOf(x) === chosen[key]) &&
        (!named || named.has(imageOf(x).id)) &&
        (!words || imageOf(x).id.toLowerCase().includes(words)),
    );
  }

  function sorted(found) {
    const [, of, direction] = SORTS[sortSelect.value];
    const keyed = found.map((x) => [of(x), x]);
    keyed.sort(([a, x], [b, y]) => {
      if (a !== b) {
        if (a === null) return 1;
        if (b === null) return -1;
        return (a - b) * direction;
      }
      return x.image - y.image || x.r - y.r;
    });
    return keyed.map(([, x]) => x);
  }

  const count = document.getElementById("count");
  function update() {
    shown = sorted(matches());
    active = 0;
    const numbers = OUTCOME_KEYS.map((key, n) => [shown.filter((x) => x.outcome === n).length, OUTCOMES[key][1]]);
    const parts = numbers.filter(([n]) => n).map(([n, name]) => `${n} ${name}`);
    const images = new Set(shown.map((x) => x.image)).size;
    const what = shown.length === images ? plural(images, "image") : `${plural(shown.length, "result")} on ${plural(images, "image")}`;
    count.textContent = shown.length ? `${what} of ${results.length} results: ${parts.join(", ")}.` : "No image fits; choose less.";
    if (named) count.textContent += ` Only the ${plural(named.size, "part")} of a link: “Show all” shows the others.`;
    grid.scrollTop = 0;
    layOut();
  }
  const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

  // --------------------------------------------------------------------------------- the tiles
  const grid = document.getElementById("grid");
  const cards = document.getElementById("cards");
  const tiles = new Map();
  const TEXT_HEIGHT = 108;
  const GAP = 10;
  let columns = 1;
  let side = 200;

  function layOut() {
    const width = Math.max(120, grid.clientWidth - GAP);
    columns = Math.max(2, Math.floor(width / 230));
    side = Math.floor(width / columns) - GAP;
    const rows = Math.ceil(shown.length / columns);
    const height = rows * (side + TEXT_HEIGHT + GAP) + GAP;
    cards.style.height = `${height}px`;
    grid.style.height = shown.length ? `min(80vh, ${height + 2}px)` : "0";
    grid.style.visibility = shown.length ? "" : "hidden";
    for (const tile of tiles.values()) tile.remove();
    tiles.clear();
    draw();
  }

  function draw() {
    const step = side + TEXT_HEIGHT + GAP;
    const first = Math.max(0, Math.floor(grid.scrollTop / step) - 1) * columns;
    const rows = Math.ceil(grid.clientHeight / step) + 3;
    const last = Math.min(shown.length, first + rows * columns);
    for (const [n, tile] of tiles) {
      if (n < first || n >= last) {
        tile.remove();
        tiles.delete(n);
      }
    }
    for (let n = first; n < last; n += 1) {
      if (!tiles.has(n)) {
        const tile = makeTile(n);
        tiles.set(n, tile);
        cards.append(tile);
      }
    }
    if (tiles.has(active)) grid.setAttribute("aria-activedescendant", `tile-${active}`);
  }

  function makeTile(n) {
    const x = shown[n];
    const image = imageOf(x);
    const [mark, name] = OUTCOMES[OUTCOME_KEYS[x.outcome]];
    const tile = element("div", {
      class: "tile", id: `tile-${n}`, role: "option", "aria-selected": String(n === active),
      "aria-setsize": shown.length, "aria-posinset": n + 1, "data-number": x.number,
    });
    tile.style.cssText = `left:${GAP + (n % columns) * (side + GAP)}px;top:${GAP + Math.floor(n / columns) * (side + TEXT_HEIGHT + GAP)}px;width:${side}px;height:${side + TEXT_HEIGHT}px`;
    const frame = picture(x, { width: side, height: side, isFilled: true });
    const facts = [iou(x) === null ? null : `IoU ${iou(x).toFixed(2)}`, score(x) === null ? null : `score ${score(x).toFixed(2)}`];
    const text = element("div", { class: "text" });
    text.append(
      element("span", { class: `outcome ${OUTCOME_KEYS[x.outcome]}` }, `${mark} ${name}`),
      element("span", {}, image.l ? `defective${image.t ? `: ${image.t.replaceAll("_", " ")}` : ""}` : "good"),
      element("span", {}, facts.filter(Boolean).join(", ") || status(x)),
      element("span", { class: "soft" }, runOf(x).title),
      element("span", { class: "soft" }, image.id.split("/").pop()),
    );
    tile.append(frame, text);
    tile.addEventListener("click", () => {
      select(n);
      open(n);
    });
    return tile;
  }

  // A picture with the outlines of truth and prediction on it, to be fitted into a box.
  function picture(x, box, layers = { truth: true, mark: true }) {
    const image = imageOf(x);
    const run = runOf(x);
    const frame = element("div", { class: "picture" });
    const inner = element("div");
    const zoom = Math.min(box.width / image.w, box.height / image.h);
    inner.style.width = `${Math.round(image.w * zoom)}px`;
    inner.style.height = `${Math.round(image.h * zoom)}px`;
    if (box.isFilled) frame.style.height = `${box.height}px`;
    inner.append(element("img", { src: pictures[x.image], alt: describe(x, layers), decoding: "async" }));
    const paths = [];
    const masks = run.masks === undefined ? null : data.masks[run.masks];
    if (layers.mark && masks && masks[x.k]) paths.push(["mark", masks[x.k]]);
    if (layers.truth && image.path) paths.push(["case", image.path], ["truth", image.path]);
    if (paths.length) {
      const svg = document.createElementNS(SVG, "svg");
      svg.setAttribute("viewBox", `0 0 ${image.w} ${image.h}`);
      svg.setAttribute("aria-hidden", "true");
      for (const [name, d] of paths) {
        const path = document.createElementNS(SVG, "path");
        path.setAttribute("class", name);
        path.setAttribute("d", d);
        svg.append(path);
      }
      inner.append(svg);
    }
    frame.append(inner);
    return frame;
  }

  function describe(x, layers) {
    const image = imageOf(x);
    const part = image.l ? `defective part${image.t ? ` (${image.t.replaceAll("_", " ")})` : ""}` : "good part";
    const said = LABELS[runOf(x).predicted[x.k]];
    const verdict = layers.mark ? `, ${runOf(x).title} says ${said || "nothing"}` : "";
    return `${image.id}: ${part}${verdict}`;
  }

  function select(n) {
    tiles.get(active)?.setAttribute("aria-selected", "false");
    active = Math.max(0, Math.min(shown.length - 1, n));
    const step = side + TEXT_HEIGHT + GAP;
    const top = Math.floor(active / columns) * step;
    if (top < grid.scrollTop) grid.scrollTop = top;
    if (top + step > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + step - grid.clientHeight + GAP;
    draw();
    tiles.get(active)?.setAttribute("aria-selected", "true");
    grid.setAttribute("aria-activedescendant", `tile-${active}`);
  }

  let isDue = false;
  grid.addEventListener("scroll", () => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      draw();
    });
  }, { passive: true });
  grid.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(grid.clientHeight / (side + TEXT_HEIGHT + GAP))) * columns;
    const moves = {
      ArrowRight: active + 1, ArrowLeft: active - 1, ArrowDown: active + columns, ArrowUp: active - columns,
      PageDown: active + page, PageUp: active - page, Home: 0, End: shown.length - 1,
    };
    if (event.key in moves) {
      event.preventDefault();
      select(moves[event.key]);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (shown.length) open(active);
    }
  });
  let lastWidth = 0;
  new ResizeObserver(() => {
    if (grid.clientWidth !== lastWidth) {
      lastWidth = grid.clientWidth;
      layOut();
    }
  }).observe(grid.parentElement);

  // ------------------------------------------------------------------------------ one image, large
  const viewer = document.getElementById("viewer");
  const body = document.getElementById("viewer-body");
  let current = null;
  const hidden = { truth: false, mark: false };

  function open(n) {
    select(n);
    if (!viewer.open) viewer.showModal();
    show(shown[n]);
  }

  const sameImage = (x) => results.filter((y) => y.image === x.image);

  function show(x) {
    current = x;
    const image = imageOf(x);
    const run = runOf(x);
    document.getElementById("viewer-title").textContent = `${image.id}, ${run.title}`;
    body.replaceChildren();
    const [mark, name, words] = OUTCOMES[OUTCOME_KEYS[x.outcome]];
    body.append(element("p", {}, element("span", { class: `outcome ${OUTCOME_KEYS[x.outcome]}` }, `${mark} ${name}`), ` ${facts(x, words)}`));
    const views = element("div", { class: "views" });
    body.append(views);
    const wide = (body.clientWidth || window.innerWidth) - 40;
    const each = Math.floor(wide / (wide > 840 ? 3 : wide > 560 ? 2 : 1)) - 12;
    const box = { width: each, height: Math.min(each, 520) };
    const kinds = [["Image", {}]];
    if (image.path) kinds.push(["Truth", { truth: true }]);
    if (run.masks !== undefined) kinds.push([`Marked by ${run.title}`, { truth: Boolean(image.path), mark: true }]);
    for (const [title, layers] of kinds) {
      views.append(element("figure", {}, picture(x, box, layers), element("figcaption", {}, title)));
    }
    if (image.l && !image.path) body.append(element("p", { class: "sub" }, "Nobody drew where the defect is."));
    body.append(toggles());
    for (const [label, how, words] of (run.answers || {})[x.k] || []) {
      const said = label < 0 ? "No verdict" : LABELS[label][0].toUpperCase() + LABELS[label].slice(1);
      const sure = how === null ? "" : `, score ${how.toFixed(2)}`;
      body.append(element("div", { class: "said" }, element("b", {}, `${said}${sure}. `), words));
    }
    const panel = (run.panels || {})[x.k];
    if (panel) {
      body.append(element("h3", {}, "What the method saw"));
      const alt = `Steps of ${run.title} on ${image.id}: boxes, points, maps or candidates, and the mask from them`;
      body.append(element("div", { class: "scroll paper" }, element("img", { src: panel, alt })));
    }
    body.append(element("h3", {}, "What every method says of this image"), others(x));
    body.scrollTop = 0;
  }

  function facts(x, words) {
    const image = imageOf(x);
    const parts = [words, `status: ${status(x)}`];
    if (iou(x) !== null) parts.push(`IoU ${iou(x).toFixed(3)}`);
    if (score(x) !== null) parts.push(`score ${score(x).toFixed(3)}`);
    if (size(x) !== null) parts.push(`defect of ${image.px.toLocaleString("en")} px`);
    parts.push(`image of ${image.W} × ${image.H} px`);
    return parts.join("; ");
  }

  function toggles() {
    const made = element("div", { class: "toggles" });
    for (const [key, title] of [["truth", "truth (T)"], ["mark", "prediction (P)"]]) {
      const box = element("input", { type: "checkbox", id: `show-${key}` });
      box.checked = !hidden[key];
      box.addEventListener("change", () => setHidden(key, !box.checked));
      made.append(element("label", { for: box.id }, box, ` show ${title}`));
    }
    return made;
  }

  function setHidden(key, isHidden) {
    hidden[key] = isHidden;
    document.body.classList.toggle(`hide-${key}`, isHidden);
    const box = document.getElementById(`show-${key}`);
    if (box) box.checked = !isHidden;
  }

  function others(x) {
    const rows = sameImage(x).map((y) => {
      const said = LABELS[runOf(y).predicted[y.k]] || "nothing";
      const [mark, name] = OUTCOMES[OUTCOME_KEYS[y.outcome]];
      const button = element("button", { type: "button" }, runOf(y).title);
      button.addEventListener("click", () => show(y));
      return element("tr", { "aria-current": y.number === x.number ? "true" : null },
        element("td", {}, button), element("td", {}, said),
        element("td", {}, element("span", { class: `outcome ${OUTCOME_KEYS[y.outcome]}` }, `${mark} ${name}`)),
        element("td", { class: "number" }, iou(y) === null ? "–" : iou(y).toFixed(2)),
        element("td", {}, status(y)));
    });
    const heads = ["Method", "Says", "Outcome", "IoU", "Status"].map((title) =>
      element("th", { scope: "col", class: title === "IoU" ? "number" : null }, title));
    return element("div", { class: "scroll" }, element("table", { class: "others" },
      element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows)));
  }

  function walk(step) {
    const place = shown.findIndex((x) => x.number === current.number);
    const from = place >= 0 ? place : active;
    const n = Math.max(0, Math.min(shown.length - 1, from + step));
    select(n);
    show(shown[n]);
  }

  function walkMethods(step) {
    const same = sameImage(current);
    const place = same.findIndex((x) => x.number === current.number);
    show(same[(place + step + same.length) % same.length]);
  }

  viewer.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const actions = {
      ArrowRight: () => walk(1), ArrowLeft: () => walk(-1),
      ArrowDown: () => walkMethods(1), ArrowUp: () => walkMethods(-1),
      t: () => setHidden("truth", !hidden.truth), p: () => setHidden("mark", !hidden.mark),
    };
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key in actions) {
      event.preventDefault();
      actions[key]();
    }
  });
  viewer.addEventListener("close", () => grid.focus({ preventScroll: true }));
  document.getElementById("previous").addEventListener("click", () => walk(-1));
  document.getElementById("next").addEventListener("click", () => walk(1));
  document.getElementById("close").addEventListener("click", () => viewer.close());

  for (const link of document.querySelectorAll("[data-filter]")) {
    link.addEventListener("click", () => setFilters(JSON.parse(link.dataset.filter)));
  }
  // What is asked first: how the method that comes closest did.
  const first = document.querySelector("#decision [data-filter]");
  const { dataset, method, prompt } = first ? JSON.parse(first.dataset.filter) : {};
  setFilters(first ? { dataset, method, prompt } : {});
})();
