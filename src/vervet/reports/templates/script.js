"use strict";
(() => {
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const SVG = "http:" + "//www.w3.org/2000/svg";

  // ---- the chart's read-out: a slider over k, and the pointer ----
  // ties go to the even digit, as in the rest of the page
  const fixed = (v, digits) => {
    const scaled = v * 10 ** digits, whole = Math.floor(scaled);
    return scaled - whole === 0.5 && whole % 2 === 0 ? (whole / 10 ** digits).toFixed(digits) : v.toFixed(digits);
  };
  const percent = (share) => {
    if (share === null || share === undefined) return "–";
    const v = 100 * share, near = Math.min(v, 100 - v);
    if (near === 0) return `${v}\u202f%`;
    if (near < 1e-6) return (v > 50 ? ">99.999999" : "<0.000001") + "\u202f%";
    const small = -Math.floor(Math.log10(near * (1 + 1e-9)));
    const digits = near >= 1 || (v > 50 && near >= 0.05) ? 1 : small + (v < 50 ? 1 : 0);
    return `${fixed(v, Math.min(digits, 6))}\u202f%`;
  };
  const curves = (root) => {
    const figure = root.querySelector(".curves");
    if (!figure) return;
    const data = JSON.parse(root.querySelector("#curves").textContent);
    const charts = $$(".chart", figure);
    const rows = $$(".legend li", figure);
    const slider = figure.querySelector(".slide input");

    const STEPS = 1000;
    let at = 0;

    const fraction = (i) => Math.log(data.k[i]) / Math.log(data.k[data.k.length - 1]);
    const nearest = (share) => {
      let best = 0;
      data.k.forEach((_, i) => { if (Math.abs(fraction(i) - share) < Math.abs(fraction(best) - share)) best = i; });
      return best;
    };
    // what was seen, else what is forecast: share, low, high, and whether it is a forecast
    const value = (run, i) => {
      if (typeof run.coverage[i] === "number") return [run.coverage[i], run.low[i], run.high[i], false];
      const found = i >= run.coverage.length && run.ahead.find((p) => p[0] === data.k[i]);
      return found ? [found[1], found[2], found[3], true] : [null, null, null, false];
    };
    const place = (chart, i) => +chart.dataset.left + (chart.dataset.right - chart.dataset.left) * fraction(i);
    const point = (chart, i) => {
      const d = chart.dataset, x = place(chart, i), cursor = chart.querySelector(".cursor");
      cursor.removeAttribute("visibility");
      cursor.firstElementChild.setAttribute("d", `M${x} ${d.top}V${d.bottom}`);
      data.runs.forEach((run, r) => {
        let dot = cursor.querySelector(`[data-dot="${r}"]`);
        if (!dot) {
          dot = document.createElementNS(SVG, "circle");
          dot.setAttribute("r", 4.5);
          dot.setAttribute("class", `c${r % 6}`);
          dot.dataset.dot = r;
          cursor.append(dot);
        }
        const share = value(run, i)[0];
        dot.setAttribute("visibility", share === null || share === undefined ? "hidden" : "visible");
        dot.setAttribute("cx", x);
        dot.setAttribute("cy", +d.bottom - (d.bottom - d.top) * Math.min(share || 0, +d.share) / d.share);
      });
    };
    const show = (i) => {
      figure.querySelector(".k").textContent = data.k[i].toLocaleString("en");
      figure.querySelector(".word").textContent = data.k[i] === 1 ? "attempt" : "attempts";
      rows.forEach((row) => {
        const [share, low, high, ahead] = value(data.runs[row.dataset.run], i);
        row.querySelector(".cov").textContent = percent(share);
        row.querySelector(".int").textContent = share === null ? "" : `${percent(low)} to ${percent(high)}${ahead ? ", forecast" : ""}`;
      });
      charts.forEach((chart) => point(chart, i));
      at = i;
      slider.value = STEPS * fraction(i);
      slider.setAttribute("aria-valuetext", `k = ${data.k[i]}`);
    };
    if (data.k.length > 1) {
      // the slider lies under the axis: its ends are the axis's ends, and a key goes to the next k
      const label = slider.closest("label");
      const align = () => {
        const chart = charts.find((c) => c.getBoundingClientRect().width), width = chart && chart.viewBox.baseVal.width;
        if (!chart) return;
        label.style.marginLeft = `calc(${100 * chart.dataset.left / width}% - 8px)`;
        label.style.marginRight = `calc(${100 * (1 - chart.dataset.right / width)}% - 8px)`;
      };
      addEventListener("resize", align);
      slider.max = STEPS;
      label.hidden = false;
      align();
      slider.addEventListener("input", () => show(nearest(slider.value / STEPS)));
      slider.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -5, PageUp: 5, Home: -1e9, End: 1e9 }[event.key];
        if (!step) return;
        event.preventDefault();
        show(Math.min(data.k.length - 1, Math.max(0, at + step)));
      });
      show(Math.max(0, data.k.indexOf(+figure.dataset.at)));
      charts.forEach((chart) => chart.addEventListener("pointermove", (event) => {
        const box = chart.getBoundingClientRect(), x = (event.clientX - box.left) * chart.viewBox.baseVal.width / box.width;
        show(nearest((x - chart.dataset.left) / (chart.dataset.right - chart.dataset.left)));
      }));
    }

    // ---- picking runs in the legend ----
    let picked = null;
    const light = (run) => {
      figure.classList.toggle("picking", run !== null);
      $$(".run", figure).forEach((g) => g.classList.toggle("lit", g.dataset.run === run));
    };
    $$(".pick", figure).forEach((button) => {
      const run = button.closest("li").dataset.run;
      button.addEventListener("pointerenter", () => light(run));
      button.addEventListener("pointerleave", () => light(picked));
      button.addEventListener("focus", () => light(run));
      button.addEventListener("blur", () => light(picked));
      button.addEventListener("click", () => {
        picked = picked === run ? null : run;
        $$(".pick", figure).forEach((b) => b.setAttribute("aria-pressed", String(b.closest("li").dataset.run === picked)));
        light(picked);
      });
    });

  };

  // ---- tables: sort, search, filter ----
  const order = new Intl.Collator("en", { numeric: true });
  const value = (cell) => {
    const found = parseFloat(cell.textContent.replace(/[,<>\u202f]/g, ""));
    return Number.isNaN(found) ? null : found;
  };
  const share = (cell) => {
    const [c, n] = cell.textContent.split("/");
    return n ? c / n : null;
  };
  const compare = (a, b, sign) => a === b ? 0 : a === null ? 1 : b === null ? -1 : sign * (a - b);
  const sort = (table, column, descending) => {
    const body = table.tBodies[0], sign = descending ? -1 : 1;
    const read = column === 0 ? (cell) => cell.textContent : table.classList.contains("matrix") ? share : value;
    const lines = [...body.rows].map((row) => [read(row.cells[column]), row]);
    lines.sort(column === 0 ? (a, b) => sign * order.compare(a[0], b[0]) : (a, b) => compare(a[0], b[0], sign));
    body.append(...lines.map((line) => line[1]));
  };
  const tables = (root) => {
    $$("table.sortable", root).forEach((table) => {
      const heads = [...table.tHead.rows[0].cells];
      heads.forEach((head, column) => {
        const button = document.createElement("button");
        button.type = "button";
        button.append(...head.childNodes);
        head.append(button);
        button.addEventListener("click", () => {
          const before = head.getAttribute("aria-sort");
          const descending = before ? before === "ascending" : column > 0;
          heads.forEach((h) => h.removeAttribute("aria-sort"));
          head.setAttribute("aria-sort", descending ? "descending" : "ascending");
          sort(table, column, descending);
        });
      });
    });
    const tools = root.querySelector(".tools[hidden]");
    if (!tools) return;
    tools.hidden = false;
    const search = tools.querySelector("input"), kind = tools.querySelector("select"), shown = tools.querySelector("output");
    const matches = (row, matrix) => {
      if (!kind.value) return true;
      if (!matrix) return row.classList.contains(kind.value === "?" ? "q" : kind.value);
      if (kind.value === "?") return true;
      const shares = [...row.cells].slice(1).map(share).filter((s) => s !== null);
      const every = (test) => shares.length > 0 && shares.every(test);
      return kind.value === "n" ? every((s) => s === 0) : kind.value === "a" ? every((s) => s === 1) : !every((s) => s === 0) && !every((s) => s === 1);
    };
    const filter = () => {
      const wanted = search.value.toLowerCase();
      $$("table.sortable").forEach((table) => {
        const matrix = table.classList.contains("matrix");
        let left = 0;
        for (const row of table.tBodies[0].rows) {
          const keep = row.cells[0].textContent.toLowerCase().includes(wanted) && matches(row, matrix);
          row.hidden = !keep;
          left += keep;
        }
        table.dataset.left = left;
      });
      const first = document.querySelector("table.sortable");
      shown.textContent = `${(+first.dataset.left).toLocaleString("en")} of ${first.tBodies[0].rows.length.toLocaleString("en")} problems`;
    };
    search.addEventListener("input", filter);
    kind.addEventListener("change", filter);
    filter();
  };

  // ---- commands ----
  const copies = (root) => $$(".code", root).forEach((box) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      const code = box.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    box.append(button);
  });

  const start = (root) => { curves(root); tables(root); copies(root); };
  start(document);
  // a page that replaces a part of itself says so
  document.addEventListener("vervet:new", (event) => start(event.target));

  // ---- print: everything small is open, long lists stay as they are ----
  addEventListener("beforeprint", () => $$("details").forEach((d) => { if (d.querySelectorAll("tr").length < 60) d.open = true; }));
})();
