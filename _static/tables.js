// Tables: a click on a head sorts a numbered one, "CSV" saves it, a box that scrolls can be reached by key and says whose
// it is, and every cell knows its head, which a phone shows beside it. Without this script they are read as they stand.
(() => {
  const MISSING = ["", "–", "not recorded", "not measured"];
  const NUMBER = /^[+-]?\d[\d,]*(\.\d+)?(e-?\d+)?(?=[\s%]|$)/;
  const SMALL = "small[title], abbr[title]"; // what else a cell says: the paper's number, the difference, its mark
  const NEXT = { none: "ascending", ascending: "descending", descending: "none" };

  const everyRow = (table) => [...table.tBodies].flatMap((body) => [...body.rows]);

  function make(name, text, properties = {}) {
    return Object.assign(document.createElement(name), { textContent: text }, properties);
  }

  // What an element says without some of its parts, by default its small print: 1.2·10<sup>3</sup> is 1.2e3.
  function said(element, without = SMALL) {
    const copy = element.cloneNode(true);
    copy.querySelectorAll(without).forEach((part) => part.remove());
    copy.innerHTML = copy.innerHTML.replace(/·10<sup>(-?\d+)<\/sup>/g, "e$1").replace(/<br>/g, " ");
    return copy.textContent.replace(/\s+/g, " ").replace(/−/g, "-").trim();
  }

  // --- Sorting -----------------------------------------------------------------------------------

  // Rows in the order of a column: numbers as numbers if it has no other, what is missing last.
  function sorted(rows, column, direction) {
    if (direction === "none") return rows;
    const texts = new Map(rows.map((row) => [row, said(row.cells[column])]));
    const [missing, known] = [true, false].map((is) => rows.filter((row) => MISSING.includes(texts.get(row)) === is));
    const number = (row) => Number(NUMBER.exec(texts.get(row))?.[0].replaceAll(",", "") ?? NaN);
    const compare = known.every((row) => !Number.isNaN(number(row)))
      ? (a, b) => number(a) - number(b)
      : (a, b) => texts.get(a).localeCompare(texts.get(b), "en", { numeric: true });
    const sign = direction === "ascending" ? 1 : -1;
    return [...known.sort((a, b) => sign * compare(a, b)), ...missing];
  }

  function makeSortable(table) {
    const heads = [...table.tHead.rows[0].cells];
    const asPrinted = everyRow(table);
    heads.forEach((head, column) => {
      const line = head.querySelector("p") ?? head;
      const button = make("button", "", { type: "button", title: "Sort by this column" });
      button.append(...line.childNodes);
      line.append(button);
      button.addEventListener("click", () => {
        const direction = NEXT[head.getAttribute("aria-sort") ?? "none"];
        heads.forEach((each) => each.removeAttribute("aria-sort"));
        if (direction !== "none") head.setAttribute("aria-sort", direction);
        table.tBodies[0].append(...sorted(asPrinted, column, direction));
      });
    });
  }

  // --- CSV ---------------------------------------------------------------------------------------

  // A number without commas and unit, nothing for a dash, else the words.
  function value(element) {
    const text = element ? said(element).replace(element.title || /^$/, "").trim() : "–";
    const number = NUMBER.exec(text)?.[0];
    if (text === "–") return "";
    return number && /^( %)?$/.test(text.slice(number.length)) ? number.replaceAll(",", "") : text;
  }

  function quoted(text) {
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  // The table as it stands, small print in columns of its own.
  function csv(table) {
    const rows = everyRow(table);
    const heads = [...table.tHead.rows[0].cells].map((head) => said(head));
    const parts = (cell) => [...cell.querySelectorAll(SMALL)];
    const titles = heads.map((_, i) => [...new Set(rows.flatMap((row) => parts(row.cells[i]).map((part) => part.title)))]);
    const lines = rows.map((row) => [...row.cells].flatMap((cell, i) => [
      value(cell), ...titles[i].map((title) => value(parts(cell).find((part) => part.title === title))),
    ]));
    const first = heads.flatMap((head, i) => [head, ...titles[i].map((title) => `${head}, ${title}`)]);
    return [first, ...lines].map((line) => `${line.map(quoted).join(",")}\r\n`).join("");
  }

  function offerCsv(table) {
    const button = make("button", "CSV", { type: "button", className: "table-csv", title: "Save this table as CSV" });
    button.addEventListener("click", () => {
      const url = URL.createObjectURL(new Blob([csv(table)], { type: "text/csv;charset=utf-8" }));
      make("a", "", { href: url, download: `${table.id}.csv` }).click();
      URL.revokeObjectURL(url);
    });
    table.caption.append(" ", button);
  }

  // --- Boxes that scroll, and phones -------------------------------------------------------------

  function watch(box) {
    const named = box.querySelector("caption") ?? box.closest("details")?.querySelector("summary");
    const name = named ? said(named, ".headerlink, .table-csv") : "Table";
    function look() {
      const hidden = box.scrollWidth - box.clientWidth;
      const scrolls = hidden > 1;
      const attributes = { tabindex: "0", role: "region", "aria-label": `${name} (scrolls sideways)` };
      for (const [attribute, text] of Object.entries(attributes)) {
        if (scrolls) box.setAttribute(attribute, text);
        else box.removeAttribute(attribute);
      }
      box.classList.toggle("cut-left", scrolls && box.scrollLeft > 1);
      box.classList.toggle("cut-right", scrolls && hidden - box.scrollLeft > 1);
    }
    box.addEventListener("scroll", look, { passive: true });
    const observer = new ResizeObserver(look); // also when a fold opens
    [box, ...box.children].forEach((element) => observer.observe(element));
  }

  // On a phone the rows of a table of more than three columns become cards (book.css).
  function nameCells(table) {
    const heads = [...table.tHead.rows[0].cells].map((head) => said(head));
    everyRow(table).forEach((row) => [...row.cells].forEach((cell, i) => { cell.dataset.label = heads[i]; }));
    table.classList.toggle("table-cards", heads.length > 3);
  }

  addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(".pst-scrollable-table-container").forEach(watch);
    document.querySelectorAll(".pst-scrollable-table-container table:has(thead)").forEach(nameCells);
    document.querySelectorAll("table[id]:has(thead):has(caption)").forEach((table) => {
      makeSortable(table);
      offerCsv(table);
    });
  });
})();
