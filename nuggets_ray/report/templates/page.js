"use strict";
(() => {
  const table = document.querySelector("table.rows");
  if (!table) return;
  document.documentElement.classList.add("js");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const said = document.getElementById("rows-shown");
  const search = document.getElementById("rows-search");
  const filters = Array.from(document.querySelectorAll("select[data-filter]"));

  const show = () => {
    const wanted = search.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const fits = filters.every((filter) => {
        const held = (row.dataset[filter.dataset.filter] || "").split(" ");
        return filter.value === "" || held.includes(filter.value);
      });
      row.hidden = !(fits && texts.get(row).includes(wanted));
      shown += row.hidden ? 0 : 1;
    }
    said.textContent = shown + " of " + rows.length + " rows shown";
  };

  const sort = (header, place) => {
    const down = header.getAttribute("aria-sort") !== "descending";
    for (const other of header.parentElement.cells) {
      if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    }
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (row) => row.cells[place].dataset.value;
    const number = (row) => (value(row) === "" ? -Infinity : Number(value(row)));
    const isText = header.dataset.sort === "text";
    rows.sort((one, two) => {
      const order = isText ? value(one).localeCompare(value(two)) : number(one) - number(two);
      return down ? -order : order;
    });
    body.append(...rows);
  };

  search.addEventListener("input", show);
  for (const filter of filters) filter.addEventListener("change", show);
  Array.from(table.tHead.rows[0].cells).forEach((header, place) => {
    const button = header.querySelector("button");
    if (button) button.addEventListener("click", () => sort(header, place));
  });
  show();
})();
