// What the page gives away, as files.

/** Hands a file to the browser to save. @param {Blob} blob @param {string} name */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Boxes as CSV, in the form that `unisal score-regions --boxes` reads. @param {object[]} rows */
export function csvOf(rows) {
  const columns = ["name", "left", "top", "width", "height", "attention", "relative"];
  const lines = rows.map((row) => columns.map((column) => field(row[column])).join(","));
  return new Blob([`${[columns.join(","), ...lines].join("\n")}\n`], { type: "text/csv" });
}

/** Boxes as JSON, in the same form. @param {object[]} rows @param {object} about Of the image and model. */
export function jsonOf(rows, about) {
  const boxes = rows.map((row) => Object.fromEntries(Object.entries(row).map(([key, value]) => [key, short(value)])));
  return new Blob([`${JSON.stringify({ ...about, boxes }, null, 1)}\n`], { type: "application/json" });
}

function field(value) {
  const text = String(short(value));
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Numbers to six digits. */
function short(value) {
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
}
