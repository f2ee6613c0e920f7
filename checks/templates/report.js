"use strict";
const table = document.getElementById("found");
if (table) {
  const body = table.tBodies[0], form = document.getElementById("filter"), shown = document.getElementById("shown");
  // Read once: a page of ten thousand rows answers every key press.
  const rows = Array.from(body.rows, (row) => ({
    row, text: row.textContent.toLowerCase(), severity: row.dataset.severity, rule: row.dataset.rule,
    cells: Array.from(row.cells, (cell) => cell.textContent),
  }));
  const filter = () => {
    const words = form.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const each of rows) {
      const fits = (!form.severity.value || each.severity === form.severity.value)
        && (!form.rule.value || each.rule === form.rule.value) && words.every((word) => each.text.includes(word));
      each.row.hidden = !fits;
      count += fits;
    }
    shown.textContent = `${count.toLocaleString("en")} of ${rows.length.toLocaleString("en")} shown`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  const order = new Intl.Collator("en", { numeric: true });
  const headings = Array.from(table.tHead.rows[0].cells);
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      rows.sort((a, b) => (down ? -1 : 1) * order.compare(a.cells[column], b.cells[column]));
      body.append(...rows.map((each) => each.row));
    });
  });
  filter();
}
