// What a term means, beside its link, while the pointer or the keyboard rests there; Escape hides it. On a touch screen the
// first tap shows it, the second follows the link. The page holds the definitions (_ext/book_pages.py).
(() => {
  const TERMS = "a:has(> .std-term)";
  const EDGE = 8; // pixels between the words and the edge of the window
  const GAP = 4; // pixels between the link and the words, which the words' style lets the pointer cross

  function start() {
    const source = document.getElementById("definitions");
    if (!source) return;
    const definitions = JSON.parse(source.textContent);
    const words = document.createElement("div");
    words.id = "definition";
    words.hidden = true;
    words.setAttribute("role", "tooltip");
    document.body.append(words);
    let shown = null; // the link whose definition is to be seen

    function show(link) {
      const text = definitions[decodeURIComponent(link.hash.slice(1))];
      if (!text || shown === link) return;
      hide();
      shown = link;
      words.textContent = text;
      words.hidden = false;
      link.setAttribute("aria-describedby", words.id);
      const line = link.getClientRects()[0]; // the first, where the link is broken over two
      const left = Math.min(line.left, document.documentElement.clientWidth - words.offsetWidth - EDGE);
      const fits = line.bottom + GAP + words.offsetHeight < document.documentElement.clientHeight;
      words.style.left = `${Math.max(EDGE, left) + scrollX}px`;
      words.style.top = `${(fits ? line.bottom + GAP : line.top - GAP - words.offsetHeight) + scrollY}px`;
    }

    function hide() {
      shown?.removeAttribute("aria-describedby");
      words.hidden = true;
      shown = null;
    }

    document.querySelectorAll(TERMS).forEach((link) => {
      link.addEventListener("pointerenter", (event) => { if (event.pointerType !== "touch") show(link); });
      link.addEventListener("pointerleave", (event) => {
        if (event.pointerType !== "touch" && event.relatedTarget !== words) hide();
      });
      link.addEventListener("focus", () => { if (link.matches(":focus-visible")) show(link); });
      link.addEventListener("blur", hide);
      link.addEventListener("click", (event) => {
        if (event.pointerType !== "touch" || shown === link) return;
        show(link);
        if (shown === link) event.preventDefault();
      });
    });
    words.addEventListener("pointerleave", (event) => { if (!shown?.contains(event.relatedTarget)) hide(); });
    document.addEventListener("pointerdown", (event) => {
      if (!words.contains(event.target) && !shown?.contains(event.target)) hide();
    });
    document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  }

  addEventListener("DOMContentLoaded", start);
})();
