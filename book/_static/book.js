// Small things that style sheets cannot do.
document.addEventListener("DOMContentLoaded", () => {
  // The word "Proof." in italics, as in print.
  document.querySelectorAll("div.proof.admonition > p:first-child").forEach((line) => {
    const text = line.firstChild;
    if (!line.classList.contains("admonition-title") && text?.nodeType === Node.TEXT_NODE && text.data.startsWith("Proof.")) {
      const word = document.createElement("span");
      word.className = "proof-word";
      word.textContent = "Proof.";
      text.data = text.data.slice("Proof.".length);
      line.prepend(word);
    }
  });
  // A statement that the paper prints is quoted, not asserted, and looks so.
  document.querySelectorAll("div.proof.admonition > .admonition-title").forEach((title) => {
    if (/as printed/i.test(title.textContent) && !/exact/i.test(title.textContent)) title.parentElement.classList.add("as-printed");
  });
  // A verdict in a table is shown as one.
  const verdicts = {
    holds: "verdict-holds",
    "holds with a correction": "verdict-corrected",
    "does not hold": "verdict-fails",
    open: "verdict-open",
  };
  document.querySelectorAll("table.table td > p:only-child").forEach((cell) => {
    const verdict = verdicts[cell.textContent.trim()];
    if (verdict && !cell.children.length) cell.innerHTML = `<span class="${verdict}">${cell.textContent}</span>`;
  });
  // A full stop stays with the formula before it: a word joiner forbids the line break between them.
  document.querySelectorAll("span.math").forEach((formula) => {
    const next = formula.nextSibling;
    if (next?.nodeType === Node.TEXT_NODE && /^[.,;:!?)\]’”]/.test(next.data)) next.data = "\u2060" + next.data;
  });
  // What scrolls sideways can be reached with the keyboard.
  document.querySelectorAll(".pst-scrollable-table-container, div.math, .output.text_latex").forEach((box) => {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  });
});

// Titles with math among the search results: typeset them as they arrive.
document.addEventListener("DOMContentLoaded", () => {
  const results = document.querySelector("#search-results");
  if (!results) return;
  let waiting;
  new MutationObserver(() => {
    clearTimeout(waiting);
    waiting = setTimeout(() => results.textContent.includes("\\(") && window.MathJax?.typesetPromise?.([results]), 50);
  }).observe(results, { childList: true, subtree: true });
});
