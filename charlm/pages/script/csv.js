// ---- CSV ------------------------------------------------------------------------------------------------------------

/** Return the units of the chart over time as CSV, with the columns of a trace. */
function asCsv() {
  const shown = lines.map(({ of }) => of).filter(Boolean);
  const columns = shown.map((which) => [course(which), clamp(Math.ceil(-Math.log10(scaleOf(which).step)), 0, 6)]);
  const quoted = (cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
  const rows = [['position', 'character', ...shown.map(nameOf)]];
  for (let place = 0; place < length; place++) {
    rows.push([place, quoted(markOf(place)), ...columns.map(([value, digits]) => value(place).toFixed(digits))]);
  }
  return `${rows.map((row) => row.join(',')).join('\n')}\n`;
}

function download() {
  const link = make('a');
  link.href = URL.createObjectURL(new Blob([asCsv()], { type: 'text/csv' }));
  link.download = 'charlm-units.csv';
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
