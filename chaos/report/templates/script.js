"use strict";
// Comforts only: the page says the same without them. Tips follow the pointer, records are filtered.
const tip = document.getElementById("tip");
for (const title of document.querySelectorAll("svg title")) {
  const shape = title.parentElement;
  shape.dataset.tip = title.textContent;
  shape.setAttribute("aria-label", title.textContent);
  title.remove();
}
document.addEventListener("pointermove", (event) => {
  const shape = event.target.closest?.("[data-tip]");
  tip.hidden = !shape;
  if (!shape) return;
  tip.textContent = shape.dataset.tip;
  const { innerWidth: width, innerHeight: height } = window;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, width - box.width - 8))}px`;
  const below = event.clientY + 18;
  tip.style.top = `${below + box.height > height ? event.clientY - box.height - 10 : below}px`;
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") tip.hidden = true;
});

const filter = document.getElementById("filter");
if (filter) {
  const rows = [...document.querySelectorAll("#records tbody tr")];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const found = document.getElementById("found");
  const look = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    rows.forEach((row, place) => {
      const fits = words.every((word) => texts[place].includes(word));
      row.hidden = !fits;
      count += fits;
    });
    found.textContent = words.length ? `${count} of ${rows.length}` : "";
  };
  filter.addEventListener("input", look);
  // A link to a record that the filter hides shows it.
  window.addEventListener("hashchange", () => {
    const row = document.getElementById(location.hash.slice(1));
    if (row?.hidden) {
      filter.value = "";
      look();
      row.scrollIntoView({ block: "center" });
    }
  });
  filter.closest("[hidden]").hidden = false;
}
